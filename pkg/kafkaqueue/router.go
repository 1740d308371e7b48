package kafkaqueue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/offline-nodes/offline-nodes/internal/mutant"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

const (
	routeRecords = 2 * maxPoll // held per tier partition
	routeBytes   = 4 << 20
	routeIdle    = time.Minute     // a poll's longest wait
	routeFlush   = 5 * time.Second // for acknowledgements when stopping
)

// Router moves records out of the delay tiers when they are due, to the topic
// they name or to a shorter tier. Any number of processes may run one: they
// share the tiers' partitions.
//
// In one tier every record waits equally long, so the order of arrival is the
// order of due times: only the first of each partition has to be looked at.
// Due is the time at which the brokers appended it, plus the tier's delay. A
// record is never early; it is late by at most the tick.
type Router struct {
	cfg     Config
	names   names
	tiers   tiers
	member  *member
	refused func(task.Delivery, error)

	// What follows belongs to Run's goroutine.
	producer *Producer
	arena    arena
	ids      topicIDs
	held     map[*assignment][]waiting
}

// waiting is a record before its due time.
type waiting struct {
	due    time.Time
	target string
	task.Delivery
}

// NewRouter does not connect yet. refused gets what cannot be delivered:
// records that cannot be read, or whose target Kafka refuses for good. It is
// called from the router's goroutines and must not block; the record stays in
// its tier until [Router.Finish] is called for it, and comes again if that
// never happens. Its Reason says what a dead letter should; its Type is empty
// when the target does not tell.
func NewRouter(cfg Config, refused func(d task.Delivery, err error)) (*Router, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	cfg.WindowRecords, cfg.WindowBytes = routeRecords, routeBytes
	n, t := names{cfg.Prefix}, newTiers(cfg)
	m, err := newMember(cfg, n.routerGroup(), t.topics, Hooks{})
	if err != nil {
		return nil, fmt.Errorf("router: %w", err)
	}
	return &Router{cfg: cfg, names: n, tiers: t, member: m, refused: refused, held: map[*assignment][]waiting{}}, nil
}

// Finish says that a refused record has been settled otherwise.
func (r *Router) Finish(d *task.Delivery) {
	if a := assignmentOf(d); a != nil {
		r.member.finish(a, d.Origin.Offset)
	}
}

// Run routes until ctx ends; nil after an orderly stop.
func (r *Router) Run(ctx context.Context) error {
	producer, err := NewProducer(r.cfg)
	if err != nil {
		return fmt.Errorf("router: %w", err)
	}
	r.producer = producer
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	left := make(chan error, 1)
	go func() { left <- r.member.run(life) }()
	err = r.route(ctx)

	// What is acknowledged before the group is left is committed by leaving.
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), routeFlush)
	defer cancel()
	if err := producer.Close(flush); err != nil {
		r.cfg.Log.Warn("router stops with records on their way; they will be routed again", "error", err)
	}
	end()
	if failure := <-left; failure != nil {
		return failure
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (r *Router) route(ctx context.Context) error {
	for {
		next := r.release(time.Now()) //nolint:contextcheck // what is published outlives its caller
		wait, cancel := context.WithDeadline(ctx, next)
		batches, err := r.member.poll(wait)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded): // something is due
		case err != nil:
			return err
		}
		for _, b := range batches {
			if err := r.hold(ctx, b); err != nil {
				return err
			}
		}
	}
}

// hold takes over what was polled.
func (r *Router) hold(ctx context.Context, b batch) error {
	if err := r.member.learnID(ctx, &r.ids, b.assignment.topic); err != nil {
		return err
	}
	if b.tooLarge.to > 0 {
		d := unread(b, &r.arena, "", r.ids.get)
		r.refused(d, d.Err)
	}
	delay := r.tiers.delay(b.assignment.topic)
	if mutant.On("delays are cut short") {
		delay -= time.Second
	}
	for _, record := range b.records {
		if record.Attrs.IsControl() {
			continue
		}
		d, target := deliver(record, b.assignment, &r.arena, "", r.ids.get)
		typ, ok := r.names.typeOf(target)
		d.Type = typ
		switch {
		case d.Err != nil:
			r.refused(d, d.Err)
		case !ok:
			d.Type, d.Reason = "", task.Unroutable
			r.refused(d, fmt.Errorf("%w: target %s is no task topic of ours", task.ErrInvalid, clip(target)))
		default:
			r.held[b.assignment] = append(r.held[b.assignment], waiting{record.Timestamp.Add(delay), target, d})
		}
	}
	return nil
}

// release sends what is due on its way and tells when something is next.
func (r *Router) release(now time.Time) (next time.Time) {
	next = now.Add(routeIdle)
	for a, queue := range r.held {
		if !a.owned() {
			delete(r.held, a)
			continue
		}
		for len(queue) > 0 && !queue[0].due.After(now) {
			r.send(a, &queue[0], now)
			queue[0] = waiting{}
			queue = queue[1:]
		}
		if len(queue) == 0 {
			delete(r.held, a)
			continue
		}
		r.held[a] = queue
		if queue[0].due.Before(next) {
			next = queue[0].due
		}
	}
	return next
}

// send publishes a copy; the original is finished when that is acknowledged.
func (r *Router) send(a *assignment, w *waiting, now time.Time) {
	d, offset := w.Delivery, w.Origin.Offset
	if mutant.On("routed before it is acknowledged") {
		r.member.finish(a, offset)
		return
	}
	pub := &publication{producer: r.producer, kind: kindRoute, acked: func(err error) {
		switch {
		case err == nil:
			r.member.finish(a, offset)
		case errors.Is(err, ErrRefused):
			d.Reason = task.Unroutable
			if errors.Is(err, kerr.MessageTooLarge) {
				d.Reason = task.TooLarge
			}
			r.refused(d, err)
		}
	}}
	pub.carry(&d, w.target, now)
	r.producer.publish(pub)
}
