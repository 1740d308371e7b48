package node

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/mutant"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// effects publishes what a settlement or hop owes, in the one order that
// loses nothing: the state says it is owed, then the dead letter is acked, then
// the event (or the next record), then the old record is finished, and last the
// state is marked as published. A crash between any two of these leaves a
// record that asks again and is answered "owed".
type effects struct{ svc *Service }

// mark says what to write when all is acked.
type mark struct {
	allocation int64
	// needed: a copy of the record may be around; else the commit will do.
	needed bool
	// anew: the record is of a higher replay and had to publish what the last
	// one owed. It is not finished but asks again, once the mark is written.
	anew bool
}

// terminal publishes a terminal status.
func (f effects) terminal(r *record, event task.Event, hop int, letter *task.Letter, m mark) {
	publish := func() {
		f.svc.cfg.reach("event")
		f.event(event, func() {
			f.svc.cfg.reach("event.acked")
			if letter != nil && mutant.On("event before dead letter") {
				f.letter(r.Delivery, *letter, func() {})
			}
			f.finish(r, claims.Mark{ID: r.ID, Replay: event.Replay, Attempt: event.Attempt, Hop: hop, AllocationID: m.allocation, Status: event.Status}, m)
		})
	}
	if letter == nil || mutant.On("event before dead letter") {
		publish()
		return
	}
	d := r.Delivery
	d.Replay, d.Attempt = event.Replay, event.Attempt
	f.letter(d, *letter, publish)
}

// hop publishes the task's next record and finishes this one.
func (f effects) hop(r *record, next task.Delivery, m mark) {
	f.svc.cfg.reach("hop")
	if mutant.On("finished before the next record is acknowledged") {
		r.lane.finish(r)
	}
	f.svc.queue.Hop(next, func(err error) {
		f.svc.cfg.reach("hop.acked")
		switch {
		case err == nil:
			f.finish(r, claims.Mark{ID: r.ID, Replay: next.Replay, Attempt: next.Attempt, Hop: next.Hop, AllocationID: m.allocation, Status: task.Unassigned}, m)
		case errors.Is(err, kafkaqueue.ErrRefused):
			f.svc.log.Error("hop refused for good: the task becomes a dead letter", "error", err, "task_id", r.ID)
			r.lane.bury(r, task.Unroutable, err)
		}
	})
}

// buried publishes what the state of a record owes that no lane has.
func (f effects) buried(d task.Delivery, s *claims.State, done func()) {
	if !s.Status.Terminal() {
		f.svc.queue.Hop(owedHop(d, s), func(err error) {
			if err == nil {
				done()
			}
		})
		return
	}
	publish := func() { f.event(owedEvent(&d, s), done) }
	if letter := owedLetter(s); letter != nil {
		f.letter(d, *letter, publish)
		return
	}
	publish()
}

// conflict sets a record aside whose id another task has. No event: the
// first task goes on.
func (f effects) conflict(r *record) {
	letter := task.Letter{
		Reason: task.IDConflict, Message: "another task with other parameters has this id",
		LastFailure: time.Now(), Node: f.svc.cfg.Name, Attempts: r.Attempt,
	}
	f.letter(r.Delivery, letter, func() {
		f.svc.metrics.letters.Add(f.svc.work, 1)
		r.lane.finish(r)
	})
}

// finish ends a record whose effects are acked.
func (f effects) finish(r *record, published claims.Mark, m mark) {
	switch {
	case m.anew:
		if mutant.On("a replay takes what was owed for its own") {
			break
		}
		f.svc.settler.mark(published, func() { r.lane.askAgain(r, 0) })
		return
	case m.needed && !mutant.On("nothing is marked as published"):
		f.svc.settler.mark(published, nil)
	}
	r.lane.finish(r)
}

// event publishes until acked. An event that Kafka refuses for good (no right
// to write, no such topic) holds its record open and is tried again: nothing
// but a person can help, and nothing may be lost meanwhile.
func (f effects) event(e task.Event, acked func()) {
	f.svc.queue.Event(e, func(err error) {
		switch {
		case err == nil:
			acked()
		case errors.Is(err, kafkaqueue.ErrRefused):
			f.svc.log.Error("completion event refused: check the results topic and its rights; it is tried again", "error", err, "task_id", e.TaskID)
			time.AfterFunc(refusedPause, func() { f.event(e, acked) })
		}
	})
}

// letter publishes a dead letter until acked, as event does.
func (f effects) letter(d task.Delivery, l task.Letter, acked func()) {
	f.svc.queue.DeadLetter(d, l, func(err error) {
		switch {
		case err == nil:
			acked()
		case errors.Is(err, kafkaqueue.ErrRefused):
			f.svc.log.Error("dead letter refused: check the dead-letter topic and its rights; it is tried again", "error", err, "task_id", d.ID)
			time.AfterFunc(refusedPause, func() { f.letter(d, l, acked) })
		}
	})
}

// refusedPause is how long what Kafka refused for good waits to be tried again.
const refusedPause = 10 * time.Second

// eventOf tells how a run ended.
func (s *Service) eventOf(e *ended) task.Event {
	r, run := e.record, e.record.run
	report := run.execution.Report()
	event := task.Event{
		TaskID: r.ID, Type: r.Type, Status: e.verdict.Status, Replay: r.Replay, Attempt: r.Attempt,
		AllocationID: run.allocation, Parent: task.Parent(r.ID), Node: s.cfg.Name,
		SubmittedAt: r.SubmittedAt, StartedAt: r.startedAt(run.started), CompletedAt: e.at,
		BytesMoved: report.BytesMoved, Reason: e.verdict.Reason, OpaqueID: r.OpaqueID,
		TraceParent: run.traceParent, TraceState: run.traceState,
	}
	if e.verdict.Status == task.Success {
		event.Result = report.Result
	} else if e.verdict.Err != nil {
		event.Error = task.Cut(e.verdict.Err.Error())
	}
	return event
}

// letterOf is the dead letter that goes with a failed run, or nil.
func letterOf(e *ended) *task.Letter {
	if e.verdict.Status != task.Failed {
		return nil
	}
	r, s := e.record, e.record.lane.svc
	letter := &task.Letter{
		Reason: e.verdict.Reason, Class: task.Class(e.verdict.Err), Message: task.Cut(e.verdict.Err.Error()),
		FirstFailure: r.run.first, LastFailure: e.at, Node: s.cfg.Name, Attempts: r.Attempt, Lost: r.run.lost,
	}
	if letter.FirstFailure.IsZero() {
		letter.FirstFailure = e.at
	}
	return letter
}

// owedEvent tells again what a state says: its publisher may have died.
func owedEvent(d *task.Delivery, s *claims.State) task.Event {
	e := s.Event()
	e.Type, e.SubmittedAt, e.Error, e.Repeat = d.Type, d.SubmittedAt, owedError(s), true
	e.OpaqueID, e.TraceParent, e.TraceState = d.OpaqueID, d.TraceParent, d.TraceState
	return e
}

// owedHop is the next record that a state owes.
func owedHop(d task.Delivery, s *claims.State) task.Delivery {
	d.Replay, d.Attempt, d.Hop, d.NotBefore = s.Replay, s.Attempt, s.Hop, s.NotBefore
	if s.Checkpoint != nil {
		d.Checkpoint = s.Checkpoint
	}
	return d
}

// owedLetter is the dead letter that a state owes, or nil.
func owedLetter(s *claims.State) *task.Letter {
	if s.Status != task.Failed {
		return nil
	}
	return &task.Letter{
		Reason: s.Reason, Class: s.Class, Message: owedError(s), FirstFailure: s.FirstFailure,
		LastFailure: s.At, Node: s.Node, Attempts: s.Attempt, Lost: s.Lost,
	}
}

// owedError words what a script settled by itself; else the error that the
// last run left.
func owedError(s *claims.State) string {
	switch {
	case s.Status == task.Success:
		return ""
	case s.Reason == task.WorkerLost:
		return task.Cut(fmt.Sprintf("%d claims in a row vanished without an outcome, the last on %s: the task seems to kill its worker. %s", s.Lost, cmp.Or(s.Node, "an unknown node"), s.Error))
	case s.Reason == task.Expired:
		return "the deadline " + s.Deadline.Format(time.RFC3339) + " passed before it could start"
	case s.Status == task.Cancelled:
		return task.ErrCancelled.Error()
	}
	return s.Error
}
