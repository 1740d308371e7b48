package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// answer is what --json prints for each task.
type answer struct {
	Line    int       `json:"line,omitempty"` // of the input, from 1
	ID      string    `json:"task_id,omitempty"`
	Type    string    `json:"type,omitempty"`
	Outcome string    `json:"outcome"`
	Error   string    `json:"error,omitempty"`
	Task    *cli.Task `json:"task,omitempty"` // with --wait
}

// there is a task that Kafka has.
type there struct {
	line, replay int
	id, typ      string
	seen         cli.Task
}

// report prints what became of tasks and keeps the exit status.
type report struct {
	std      *cli.IO
	options  *options
	given    string // settings on the command line
	progress *cli.Progress
	code     cli.Code
	there    []there // only when they are waited for
	accepted int
	existed  int
	refused  int
	unknown  int
}

func newReport(std *cli.IO, o *options, given string) *report {
	return &report{std: std, options: o, given: given, progress: cli.NewProgress(std)}
}

// say writes a line for people.
func (r *report) say(format string, args ...any) {
	r.progress.Clear()
	fmt.Fprintf(r.std.Err, "submit: %s\n", cli.CleanLines(fmt.Sprintf(format, args...)))
}

func (r *report) json(a answer) {
	r.progress.Clear()
	_ = cli.WriteJSON(r.std.Out, a) // whoever read it is gone
}

// invalid reports a line that is no task.
func (r *report) invalid(name string, i *item) {
	r.refused++
	r.code = r.code.Worse(cli.Failed)
	if r.options.json {
		r.json(answer{Line: i.line, ID: i.id, Type: i.typ, Outcome: "invalid", Error: i.err.Error()})
	}
	r.say("%s line %d: %v", fileName(name), i.line, i.err)
}

func fileName(name string) string {
	if name == "-" {
		return "standard input"
	}
	return name
}

// answered reports what Kafka said of a submission.
func (r *report) answered(i *item, result client.Result) {
	a := answer{Line: i.line, ID: result.ID, Type: i.submission.Type, Outcome: "accepted"}
	settled := errors.Is(result.Err, client.ErrSettled)
	switch {
	case result.Err == nil && !result.Existed:
		r.accepted++
	case result.Err == nil, settled:
		r.existed++
		a.Outcome = "existed"
		r.known(i, &result, settled)
	default:
		r.failed(i, &a, result.Err)
		return
	}
	if r.options.wait {
		r.there = append(r.there, there{line: i.line, id: result.ID, replay: result.Replay, typ: i.submission.Type})
		return
	}
	if r.options.json {
		r.json(a)
		return
	}
	r.progress.Clear()
	fmt.Fprintln(r.std.Out, result.ID)
}

// known says of the one task that it was there.
func (r *report) known(i *item, result *client.Result, settled bool) {
	if i.line != 0 {
		return // the sum tells
	}
	hint := ""
	if settled {
		hint = ": --again runs it once more"
	}
	if result.State == nil {
		r.say("%s was there already%s", result.ID, hint)
		return
	}
	r.say("%s was there already, %s%s", result.ID, result.State.Status, hint)
}

// failed reports a task that is not known to be accepted.
func (r *report) failed(i *item, a *answer, err error) {
	a.Error = err.Error()
	advice := ""
	switch {
	case errors.Is(err, client.ErrUnknown):
		a.Outcome = "unknown"
		r.unknown++
		r.code = r.code.Worse(cli.Unknown)
		advice = "\n  submit it again with --id " + a.ID + ": it does not run twice"
	case errors.Is(err, client.ErrConflict):
		a.Outcome = "conflict"
	case errors.Is(err, kafkaqueue.ErrRefused):
		a.Outcome = "refused"
		if errors.Is(err, kafkaqueue.ErrNoTopic) {
			err = fmt.Errorf("there is no topic for the type %s", a.Type)
		}
		advice = "\n  Is the type spelled right? Nodes that run it make its topic; so does: offlinectl" + r.given + " topics ensure " + a.Type
	default:
		a.Outcome = "invalid"
	}
	if a.Outcome != "unknown" {
		r.refused++
		r.code = r.code.Worse(cli.Failed)
	}
	if r.options.json {
		r.json(*a)
	}
	if i.line != 0 {
		r.say("%s line %d: %s: %v", fileName(r.options.file), i.line, a.ID, err)
		return
	}
	r.say("%s: %v%s", a.ID, err, advice)
}

// sending shows how far many submissions are.
func (r *report) sending() {
	if r.options.file != "" {
		r.progress.Show(r.sum())
	}
}

// sum tells how many tasks met which fate.
func (r *report) sum() string {
	parts := []string{cli.Count(r.accepted, "task") + " accepted"}
	for _, part := range []struct {
		n    int
		fate string
	}{{r.existed, "there already"}, {r.refused, "refused"}, {r.unknown, "not known"}} {
		if part.n > 0 {
			parts = append(parts, cli.Thousands(part.n)+" "+part.fate)
		}
	}
	return strings.Join(parts, ", ")
}

// interrupted ends the sending before the end of the source.
func (r *report) interrupted(err error) error {
	if !errors.Is(err, context.Canceled) {
		return err
	}
	r.say("stopped: %s", r.sum())
	return cli.End(r.code.Worse(cli.Unknown))
}

// changed is the line of a task that has ended.
func (r *report) changed(i int, t *cli.Task) string {
	r.there[i].seen = *t
	if !t.Status.Terminal() {
		return ""
	}
	r.code = r.code.Worse(t.Code())
	if r.options.json {
		return cli.JSON(r.answerOf(i, "ended"))
	}
	return t.Line(r.std.Now())
}

func (r *report) answerOf(i int, outcome string) answer {
	t := &r.there[i]
	a := answer{Line: t.line, ID: t.id, Type: t.typ, Outcome: outcome}
	if t.seen.ID != "" {
		a.Task = &t.seen
	}
	return a
}

// detached says that tasks go on, and how to find them again.
func (r *report) detached(f *cli.Following, why error) {
	left := f.Left()
	if len(left) == 0 {
		return // the last one ended at the same moment
	}
	r.code = r.code.Worse(cli.Unknown)
	ids := make([]string, len(left))
	for k, i := range left {
		ids[k] = r.there[i].id
		if r.options.json {
			r.json(r.answerOf(i, "waiting"))
		}
	}
	how := "stopped waiting"
	if errors.Is(why, context.DeadlineExceeded) {
		how = "the timeout is over"
	}
	if len(r.there) == 1 {
		r.say("%s: the task goes on", how)
	} else {
		r.say("%s: %s of %s not ended and on the way", how, cli.Thousands(len(left)), cli.Count(len(r.there), "task"))
	}
	r.std.Advise(ids, r.there[left[0]].typ, r.given)
}

// end says how it all went, and is the exit status.
func (r *report) end() error {
	r.progress.Clear()
	if r.options.file != "" && !r.options.json {
		fmt.Fprintf(r.std.Err, "%s%s\n", r.sum(), r.outcomes())
	}
	return cli.End(r.code)
}

// outcomes tells how many of the tasks that were waited for ended how.
func (r *report) outcomes() string {
	counts := map[task.Status]int{}
	for i := range r.there {
		if s := r.there[i].seen.Status; s.Terminal() {
			counts[s]++
		}
	}
	var parts []string
	for _, s := range []task.Status{task.Success, task.Failed, task.Cancelled} {
		if counts[s] > 0 {
			parts = append(parts, fmt.Sprintf("; %s %s", cli.Thousands(counts[s]), s))
		}
	}
	return strings.Join(parts, "")
}
