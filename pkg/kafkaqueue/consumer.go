package kafkaqueue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Partition names a partition of a topic.
type Partition struct {
	Topic  string
	Number int32
}

// Hooks tell the owner of a [Consumer] what happens to its partitions. They
// are called from the consumer's goroutines and must not block. A nil hook is
// not called.
type Hooks struct {
	// Revoked: another member may get the partition now. Every record of it
	// that was delivered until now may be dropped unless it runs: finishing it
	// has no effect any more, and [Consumer.Owned] says no.
	Revoked func(Partition)
	// Gap: records were lost, see [Gap].
	Gap func(Gap)
}

// Gap is a range of offsets, From up to but not including To, that Kafka had
// promised and does not have any more: retention, or a broker's data loss,
// overtook the group.
type Gap struct {
	Topic     string
	Partition int32
	From, To  int64
	// Held of them are unfinished records that this process still holds: they
	// are lost only if it dies.
	Held int
}

// Consumer delivers the records of one task type, from its task topic and its
// return topic, and commits what is finished. Run it once; one goroutine may
// Poll; everything else is safe for concurrent use.
type Consumer struct {
	typ    string
	member *member
	arena  arena
	ids    topicIDs
	// waiting was polled while the topics' ids could not be had.
	waiting []batch
}

// NewConsumer does not connect yet.
func NewConsumer(cfg Config, typ string, hooks Hooks) (*Consumer, error) {
	if err := errors.Join(cfg.Validate(), task.ValidateType(typ)); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	n := names{cfg.Prefix}
	m, err := newMember(cfg, n.group(typ), []string{n.again(typ), n.task(typ)}, hooks)
	if err != nil {
		return nil, fmt.Errorf("consumer of type %s: %w", typ, err)
	}
	m.again = n.again(typ)
	return &Consumer{typ: typ, member: m}, nil
}

// Run is the consumer's life: it joins the group, commits the watermarks and
// watches for gaps until ctx ends, then commits a last time and leaves the
// group, which revokes all partitions. It returns nil after that, or the error
// that makes going on pointless: [ErrTopicGone].
func (c *Consumer) Run(ctx context.Context) error { return c.member.run(ctx) }

// Poll blocks until there are records, those of the return topic first. A
// record that cannot be read comes with Err and Reason set. What is delivered
// stays valid and pins at most 32 KiB beside itself however long it is kept.
// It returns ctx's error, [ErrClosed] when Run ends, or Run's own error.
//
// A partition whose window is full is paused until half of it is finished: keep
// polling while tasks run.
func (c *Consumer) Poll(ctx context.Context) ([]task.Delivery, error) {
	for {
		if len(c.waiting) == 0 {
			batches, err := c.member.poll(ctx)
			if err != nil {
				return nil, err
			}
			c.waiting = batches
		}
		for _, b := range c.waiting {
			if err := c.member.learnID(ctx, &c.ids, b.assignment.topic); err != nil {
				return nil, err
			}
		}
		deliveries := c.deliver(c.waiting)
		c.waiting = nil
		if len(deliveries) > 0 {
			return deliveries, nil
		}
	}
}

func (c *Consumer) deliver(batches []batch) []task.Delivery {
	n := 0
	for _, b := range batches {
		n += max(len(b.records), 1)
	}
	deliveries := make([]task.Delivery, 0, n)
	for _, again := range []bool{true, false} {
		for _, b := range batches {
			if b.assignment.again == again {
				deliveries = c.read(deliveries, b)
			}
		}
	}
	return deliveries
}

func (c *Consumer) read(to []task.Delivery, b batch) []task.Delivery {
	if b.tooLarge.to > 0 {
		return append(to, unread(b, &c.arena, c.typ, c.ids.get))
	}
	for _, r := range b.records {
		if !r.Attrs.IsControl() {
			d, _ := deliver(r, b.assignment, &c.arena, c.typ, c.ids.get)
			to = append(to, d)
		}
	}
	return to
}

// Finish says that the record is not needed any more. Order does not matter,
// repeats have no effect, nor has it any after the partition was revoked.
func (c *Consumer) Finish(d *task.Delivery) {
	if a := assignmentOf(d); a != nil {
		c.member.finish(a, d.Origin.Offset)
	}
}

// Owned tells whether the assignment that delivered d still lasts.
func (c *Consumer) Owned(d *task.Delivery) bool {
	a := assignmentOf(d)
	return a != nil && a.owned()
}

// LastPoll is when Poll was last entered or left; zero before the first one.
// For a watchdog: a poll loop that hangs keeps its partitions.
func (c *Consumer) LastPoll() time.Time {
	if at := c.member.lastPoll.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}
