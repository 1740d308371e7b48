package kafkaqueue

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Submit publishes tasks and waits until all in-sync replicas have them. It
// returns nil when all are accepted, else one error per task, nil where it was
// accepted. ID and Type must be set; SubmittedAt and Attempt are filled in. A
// NotBefore that is ahead by the first delay tier or more goes through the tiers.
//
// ctx is the deadline: when it ends, tasks without an answer get [ErrUnknown].
// What breaks a rule of package task gets its ErrInvalid; a missing topic, and
// what is too large for it, [ErrRefused].
func (p *Producer) Submit(ctx context.Context, tasks []task.Delivery) []error {
	s := &submission{errs: make([]error, len(tasks)), left: len(tasks), done: make(chan struct{})}
	if len(tasks) == 0 {
		return nil
	}
	now := time.Now()
	for i := range tasks {
		d := tasks[i]
		if err := complete(&d, now); err != nil {
			s.answer(i, err)
			continue
		}
		size := int64(len(d.Params) + len(d.Checkpoint) + submitOverhead)
		if err := p.room.Acquire(ctx, size); err != nil {
			s.answer(i, fmt.Errorf("%w: %w", ErrUnknown, p.late(ctx)))
			continue
		}
		pub := &publication{producer: p, kind: kindTask, acked: func(err error) {
			p.room.Release(size)
			s.answer(i, err)
		}}
		topic := p.names.task(d.Type)
		if _, waits := p.tiers.pick(d.NotBefore, now); waits {
			topic = p.names.again(d.Type) // what is due later is not put behind a backlog
		}
		pub.carry(&d, topic, now)
		p.publish(pub) //nolint:contextcheck // what is published outlives its caller
	}
	select {
	case <-s.done:
	case <-ctx.Done():
	}
	return s.result(func() error { return fmt.Errorf("%w: %w", ErrUnknown, p.late(ctx)) })
}

// late says why there was no answer in time.
func (p *Producer) late(ctx context.Context) error {
	if err := p.trouble.get(); err != nil {
		return fmt.Errorf("%w; last error: %w", context.Cause(ctx), p.cfg.explain(err))
	}
	return context.Cause(ctx)
}

// complete fills in what every new record has, and checks it.
func complete(d *task.Delivery, now time.Time) error {
	if d.Err != nil {
		return fmt.Errorf("a record that could not be read cannot be submitted again: %w", d.Err)
	}
	if d.SubmittedAt.IsZero() {
		d.SubmittedAt = now
	}
	if d.Attempt == 0 {
		d.Attempt = 1
	}
	return d.Validate(d.Params, now)
}

// submission collects the answers of one Submit. It outlives it when the
// answers come late.
type submission struct {
	mu   sync.Mutex
	errs []error
	got  []bool
	left int
	done chan struct{}
}

func (s *submission) answer(i int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.got == nil {
		s.got = make([]bool, len(s.errs))
	}
	s.errs[i], s.got[i] = err, true
	if s.left--; s.left == 0 {
		close(s.done)
	}
}

// result is nil when all are accepted; missing answers become late.
func (s *submission) result(late func() error) []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == 0 && !slices.ContainsFunc(s.errs, func(err error) bool { return err != nil }) {
		return nil
	}
	errs := slices.Clone(s.errs)
	var unknown error
	for i := range errs {
		if s.got == nil || !s.got[i] {
			if unknown == nil {
				unknown = late()
			}
			errs[i] = unknown
		}
	}
	return errs
}
