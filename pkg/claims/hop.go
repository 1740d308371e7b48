package claims

import (
	"context"
	"errors"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// HopAsk asks for the number under which a record is published once more.
type HopAsk struct {
	ID                   string
	Replay, Attempt, Hop int    // of the record
	Lease                string // as granted, when the record's task runs here; else ""
	ParamsHash           uint64
	NotBefore            time.Time
	Info                 []byte // for a state that is absent
}

// HopAnswer is the answer to one [HopAsk].
type HopAnswer struct {
	// Hop is the number to publish the record with.
	Hop int
	// AllocationID goes into the [Mark] after the record was acknowledged.
	AllocationID int64
	// Checkpoint is the newest one, to travel with the record.
	Checkpoint []byte
	// Superseded: the record is not the newest any more. Ask for a claim: the
	// answer says what to do.
	Superseded bool
	Err        error
}

// RaiseHop writes the next hop number into the state, before the record is
// published with it. The same record gets the same number until it is marked
// published. ErrCold while Redis may have forgotten the task. An error
// returned for the call means unknown for all.
func (s *Store) RaiseHop(ctx context.Context, asks []HopAsk) ([]HopAnswer, error) {
	return nil, errors.New("not yet")
}

// Mark names what was published: a terminal event, the record of the next
// attempt, or a hop.
type Mark struct {
	ID                   string
	Replay, Attempt, Hop int
	AllocationID         int64
	// Status of the state that was published: terminal for an event,
	// Unassigned for a record.
	Status task.Status
}

// Published notes that nothing is owed any more where the state still is the
// one named, and wakes whoever parks a copy. It may be left out: then a later
// copy publishes it again.
func (s *Store) Published(ctx context.Context, marks []Mark) error { return errors.New("not yet") }
