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

func headOfLine() Scenario {
	const without, with = "no long tasks", "1 % take 10 s"
	return Scenario{
		Turns: 5,
		Scenario: report.Scenario{
			Number: 5, Name: "head-of-line", Title: "Head of line: one task in a hundred takes 10 s",
			About: "100 tasks per second to one worker that runs 20 at a time, for 15 s without long tasks and for 30 s with one long task in a hundred: about ten of the 20 " +
				"places are then taken for good. Submission to start of the short tasks.",
			Metrics: []report.Metric{
				{Name: "p50", Unit: "ms"},
				{Name: "p99", Unit: "ms"},
				{Name: "highest", Unit: "ms"},
			},
			Picture: report.Picture{Title: "Short tasks between long ones: p99 from submission to start", Metric: "p99", Unit: "ms", Log: true},
			Targets: []report.Target{{
				Text: "p99 at most 1.5 times that without long tasks", Unit: " times", Reached: func(r *report.Result) (float64, bool) {
					v := r.Median(with, ourBest.String(), "p99") / r.Median(without, ourBest.String(), "p99")
					return v, v <= 1.5
				},
			}},
		},
		measure: func(ctx context.Context, r *Run) error {
			specs := bestOfEach()
			for i := range specs {
				specs[i].Slots, specs[i].LongTasks = 20, true
			}
			return r.turns(specs, func(turn int, spec system.Spec) (err error) {
				if err := r.Rig.Clean(ctx); err != nil {
					return err
				}
				b, err := r.openWarm(ctx, spec)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, b.close(ctx)) }()
				short, all := full(r, 1500, 300), full(r, 4500, 1500)
				if err := b.trickle(ctx, 0, short, 100, nil); err != nil {
					return err
				}
				isLong := func(n int) bool { return n%100 == 50 }
				err = b.trickle(ctx, short, all-short, 100, func(t *work.Task) {
					if isLong(t.N) {
						t.For = 10 * time.Second
					}
				})
				if err != nil {
					return err
				}
				r.recordDelays(turn, without, spec, delays(b.journal, 0, short, nil))
				r.recordDelays(turn, with, spec, delays(b.journal, short, all, func(n int) bool { return !isLong(n) }))
				return nil
			})
		},
	}
}

func (r *Run) recordDelays(turn int, kase string, spec system.Spec, delays []float64) {
	r.record(turn, kase, spec, "p50", stats.Percentile(delays, 50))
	r.record(turn, kase, spec, "p99", stats.Percentile(delays, 99))
	r.record(turn, kase, spec, "highest", stats.Percentile(delays, 100))
}
