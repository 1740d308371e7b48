package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Task is a task's state as --json prints it. Names are those of completion
// events; what is unknown or empty is left out.
type Task struct {
	ID           string      `json:"task_id"`
	Type         string      `json:"type,omitempty"`
	Status       task.Status `json:"status"`
	Replay       int         `json:"replay"`
	Attempt      int         `json:"attempt"`
	MaxAttempts  int         `json:"max_attempts,omitempty"`
	AllocationID int64       `json:"allocation_id,omitempty"`
	Parent       string      `json:"parent,omitempty"`
	Node         string      `json:"node,omitempty"`

	Explanation     string      `json:"explanation,omitempty"`
	CancelRequested bool        `json:"cancel_requested,omitempty"`
	Reason          task.Reason `json:"reason,omitempty"`
	Error           string      `json:"error,omitempty"`
	ErrorClass      string      `json:"error_class,omitempty"`
	Describe        string      `json:"describe,omitempty"`

	Fraction   float64         `json:"fraction,omitempty"`
	Note       string          `json:"note,omitempty"`
	BytesMoved int64           `json:"bytes_moved,omitempty"`
	Result     json.RawMessage `json:"result,omitempty"`
	Checkpoint json.RawMessage `json:"checkpoint,omitempty"`

	ChangedAt    time.Time `json:"changed_at,omitzero"`
	SubmittedAt  time.Time `json:"submitted_at,omitzero"`
	NotBefore    time.Time `json:"not_before,omitzero"`
	Deadline     time.Time `json:"deadline,omitzero"`
	AssignedAt   time.Time `json:"assigned_at,omitzero"`
	StartedAt    time.Time `json:"started_at,omitzero"`
	BeatAt       time.Time `json:"beat_at,omitzero"`
	CompletedAt  time.Time `json:"completed_at,omitzero"`
	FirstFailure time.Time `json:"first_failure,omitzero"`

	Lost        int     `json:"lost,omitempty"`        // claims whose holder vanished
	Interrupted int     `json:"interrupted,omitempty"` // runs that were cut short
	Lease       float64 `json:"lease_seconds,omitempty"`
	OpaqueID    string  `json:"x_opaque_id,omitempty"`
}

// TaskOf is what a state says.
func TaskOf(s *claims.State) Task {
	t := Task{
		ID: s.ID, Type: s.Type, Status: s.Status, Replay: s.Replay, Attempt: s.Attempt, MaxAttempts: s.MaxAttempts,
		AllocationID: s.AllocationID, Parent: task.Parent(s.ID), Node: s.Node,
		Explanation: s.Explanation, CancelRequested: s.CancelRequested, Reason: s.Reason, Error: s.Error,
		ErrorClass: s.Class, Describe: s.Describe,
		Fraction: s.Fraction, Note: s.Note, BytesMoved: s.BytesMoved, Result: s.Result, Checkpoint: RawJSON(s.Checkpoint),
		ChangedAt: utc(s.At), SubmittedAt: utc(s.SubmittedAt), NotBefore: utc(s.NotBefore), Deadline: utc(s.Deadline),
		AssignedAt: utc(s.AssignedAt), StartedAt: utc(s.StartedAt), BeatAt: utc(s.BeatAt),
		CompletedAt: utc(s.CompletedAt), FirstFailure: utc(s.FirstFailure),
		Lost: s.Lost, Interrupted: s.Interrupted, Lease: s.Lease.Seconds(), OpaqueID: s.OpaqueID,
	}
	if holder, _, _ := strings.Cut(s.Holder, "/"); holder != "" {
		t.Node = holder // a state does not name it before the first beat
	}
	if t.Status.Terminal() {
		t.Explanation, t.CancelRequested = "", false
		if t.CompletedAt.IsZero() {
			t.CompletedAt = t.ChangedAt
		}
	} else {
		t.CompletedAt = time.Time{}
	}
	return t
}

// TaskOfEvent is what a completion event says.
func TaskOfEvent(e *task.Event) Task {
	return Task{
		ID: e.TaskID, Type: e.Type, Status: e.Status, Replay: e.Replay, Attempt: e.Attempt,
		AllocationID: e.AllocationID, Parent: e.Parent, Node: e.Node, Reason: e.Reason, Error: e.Error,
		BytesMoved: e.BytesMoved, Result: e.Result, ChangedAt: utc(e.CompletedAt), SubmittedAt: utc(e.SubmittedAt),
		StartedAt: utc(e.StartedAt), CompletedAt: utc(e.CompletedAt), OpaqueID: e.OpaqueID,
	}
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Millisecond)
}

// RawJSON is text as a JSON value: as it is when it is JSON, else as a string.
func RawJSON(text []byte) json.RawMessage {
	if len(text) == 0 || json.Valid(text) {
		return text
	}
	quoted, err := json.Marshal(string(text))
	if err != nil {
		return nil // never: a string encodes
	}
	return quoted
}

// Code is the exit status that a task's status stands for.
func (t *Task) Code() Code {
	switch t.Status {
	case task.Success:
		return Done
	case task.Failed:
		return Failed
	case task.Cancelled:
		return Cancelled
	default:
		return Unknown
	}
}

// Took is how long its last run took or takes; 0: it does not run.
func (t *Task) Took(now time.Time) time.Duration {
	switch {
	case t.StartedAt.IsZero():
		return 0
	case t.Status.Terminal():
		return max(t.CompletedAt.Sub(t.StartedAt), 0)
	case t.Status == task.Active:
		return max(now.Sub(t.StartedAt), 0)
	}
	return 0
}

// Says is what there is to say about the task on one line.
func (t *Task) Says() string {
	switch t.Status {
	case task.Success:
		return string(t.Result)
	case task.Failed:
		return join(": ", string(t.Reason), t.Error)
	case task.Cancelled:
		return t.Error
	case task.Assigned, task.Active:
		return join(": ", t.cancelling(), t.repeated(), join(" ", t.percent(), t.Note))
	default:
		return join(": ", t.cancelling(), t.Explanation)
	}
}

func (t *Task) cancelling() string {
	if t.CancelRequested {
		return "to be cancelled"
	}
	return ""
}

func (t *Task) percent() string {
	if t.Status != task.Active {
		return ""
	}
	return fmt.Sprintf("%d%%", int(t.Fraction*100))
}

// join leaves out what is empty.
func join(between string, texts ...string) string {
	var said []string
	for _, text := range texts {
		if text != "" {
			said = append(said, text)
		}
	}
	return strings.Join(said, between)
}

// repeated names an attempt that is not the first.
func (t *Task) repeated() string {
	if t.Attempt <= 1 {
		return ""
	}
	return fmt.Sprintf("attempt %d", t.Attempt)
}

// TaskTable lists tasks. Ids are never cut: they are there to be copied.
func TaskTable(tasks []Task, now time.Time) *Table {
	table := NewTable(
		Column{Title: "ID"}, Column{Title: "TYPE", Least: 8}, Column{Title: "STATUS"}, Column{Title: "AGE"},
		Column{Title: "NODE", Least: 8, Spare: true}, Column{Title: "NOTE", Least: 12},
	)
	for i := range tasks {
		t := &tasks[i]
		table.Row(t.ID, t.Type, t.Status.String(), Since(now, t.ChangedAt), t.Node, t.Says())
	}
	return table
}

// Print writes all that is known of a task, a line each.
func (t *Task) Print(std *IO) {
	p, now := NewPrinter(std), std.Now()
	p.Line("Task", t.ID)
	p.Line("Type", t.Type)
	p.Line("Does", t.Describe)
	p.Line("Status", join(", ", t.Status.String(), t.cancelling()))
	p.Line("Because", t.Explanation)
	p.Line("Reason", string(t.Reason))
	if !strings.Contains(t.Explanation, t.Error) {
		p.Text("Error", t.Error)
	}
	p.Line("Class", t.ErrorClass)
	p.Line("Attempt", t.attemptLine())
	p.Line("Node", t.nodeLine())
	if t.Status == task.Assigned || t.Status == task.Active {
		p.Line("Progress", join(" ", fmt.Sprintf("%d%%", int(t.Fraction*100)), t.Note))
	}
	p.Time("Submitted", t.SubmittedAt)
	if t.Status == task.Unassigned {
		p.Time("Not before", t.NotBefore)
		p.Time("Deadline", t.Deadline)
	}
	p.Time("Assigned", t.AssignedAt)
	p.Time("Started", t.StartedAt)
	if t.Lease > 0 {
		p.Time("Last beat", t.BeatAt)
	}
	p.Time("Ended", t.CompletedAt)
	if took := t.Took(now); took > 0 && t.Status.Terminal() {
		p.Line("Took", Ago(took))
	}
	if t.BytesMoved > 0 {
		p.Line("Moved", Size(t.BytesMoved))
	}
	p.Line("Checkpoint", string(t.Checkpoint))
	p.Line("Result", string(t.Result))
	p.Line("Opaque id", t.OpaqueID)
}

func (t *Task) attemptLine() string {
	line := fmt.Sprint(t.Attempt)
	if t.MaxAttempts > 0 {
		line = fmt.Sprintf("%d of %d", t.Attempt, t.MaxAttempts)
	}
	if t.Replay > 0 {
		line += fmt.Sprintf(", replay %d", t.Replay)
	}
	if t.Interrupted > 0 {
		line += fmt.Sprintf(", interrupted %s", Count(t.Interrupted, "time"))
	}
	if t.Lost > 0 {
		line += fmt.Sprintf(", its worker vanished %s", Count(t.Lost, "time"))
	}
	return line
}

func (t *Task) nodeLine() string {
	if t.Node != "" && t.Lease > 0 {
		return fmt.Sprintf("%s (lease of %s left)", t.Node, Ago(time.Duration(t.Lease*float64(time.Second))))
	}
	return t.Node
}

// Printer writes names and values below one another; what is empty is left
// out.
type Printer struct {
	w   io.Writer
	now time.Time
}

// NewPrinter writes to the standard output.
func NewPrinter(std *IO) *Printer { return &Printer{std.Out, std.Now()} }

// Line writes a value on one line.
func (p *Printer) Line(name, value string) {
	if value != "" {
		fmt.Fprintf(p.w, "%-11s %s\n", name, Clean(value))
	}
}

// Text writes a value of several lines.
func (p *Printer) Text(name, value string) {
	if value != "" {
		value = strings.TrimRight(CleanLines(value), "\n ")
		fmt.Fprintf(p.w, "%-11s %s\n", name, strings.ReplaceAll(value, "\n", "\n            "))
	}
}

// Time writes a time and how far it is from now.
func (p *Printer) Time(name string, t time.Time) {
	switch {
	case t.IsZero():
	case t.After(p.now):
		p.Line(name, fmt.Sprintf("%s (in %s)", Stamp(t), Ago(t.Sub(p.now))))
	default:
		p.Line(name, fmt.Sprintf("%s (%s ago)", Stamp(t), Ago(p.now.Sub(t))))
	}
}

// Stamp writes a time for people.
func Stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// Line is a task that has ended, on one line: id, status, how long it took,
// result or error.
func (t *Task) Line(now time.Time) string {
	took := ""
	if d := t.Took(now); d > 0 {
		took = Ago(d)
	}
	return Clean(join("  ", t.ID, t.Status.String(), took, t.Says()))
}
