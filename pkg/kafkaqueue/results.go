package kafkaqueue

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// ReadResults calls fn for the events that were appended to the results topic
// since a time (the zero time: all that are kept) and until its end as it was
// at the call. It belongs to no group and ends with fn's first error. What is
// no event is logged and skipped.
func ReadResults(ctx context.Context, cfg Config, since time.Time, fn func(task.Event) error) error {
	log := cfg.withDefaults().Log
	return readTopic(ctx, cfg, names{cfg.Prefix}.results(), since, func(r *kgo.Record) error {
		e, err := decodeEvent(r)
		if err != nil {
			log.Warn("record of the results topic is no event", "partition", r.Partition, "offset", r.Offset, "error", err)
			return nil
		}
		return fn(e)
	})
}

// decodeEvent reads an event. Fields that it does not know are ignored.
func decodeEvent(r *kgo.Record) (task.Event, error) {
	var e task.Event
	if err := json.Unmarshal(r.Value, &e); err != nil {
		return e, fmt.Errorf("%w: decode event: %w", task.ErrInvalid, err)
	}
	if e.TaskID == "" || !e.Status.Terminal() || e.Replay < 0 {
		return e, fmt.Errorf("%w: an event needs a task id and a terminal status", task.ErrInvalid)
	}
	return e, nil
}
