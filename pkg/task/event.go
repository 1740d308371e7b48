package task

import (
	"encoding/json"
	"time"
)

// Event tells that a task reached a terminal status. It travels as JSON on the
// results topic, keyed by task id, at least once: the first event of a
// (TaskID, Replay) is the outcome, later ones are repeats.
type Event struct {
	TaskID       string `json:"task_id"`
	Type         string `json:"type"`
	Status       Status `json:"status"`
	Replay       int    `json:"replay"`
	Attempt      int    `json:"attempt"`
	AllocationID int64  `json:"allocation_id"`
	Parent       string `json:"parent,omitempty"`
	Node         string `json:"node,omitempty"`

	SubmittedAt time.Time `json:"submitted_at,omitzero"`
	StartedAt   time.Time `json:"started_at,omitzero"`
	CompletedAt time.Time `json:"completed_at"`

	BytesMoved int64           `json:"bytes_moved,omitempty"` // to and from the remote store
	Result     json.RawMessage `json:"result,omitempty"`      // what the worker left, on SUCCESS
	Error      string          `json:"error,omitempty"`       // on FAILED and CANCELLED
	Reason     Reason          `json:"reason,omitempty"`      // of the dead letter that goes with it

	OpaqueID    string `json:"x_opaque_id,omitempty"`
	TraceParent string `json:"traceparent,omitempty"`
	TraceState  string `json:"tracestate,omitempty"`
	// Repeat marks an event that was published again because the first
	// publisher may have died before its own was acknowledged.
	Repeat bool `json:"repeat,omitempty"`
}

// Reason says why a task became a dead letter.
type Reason string

// Every reason a dead letter may have.
const (
	RetriesExhausted Reason = "retries_exhausted" // the last attempt failed
	PermanentFailure Reason = "permanent"         // the worker said that no retry can help
	WorkerLost       Reason = "worker_lost"       // its worker's process vanished too often
	Expired          Reason = "expired"           // its deadline passed before it could start
	Undecodable      Reason = "undecodable"       // headers that cannot be read, or an unknown format
	Unroutable       Reason = "unroutable"        // its target topic refuses it for good
	IDConflict       Reason = "id_conflict"       // another task with other parameters has this id
	TooLarge         Reason = "too_large"         // over a limit; the letter may be a stub without the value
)

// Letter is why, when and after what a task became a dead letter. Its record
// holds the parameters byte for byte, so that it can be redriven.
type Letter struct {
	Reason       Reason    `json:"reason"`
	Class        string    `json:"error_class,omitempty"` // the error's Go type, or the panic's
	Message      string    `json:"message,omitempty"`     // at most MaxErrorBytes
	FirstFailure time.Time `json:"first_failure,omitzero"`
	LastFailure  time.Time `json:"last_failure"`
	Node         string    `json:"node,omitempty"` // which node gave it up
	Attempts     int       `json:"attempts"`
	Lost         int       `json:"lost,omitempty"` // claims whose holder vanished
}
