package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/offline-nodes/offline-nodes/bench/internal/report"
	"github.com/offline-nodes/offline-nodes/bench/internal/rig"
	"github.com/offline-nodes/offline-nodes/bench/internal/stats"
	"github.com/offline-nodes/offline-nodes/bench/internal/system"
	"github.com/offline-nodes/offline-nodes/bench/internal/work"
)

func deploy() Scenario {
	granted := func(s system.Spec) system.Spec {
		s.Grace = 90 * time.Second
		return s
	}
	return Scenario{
		Turns: 3,
		Scenario: report.Scenario{
			Number: 4, Name: "deploy", Title: "Deploys: a node joins or leaves every 10 s",
			About: "Tasks of 60 s, one every 2 s; two nodes at first. For 2 minutes, every 10 s by turns, a node joins or the oldest one is told SIGTERM. *best* gives a node that leaves 90 s " +
				"for its tasks, *default* what the system grants by itself: 30 s for us, 8 s for asynq, any time for River. *run again* counts runs beyond the first; " +
				"*slowest start* is the longest that a task waited from its submission to its first run. All systems wait at the same time.",
			Metrics: []report.Metric{
				{Name: "run again", Unit: "tasks"},
				{Name: "not ended", Unit: "tasks"},
				{Name: "start p50", Unit: "ms"},
				{Name: "slowest start", Unit: "ms"},
			},
			Picture: report.Picture{Title: "Runs beyond the first while nodes come and go", Metric: "run again"},
			Targets: []report.Target{
				mostOf("no task runs again, with 90 s of grace", "run again", ourBest, 0, ""),
				mostOf("no task is lost", "not ended", ourBest, 0, ""),
			},
		},
		measure: func(ctx context.Context, r *Run) error {
			specs := []system.Spec{granted(ourBest), ourDefault, granted(asynqBest), asynqDefault, granted(riverBest), riverDefault}
			for i := range specs {
				specs[i].Slots, specs[i].LongTasks = 100, true
			}
			return r.together(ctx, specs, func(turn int, spec system.Spec) error { return r.deploy(ctx, turn, spec) })
		},
	}
}

func (r *Run) deploy(ctx context.Context, turn int, spec system.Spec) (err error) {
	const tasks, every, step, steps = 60, 2 * time.Second, 10 * time.Second, 12
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
	submitted := make(chan error, 1)
	go func() {
		submitted <- b.trickle(ctx, 0, tasks, float64(time.Second)/float64(every), func(t *work.Task) { t.For = time.Minute })
	}()
	serving := append([]*rig.Worker(nil), b.workers...)
	for i := range steps {
		if err := pause(ctx, step); err != nil {
			return errors.Join(err, <-submitted)
		}
		if i%2 == 0 {
			w, err := b.worker(ctx)
			if err != nil {
				return errors.Join(err, <-submitted)
			}
			serving = append(serving, w)
			continue
		}
		if err := serving[0].Terminate(); err != nil {
			return errors.Join(err, <-submitted)
		}
		serving = serving[1:]
	}
	if err := <-submitted; err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	// A task that was cut short starts anew: two more minutes are enough for one more run, and a retry's delay.
	waiting, cancel := context.WithTimeout(ctx, 150*time.Second)
	defer cancel()
	if err := b.drained(waiting, time.Second); err != nil && waiting.Err() == nil {
		return err
	}
	left, err := b.queue.Left(ctx)
	if err != nil {
		return err
	}
	waits := delays(b.journal, 0, tasks, nil)
	r.record(turn, "", spec, "run again", float64(b.starts()-tasks))
	r.record(turn, "", spec, "not ended", float64(left))
	r.record(turn, "", spec, "start p50", stats.Percentile(waits, 50))
	r.record(turn, "", spec, "slowest start", stats.Percentile(waits, 100))
	return nil
}
