package node

import (
	"context"
	"errors"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// maxInterrupted is how often a run may be cut short by its node (drain, lost
// lease) before the interruption counts as a failed attempt.
const maxInterrupted = 10

// outcome is what a run's end means for its task.
type outcome struct {
	status      task.Status // Unassigned: it runs again
	interrupted bool        // runs again at once, and no attempt is counted
	reason      task.Reason // of the dead letter, on Failed
	delay       time.Duration
	err         error
}

// attempts is what the policy needs to know of the run that ended.
type attempts struct {
	attempt     int // that ended, from 1
	max         int
	interrupted int // runs of this attempt that were cut short before
}

// judge reads how a run ended: err is what the worker returned, cause why its
// context ended (nil when it did not). A worker that returns nil has
// succeeded, whatever else was asked of it meanwhile.
func judge(err, cause error, a attempts, policy task.RetryPolicy, random float64) outcome {
	switch {
	case err == nil:
		return outcome{status: task.Success}
	case errors.Is(cause, task.ErrCancelled):
		return outcome{status: task.Cancelled, err: task.ErrCancelled}
	case task.IsPermanent(err):
		return outcome{status: task.Failed, reason: task.PermanentFailure, err: err}
	case interrupts(cause) && a.interrupted < maxInterrupted:
		return outcome{status: task.Unassigned, interrupted: true, err: cause}
	case errors.Is(cause, task.ErrStalled):
		err = cause
	case errors.Is(err, context.Canceled) && cause != nil:
		err = cause
	}
	if a.attempt >= a.max {
		return outcome{status: task.Failed, reason: task.RetriesExhausted, err: err}
	}
	return outcome{status: task.Unassigned, delay: policy.Delay(a.attempt, random), err: err}
}

// interrupts tells whether the node, not the task, ended the run.
func interrupts(cause error) bool {
	return errors.Is(cause, task.ErrDraining) || errors.Is(cause, task.ErrLeaseLost) || errors.Is(cause, task.ErrLeaseUnknown)
}
