package task

import (
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Format is the version of the record headers that this package describes. A
// record of a higher format is set aside, not guessed at.
const Format = 1

// MaxRunAt is how far ahead a task may be scheduled.
const MaxRunAt = 400 * 24 * time.Hour

// clockSlack is by how much a caller's clock may be behind in a run-at.
const clockSlack = time.Minute

// Envelope is what the queue knows of a task beside its parameters. Replay,
// Attempt and Hop order the copies of one task: see [Envelope.Compare].
type Envelope struct {
	ID   string
	Type string

	Replay  int // how often it was redriven, from 0
	Attempt int // the run this record asks for, from 1
	Hop     int // how often the record was re-published within the attempt, from 0

	MaxAttempts int       // 0: the type's policy decides
	SubmittedAt time.Time // when the producer sent it; of a foreign client's record, its Kafka timestamp
	NotBefore   time.Time // run no earlier; zero: at once
	Deadline    time.Time // do not start after; zero: none

	ContentType string // of the parameters; "" means JSON
	Checkpoint  []byte // what the newest run left for the next one
	OpaqueID    string // x-opaque-id: the caller's own mark, kept through every hop
	TraceParent string // W3C trace context of the submitter or of the last attempt
	TraceState  string

	// First is where the task's first record was: it survives every hop.
	First Origin
}

// Origin is a place in a topic.
type Origin struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Delivery is one record as a node or a dead-letter reader gets it: the
// envelope, the parameters byte for byte as submitted, and where it is from.
type Delivery struct {
	Envelope
	Params []byte

	// Origin is this very record's place; First may be another's.
	Origin Origin
	// Copied tells that other copies of the record may have been settled
	// already: it was in the log when its partition was assigned, or came
	// round by the return topic.
	Copied bool
	// Err is set when the record cannot be run: it wraps [ErrInvalid] and
	// says what is wrong. ID is then derived from the record's place.
	Err error
	// Reason is the dead letter's reason when Err is set.
	Reason Reason
	// Ref belongs to the queue that delivered it.
	Ref any
}

// Compare orders two records of one task by (replay, attempt, hop): negative
// when e is older than o.
func (e *Envelope) Compare(replay, attempt, hop int) int {
	switch {
	case e.Replay != replay:
		return e.Replay - replay
	case e.Attempt != attempt:
		return e.Attempt - attempt
	default:
		return e.Hop - hop
	}
}

// Hash identifies parameters: the XXH64 of their bytes, never 0.
func Hash(params []byte) uint64 {
	return max(xxhash.Sum64(params), 1)
}

// Validate checks what a producer may get wrong: id, type, limits, times.
func (e *Envelope) Validate(params []byte, now time.Time) error {
	if err := ValidateID(e.ID); err != nil {
		return err
	}
	if err := ValidateType(e.Type); err != nil {
		return err
	}
	switch {
	case len(params) > MaxParamsBytes:
		return fmt.Errorf("%w: parameters of %d bytes, at most %d: put large input into a store and pass its key", ErrInvalid, len(params), MaxParamsBytes)
	case len(e.Checkpoint) > MaxCheckpointBytes:
		return fmt.Errorf("%w: a checkpoint of %d bytes, at most %d", ErrInvalid, len(e.Checkpoint), MaxCheckpointBytes)
	case e.headerBytes() > MaxHeaderBytes:
		return fmt.Errorf("%w: headers of %d bytes, at most %d", ErrInvalid, e.headerBytes(), MaxHeaderBytes)
	case e.MaxAttempts < 0:
		return fmt.Errorf("%w: %d attempts: use 1 or more, or 0 for the type's own policy", ErrInvalid, e.MaxAttempts)
	case e.NotBefore.After(now.Add(MaxRunAt)):
		return fmt.Errorf("%w: run-at %s is more than 400 days ahead", ErrInvalid, e.NotBefore.Format(time.RFC3339))
	case !e.NotBefore.IsZero() && e.NotBefore.Before(now.Add(-clockSlack)):
		return fmt.Errorf("%w: run-at %s is in the past: leave it out to run at once", ErrInvalid, e.NotBefore.Format(time.RFC3339))
	case !e.Deadline.IsZero() && e.Deadline.Before(now):
		return fmt.Errorf("%w: the deadline %s has passed", ErrInvalid, e.Deadline.Format(time.RFC3339))
	case !e.Deadline.IsZero() && e.Deadline.Before(e.NotBefore):
		return fmt.Errorf("%w: the deadline %s is before run-at %s", ErrInvalid, e.Deadline.Format(time.RFC3339), e.NotBefore.Format(time.RFC3339))
	}
	return nil
}

// headerBytes is what the caller's own strings add to the record's headers.
func (e *Envelope) headerBytes() int {
	return len(e.ID) + len(e.ContentType) + len(e.OpaqueID) + len(e.TraceParent) + len(e.TraceState)
}
