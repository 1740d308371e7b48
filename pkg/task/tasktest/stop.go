package tasktest

import (
	"context"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// stop ends a run's context with its cause.
type stop struct {
	cause error
	// wait is how long to wait before asking again, given what the run has
	// told and how long it runs; 0 or less: stop now.
	wait func(report task.Report, ran time.Duration) time.Duration
}

// pollEvery is how often conditions on reports are asked.
const pollEvery = time.Millisecond

// stalled ends a run as a node does that hears nothing from its worker.
func stalled(after time.Duration) stop {
	return stop{task.ErrStalled, func(report task.Report, _ time.Duration) time.Duration {
		return after - time.Since(report.ReportedAt)
	}}
}

// due is how long until a stop may be due, or the cause of the first that is.
func due(stops []stop, report task.Report, ran time.Duration) (next time.Duration, cause error) {
	next = -1
	for _, s := range stops {
		wait := s.wait(report, ran)
		if wait <= 0 {
			return 0, s.cause
		}
		if next < 0 || wait < next {
			next = wait
		}
	}
	return next, nil
}

// watch cancels when a stop is due, and returns when ctx ends.
func watch(ctx context.Context, cancel context.CancelCauseFunc, stops []stop, x *task.Execution, began time.Time) {
	for len(stops) > 0 {
		next, cause := due(stops, x.Report(), time.Since(began))
		if cause != nil {
			cancel(cause)
			return
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}
