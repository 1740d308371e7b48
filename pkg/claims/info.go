package claims

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/jsonobject"
)

// Info is the part of a state that nodes and clients write and that scripts
// copy unread. Times are kept in milliseconds.
type Info struct {
	Type        string
	Explanation string // why it is not running, or what it waits for
	Node        string // that runs or last ran it

	SubmittedAt, AssignedAt, StartedAt, BeatAt, CompletedAt time.Time

	Fraction   float64 // of its progress, 0 to 1
	Note       string
	Checkpoint []byte // what the next run resumes from; nil: none
	Result     json.RawMessage
	Error      string
	Class      string // of the error

	FirstFailure time.Time
	BytesMoved   int64
	Describe     string // what the parameters say, for people

	OpaqueID, TraceParent, TraceState string

	MaxAttempts int
	Deadline    time.Time
}

// infoBody is the encoded form. The type comes first: listing reads no more
// than the start of a long state to filter by it.
type infoBody struct {
	Type         string          `json:"type"`
	Explanation  string          `json:"why"`
	Node         string          `json:"node"`
	SubmittedAt  int64           `json:"sub"`
	AssignedAt   int64           `json:"asg"`
	StartedAt    int64           `json:"sta"`
	BeatAt       int64           `json:"bea"`
	CompletedAt  int64           `json:"com"`
	Fraction     float64         `json:"frac"`
	Note         string          `json:"note"`
	Error        string          `json:"err"`
	Class        string          `json:"cls"`
	FirstFailure int64           `json:"ff"`
	BytesMoved   int64           `json:"moved"`
	Describe     string          `json:"desc"`
	OpaqueID     string          `json:"oid"`
	TraceParent  string          `json:"tp"`
	TraceState   string          `json:"ts"`
	MaxAttempts  int             `json:"max"`
	Deadline     int64           `json:"dead"`
	Result       json.RawMessage `json:"res"`
	Checkpoint   json.RawMessage `json:"cp"`  // when it is JSON
	CheckpointB  []byte          `json:"cpb"` // when it is not
}

// Encode returns the encoded form, as claims, beats and settlements take it.
func (i *Info) Encode() []byte { return i.Append(make([]byte, 0, 256)) }

// Append appends the encoded form to b: one JSON object that leaves out what
// is empty. It is written by hand because a node does it for every task.
func (i *Info) Append(b []byte) []byte {
	w := jsonobject.New(b)
	w.Text("type", i.Type)
	w.Text("why", i.Explanation)
	w.Text("node", i.Node)
	w.Millis("sub", i.SubmittedAt)
	w.Millis("asg", i.AssignedAt)
	w.Millis("sta", i.StartedAt)
	w.Millis("bea", i.BeatAt)
	w.Millis("com", i.CompletedAt)
	w.Float("frac", i.Fraction)
	w.Text("note", i.Note)
	w.Text("err", i.Error)
	w.Text("cls", i.Class)
	w.Millis("ff", i.FirstFailure)
	w.Number("moved", i.BytesMoved)
	w.Text("desc", i.Describe)
	w.Text("oid", i.OpaqueID)
	w.Text("tp", i.TraceParent)
	w.Text("ts", i.TraceState)
	w.Number("max", int64(i.MaxAttempts))
	w.Millis("dead", i.Deadline)
	w.Raw("res", i.Result)
	switch {
	case i.Checkpoint == nil:
	case json.Valid(i.Checkpoint) && len(bytes.TrimSpace(i.Checkpoint)) == len(i.Checkpoint): // what is around JSON would not come back
		w.Raw("cp", i.Checkpoint)
	default:
		w.Bytes("cpb", i.Checkpoint)
	}
	return w.End()
}

func decodeInfo(raw string) (Info, error) {
	if raw == "" {
		return Info{}, nil
	}
	var e infoBody
	if err := json.Unmarshal([]byte(raw), &e); err != nil {
		return Info{}, err
	}
	i := Info{
		Type: e.Type, Explanation: e.Explanation, Node: e.Node,
		SubmittedAt: fromMillis(e.SubmittedAt), AssignedAt: fromMillis(e.AssignedAt), StartedAt: fromMillis(e.StartedAt),
		BeatAt: fromMillis(e.BeatAt), CompletedAt: fromMillis(e.CompletedAt),
		Fraction: e.Fraction, Note: e.Note, Result: e.Result, Error: e.Error, Class: e.Class,
		Checkpoint: e.Checkpoint, FirstFailure: fromMillis(e.FirstFailure), BytesMoved: e.BytesMoved,
		Describe: e.Describe, OpaqueID: e.OpaqueID, TraceParent: e.TraceParent, TraceState: e.TraceState,
		MaxAttempts: e.MaxAttempts, Deadline: fromMillis(e.Deadline),
	}
	if e.CheckpointB != nil {
		i.Checkpoint = e.CheckpointB
	}
	return i, nil
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
