package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/bench/internal/report"
	"github.com/offline-nodes/offline-nodes/bench/internal/system"
	"github.com/offline-nodes/offline-nodes/bench/internal/work"
)

func hotPartition() Scenario {
	const hot, spread = "all on one partition", "spread evenly"
	return Scenario{
		Turns: 3,
		Scenario: report.Scenario{
			Number: 8, Name: "hot-partition", Title: "Hot partition: all tasks on one, two nodes",
			About: "400 tasks of 0.5 s, written by a foreign producer to one of 12 partitions, or to all in turn, for two nodes with 10 slots each. A partition belongs to one node, so the " +
				"other one can only help with what is handed on. *over ideal* is the time from the first start to the last end over that of 20 slots that are always busy: 10 s.",
			Metrics: []report.Metric{{Name: "over ideal", Unit: "times"}, {Name: "share of the busier node", Unit: "%"}},
			Picture: report.Picture{Title: "Time over ideal", Metric: "over ideal", Unit: "times"},
		},
		measure: func(ctx context.Context, r *Run) error {
			spec := ourBest
			spec.Slots = 10
			return r.turns([]system.Spec{spec}, func(turn int, spec system.Spec) error {
				return errors.Join(r.hotPartition(ctx, turn, spec, hot, 1), r.hotPartition(ctx, turn, spec, spread, 12))
			})
		},
	}
}

func (r *Run) hotPartition(ctx context.Context, turn int, spec system.Spec, kase string, partitions int) (err error) {
	const tasks, each, slots = 400, 500 * time.Millisecond, 20
	if err := r.Rig.Clean(ctx); err != nil {
		return err
	}
	spec, err = r.prepare(spec)
	if err != nil {
		return err
	}
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
	if err := pause(ctx, 5*time.Second); err != nil { // until both have their partitions
		return err
	}
	if err := produce(ctx, spec, tasks, each, partitions); err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	err = b.journal.Await(waiting, func() bool { return b.distinctEnds() >= tasks })
	if err != nil {
		return fmt.Errorf("%d of %d tasks have ended: %w", b.distinctEnds(), tasks, err)
	}
	var first, last time.Time
	busy := map[string]int{}
	for _, e := range b.journal.Events() {
		switch {
		case e.Kind == work.Start && (first.IsZero() || e.At.Before(first)):
			first = e.At
		case e.Kind == work.End && e.At.After(last):
			last = e.At
		}
		if e.Kind == work.Start {
			busy[e.Worker]++
		}
	}
	most := 0
	for _, n := range busy {
		most = max(most, n)
	}
	r.record(turn, kase, spec, "over ideal", float64(last.Sub(first))/float64(each*tasks/slots))
	r.record(turn, kase, spec, "share of the busier node", 100*float64(most)/tasks)
	return nil
}

// distinctEnds is how many tasks have ended well.
func (b *bench) distinctEnds() int {
	done := map[int]bool{}
	for _, e := range b.journal.Events() {
		if e.Kind == work.End && e.OK {
			done[e.N] = true
		}
	}
	return len(done)
}

// produce writes tasks to the first partitions of the task topic, as a program that knows Kafka alone.
func produce(ctx context.Context, spec system.Spec, tasks int, each time.Duration, partitions int) error {
	kafka, err := kgo.NewClient(kgo.SeedBrokers(spec.Kafka), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer kafka.Close()
	records := make([]*kgo.Record, tasks)
	for i := range records {
		value, err := json.Marshal(work.Task{N: i, For: each, Pad: work.Pad})
		if err != nil {
			return err
		}
		records[i] = &kgo.Record{Topic: spec.Space + ".tasks." + system.TaskType, Partition: int32(i % partitions), Value: value}
	}
	return kafka.ProduceSync(ctx, records...).FirstErr()
}
