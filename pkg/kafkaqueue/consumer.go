package kafkaqueue

import (
	"context"
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
type Consumer struct{ cfg Config }

// NewConsumer does not connect yet.
func NewConsumer(cfg Config, typ string, hooks Hooks) (*Consumer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Consumer{cfg: cfg.withDefaults()}, nil
}

// Run is the consumer's life: it joins the group, commits the watermarks and
// watches for gaps until ctx ends, then commits a last time and leaves the
// group, which revokes all partitions. It returns nil after that, or the error
// that makes going on pointless: [ErrTopicGone].
func (c *Consumer) Run(ctx context.Context) error { return nil }

// Poll blocks until there are records, those of the return topic first. A
// record that cannot be read comes with Err and Reason set. What is delivered
// stays valid and pins at most 32 KiB beside itself however long it is kept.
// It returns ctx's error, [ErrClosed] when Run ends, or Run's own error.
//
// A partition whose window is full is paused until half of it is finished: keep
// polling while tasks run.
func (c *Consumer) Poll(ctx context.Context) ([]task.Delivery, error) { return nil, ErrClosed }

// Finish says that the record is not needed any more. Order does not matter,
// repeats have no effect, nor has it any after the partition was revoked.
func (c *Consumer) Finish(d *task.Delivery) {}

// Owned tells whether the assignment that delivered d still lasts.
func (c *Consumer) Owned(d *task.Delivery) bool { return false }

// LastPoll is when Poll was last entered or left; zero before the first one.
// For a watchdog: a poll loop that hangs keeps its partitions.
func (c *Consumer) LastPoll() time.Time { return time.Time{} }
