package node

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/mutant"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// settler writes how runs ended. It has no timer: whatever gathered while the
// last call was under way goes into the next one, so an idle node settles at
// once and a busy one in large calls.
type settler struct {
	svc *Service

	mu      sync.Mutex
	waiting []ended
	marks   []claims.Mark
	after   []func() // called once the marks are written
	nudge   chan struct{}
}

// ended is a run whose end is to be written.
type ended struct {
	record  *record
	verdict task.Verdict
	at      time.Time
}

func newSettler(svc *Service) *settler {
	return &settler{svc: svc, nudge: make(chan struct{}, 1)}
}

// add hands a run's end over; no beat names it any more.
func (s *settler) add(r *record, v task.Verdict) {
	s.mu.Lock()
	s.waiting = append(s.waiting, ended{r, v, time.Now()})
	s.mu.Unlock()
	s.wake()
}

// mark tells, in time, that what a settlement or hop owed is published, and
// then calls after, which may be nil.
func (s *settler) mark(m claims.Mark, after func()) {
	s.mu.Lock()
	s.marks = append(s.marks, m)
	if after != nil {
		s.after = append(s.after, after)
	}
	s.mu.Unlock()
	s.wake()
}

func (s *settler) wake() {
	select {
	case s.nudge <- struct{}{}:
	default:
	}
}

// run settles until ctx ends, and then writes the marks that are left: a copy
// that another node has parked would else publish again.
func (s *settler) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
			s.flush(last)
			cancel()
			return nil
		case <-s.nudge:
			s.flush(ctx)
		}
	}
}

// flush writes what has gathered.
func (s *settler) flush(ctx context.Context) {
	s.mu.Lock()
	batch, marks, after := s.waiting, s.marks, s.after
	s.waiting, s.marks, s.after = nil, nil, nil
	s.mu.Unlock()
	if len(batch) > 0 {
		s.settle(ctx, batch)
	}
	if len(marks) > 0 {
		s.publish(ctx, marks)
	}
	for _, f := range after {
		f()
	}
}

// settle writes a batch and sets off what each answer owes. It repeats the
// call until Redis answers: a settlement may be repeated, and what a run did
// must not be forgotten because Redis was away for a while.
func (s *settler) settle(ctx context.Context, batch []ended) {
	s.svc.cfg.reach("settle")
	calls := make([]claims.Settlement, len(batch))
	for i := range batch {
		calls[i] = s.settlement(&batch[i])
	}
	var answers []claims.SettleAnswer
	err := retry(ctx, func(ctx context.Context) (err error) {
		answers, err = s.svc.claims.Settle(ctx, calls)
		if err != nil {
			s.svc.log.Warn("settlement failed: it is repeated until Redis answers", "error", err, "tasks", len(calls))
		}
		return err
	})
	if err != nil {
		return // the process ends; the leases run out and the tasks run again
	}
	s.svc.cfg.reach("settled")
	for i := range batch {
		s.answered(&batch[i], &calls[i], answers[i])
	}
}

func (s *settler) settlement(e *ended) claims.Settlement {
	r, run, v := e.record, e.record.run, e.verdict
	report := run.execution.Report()
	info := s.svc.info(r, report)
	c := claims.Settlement{
		ID: r.ID, Lease: run.lease, Status: v.Status,
		Replay: r.Replay, Attempt: r.Attempt, Hop: r.Hop, NotBefore: r.NotBefore,
		Interrupted: v.Interrupted, Waiting: v.Waiting, Reason: v.Reason, ParamsHash: r.hash,
		Fresh: e.at.Sub(run.granted) < s.svc.claims.Config().Retention/2,
		Wake:  r.copiesAround() || task.Parent(r.ID) != "",
	}
	switch {
	case v.Status.Terminal():
		info.CompletedAt = e.at
		info.Checkpoint = nil
		if v.Status == task.Success {
			info.Fraction, info.Result = 1, report.Result
		}
	case !v.Interrupted && !v.Waiting:
		c.Attempt, c.Hop = r.Attempt+1, 0
		c.NotBefore = e.at.Add(v.Delay)
	}
	if v.Err != nil && !v.Waiting {
		info.Error, info.Class = task.Cut(v.Err.Error()), task.Class(v.Err)
		if info.FirstFailure.IsZero() && !v.Interrupted {
			info.FirstFailure = e.at
		}
	}
	info.Explanation = explain(r, v, report.Note, r.lane.maxAttempts(r))
	c.Info = info.Encode()
	return c
}

func (s *settler) answered(e *ended, c *claims.Settlement, a claims.SettleAnswer) {
	r, run := e.record, e.record.run
	s.svc.beats.remove(r)
	if a.Verdict == claims.Stale && mutant.On("stale settlements are published") {
		a.Verdict, a.Status = claims.Done, e.verdict.Status
	}
	switch {
	case a.Verdict == claims.Unsettled:
		s.svc.log.Error("settlement refused: the task is asked for again", "error", a.Err, "task_id", r.ID)
		r.lane.askAgain(r, time.Second)
	case a.Verdict == claims.Stale:
		s.svc.log.Warn("settlement is stale: another claim decides", "task_id", r.ID, "allocation_id", run.allocation)
		s.svc.metrics.stale.Add(s.svc.work, 1)
		r.lane.askAgain(r, 0)
	case a.Status.Terminal():
		if a.Status != e.verdict.Status { // a cancel request won
			e.verdict = task.Verdict{Status: a.Status, Err: task.ErrCancelled}
		}
		letter := letterOf(e) // without a mark its replay would publish it once more
		s.svc.effects.terminal(r, s.svc.eventOf(e), c.Hop, letter, mark{allocation: run.allocation, needed: letter != nil || r.copiesAround()})
	case e.verdict.Waiting:
		checkpoint := run.execution.Report().Checkpoint
		r.begun = r.startedAt(run.started)
		r.planned = !bytes.Equal(checkpoint, r.Checkpoint)
		r.Checkpoint = checkpoint
		r.lane.note(note{kind: awaits, record: r})
	case e.verdict.Interrupted:
		r.lane.askAgain(r, 0)
	default:
		next := r.Delivery
		next.Attempt, next.Hop, next.NotBefore = c.Attempt, c.Hop, c.NotBefore
		next.Checkpoint = run.execution.Report().Checkpoint
		s.svc.effects.hop(r, next, mark{allocation: run.allocation, needed: r.copiesAround()})
	}
}

// publish writes the published marks. They only save repeats, so a failure is
// not repeated; but the end of a drain does not cut it off.
func (s *settler) publish(ctx context.Context, marks []claims.Mark) {
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(flushTimeout, s.svc.claims.Config().Beat))
	defer cancel()
	if err := s.svc.claims.Published(call, marks); err != nil {
		s.svc.log.Debug("published marks not written: copies of these tasks will publish again", "error", err, "tasks", len(marks))
	}
}

// retry calls f until it succeeds or ctx ends, pausing a little longer each time.
func retry(ctx context.Context, f func(context.Context) error) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}
