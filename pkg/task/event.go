package task

import (
	"encoding/json"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/jsonobject"
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

// AppendJSON appends what json.Marshal returns, in a fraction of its time. A
// Result that is no JSON becomes a string.
func (e *Event) AppendJSON(b []byte) []byte {
	w := jsonobject.New(b)
	w.Text("task_id", e.TaskID)
	w.Text("type", e.Type)
	w.Text("status", e.Status.String())
	w.Int("replay", int64(e.Replay))
	w.Int("attempt", int64(e.Attempt))
	w.Int("allocation_id", e.AllocationID)
	w.Text("parent", e.Parent)
	w.Text("node", e.Node)
	w.Time("submitted_at", e.SubmittedAt)
	w.Time("started_at", e.StartedAt)
	w.Time("completed_at", e.CompletedAt)
	w.Number("bytes_moved", e.BytesMoved)
	w.Raw("result", e.Result)
	w.Text("error", e.Error)
	w.Text("reason", string(e.Reason))
	w.Text("x_opaque_id", e.OpaqueID)
	w.Text("traceparent", e.TraceParent)
	w.Text("tracestate", e.TraceState)
	w.True("repeat", e.Repeat)
	return w.End()
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
