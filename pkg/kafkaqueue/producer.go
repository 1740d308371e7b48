package kafkaqueue

import (
	"context"
	"errors"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Producer publishes. One per process is enough; it is safe for concurrent use.
//
// Event, Hop and DeadLetter never block and acknowledge exactly once, from a
// goroutine of the producer's that must not be kept waiting: acked may publish
// again, but not wait for that. An error is final: [ErrRefused] or
// [ErrClosed]; anything that may heal is retried for ever.
type Producer struct{ cfg Config }

// NewProducer does not connect yet.
func NewProducer(cfg Config) (*Producer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Producer{cfg: cfg.withDefaults()}, nil
}

// Close waits until everything published is acknowledged, or ctx ends: what
// is left is then acknowledged with [ErrClosed].
func (p *Producer) Close(ctx context.Context) error { return nil }

// Submit publishes tasks and waits until all in-sync replicas have them. It
// returns nil when all are accepted, else one error per task, nil where it was
// accepted. ID and Type must be set; SubmittedAt and Attempt are filled in. A
// NotBefore that is ahead by the first delay tier or more goes through the tiers.
//
// ctx is the deadline: when it ends, tasks without an answer get [ErrUnknown].
func (p *Producer) Submit(ctx context.Context, tasks []task.Delivery) []error {
	return []error{errors.ErrUnsupported}
}

// Event publishes a completion event, keyed by its task id.
func (p *Producer) Event(e task.Event, acked func(error)) {}

// Hop publishes d again, with the envelope that it has now: to the return
// topic of its type, or to a delay tier when NotBefore is ahead by that much.
func (p *Producer) Hop(d task.Delivery, acked func(error)) {}

// DeadLetter publishes d, parameters byte for byte, with the reasons in l. Where
// that is too large, a stub says where the record was and what its hash is.
func (p *Producer) DeadLetter(d task.Delivery, l task.Letter, acked func(error)) {}
