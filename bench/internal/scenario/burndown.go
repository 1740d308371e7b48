package scenario

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/offline-nodes/offline-nodes/bench/internal/report"
	"github.com/offline-nodes/offline-nodes/bench/internal/rig"
	"github.com/offline-nodes/offline-nodes/bench/internal/system"
	"github.com/offline-nodes/offline-nodes/bench/internal/work"
)

func burnDown() Scenario {
	const unit = "tasks/s"
	return Scenario{
		Turns: 5, QuickTurns: 3,
		Scenario: report.Scenario{
			Number: 1, Name: "burn-down", Title: "No-op tasks: burn-down, and submitting while working",
			About: "100,000 tasks that do nothing (20,000 with defaults) are submitted, then one worker process starts. *burn-down* counts from the start of the first task until " +
				"the system's servers say that none is left; *while working* submits half as many more as fast as they are taken, from four goroutines, and counts from " +
				"the first call until none is left. One turn of each system's best goes before and is not counted. Processor time is that of the whole burn-down: of the worker's process with its start, and of the servers that the system uses.",
			Metrics: []report.Metric{
				{Name: "burn-down", Unit: unit},
				{Name: "worker", Unit: "CPU µs/task"},
				{Name: "servers", Unit: "CPU µs/task"},
				{Name: "preload", Unit: unit},
				{Name: "while working", Unit: unit},
				{Name: "submitter", Unit: "CPU µs/task"},
				{Name: "start-up", Unit: "s"},
			},
			Picture: report.Picture{Title: "Burn-down of no-op tasks", Metric: "burn-down", Unit: unit},
			Targets: []report.Target{
				ratio("burn-down at least 3 times asynq's, both at their best", ourBest, asynqBest, 3, ""),
				ratio("burn-down at least 2 times River's, both at their best", ourBest, riverBest, 2, waits),
				ratio("as above with defaults: asynq", ourDefault, asynqDefault, 0, ""),
				ratio("as above with defaults: River", ourDefault, riverDefault, 0, ""),
			},
		},
		measure: func(ctx context.Context, r *Run) error {
			specs := everySystem()
			if r.Quick {
				return r.turns(bestOfEach(), func(turn int, spec system.Spec) error { return r.burnDown(ctx, turn, spec) })
			}
			// Servers get as fast as they are with use: Kafka's compiler above all.
			for _, spec := range bestOfEach() {
				if err := r.turn(warmUp, spec, func(turn int, spec system.Spec) error { return r.burnDown(ctx, turn, spec) }); err != nil {
					return err
				}
			}
			if err := r.turns(specs, func(turn int, spec system.Spec) error { return r.burnDown(ctx, turn, spec) }); err != nil {
				return err
			}
			return r.whereItGoes(ctx, 100_000)
		},
	}
}

var (
	ourBest      = system.Spec{System: system.Ours, Variant: system.Best}
	ourDefault   = system.Spec{System: system.Ours, Variant: system.Default}
	ourTuned     = system.Spec{System: system.Ours, Variant: system.Tuned}
	asynqBest    = system.Spec{System: system.Asynq, Variant: system.Best}
	asynqDefault = system.Spec{System: system.Asynq, Variant: system.Default}
	asynqTuned   = system.Spec{System: system.Asynq, Variant: system.Tuned}
	riverBest    = system.Spec{System: system.River, Variant: system.Best}
	riverDefault = system.Spec{System: system.River, Variant: system.Default}
	riverTuned   = system.Spec{System: system.River, Variant: system.Tuned}
	riverRelaxed = system.Spec{System: system.River, Variant: system.Relaxed}
)

func everySystem() []system.Spec {
	return []system.Spec{ourBest, ourDefault, asynqBest, asynqDefault, riverBest, riverRelaxed, riverDefault}
}

func bestOfEach() []system.Spec { return []system.Spec{ourBest, asynqBest, riverBest} }

// waits is why River comes close.
const waits = "with 100,000 tasks waiting ours leaves about a third of the machine idle, while with 20,000 it uses all of it and is faster (*default* against *best*): " +
	"so it is waiting, not work. Two claim calls under way instead of one changed nothing, nor did more slots (scenario 0). Suspects are partitions whose window of " +
	"4,096 records is full, and Redis, which writes its log anew while the tasks burn down. Of the processor time, Redis's Lua interpreter has the largest part: it judges each claim and settlement by the " +
	"rules that make a crash harmless. Scripts that cut fewer strings would lift that."

// ratio is a target of the burn-down: ours over theirs.
func ratio(text string, ours, theirs system.Spec, atLeast float64, missed string) report.Target {
	const metric = "burn-down"
	return report.Target{Text: text, Unit: " times", Aside: atLeast == 0, Missed: missed, Reached: func(r *report.Result) (float64, bool) {
		v := r.Median("", ours.String(), metric) / r.Median("", theirs.String(), metric)
		return v, v >= atLeast
	}}
}

func (r *Run) burnDown(ctx context.Context, turn int, spec system.Spec) (err error) {
	tasks := full(r, 100_000, 20_000)
	if turn == warmUp || spec.Variant == system.Default {
		tasks = 20_000
	}
	spec.Counting = true
	b, err := r.openClean(ctx, spec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close(ctx)) }()

	began := time.Now()
	if err := b.submit(ctx, 0, tasks, 5000, 1); err != nil {
		return err
	}
	r.record(turn, "", spec, "preload", float64(tasks)/time.Since(began).Seconds())

	if err := b.burn(ctx, turn, "", tasks); err != nil {
		return err
	}

	more := tasks / 2
	self, err := rig.CPU(os.Getpid())
	if err != nil {
		return err
	}
	began = time.Now()
	if err := b.submit(ctx, tasks, more, 500, 4); err != nil {
		return err
	}
	used, err := rig.CPU(os.Getpid())
	if err != nil {
		return err
	}
	if err := b.ended(ctx, tasks+more); err != nil {
		return err
	}
	r.record(turn, "", spec, "while working", float64(more)/time.Since(began).Seconds())
	r.record(turn, "", spec, "submitter", perTask(used-self, more))
	return nil
}

// burn starts a worker on tasks that wait, and records how fast they end.
func (b *bench) burn(ctx context.Context, turn int, kase string, tasks int) error {
	_, serversBefore, err := b.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := b.worker(ctx); err != nil {
		return err
	}
	if err := b.ended(ctx, tasks); err != nil {
		return err
	}
	end := time.Now()
	workers, servers, err := b.cpu()
	if err != nil {
		return err
	}
	_, first := b.journal.Counted()
	b.run.record(turn, kase, b.spec, "burn-down", float64(tasks)/end.Sub(first).Seconds())
	b.run.record(turn, kase, b.spec, "worker", perTask(workers, tasks))
	b.run.record(turn, kase, b.spec, "servers", perTask(servers-serversBefore, tasks))
	b.run.record(turn, kase, b.spec, "start-up", math.Max(first.Sub(began).Seconds(), 0))
	return nil
}

// ended waits until counting workers have ended so many tasks, and the servers say that none is left.
func (b *bench) ended(ctx context.Context, tasks int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	err := b.journal.Await(ctx, func() bool {
		n, _ := b.journal.Counted()
		return n >= tasks
	})
	if err != nil {
		n, _ := b.journal.Counted()
		return fmt.Errorf("%d of %d tasks have ended: %w", n, tasks, err)
	}
	return b.drained(ctx, 10*time.Millisecond)
}

// submit submits tasks first to first+n in batches, from so many goroutines.
func (b *bench) submit(ctx context.Context, first, n, batch, goroutines int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(goroutines)
	for from := first; from < first+n; from += batch {
		group.Go(func() error {
			tasks := make([]work.Task, min(batch, first+n-from))
			for i := range tasks {
				tasks[i] = work.Task{N: from + i, Pad: work.Pad}
			}
			return b.queue.SubmitMany(ctx, tasks)
		})
	}
	return group.Wait()
}
