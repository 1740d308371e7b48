package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Following is how far tasks are that somebody waits for.
type Following struct {
	Tasks []client.Awaited
	// Last is what was seen of each; the zero Task: nothing yet.
	Last []Task

	std      *IO
	progress *Progress
	started  time.Time
	ended    int
	failed   int
	running  int
}

// Follow waits until tasks have ended and asks changed, for every state of
// each, for a line to print; "" prints none. Where a person watches, a line on
// standard error shows how far they are. The error is ctx's.
func Follow(ctx context.Context, std *IO, c *client.Client, tasks []client.Awaited, changed func(i int, t *Task) string) (*Following, error) {
	f := &Following{
		Tasks: tasks, Last: make([]Task, len(tasks)),
		std: std, progress: NewProgress(std), started: std.Now(),
	}
	type update struct {
		i int
		s *claims.State
	}
	updates := make(chan update)
	var err error
	go func() {
		defer close(updates)
		err = c.WaitAll(ctx, tasks, func(i int, s *claims.State) { updates <- update{i, s} })
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	defer f.progress.Clear()
	for {
		select {
		case u, more := <-updates:
			if !more {
				return f, err
			}
			f.note(u.i, TaskOf(u.s))
			if line := changed(u.i, &f.Last[u.i]); line != "" {
				f.progress.Clear()
				fmt.Fprintln(std.Out, line)
			}
		case <-tick.C:
		}
		if f.ended < len(tasks) {
			f.progress.Show(f.says())
		}
	}
}

// Left are the places of tasks that have not ended.
func (f *Following) Left() (left []int) {
	for i := range f.Last {
		if !f.Last[i].Status.Terminal() {
			left = append(left, i)
		}
	}
	return left
}

// note counts a state in and the one before it out.
func (f *Following) note(i int, t Task) {
	f.count(&f.Last[i], -1)
	f.Last[i] = t
	f.count(&t, +1)
}

func (f *Following) count(t *Task, by int) {
	switch t.Status {
	case task.Success, task.Cancelled:
		f.ended += by
	case task.Failed:
		f.ended += by
		f.failed += by
	case task.Assigned, task.Active:
		f.running += by
	default:
	}
}

// says is the line of progress.
func (f *Following) says() string {
	took := Ago(f.std.Now().Sub(f.started))
	if len(f.Last) == 1 {
		return join("  ", f.Last[0].progress(), took)
	}
	parts := []string{fmt.Sprintf("%s of %s ended", Thousands(f.ended), Thousands(len(f.Last)))}
	if f.failed > 0 {
		parts = append(parts, Thousands(f.failed)+" failed")
	}
	if f.running > 0 {
		parts = append(parts, Thousands(f.running)+" running")
	}
	return Bar(float64(f.ended)/float64(len(f.Last)), 20) + " " + strings.Join(parts, ", ") + "  " + took
}

// progress is what one task does now.
func (t *Task) progress() string {
	switch t.Status {
	case task.Active:
		return join("  ", fmt.Sprintf("%s %3d%% %s", Bar(t.Fraction, 20), int(t.Fraction*100), t.Note), t.Node)
	case task.Assigned:
		return "claimed by " + t.Node
	case task.Unassigned:
		return join(": ", t.cancelling(), t.Explanation)
	default:
		return "waits to be seen"
	}
}

// Advise tells on standard error how tasks that go on can be followed and
// cancelled; given is what [Given] says.
func (std *IO) Advise(ids []string, typ, given string) {
	ctl := "offlinectl" + given
	switch few := len(ids) <= 3; {
	case few:
		list := strings.Join(ids, " ")
		fmt.Fprintf(std.Err, "  follow  %s tasks watch %s\n  cancel  %s tasks cancel %s\n", ctl, list, ctl, list)
	case typ != "":
		fmt.Fprintf(std.Err, "  look    %s tasks list --type %s --status UNASSIGNED,ASSIGNED,ACTIVE\n", ctl, typ)
	default:
		fmt.Fprintf(std.Err, "  look    %s tasks list --status UNASSIGNED,ASSIGNED,ACTIVE\n", ctl)
	}
}
