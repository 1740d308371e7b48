package task

import (
	"context"
	"errors"
	"time"
)

// Verdict is what a run's end means for its task.
type Verdict struct {
	Status Status // Unassigned: it runs again
	// Interrupted: it runs again at once, and no attempt is counted.
	Interrupted bool
	// Waiting: it runs again when its children have ended, and no attempt is counted.
	Waiting bool
	Reason  Reason        // of the dead letter, on Failed
	Delay   time.Duration // before the next attempt
	Err     error
}

// Tries is what the policy needs to know of the run that ended.
type Tries struct {
	Attempt     int // that ended, from 1
	Max         int
	Interrupted int // runs of this attempt that were cut short before
}

// maxInterrupted is how often a run may be cut short by its node (drain, lost
// lease) before the interruption counts as a failed attempt.
const maxInterrupted = 10

// Judge reads how a run ended: err is what the worker returned, cause why its
// context ended (nil when it did not), random a number from 0 to 1 for the jitter of
// the delay. A worker that returns nil has succeeded, whatever else was asked of it
// meanwhile.
func Judge(err, cause error, t Tries, policy RetryPolicy, random float64) Verdict {
	switch {
	case err == nil:
		return Verdict{Status: Success}
	case errors.Is(cause, ErrCancelled):
		return Verdict{Status: Cancelled, Err: ErrCancelled}
	case IsPermanent(err):
		return Verdict{Status: Failed, Reason: PermanentFailure, Err: err}
	case errors.Is(err, ErrWaiting):
		return Verdict{Status: Unassigned, Waiting: true, Err: ErrWaiting}
	case interrupts(cause) && t.Interrupted < maxInterrupted:
		return Verdict{Status: Unassigned, Interrupted: true, Err: cause}
	case errors.Is(cause, ErrStalled):
		err = cause
	case errors.Is(err, context.Canceled) && cause != nil:
		err = cause
	}
	if t.Attempt >= t.Max {
		return Verdict{Status: Failed, Reason: RetriesExhausted, Err: err}
	}
	return Verdict{Status: Unassigned, Delay: policy.Delay(t.Attempt, random), Err: err}
}

// interrupts tells whether the node, not the task, ended the run.
func interrupts(cause error) bool {
	return errors.Is(cause, ErrDraining) || errors.Is(cause, ErrLeaseLost) || errors.Is(cause, ErrLeaseUnknown)
}
