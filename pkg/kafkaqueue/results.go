package kafkaqueue

import (
	"context"
	"errors"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// ReadResults calls fn for the events that were appended to the results topic
// since a time (the zero time: all that are kept) and until its end as it was
// at the call. It belongs to no group and ends with fn's first error.
func ReadResults(ctx context.Context, cfg Config, since time.Time, fn func(task.Event) error) error {
	return errors.ErrUnsupported
}
