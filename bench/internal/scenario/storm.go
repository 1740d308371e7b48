package scenario

import (
	"context"
	"errors"
	"time"

	"github.com/offline-nodes/offline-nodes/bench/internal/report"
	"github.com/offline-nodes/offline-nodes/bench/internal/stats"
	"github.com/offline-nodes/offline-nodes/bench/internal/system"
	"github.com/offline-nodes/offline-nodes/bench/internal/work"
)

func storm() Scenario {
	const before, during, after = "before", "in the storm", "after"
	return Scenario{
		Turns: 3,
		Scenario: report.Scenario{
			Number: 6, Name: "storm", Title: "Failure storm: 30 % of the runs fail for a minute",
			About: "20 tasks per second for 10 s, then for 60 s in which 30 of 100 runs fail, then for 20 s. *best* tries again after 1, 2, 4, 8 s in every system, " +
				"*default* when the system does by itself. *to normal* is the time from the end of the storm until every task of the storm has succeeded (given up after 3 minutes); *repeats* are runs of tasks that had succeeded. " +
				"All systems at the same time.",
			Metrics: []report.Metric{
				{Name: "to normal", Unit: "s"},
				{Name: "not ended", Unit: "tasks"},
				{Name: "dead letters"},
				{Name: "repeats"},
				{Name: "start p95 " + before, Unit: "ms"},
				{Name: "start p95 " + during, Unit: "ms"},
				{Name: "start p95 " + after, Unit: "ms"},
			},
			Picture: report.Picture{Title: "From the end of the storm until every task has succeeded", Metric: "to normal", Unit: "s"},
		},
		measure: func(ctx context.Context, r *Run) error {
			specs := []system.Spec{ourBest, ourDefault, asynqBest, asynqDefault, riverBest, riverDefault}
			for i := range specs {
				specs[i].FastRetries = specs[i].Variant == system.Best
			}
			return r.together(ctx, specs, func(turn int, spec system.Spec) (err error) {
				b, err := r.openWarm(ctx, spec)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, b.close(ctx)) }()
				const rate = 20
				calm, rough := rate*10, rate*60
				if err := b.trickle(ctx, 0, calm, rate, nil); err != nil {
					return err
				}
				end := time.Now().Add(time.Minute)
				err = b.trickle(ctx, calm, rough, rate, func(t *work.Task) { t.Failing, t.StormUntil = 30, end.UnixNano() })
				if err != nil {
					return err
				}
				if err := b.trickle(ctx, calm+rough, 2*calm, rate, nil); err != nil {
					return err
				}
				waiting, cancel := context.WithDeadline(ctx, end.Add(3*time.Minute))
				defer cancel()
				if err := b.drained(waiting, 100*time.Millisecond); err != nil && waiting.Err() == nil {
					return err
				}
				return r.recordStorm(ctx, turn, b, end, map[string][2]int{
					before: {0, calm}, during: {calm, calm + rough}, after: {calm + rough, 3*calm + rough},
				})
			})
		},
	}
}

func (r *Run) recordStorm(ctx context.Context, turn int, b *bench, end time.Time, phases map[string][2]int) error {
	last, repeats, done := end, 0, map[int]bool{}
	for _, e := range b.journal.Events() {
		switch {
		case e.Kind == work.Start && done[e.N]:
			repeats++
		case e.Kind == work.End && e.OK && e.N >= 0:
			done[e.N] = true
			if e.N < phases["after"][0] && e.At.After(last) {
				last = e.At
			}
		}
	}
	left, err := b.queue.Left(ctx)
	if err != nil {
		return err
	}
	dead, err := b.queue.Dead(ctx)
	if err != nil {
		return err
	}
	r.record(turn, "", b.spec, "to normal", last.Sub(end).Seconds())
	r.record(turn, "", b.spec, "not ended", float64(left))
	r.record(turn, "", b.spec, "dead letters", float64(dead))
	r.record(turn, "", b.spec, "repeats", float64(repeats))
	for name, tasks := range phases {
		r.record(turn, "", b.spec, "start p95 "+name, stats.Percentile(delays(b.journal, tasks[0], tasks[1], nil), 95))
	}
	return nil
}
