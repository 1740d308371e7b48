package claims

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"time"
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
	w := infoWriter{append(b, '{')}
	w.text("type", i.Type)
	w.text("why", i.Explanation)
	w.text("node", i.Node)
	w.time("sub", i.SubmittedAt)
	w.time("asg", i.AssignedAt)
	w.time("sta", i.StartedAt)
	w.time("bea", i.BeatAt)
	w.time("com", i.CompletedAt)
	w.float("frac", i.Fraction)
	w.text("note", i.Note)
	w.text("err", i.Error)
	w.text("cls", i.Class)
	w.time("ff", i.FirstFailure)
	w.number("moved", i.BytesMoved)
	w.text("desc", i.Describe)
	w.text("oid", i.OpaqueID)
	w.text("tp", i.TraceParent)
	w.text("ts", i.TraceState)
	w.number("max", int64(i.MaxAttempts))
	w.time("dead", i.Deadline)
	w.result(i.Result)
	w.checkpoint(i.Checkpoint)
	return append(w.b, '}')
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

type infoWriter struct{ b []byte }

func (w *infoWriter) key(name string) {
	if w.b[len(w.b)-1] != '{' {
		w.b = append(w.b, ',')
	}
	w.b = append(w.b, '"')
	w.b = append(w.b, name...)
	w.b = append(w.b, '"', ':')
}

func (w *infoWriter) text(name, value string) {
	if value == "" {
		return
	}
	w.key(name)
	w.b = appendText(w.b, value)
}

func (w *infoWriter) number(name string, value int64) {
	if value == 0 {
		return
	}
	w.key(name)
	w.b = strconv.AppendInt(w.b, value, 10)
}

func (w *infoWriter) time(name string, value time.Time) {
	if !value.IsZero() {
		w.number(name, value.UnixMilli())
	}
}

func (w *infoWriter) float(name string, value float64) {
	if value == 0 || math.IsNaN(value) || math.IsInf(value, 0) {
		return
	}
	w.key(name)
	w.b = strconv.AppendFloat(w.b, value, 'g', -1, 64)
}

// result writes what is no JSON as text: it must not spoil the rest.
func (w *infoWriter) result(value json.RawMessage) {
	if len(value) == 0 {
		return
	}
	w.key("res")
	if json.Valid(value) {
		w.b = append(w.b, value...)
	} else {
		w.b = appendText(w.b, string(value))
	}
}

func (w *infoWriter) checkpoint(value []byte) {
	switch {
	case value == nil:
	case json.Valid(value):
		w.key("cp")
		w.b = append(w.b, value...)
	default:
		w.key("cpb")
		w.b = append(w.b, '"')
		w.b = base64.StdEncoding.AppendEncode(w.b, value)
		w.b = append(w.b, '"')
	}
}

func appendText(b []byte, s string) []byte {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string always encodes
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
