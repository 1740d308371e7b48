package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/offline-nodes/offline-nodes/bench/internal/report"
	"github.com/offline-nodes/offline-nodes/bench/internal/rig"
	"github.com/offline-nodes/offline-nodes/bench/internal/stats"
	"github.com/offline-nodes/offline-nodes/bench/internal/system"
	"github.com/offline-nodes/offline-nodes/bench/internal/work"
)

const (
	longTasks = 20
	// recoveryGivenUp is how long a killed worker's tasks are waited for.
	recoveryGivenUp = 3 * time.Minute
)

func recovery() Scenario {
	return Scenario{
		Turns: 3,
		Scenario: report.Scenario{
			Number: 3, Name: "recovery", Title: "Crash recovery: kill -9 of one of two workers",
			About: "20 tasks of 30 s run on two workers with room for all of them; the worker that has more of them is killed with kill -9. How long until each of its tasks " +
				"runs again on the other: the median task and the last one. *repeats* are runs that nobody needed: of tasks that the killed worker did not hold, or a third run. *not recovered* are " +
				"tasks that did not run again within 3 minutes, after which we gave up; their times are not in the other columns. All systems wait at the same time: the processors have next to nothing to do. " +
				"*tuned* is what can be set to be faster: for us lease, beat and session timeout; for asynq the delay before a retry and how often it is looked for (its lease cannot be set); " +
				"for River the age after which a job is rescued, which must be above the longest job's time.",
			Metrics: []report.Metric{
				{Name: "median task", Unit: "s"},
				{Name: "last task", Unit: "s"},
				{Name: "held", Unit: "tasks"},
				{Name: "repeats"},
				{Name: "not recovered", Unit: "tasks"},
			},
			Picture: report.Picture{Title: "kill -9: time until the last task runs again", Metric: "last task", Unit: "s"},
			Targets: []report.Target{
				mostOf("every task runs again within 20 s with defaults", "last task", ourDefault, 20, " s"),
				mostOf("every task runs again within 8 s when tuned", "last task", ourTuned, 8, " s"),
				mostOf("no task is lost, with defaults", "not recovered", ourDefault, 0, ""),
				mostOf("no task is lost, tuned", "not recovered", ourTuned, 0, ""),
			},
		},
		measure: func(ctx context.Context, r *Run) error {
			specs := []system.Spec{ourDefault, ourTuned, asynqDefault, asynqTuned, riverDefault, riverTuned}
			for i := range specs {
				specs[i].Slots, specs[i].LongTasks = longTasks, true
			}
			return r.together(ctx, specs, func(turn int, spec system.Spec) error { return r.recovery(ctx, turn, spec) })
		},
	}
}

// mostOf is a target of a metric without cases.
func mostOf(text, metric string, spec system.Spec, most float64, unit string) report.Target {
	return report.Target{Text: text, Unit: unit, Reached: func(r *report.Result) (float64, bool) {
		v := r.Median("", spec.String(), metric)
		return v, v <= most
	}}
}

// together has all systems take each turn at the same time. It is for tasks that only wait.
func (r *Run) together(ctx context.Context, specs []system.Spec, one func(turn int, spec system.Spec) error) error {
	r.order(specs)
	for turn := range r.Turns {
		if err := r.Rig.Clean(ctx); err != nil {
			return err
		}
		r.say("turn %d of %d: all systems together", turn+1, r.Turns)
		_, err := r.watched(turn, func() error { return r.allAtOnce(specs, func(spec system.Spec) error { return one(turn, spec) }) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Run) allAtOnce(specs []system.Spec, one func(spec system.Spec) error) error {
	var group errgroup.Group
	for _, spec := range specs {
		spec, err := r.prepare(spec)
		if err != nil {
			return errors.Join(err, group.Wait())
		}
		group.Go(func() error {
			if err := one(spec); err != nil {
				return fmt.Errorf("%s: %w", spec, err)
			}
			return nil
		})
	}
	return group.Wait()
}

func (r *Run) recovery(ctx context.Context, turn int, spec system.Spec) (err error) {
	b, err := r.open(ctx, spec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close(ctx)) }()
	for range 2 {
		if _, err := b.worker(ctx); err != nil {
			return err
		}
	}
	// A group of consumers that has just formed shares its partitions out once more.
	if err := pause(ctx, 5*time.Second); err != nil {
		return err
	}
	long := func(t *work.Task) { t.For = 30 * time.Second }
	if err := b.trickle(ctx, 0, longTasks, 10, long); err != nil {
		return err
	}
	if err := pause(ctx, 3*time.Second); err != nil {
		return err
	}
	victim, held := b.busiest()
	if err := victim.Kill(); err != nil {
		return err
	}
	killed := time.Now()

	waiting, cancel := context.WithTimeout(ctx, recoveryGivenUp)
	defer cancel()
	err = b.journal.Await(waiting, func() bool { return len(b.after(killed, held)) == len(held) })
	if err != nil && ctx.Err() != nil {
		return err
	}
	again := b.after(killed, held)
	// Those that run end, so that a third start would show.
	if err := pause(ctx, 35*time.Second); err != nil {
		return err
	}
	var times []float64
	for _, at := range again {
		times = append(times, at.Sub(killed).Seconds())
	}
	r.record(turn, "", spec, "held", float64(len(held)))
	r.record(turn, "", spec, "median task", stats.Median(times))
	r.record(turn, "", spec, "last task", stats.Percentile(times, 100))
	r.record(turn, "", spec, "repeats", float64(b.starts()-longTasks-len(again)))
	r.record(turn, "", spec, "not recovered", float64(len(held)-len(again)))
	return nil
}

// busiest is the worker that runs the most tasks, and which.
func (b *bench) busiest() (*rig.Worker, map[int]bool) {
	running := map[string]map[int]bool{}
	for _, e := range b.journal.Events() {
		if running[e.Worker] == nil {
			running[e.Worker] = map[int]bool{}
		}
		switch e.Kind {
		case work.Start:
			running[e.Worker][e.N] = true
		case work.End:
			delete(running[e.Worker], e.N)
		default:
		}
	}
	most := b.workers[0]
	for _, w := range b.workers {
		if len(running[w.Spec.Worker]) > len(running[most.Spec.Worker]) {
			most = w
		}
	}
	return most, running[most.Spec.Worker]
}

// after is when tasks started for the first time after a moment.
func (b *bench) after(moment time.Time, tasks map[int]bool) map[int]time.Time {
	found := map[int]time.Time{}
	for _, e := range b.journal.Events() {
		if _, seen := found[e.N]; e.Kind == work.Start && !seen && tasks[e.N] && e.At.After(moment) {
			found[e.N] = e.At
		}
	}
	return found
}

// starts counts the runs of all tasks that were measured.
func (b *bench) starts() int {
	n := 0
	for _, e := range b.journal.Events() {
		if e.Kind == work.Start && e.N >= 0 {
			n++
		}
	}
	return n
}
