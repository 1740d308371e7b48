package scenario

import (
	"context"
	"errors"
	"fmt"

	"github.com/offline-nodes/offline-nodes/bench/internal/report"
	"github.com/offline-nodes/offline-nodes/bench/internal/system"
)

// bestSettings tries how many tasks at a time each system burns down the fastest.
func bestSettings() Scenario {
	const unit = "tasks/s"
	return Scenario{
		Turns: 3,
		Scenario: report.Scenario{
			Number: 0, Name: "settings", Title: "Which settings are best",
			About: "How many tasks at a time a worker should run to burn no-ops down the fastest: 50,000 of them, otherwise with the *best* settings. The other scenarios take what won here, or came within the noise of it: " +
				"the constants in bench/internal/system.",
			Metrics: []report.Metric{
				{Name: "burn-down", Unit: unit},
				{Name: "worker", Unit: "CPU µs/task"},
				{Name: "servers", Unit: "CPU µs/task"},
			},
			Picture: report.Picture{Title: "Burn-down by the number of tasks at a time", Metric: "burn-down", Unit: unit},
		},
		measure: func(ctx context.Context, r *Run) error {
			var specs []system.Spec
			for _, try := range []struct {
				spec  system.Spec
				slots []int
			}{
				{ourBest, []int{4, 16, 64}}, {asynqBest, []int{10, 32, 64, 128, 256}}, {riverBest, []int{100, 500, 1000, 2000}},
			} {
				for _, n := range try.slots {
					spec := try.spec
					spec.Slots, spec.Counting = n, true
					specs = append(specs, spec)
				}
			}
			tasks := full(r, 50_000, 10_000)
			return r.turns(specs, func(turn int, spec system.Spec) (err error) {
				b, err := r.openClean(ctx, spec)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, b.close(ctx)) }()
				if err := b.submit(ctx, 0, tasks, 5000, 1); err != nil {
					return err
				}
				return b.burn(ctx, turn, fmt.Sprintf("%d at a time", spec.Slots), tasks)
			})
		},
	}
}
