package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/offline-nodes/offline-nodes/bench/internal/report"
	"github.com/offline-nodes/offline-nodes/bench/internal/rig"
	"github.com/offline-nodes/offline-nodes/bench/internal/system"
)

// Scenario is one measurement.
type Scenario struct {
	report.Scenario
	// Turns is how many medians are made of; QuickTurns, those of a quick run.
	Turns, QuickTurns int
	// NoServers: the scenario starts what it needs itself.
	NoServers bool
	// measure takes all turns.
	measure func(ctx context.Context, r *Run) error
}

// All are the scenarios in their order.
func All() []Scenario {
	return []Scenario{bestSettings(), burnDown(), pickup(), recovery(), deploy(), headOfLine(), storm(), growth(), hotPartition(), merging()}
}

// Run is one measurement under way.
type Run struct {
	Rig   *rig.Rig
	Quick bool
	// Turns replaces the scenario's own number, if it is not 0.
	Turns int
	// Retries is how often a turn is taken again in which other programs were busy.
	Retries int
	// Profiles is a folder for CPU profiles of workers; none if empty.
	Profiles string
	// Progress is told what happens, for people.
	Progress io.Writer

	mu     sync.Mutex // of result.Samples and Progress: systems may be measured at the same time
	result *report.Result
	spaces int
}

// Measure takes all turns of a scenario.
func (r *Run) Measure(ctx context.Context, s Scenario) (*report.Result, error) {
	began := time.Now()
	if r.Turns == 0 {
		r.Turns = full(r, s.Turns, max(s.QuickTurns, 1))
	}
	r.result = &report.Result{
		Scenario: s.Number, Name: s.Name, At: began, Turns: r.Turns, Quick: r.Quick,
		Machine: rig.Describe(), Settings: map[string][]string{},
	}
	if r.Rig != nil {
		r.result.Servers = r.Rig.Settings()
		maps.Copy(r.result.Machine.Versions, r.Rig.Versions)
	}
	if err := s.measure(ctx, r); err != nil {
		return nil, fmt.Errorf("scenario %d, %s: %w", s.Number, s.Name, err)
	}
	r.result.Took = time.Since(began).Round(time.Second).String()
	return r.result, nil
}

// WarmKafka is for servers that have just started: a broker spends its first minute of requests mostly on compiling itself.
func (r *Run) WarmKafka(ctx context.Context) error {
	r.result = &report.Result{Settings: map[string][]string{}}
	return r.turn(warmUp, ourBest, func(_ int, spec system.Spec) (err error) {
		b, err := r.openWarm(ctx, spec)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.close(ctx)) }()
		return b.trickle(ctx, 0, 1000*full(r, 60, 20), 1000, nil)
	})
}

// turns calls each system's turn, in another order each time: turn 0 begins with the first, turn 1 with the second.
func (r *Run) turns(specs []system.Spec, one func(turn int, spec system.Spec) error) error {
	r.order(specs)
	for turn := range r.Turns {
		for i := range specs {
			if err := r.turn(turn, specs[(i+turn)%len(specs)], one); err != nil {
				return err
			}
		}
	}
	return nil
}

// order has the report show systems in this order, whoever is measured first.
func (r *Run) order(specs []system.Spec) {
	for _, spec := range specs {
		if !slices.Contains(r.result.Order, spec.String()) {
			r.result.Order = append(r.result.Order, spec.String())
		}
	}
}

// turn takes a system's turn, and takes it again when other programs have kept the machine busy meanwhile.
func (r *Run) turn(turn int, spec system.Spec, one func(turn int, spec system.Spec) error) error {
	for try := range r.tries() {
		spec, err := r.prepare(spec)
		if err != nil {
			return err
		}
		if turn == warmUp {
			r.say("warm-up: %s", spec)
		} else {
			r.say("turn %d of %d: %s", turn+1, r.Turns, spec)
		}
		samples := len(r.result.Samples)
		disturbed, err := r.watched(turn, func() error { return one(turn, spec) })
		if err != nil {
			return fmt.Errorf("%s: %w", spec, err)
		}
		if !disturbed || try == r.tries()-1 {
			return nil
		}
		r.say("other programs were busy: once more")
		r.result.Samples = r.result.Samples[:samples]
		r.result.Load, r.result.Others = r.result.Load[:len(r.result.Load)-1], r.result.Others[:len(r.result.Others)-1]
	}
	return nil
}

func (r *Run) tries() int {
	if r.Quick {
		return 1
	}
	return 1 + r.Retries
}

// watched notes how busy the machine was before something was done, and with what else meanwhile.
func (r *Run) watched(turn int, do func() error) (disturbed bool, err error) {
	load, began := rig.Load(), time.Now()
	before, err := r.Rig.Others()
	if err != nil {
		return false, err
	}
	if err := do(); err != nil {
		return false, err
	}
	after, err := r.Rig.Others()
	if err != nil || turn == warmUp {
		return false, err
	}
	others := max((after-before).Seconds()/time.Since(began).Seconds(), 0)
	r.result.Load = append(r.result.Load, load)
	r.result.Others = append(r.result.Others, others)
	r.say("  others used %.2f cores", others)
	return others > report.Disturbing, nil
}

// prepare gives a system its servers and a space of its own, and notes its settings.
func (r *Run) prepare(spec system.Spec) (system.Spec, error) {
	r.spaces++
	spec.Addresses = r.Rig.Addresses
	spec.Space = fmt.Sprintf("b%d-%d", time.Now().UnixNano()%1e9, r.spaces)
	s, err := system.New(spec)
	if err != nil {
		return spec, err
	}
	r.result.Settings[spec.String()] = s.Settings()
	return spec, nil
}

// profiled has a worker write its CPU profile, if profiles are wanted and it has no file for one yet.
func (r *Run) profiled(spec system.Spec) system.Spec {
	if r.Profiles != "" && spec.Profile == "" {
		spec.Profile = filepath.Join(r.Profiles, fmt.Sprintf("%d-%s-%s-%s-%s.pprof", r.result.Scenario, spec.System, spec.Variant, spec.Space, spec.Worker))
	}
	return spec
}

// warmUp is a turn that is not recorded.
const warmUp = -1

// record keeps a figure. What could not be measured is left out.
func (r *Run) record(turn int, kase string, spec system.Spec, metric string, value float64) {
	r.recordAs(turn, kase, spec.String(), metric, value)
}

func (r *Run) recordAs(turn int, kase, name, metric string, value float64) {
	if turn == warmUp || math.IsNaN(value) || math.IsInf(value, 0) {
		return
	}
	r.mu.Lock()
	r.result.Samples = append(r.result.Samples, report.Sample{Case: kase, System: name, Metric: metric, Turn: turn, Value: value})
	r.mu.Unlock()
	r.say("  %-28s %-14s %-28s %s", name, kase, metric, report.Number(value))
}

func (r *Run) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.Progress, "%s "+format+"\n", append([]any{time.Now().Format("15:04:05")}, args...)...)
}

// full is one of two numbers: that of a full run, or of a quick one.
func full[T any](r *Run, full, quick T) T {
	if r.Quick {
		return quick
	}
	return full
}

// bench is a system that was created, with its submitting side.
type bench struct {
	system.System
	queue   system.Queue
	spec    system.Spec
	run     *Run
	journal *rig.Journal
	workers []*rig.Worker
}

// open creates a system's space.
func (r *Run) open(ctx context.Context, spec system.Spec) (*bench, error) {
	s, err := system.New(spec)
	if err != nil {
		return nil, err
	}
	if err := s.Create(ctx); err != nil {
		return nil, fmt.Errorf("create: %w", err)
	}
	q, err := s.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	return &bench{System: s, queue: q, spec: spec, run: r, journal: rig.NewJournal()}, nil
}

// openClean opens a system on servers at rest.
func (r *Run) openClean(ctx context.Context, spec system.Spec) (*bench, error) {
	if err := r.Rig.Clean(ctx); err != nil {
		return nil, err
	}
	return r.open(ctx, spec)
}

// worker starts one more worker.
func (b *bench) worker(ctx context.Context) (*rig.Worker, error) {
	spec := b.spec
	spec.Worker = fmt.Sprintf("worker-%d", len(b.workers)+1)
	w, err := b.run.Rig.Worker(ctx, b.run.profiled(spec), b.journal)
	if err != nil {
		return nil, err
	}
	b.workers = append(b.workers, w)
	return w, nil
}

// openWarm opens a system whose worker has run some tasks: what happens once, at the first ones, is not what is measured.
func (r *Run) openWarm(ctx context.Context, spec system.Spec) (*bench, error) {
	b, err := r.open(ctx, spec)
	if err != nil {
		return nil, err
	}
	if _, err = b.worker(ctx); err == nil {
		err = b.trickle(ctx, -1000, 100, 50, nil)
	}
	if err != nil {
		return nil, errors.Join(err, b.close(ctx))
	}
	return b, nil
}

// close ends the workers and removes the space.
func (b *bench) close(ctx context.Context) error {
	var err error
	for _, w := range b.workers {
		if b.run.Profiles != "" {
			err = errors.Join(err, w.Stop(20*time.Second)) // a profile is written at the end
		} else {
			err = errors.Join(err, w.Kill())
		}
	}
	ctx = context.WithoutCancel(ctx)
	return errors.Join(err, b.queue.Close(ctx), b.Drop(ctx))
}

// drained waits until the system's servers say that no task is left.
func (b *bench) drained(ctx context.Context, every time.Duration) error {
	for {
		left, err := b.queue.Left(ctx)
		if err != nil || left <= 0 {
			return err
		}
		if err := pause(ctx, every); err != nil {
			return fmt.Errorf("%d tasks are left: %w", left, err)
		}
	}
}

// cpu is what the processes have used so far: those of the system's workers, and the servers that it uses.
func (b *bench) cpu() (workers, servers time.Duration, err error) {
	for _, w := range b.workers {
		used, err := w.CPU()
		if err != nil {
			return 0, 0, err
		}
		workers += used
	}
	all, err := b.run.Rig.ServersCPU()
	for _, s := range uses(b.spec.System) {
		servers += all[s]
	}
	return workers, servers, err
}

// uses are the servers that a system uses.
func uses(name system.Name) []rig.Server {
	switch name {
	case system.Asynq:
		return []rig.Server{rig.Redis}
	case system.River:
		return []rig.Server{rig.Postgres}
	default:
		return []rig.Server{rig.Kafka, rig.Redis}
	}
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// perTask is processor time in µs a task.
func perTask(d time.Duration, tasks int) float64 {
	return float64(d.Microseconds()) / float64(tasks)
}
