package scenario

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"golang.org/x/sync/errgroup"

	"github.com/offline-nodes/offline-nodes/bench/internal/report"
	"github.com/offline-nodes/offline-nodes/bench/internal/rig"
	"github.com/offline-nodes/offline-nodes/bench/internal/system"
)

const (
	backlogCase  = "backlog "
	nodesCase    = "nodes "
	finishedCase = "finished tasks kept "
	costPerTask  = "cost"
)

func growth() Scenario {
	flat := func(text, cases string) report.Target {
		return report.Target{Text: "cost per task at most 1.2 times that of the smallest: " + text, Unit: " times", Reached: func(r *report.Result) (float64, bool) {
			all := slices.DeleteFunc(r.Cases(), func(kase string) bool { return !strings.HasPrefix(kase, cases) })
			worst := math.NaN()
			for _, kase := range all {
				if v := r.Ratio(kase, all[0], ourBest.String(), costPerTask); !math.IsNaN(v) && !(v <= worst) {
					worst = v
				}
			}
			return worst, worst <= 1.2
		}}
	}
	return Scenario{
		Turns: 3,
		Scenario: report.Scenario{
			Number: 7, Name: "growth", Title: "Growth: what a task costs when everything is larger",
			About: "No-op tasks, offline nodes alone. The backlog grows from 10,000 to 1,000,000 tasks; the nodes (processes) from 1 to 16 on 100,000 tasks; the finished tasks " +
				"that Redis keeps from none to 1,000,000 before 100,000 more. *cost* is the processor time of nodes, Kafka and Redis together from a tenth of the tasks to the last; the targets compare it within each turn, since the machine's speed drifts from one to the next. *Redis memory* is what a finished task takes there. " +
				"*fleet* is a simulation: the registry entries and the beats of so many nodes with 4 running tasks each, every 5 s, by one process.",
			Metrics: []report.Metric{
				{Name: costPerTask, Unit: "CPU µs/task"},
				{Name: "nodes", Unit: "CPU µs/task"},
				{Name: "burn-down", Unit: "tasks/s"},
				{Name: "Redis memory", Unit: "B/task"},
				{Name: "Redis CPU", Unit: "%"},
				{Name: "list all nodes", Unit: "ms"},
			},
			Picture: report.Picture{Title: "Processor time of nodes and servers per task", Metric: costPerTask, Unit: "µs"},
			Targets: []report.Target{
				flat("10,000 to 1,000,000 tasks waiting", backlogCase),
				flat("1 to 16 nodes", nodesCase),
				flat("0 to 1,000,000 finished tasks kept", finishedCase),
			},
		},
		measure: func(ctx context.Context, r *Run) error {
			spec := ourBest
			spec.Partitions, spec.Counting = 16, true
			return r.turns([]system.Spec{spec}, func(turn int, spec system.Spec) error {
				return errors.Join(r.growBacklog(ctx, turn, spec), r.growNodes(ctx, turn, spec), r.growFleet(ctx, turn, spec))
			})
		},
	}
}

func count(n int) string { return report.Number(float64(n)) }

func (r *Run) growBacklog(ctx context.Context, turn int, spec system.Spec) (err error) {
	b, err := r.openClean(ctx, spec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close(ctx)) }()
	scale := full(r, 1, 20)
	same := 100_000 / scale
	steps := []struct {
		name  string
		tasks int
	}{
		{backlogCase + count(10_000/scale), 10_000 / scale},
		{backlogCase + count(same), same},
		{finishedCase + "up to " + count(same), same},
		{backlogCase + count(1_000_000/scale), 1_000_000 / scale},
		{finishedCase + count(1_000_000/scale), same},
	}
	for _, s := range steps {
		before, err := r.Rig.RedisMemory(ctx)
		if err != nil {
			return err
		}
		if err := b.burnWith(ctx, turn, s.name, s.tasks, 1); err != nil {
			return err
		}
		after, err := r.Rig.RedisMemory(ctx)
		if err != nil {
			return err
		}
		r.record(turn, s.name, spec, "Redis memory", float64(after-before)/float64(s.tasks))
	}
	return nil
}

func (r *Run) growNodes(ctx context.Context, turn int, spec system.Spec) error {
	for _, nodes := range full(r, []int{1, 2, 4, 8, 16}, []int{1, 4}) {
		if err := r.growTo(ctx, turn, spec, nodes); err != nil {
			return err
		}
	}
	return nil
}

func (r *Run) growTo(ctx context.Context, turn int, spec system.Spec, nodes int) (err error) {
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
	return b.burnWith(ctx, turn, nodesCase+count(nodes), full(r, 100_000, 5000), nodes)
}

// burnWith burns so many tasks down with new workers, which it stops in the end.
func (b *bench) burnWith(ctx context.Context, turn int, kase string, tasks, workers int) error {
	b.journal, b.workers = rig.NewJournal(), nil
	if err := b.submit(ctx, 0, tasks, 5000, 1); err != nil {
		return err
	}
	b.run.spaces++ // names of workers must not come again
	group, groupCtx := errgroup.WithContext(ctx)
	started := make([]*rig.Worker, workers)
	for i := range started {
		group.Go(func() (err error) {
			spec := b.spec
			spec.Worker = fmt.Sprintf("worker-%d-%d", b.run.spaces, i+1)
			started[i], err = b.run.Rig.Worker(groupCtx, b.run.profiled(spec), b.journal)
			return err
		})
	}
	err := group.Wait()
	for _, w := range started {
		if w != nil {
			b.workers = append(b.workers, w)
		}
	}
	if err != nil {
		return err
	}
	if err := b.measureBurn(ctx, turn, kase, tasks); err != nil {
		return err
	}
	for _, w := range b.workers {
		if err := w.Stop(20 * time.Second); err != nil {
			return err
		}
	}
	return nil
}

// measureBurn records the cost of tasks from a tenth of them to the last: what starting costs is left out.
func (b *bench) measureBurn(ctx context.Context, turn int, kase string, tasks int) error {
	ended := func() int {
		n, _ := b.journal.Counted()
		return n
	}
	waiting, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := b.journal.Await(waiting, func() bool { return ended() >= tasks/10 }); err != nil {
		return fmt.Errorf("%d of %d tasks have ended: %w", ended(), tasks, err)
	}
	already := ended()
	workersBefore, serversBefore, err := b.cpu()
	if err != nil {
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
	rest := max(tasks-already, 1)
	b.run.record(turn, kase, b.spec, costPerTask, perTask(workers-workersBefore+servers-serversBefore, rest))
	b.run.record(turn, kase, b.spec, "nodes", perTask(workers-workersBefore, rest))
	b.run.record(turn, kase, b.spec, "burn-down", float64(tasks)/end.Sub(first).Seconds())
	return nil
}

// growFleet plays the registry and the beats of many nodes against Redis.
func (r *Run) growFleet(ctx context.Context, turn int, spec system.Spec) error {
	for _, nodes := range []int{10, 1000} {
		if err := r.Rig.Clean(ctx); err != nil {
			return err
		}
		store, err := claims.Open(ctx, claims.Config{Addrs: []string{r.Rig.Redis}, Prefix: fmt.Sprintf("%s-%d:", spec.Space, nodes)})
		if err != nil {
			return err
		}
		f := fleet{store: store, nodes: nodes}
		kase := fmt.Sprintf("fleet %s", count(nodes))
		err = f.start(ctx)
		if err == nil {
			err = r.beatFor(ctx, turn, kase, spec, f)
		}
		if err := errors.Join(err, store.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (r *Run) beatFor(ctx context.Context, turn int, kase string, spec system.Spec, f fleet) error {
	before, err := r.Rig.ServersCPU()
	if err != nil {
		return err
	}
	rounds := full(r, 4, 2)
	for range rounds {
		next := time.Now().Add(fleetBeat)
		if err := f.beat(ctx); err != nil {
			return err
		}
		if err := pause(ctx, time.Until(next)); err != nil {
			return err
		}
	}
	after, err := r.Rig.ServersCPU()
	if err != nil {
		return err
	}
	began := time.Now()
	found, err := f.store.Nodes(ctx)
	if err != nil {
		return err
	}
	if len(found) != f.nodes {
		return fmt.Errorf("%d nodes of %d are listed", len(found), f.nodes)
	}
	r.record(turn, kase, spec, "list all nodes", float64(time.Since(began).Microseconds())/1000)
	used := after[rig.Redis] - before[rig.Redis]
	r.record(turn, kase, spec, "Redis CPU", 100*used.Seconds()/(float64(rounds)*fleetBeat.Seconds()))
	return nil
}

const (
	fleetBeat = 5 * time.Second
	perNode   = 4
)

// fleet is many nodes played by one process.
type fleet struct {
	store *claims.Store
	nodes int
	beats [][]claims.Beat
}

// start claims the tasks of all nodes.
func (f *fleet) start(ctx context.Context) error {
	cold, err := f.store.Cold(ctx)
	if err != nil {
		return err
	}
	if err := f.store.MarkCold(ctx, "bench", cold.Buckets); err != nil {
		return err
	}
	if _, err := f.store.Warm(ctx, "bench", cold.Buckets); err != nil {
		return err
	}
	info := claims.Info{Type: "bench", SubmittedAt: time.Now()}
	for n := range f.nodes {
		asks := make([]claims.Ask, perNode)
		for i := range asks {
			asks[i] = claims.Ask{ID: fmt.Sprintf("task-%d-%d", n, i), Attempt: 1, ParamsHash: 1, Info: info.Encode()}
		}
		answers, err := f.store.Claim(ctx, fmt.Sprintf("node-%d", n), fmt.Sprintf("nonce-%d", n), asks)
		if err != nil {
			return err
		}
		beats := make([]claims.Beat, perNode)
		for i, a := range answers {
			if a.Verdict != claims.Granted {
				return fmt.Errorf("claim of %s: %v %w", asks[i].ID, a.Verdict, a.Err)
			}
			beats[i] = claims.Beat{ID: asks[i].ID, Lease: a.Lease, Attempt: 1, ParamsHash: 1, Active: true}
		}
		f.beats = append(f.beats, beats)
	}
	return nil
}

// beat has every node register and beat once.
func (f *fleet) beat(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for n, beats := range f.beats {
		group.Go(func() error {
			node := claims.Node{
				ID: fmt.Sprintf("node-%d", n), Name: fmt.Sprintf("node-%d", n), Types: []string{"bench"},
				Slots: map[string]int{"bench": perNode}, Running: map[string]int{"bench": perNode}, BeatAt: time.Now(),
			}
			if err := f.store.Register(ctx, node, 3*fleetBeat); err != nil {
				return err
			}
			answers, err := f.store.Beat(ctx, beats)
			for _, a := range answers {
				if a.Verdict != claims.Kept {
					return fmt.Errorf("a beat of node %d: %v %w", n, a.Verdict, a.Err)
				}
			}
			return err
		})
	}
	return group.Wait()
}
