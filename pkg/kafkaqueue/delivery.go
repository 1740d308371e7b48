package kafkaqueue

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// reference is what Delivery.Ref holds when the record has more than its
// envelope; otherwise Ref is the assignment alone, which costs nothing.
type reference struct {
	assignment *assignment // nil when it came from a reader without a group
	// headers are those that are not ours; all of them, as they were, when
	// the record is raw.
	headers []kgo.RecordHeader
	raw     bool   // its headers could not be read
	key     []byte // of a raw record
}

// assignmentOf is where d came from, or nil when d did not come from here.
func assignmentOf(d *task.Delivery) *assignment {
	switch r := d.Ref.(type) {
	case *assignment:
		return r
	case *reference:
		return r.assignment
	}
	return nil
}

// headersOf are the headers that d's envelope does not have.
func headersOf(d *task.Delivery) []kgo.RecordHeader {
	if r, ok := d.Ref.(*reference); ok {
		return r.headers
	}
	return nil
}

// isRaw tells whether d's own headers could not be read: its envelope says
// nothing then.
func isRaw(d *task.Delivery) bool {
	r, ok := d.Ref.(*reference)
	return ok && r.raw
}

func keyOf(d *task.Delivery) []byte {
	if r, ok := d.Ref.(*reference); ok {
		return r.key
	}
	return nil
}

// deliver turns a record into what its reader gets. topicID names the topic
// in ids that are derived; typ is "" where the target header says it.
func deliver(r *kgo.Record, as *assignment, a *arena, typ string, topicID func(topic string) string) (d task.Delivery, target string) {
	head, reason, err := decodeHeaders(r, a)
	d.Origin = task.Origin{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}
	d.Params = a.copy(r.Value)
	d.Envelope, d.Reason, d.Err = head.Envelope, reason, err
	if err != nil { // half an envelope would mislead; all headers are kept in Ref
		d.Envelope = task.Envelope{
			Attempt: 1, SubmittedAt: head.SubmittedAt,
			OpaqueID: head.OpaqueID, TraceParent: head.TraceParent, TraceState: head.TraceState,
		}
	}
	d.Type = typ
	if as != nil {
		d.Origin.Topic = as.topic // one string for all
		d.Copied = as.again || r.Offset < as.copiedBelow
		d.Ref = as
	}
	if d.SubmittedAt.IsZero() {
		d.SubmittedAt = r.Timestamp
	}
	if d.First.Topic == "" {
		d.First = d.Origin
	}
	if d.ID == "" || err != nil {
		d.ID = derivedID(topicID(r.Topic), r.Partition, r.Offset)
	}
	if err != nil {
		d.Ref = &reference{assignment: as, raw: true, headers: slices.Collect(copies(r.Headers, a)), key: a.copy(r.Key)}
	} else if len(head.extra) > 0 {
		d.Ref = &reference{assignment: as, headers: head.extra}
	}
	return d, head.target
}

func copies(headers []kgo.RecordHeader, a *arena) func(func(kgo.RecordHeader) bool) {
	return func(yield func(kgo.RecordHeader) bool) {
		for _, h := range headers {
			if !yield(a.header(h)) {
				return
			}
		}
	}
}

// derivedID names a task by the place of its record, the same at every
// delivery. The topic's own id is in it, so a topic that was created anew
// does not repeat ids.
func derivedID(topic string, partition int32, offset int64) string {
	return topic + "." + strconv.Itoa(int(partition)) + "." + strconv.FormatInt(offset, 10)
}

// unread stands for a batch that was too large to be unpacked.
func unread(b batch, a *arena, typ string, topicID func(string) string) task.Delivery {
	d, _ := deliver(&kgo.Record{
		Topic: b.assignment.topic, Partition: b.assignment.partition, Offset: b.tooLarge.from, Timestamp: time.Now(),
	}, b.assignment, a, typ, topicID)
	d.Err = fmt.Errorf("%w: the records at offsets %d to %d unpack to more than 64 MiB: %w", task.ErrInvalid, b.tooLarge.from, b.tooLarge.to-1, errTooLarge)
	d.Reason = task.TooLarge
	d.Ref = &reference{assignment: b.assignment, raw: true}
	return d
}
