package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/offline-nodes/offline-nodes/internal/mutant"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// ErrStuck ends a node whose workers hold every slot of a type and ignore that
// they were told to stop: only the end of the process can stop them. Its other
// tasks have been given back.
var ErrStuck = errors.New("workers ignore their cancelled context: the process must end to stop them")

// consumer is what a lane needs of the queue: records in, offsets finished.
type consumer interface {
	Poll(ctx context.Context) ([]task.Delivery, error)
	Finish(d *task.Delivery)
	Owned(d *task.Delivery) bool
}

// publisher is what the effects need of the queue. Each call is answered once,
// from another goroutine, when it is acked or refused for good.
type publisher interface {
	Event(e task.Event, acked func(error))
	Hop(d task.Delivery, acked func(error))
	DeadLetter(d task.Delivery, l task.Letter, acked func(error))
	// Submit waits until all are acked, and answers as kafkaqueue's does.
	Submit(ctx context.Context, tasks []task.Delivery) []error
}

// Service is one node: it runs the tasks of its types until its context ends.
type Service struct {
	cfg      Config
	claimant string // this life of this node; part of every lease it takes
	log      *slog.Logger
	metrics  *metrics
	traces   traces

	claims    *claims.Store
	queue     publisher
	admin     *kafkaqueue.Admin
	lanes     []*lane
	beats     *beats
	settler   *settler
	effects   effects
	rebuild   *rebuilder
	started   time.Time
	work      context.Context //nolint:containedctx // what runs hang on: it outlives Run's own by the grace period
	calls     sync.WaitGroup  // claim calls and hops under way
	random    func() float64
	waiting   atomic.Pointer[string] // for which server, while it starts
	draining  atomic.Bool
	running   atomic.Bool
	fullUntil atomic.Int64 // until when no run begins for want of space on a disk, UnixNano
}

// New checks the settings; nothing is connected before [Service.Run].
func New(cfg Config) (*Service, error) {
	cfg = cfg.withDefaults()
	if err := errors.Join(cfg.validate(), cfg.Kafka.Validate()); err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Meter)
	if err != nil {
		return nil, fmt.Errorf("node: make instruments: %w", err)
	}
	s := &Service{
		cfg: cfg, claimant: cfg.Name + "/" + uuid.NewString()[:8],
		log: cfg.Log.With("node", cfg.Name), metrics: m, traces: traces{cfg.Tracer}, random: rand.Float64,
	}
	s.effects = effects{s}
	s.beats = newBeats(s)
	s.settler = newSettler(s)
	s.rebuild = newRebuilder(s)
	for _, name := range cfg.Types {
		s.lanes = append(s.lanes, newLane(s, cfg.Workers.Lookup(name)))
	}
	return s, nil
}

// Run connects, makes the topics that are missing, and runs tasks until ctx
// ends; then it drains: it leaves the group, lets its tasks run for the grace
// period, interrupts the rest, and gives every claim back. It returns nil
// after an orderly stop, and may be called once.
func (s *Service) Run(ctx context.Context) error {
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	s.work, s.started = work, time.Now()
	closeAll, err := s.connect(ctx)
	switch {
	case err != nil && ctx.Err() != nil: // told to stop before it had anything to give back
		s.log.Info("node stopped before it ran", "while", err)
		return nil
	case err != nil:
		return err
	}
	defer closeAll()

	stopObserving, err := s.observe()
	if err != nil {
		return fmt.Errorf("node: make instruments: %w", err)
	}
	defer stopObserving()

	intake, stopIntake := context.WithCancelCause(ctx)
	defer stopIntake(nil)
	consumers, lanes, service := new(errgroup.Group), new(errgroup.Group), new(errgroup.Group)
	fail := func(f func() error) func() error { // a part that fails ends the intake, so the rest drains
		return func() error {
			err := f()
			if err != nil {
				stopIntake(err)
			}
			return err
		}
	}
	for _, l := range s.lanes {
		c, err := kafkaqueue.NewConsumer(s.cfg.Kafka, l.def.Type, kafkaqueue.Hooks{
			Revoked: func(kafkaqueue.Partition) { l.note(note{kind: revoked}) },
			Gap:     func(g kafkaqueue.Gap) { s.gap(l, g) },
		})
		if err != nil {
			return fmt.Errorf("consume %s: %w", l.def.Type, err)
		}
		l.queue = s.cfg.consumer(c)
		consumers.Go(fail(func() error { return c.Run(intake) }))
		consumers.Go(fail(func() error { return l.poll(intake) }))
		lanes.Go(fail(func() error { return l.run(work, intake.Done()) }))
	}
	serviceCtx, stopService := context.WithCancel(work)
	defer stopService()
	for _, part := range s.parts(intake) {
		service.Go(fail(func() error { return part(serviceCtx) }))
	}
	s.running.Store(true)
	s.log.Info("node runs", "types", s.cfg.Types, "claimant", s.claimant)

	<-intake.Done()
	s.draining.Store(true)
	s.log.Info("node drains", "grace", s.cfg.Grace)
	grace := s.grace(context.Cause(intake))
	interrupt := time.AfterFunc(grace, func() {
		s.log.Info("grace is over: what still runs is interrupted")
		s.beats.stopAll(task.ErrDraining)
	})
	giveUp := time.AfterFunc(grace+s.cfg.StuckAfter+flushTimeout, stopWork)
	err = errors.Join(consumers.Wait(), lanes.Wait())
	if work.Err() != nil {
		err = errors.Join(err, errUnsettled)
	}
	interrupt.Stop()
	giveUp.Stop()
	s.calls.Wait()
	stopService()
	err = errors.Join(err, service.Wait())
	s.unregister(context.WithoutCancel(ctx))
	s.log.Info("node stopped", "error", err)
	return err
}

// connect opens what the node talks to.
func (s *Service) connect(ctx context.Context) (closeAll func(), err error) {
	var closers []func()
	closeOpened := func() {
		for _, f := range slices.Backward(closers) {
			f()
		}
	}
	defer func() {
		if err != nil {
			closeOpened()
		}
	}()
	if s.admin, err = kafkaqueue.OpenAdmin(s.cfg.Kafka); err != nil {
		return nil, err
	}
	closers = append(closers, s.admin.Close)
	if err = s.await(ctx, "Kafka", s.admin.Ping, func(error) bool { return true }); err != nil {
		return nil, err
	}
	if err = s.admin.Ensure(ctx, s.cfg.Types); err != nil {
		return nil, fmt.Errorf("topics: %w", err)
	}
	err = s.await(ctx, "Redis", func(ctx context.Context) error {
		s.claims, err = claims.Open(ctx, s.cfg.Claims)
		return err
	}, func(err error) bool { return errors.Is(err, claims.ErrUnreachable) })
	if err != nil {
		return nil, err
	}
	closers = append(closers, func() { _ = s.claims.Close() })
	producer, err := kafkaqueue.NewProducer(s.cfg.Kafka)
	if err != nil {
		return nil, err
	}
	closers = append(closers, func() {
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
		if err := producer.Close(flush); err != nil {
			s.log.Warn("not everything was published before the stop: it is owed, and published by whoever gets the record", "error", err)
		}
	})
	s.queue = s.cfg.publisher(producer)
	return closeOpened, s.rebuild.first(ctx)
}

// await waits for a server that is away or slow when the node starts, and says
// so; what does not heal by waiting ends it.
func (s *Service) await(ctx context.Context, server string, connect func(context.Context) error, heals func(error) bool) error {
	var fatal error
	err := retry(ctx, func(ctx context.Context) error {
		call, cancel := context.WithTimeout(ctx, awaitTimeout)
		defer cancel()
		err := connect(call)
		if err != nil && ctx.Err() == nil && call.Err() == nil && !heals(err) {
			fatal = err
			return nil
		}
		if err != nil && s.waiting.Swap(&server) == nil {
			s.log.Warn("a server does not answer: waiting for it", "server", server, "error", err)
		}
		return err
	})
	s.waiting.Store(nil)
	return errors.Join(fatal, err)
}

// awaitTimeout bounds one try to reach a server at start.
const awaitTimeout = 5 * time.Second

// flushTimeout bounds how long a stopping node waits for its last publications.
const flushTimeout = 10 * time.Second

// parts are what runs beside the lanes. The router stops with the intake: it
// takes records in, too.
func (s *Service) parts(intake context.Context) []func(context.Context) error {
	parts := []func(context.Context) error{s.beats.run, s.settler.run, s.rebuild.run, s.register, s.wakes}
	if !s.cfg.NoRouter {
		parts = append(parts, func(context.Context) error { return s.route(intake) })
	}
	return parts
}

// run starts the lane's workers and its loop, and ends when every run is
// settled after the intake was closed, or ctx ends.
func (l *lane) run(ctx context.Context, intake <-chan struct{}) error {
	var workers sync.WaitGroup
	for range l.def.Slots {
		workers.Go(l.worker)
	}
	err := l.loop(ctx, intake)
	close(l.granted)
	if err == nil && ctx.Err() == nil {
		workers.Wait() // an error means that some never return
	}
	return err
}

// errUnsettled: Kafka or Redis did not answer while the node drained. Nothing
// is lost: leases run out, and records come again.
var errUnsettled = errors.New("stopped before everything was settled: a server did not answer")

// grace is how long what runs may go on: not at all when the node cannot.
func (s *Service) grace(cause error) time.Duration {
	if errors.Is(cause, context.Canceled) || errors.Is(cause, context.DeadlineExceeded) {
		return s.cfg.Grace
	}
	return 0
}

// mayClaim tells whether the node's own beats come through.
func (s *Service) mayClaim() bool {
	return !s.draining.Load() && (s.beats.healthy() || mutant.On("claims while beats fail"))
}

// gap reports records that Kafka deleted before anybody could read them.
func (s *Service) gap(l *lane, g kafkaqueue.Gap) {
	s.metrics.gaps.Add(s.work, g.To-g.From)
	l.log.Error("records are gone that nobody has read: retention is too short for the backlog", "topic", g.Topic, "partition", g.Partition, "from", g.From, "to", g.To, "held_here", g.Held)
}

// register keeps the node in the registry until ctx ends.
func (s *Service) register(ctx context.Context) error {
	cfg := s.claims.Config()
	for {
		call, cancel := context.WithTimeout(ctx, cfg.Beat)
		err := s.claims.Register(call, s.describe(), cfg.Lease)
		switch {
		case err == nil:
			s.beats.heard()
		case ctx.Err() == nil:
			s.log.Debug("not registered", "error", err)
		}
		cancel()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(cfg.Beat):
		}
	}
}

func (s *Service) unregister(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := s.claims.Unregister(ctx, s.claimant); err != nil {
		s.log.Debug("not unregistered: the entry runs out", "error", err)
	}
}

func (s *Service) describe() claims.Node {
	n := claims.Node{
		ID: s.claimant, Name: s.cfg.Name, IP: s.cfg.IP, Types: s.cfg.Types, Version: s.cfg.Version,
		StartedAt: s.started, BeatAt: time.Now(), Draining: s.draining.Load(), Slots: map[string]int{}, Running: s.beats.count(),
	}
	for _, l := range s.lanes {
		n.Slots[l.def.Type] = l.def.Slots
	}
	return n
}

// wakes passes wake-ups on. A missed one costs time only: a parked record
// asks again when the lease it waits for ends.
func (s *Service) wakes(ctx context.Context) error {
	for ctx.Err() == nil {
		err := s.claims.Wakes(ctx, func(id string) {
			for _, l := range s.lanes {
				l.note(note{kind: woken, id: id})
			}
		})
		if err != nil && ctx.Err() == nil {
			s.log.Debug("wake-ups interrupted", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
	return nil
}
