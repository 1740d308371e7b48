package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"golang.org/x/sync/errgroup"

	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Submitter submits tasks. [client.Client] does.
type Submitter interface {
	Submit(ctx context.Context, typ string, params any, options ...task.SubmitOption) (id string, err error)
	// Set stores a setting for all processes; nil unsets it.
	Set(ctx context.Context, key string, value []byte, by string) error
}

// Lock is the right to submit. Take takes it for one lease or renews it.
type Lock interface {
	Take(ctx context.Context) (ours bool, err error)
	Release(ctx context.Context) error
}

// Settings follows the settings topic. Run calls changed for each key whose value is another than before, until ctx ends;
// Ready is closed once all that was there at the start is known.
type Settings interface {
	Run(ctx context.Context, changed func(key string, value []byte)) error
	Ready() <-chan struct{}
}

// Config is what a [Scheduler] works with.
type Config struct {
	Submitter Submitter
	Settings  Settings
	Lock      Lock

	// Lease is how long the lock lasts unless it is renewed.
	Lease time.Duration

	// Node is written into the history of settings; default "scheduler".
	Node  string
	Log   *slog.Logger
	Meter metric.Meter
}

func (c Config) withDefaults() (Config, error) {
	if c.Submitter == nil || c.Settings == nil || c.Lock == nil {
		return c, errors.New("schedule: submitter, settings and lock are needed")
	}
	if c.Lease < time.Second {
		return c, fmt.Errorf("schedule: lease %v, at least 1s", c.Lease)
	}
	if c.Node == "" {
		c.Node = "scheduler"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Meter == nil {
		c.Meter = noop.Meter{}
	}
	return c, nil
}

// Scheduler submits what schedules say, while it has the lock.
type Scheduler struct {
	cfg  Config
	log  *slog.Logger
	runs metric.Int64Counter

	woken chan struct{} // a schedule has changed

	mu      sync.Mutex
	entries map[string]*entry
	leads   bool
	silent  bool // the lock cannot be asked for
}

// entry is all that is known of a schedule; a mark without a schedule, and the other way round, are entries too.
type entry struct {
	definition *Definition
	mark       Mark
	saved      bool      // the settings topic has the mark
	told       bool      // that runs were missed
	look       time.Time // nothing is due before; zero: not known
	retryAt    time.Time
	failures   int
}

// New makes a scheduler; nothing is asked before Run.
func New(cfg Config) (*Scheduler, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	runs, err := cfg.Meter.Int64Counter("schedule.runs", metric.WithUnit("{run}"),
		metric.WithDescription("Runs of schedules by what became of them: submitted, failed (and tried again), missed."))
	if err != nil {
		return nil, fmt.Errorf("schedule: make instruments: %w", err)
	}
	return &Scheduler{cfg: cfg, log: cfg.Log, runs: runs, woken: make(chan struct{}, 1), entries: map[string]*entry{}}, nil
}

// Run follows the settings and submits what is due, until ctx ends, which is no error. It may be called once.
func (s *Scheduler) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.cfg.Settings.Run(ctx, s.changed) })
	group.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-s.cfg.Settings.Ready():
		}
		s.loop(ctx)
		return nil
	})
	return group.Wait()
}

// Leads tells whether this scheduler has the lock, as far as it knows.
func (s *Scheduler) Leads() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leads
}

// loop asks for the lock three times a lease, and submits as long as it may trust in it: two thirds of a lease from asking.
func (s *Scheduler) loop(ctx context.Context) {
	beat, trust := s.cfg.Lease/3, s.cfg.Lease*2/3
	var asked, trusted time.Time
	for ctx.Err() == nil {
		if now := time.Now(); now.Sub(asked) >= beat {
			asked = now
			if ours, known := s.take(ctx, beat); ours {
				trusted = asked.Add(trust)
			} else if known {
				trusted = time.Time{}
			}
		}
		wake := asked.Add(beat)
		if s.lead(time.Now().Before(trusted)) {
			s.work(ctx, trusted)
			if next := s.next(); !next.IsZero() && next.Before(wake) {
				wake = next
			}
		}
		timer := time.NewTimer(time.Until(wake))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-s.woken:
		}
		timer.Stop()
	}
	if s.Leads() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = s.cfg.Lock.Release(last) // else it runs out
	}
}

// take asks for the lock. known tells whether there was an answer.
func (s *Scheduler) take(ctx context.Context, within time.Duration) (ours, known bool) {
	call, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	ours, err := s.cfg.Lock.Take(call)
	s.mu.Lock()
	silent := s.silent
	s.silent = err != nil
	s.mu.Unlock()
	if err != nil && !silent && ctx.Err() == nil {
		s.log.Warn("schedules wait: it is not known who is to submit their runs", "error", err)
	}
	return ours, err == nil
}

// lead notes whether this scheduler leads.
func (s *Scheduler) lead(leads bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leads != leads {
		s.log.Info("scheduler", "leads", leads)
	}
	s.leads = leads
	return leads
}

// changed takes a setting over.
func (s *Scheduler) changed(key string, value []byte) {
	name, isMark, ok := NameOf(key)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[name]
	if e == nil {
		e = &entry{saved: true}
		s.entries[name] = e
	}
	if isMark {
		s.marked(name, e, value)
	} else {
		s.defined(name, e, value)
	}
	if e.definition == nil && e.mark.Due.IsZero() {
		delete(s.entries, name)
	}
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

func (s *Scheduler) marked(name string, e *entry, value []byte) {
	if value == nil {
		e.mark = Mark{}
		return
	}
	m, err := ParseMark(value)
	if err != nil {
		s.log.Error("the last run of a schedule cannot be read: as if there was none", "schedule", name, "error", err)
		return
	}
	if !m.Due.Before(e.mark.Due) {
		e.mark, e.saved, e.look = m, true, time.Time{}
	}
}

func (s *Scheduler) defined(name string, e *entry, value []byte) {
	e.definition, e.look, e.retryAt, e.failures, e.told = nil, time.Time{}, time.Time{}, 0, false
	if value == nil {
		return
	}
	d, err := Parse(value)
	if err := errors.Join(CheckName(name), err); err != nil {
		s.log.Error("a schedule cannot be read: it does not run", "schedule", name, "error", err)
		return
	}
	e.definition = &d
}

// plan is what is to be done for one schedule now.
type plan struct {
	name       string
	definition Definition
	runs       []time.Time
	unsaved    *Mark
}

// parallel is how many schedules are worked on at a time.
const parallel = 8

// work submits what is due. It gives up when the lock may not be trusted any more.
func (s *Scheduler) work(ctx context.Context, trusted time.Time) {
	ctx, cancel := context.WithDeadline(ctx, trusted)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(parallel)
	for _, p := range s.plans(ctx, time.Now()) {
		group.Go(func() error {
			s.carryOut(ctx, p)
			return nil
		})
	}
	_ = group.Wait() // what failed is tried again
}

func (s *Scheduler) plans(ctx context.Context, now time.Time) (plans []plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.entries)) {
		e := s.entries[name]
		if e.definition == nil || now.Before(e.retryAt) {
			continue
		}
		p := plan{name: name, definition: *e.definition, runs: s.due(ctx, name, e, now)}
		if !e.saved {
			mark := e.mark
			p.unsaved = &mark
		}
		if len(p.runs) > 0 || p.unsaved != nil {
			plans = append(plans, p)
		}
	}
	return plans
}

// due returns the runs that are to be submitted now.
func (s *Scheduler) due(ctx context.Context, name string, e *entry, now time.Time) []time.Time {
	if e.last().IsZero() { // whoever set it gave no date: it begins now
		e.mark, e.saved = Mark{Due: now.UTC()}, false
	}
	if now.Before(e.look) {
		return nil
	}
	runs, missed := e.definition.due(e.last(), now)
	if missed && !e.told {
		e.told = true
		s.count(ctx, "missed")
		s.log.Warn("runs of a schedule were missed", "schedule", name, "since", e.last())
	}
	if len(runs) == 0 {
		e.look = e.definition.Next(now)
	}
	return runs
}

// last is up to when everything is done.
func (e *entry) last() time.Time {
	if e.definition.Since.After(e.mark.Due) {
		return e.definition.Since
	}
	return e.mark.Due
}

// carryOut submits the runs of one schedule in their order, and keeps the last of them. The order is what makes no run get
// lost: a task is accepted before the mark says so. What a crash between the two repeats has the same id.
func (s *Scheduler) carryOut(ctx context.Context, p plan) {
	for _, due := range p.runs {
		id := TaskID(p.name, due)
		var params any
		if len(p.definition.Params) > 0 {
			params = p.definition.Params
		}
		_, err := s.cfg.Submitter.Submit(ctx, p.definition.Type, params, task.ID(id), task.OpaqueID("schedule:"+p.name))
		if err != nil && !errors.Is(err, client.ErrConflict) { // there, with what the schedule said before
			s.failed(ctx, p.name, id, err)
			return
		}
		s.count(ctx, "submitted")
		s.log.Info("run of a schedule submitted", "schedule", p.name, "task_id", id)
		p.unsaved = &Mark{Due: due.UTC(), Task: id}
		s.advance(p.name, *p.unsaved)
	}
	if p.unsaved == nil {
		return
	}
	value, err := json.Marshal(p.unsaved)
	if err == nil {
		err = s.cfg.Submitter.Set(ctx, MarkKey(p.name), value, s.cfg.Node)
	}
	if err != nil {
		s.failed(ctx, p.name, p.unsaved.Task, fmt.Errorf("keep the last run: %w", err))
		return
	}
	s.kept(p.name, *p.unsaved)
}

// advance notes that a run is submitted.
func (s *Scheduler) advance(name string, m Mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[name]; e != nil && m.Due.After(e.mark.Due) {
		e.mark, e.saved, e.told, e.failures, e.look = m, false, false, 0, time.Time{}
	}
}

func (s *Scheduler) kept(name string, m Mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[name]; e != nil && e.mark == m {
		e.saved = true
	}
}

// The pause after a failure doubles from the first to the second.
const (
	leastPause = time.Second
	mostPause  = 30 * time.Second
)

func (s *Scheduler) failed(ctx context.Context, name, id string, err error) {
	s.count(ctx, "failed")
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[name]
	if e == nil {
		return
	}
	if e.failures == 0 {
		s.log.Warn("run of a schedule not submitted: it is tried again", "schedule", name, "task_id", id, "error", err)
	}
	e.retryAt = time.Now().Add(min(leastPause<<min(e.failures, 10), mostPause))
	e.failures++
}

// next is when something is to be done; zero: nothing is known to be.
func (s *Scheduler) next() (next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	now := time.Now()
	for _, e := range s.entries {
		switch {
		case e.definition == nil:
		case now.Before(e.retryAt):
			sooner(e.retryAt)
		case now.Before(e.look):
			sooner(e.look)
		default:
			sooner(e.definition.Next(now))
		}
	}
	return next
}

func (s *Scheduler) count(ctx context.Context, result string) {
	s.runs.Add(ctx, 1, metric.WithAttributes(attribute.String("result", result)))
}
