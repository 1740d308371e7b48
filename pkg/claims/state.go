package claims

import (
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// State is what Redis knows of a task.
type State struct {
	ID     string
	Status task.Status

	Replay, Attempt, Hop int
	// AllocationID is that of the newest claim, or of whatever settled the
	// task; 0 before the first.
	AllocationID int64
	// Lost counts claims whose holder vanished without an outcome since the
	// last checkpoint.
	Lost int
	// Interrupted counts the interrupted runs of this attempt.
	Interrupted int
	// ParamsHash is that of the parameters, or 0: not known.
	ParamsHash uint64
	// Published tells that nothing is owed: what the last settlement or hop
	// had to publish is known to be acknowledged.
	Published bool
	// CancelRequested: any outcome but success will count as CANCELLED.
	CancelRequested bool
	// Reason of the dead letter that goes with FAILED.
	Reason task.Reason
	// At is the time of the last transition by Redis' clock.
	At        time.Time
	NotBefore time.Time
	// Lease is what is left of the lease, 0 when there is none. Only
	// [Store.States] and [Store.List] fill it in, and Holder.
	Lease  time.Duration
	Holder string // the claimant

	Info
}

// Event is what listeners are told about a terminal state.
func (s *State) Event() task.Event {
	return task.Event{
		TaskID: s.ID, Type: s.Type, Status: s.Status, Replay: s.Replay, Attempt: s.Attempt,
		AllocationID: s.AllocationID, Parent: task.Parent(s.ID), Node: s.Node,
		SubmittedAt: s.SubmittedAt, StartedAt: s.StartedAt, CompletedAt: s.At,
		BytesMoved: s.BytesMoved, Result: s.Result, Error: s.Error, Reason: s.Reason,
		OpaqueID: s.OpaqueID, TraceParent: s.TraceParent, TraceState: s.TraceState,
	}
}
