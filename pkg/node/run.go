package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/mutant"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// run is one claim of a record by this node, from grant to settlement.
type run struct {
	lease       string
	allocation  int64
	interrupted int       // runs of this attempt that were cut short before
	lost        int       // claims before this one whose holder vanished
	first       time.Time // the task's first failure, if one came before
	granted     time.Time
	started     time.Time // when its worker was called; zero while it waits for one

	traceParent, traceState string // of the attempt's span; its worker's

	execution *task.Execution
	cancel    context.CancelCauseFunc // ends the worker's context; set before it starts
	ctx       context.Context         //nolint:containedctx // one run's own, made at the grant so that a beat can end it before it starts

	mu           sync.Mutex // guards what follows
	asked        time.Time  // of the last beat that was kept: the lease is trusted until asked + trust
	beating      bool       // a beat that names the run is under way
	beaten       bool       // some beat has been kept
	ended        bool       // the worker has returned: no further beat
	resume       func()     // what waits for the beat under way
	checkpointed int        // how often the worker had set one at the last beat that was kept
	carried      int        // and at the beat under way
	ignored      bool       // it was told to stop and has not: reported once
	stopAt       time.Time  // when it was told to stop
}

func (r *run) hasStarted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.started.IsZero()
}

// wasIgnored tells whether the worker outlived its patience.
func (r *run) wasIgnored() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ignored
}

// unconfirmed is how long ago the lease was last asked for and kept.
func (r *run) unconfirmed(now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return now.Sub(r.asked)
}

// due tells whether the lease wants renewal, and if so marks the run as beating.
func (r *run) due(now time.Time, every time.Duration) (task.Report, bool) {
	report := r.execution.Report()
	r.mu.Lock()
	defer r.mu.Unlock()
	since := now.Sub(r.asked)
	first := report.Active && !r.beaten && since >= every/5
	if r.ended || r.beating || since < every && !first {
		return report, false
	}
	r.beating = true
	return report, true
}

// hold marks the run as beating, unless it is; unsaved tells that its worker
// has set a checkpoint since the last beat that was kept.
func (r *run) hold() (held, unsaved bool) {
	report := r.execution.Report()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.beating || report.Checkpointed == r.checkpointed {
		return false, report.Checkpointed > r.checkpointed
	}
	r.beating = true
	return true, true
}

// advanced tells whether the worker has set a checkpoint since the last beat
// that was kept; the caller's beat carries it.
func (r *run) advanced(report task.Report) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.carried = report.Checkpointed
	return r.carried > r.checkpointed
}

// kept notes that a beat sent at asked has renewed the lease.
func (r *run) kept(asked time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked, r.beaten, r.checkpointed = asked, true, r.carried
}

// stop ends the worker's context with a cause, once.
func (r *run) stop(cause error, now time.Time) {
	r.mu.Lock()
	if r.stopAt.IsZero() {
		r.stopAt = now
	}
	r.mu.Unlock()
	r.cancel(cause)
}

// whenQuiet calls next once no beat names the run any more: at once, or when
// the beat under way has been answered. That answer is about this run; once it is
// settled the record has no run, or another one.
func (r *run) whenQuiet(next func()) {
	r.mu.Lock()
	r.ended = true
	if r.beating && !mutant.On("a settlement does not wait for the beat") {
		r.resume = next
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	next()
}

// begin prepares a granted record's run.
func (l *lane) begin(r *record, a claims.Answer, asked time.Time) {
	checkpoint := r.Checkpoint
	run := &run{lease: a.Lease, allocation: a.AllocationID, asked: asked, granted: asked}
	if s := a.State; s != nil {
		run.interrupted, run.lost, run.first = s.Interrupted, s.Lost, s.FirstFailure
		if s.Checkpoint != nil {
			checkpoint = s.Checkpoint
		}
	}
	log := slog.New(&runHandler{l.log.Handler(), r, a.AllocationID})
	run.traceParent, run.traceState = r.TraceParent, r.TraceState
	run.execution = task.NewExecution(r.Envelope, r.Params, a.AllocationID, checkpoint, log)
	run.execution.SetFamily(family{l.svc, r})
	run.ctx, run.cancel = context.WithCancelCause(l.svc.work)
	r.run = run
	if r.leased.IsZero() {
		r.leased = asked
	}
}

// worker runs granted records until there are no more.
func (l *lane) worker() {
	for r := range l.granted {
		l.execute(r)
	}
}

// execute runs one granted record and hands what came of it to the settler.
func (l *lane) execute(r *record) {
	run := r.run
	started := time.Now()
	run.mu.Lock()
	run.started = started
	run.mu.Unlock()
	// The process stood still meanwhile: a guarded run may go on without its lease, but not begin.
	if !mutant.On("a run begins without its lease") && run.unconfirmed(started) > l.svc.claims.Config().Trust {
		run.stop(task.ErrLeaseUnknown, started)
	}
	err := context.Cause(run.ctx) // already told to stop while it waited
	if err == nil {
		ctx, end := l.svc.traces.attempt(run.ctx, r)
		err = l.def.Do(ctx, run.execution)
		end(err)
	}
	if errors.Is(err, syscall.ENOSPC) {
		l.svc.ranOutOfDisk(err)
	}
	cause := context.Cause(run.ctx)
	l.svc.cfg.reach("run.ended")
	run.cancel(nil)
	l.note(note{kind: slotFreed, record: r, took: time.Since(started)})
	v := task.Judge(err, cause, task.Tries{Attempt: r.Attempt, Max: l.maxAttempts(r), Interrupted: run.interrupted}, l.def.Retry, l.svc.random())
	l.metrics.ended(v, time.Since(started))
	run.whenQuiet(func() { l.svc.settler.add(r, v) })
}

// maxAttempts is the task's own limit, or its type's.
func (l *lane) maxAttempts(r *record) int {
	if r.MaxAttempts > 0 {
		return r.MaxAttempts
	}
	return l.def.Retry.MaxAttempts
}

// explain says in one line why an unsettled task waits.
func explain(r *record, v task.Verdict, note string, limit int) string {
	switch {
	case v.Waiting:
		return "waits for its children: " + note
	case v.Interrupted:
		return fmt.Sprintf("attempt %d was interrupted (%v): free to run again", r.Attempt, v.Err)
	case v.Status == task.Unassigned:
		return task.Cut(fmt.Sprintf("attempt %d of %d in %s: %v", r.Attempt+1, limit, v.Delay.Round(time.Millisecond), v.Err))
	default:
		return ""
	}
}
