package kafkaqueue

import (
	"context"
	"errors"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// DeadLetter is a task that was given up, as the dead-letter topic has it.
type DeadLetter struct {
	// Delivery is the task: its envelope and parameters as they were. Err is
	// set, as it was then, when its headers cannot be read. Origin is the
	// record that was given up, not the letter's.
	Delivery task.Delivery
	Letter   task.Letter

	// Stub tells that the record was too large to be kept: Bytes and SHA256 are
	// those of the missing parameters, Origin says where they were.
	Stub   bool
	Bytes  int
	SHA256 string // hex

	Partition int32     // of the dead-letter topic
	Offset    int64     // in it
	At        time.Time // when it was appended
}

// ReadDeadLetters calls fn for each letter, up to the topic's end as it was at
// the call. It belongs to no group and ends with fn's first error.
func ReadDeadLetters(ctx context.Context, cfg Config, fn func(DeadLetter) error) error {
	return errors.ErrUnsupported
}
