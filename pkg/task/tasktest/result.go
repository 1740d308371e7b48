package tasktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Outcome is what a node makes of a run's end.
type Outcome string

// Every outcome.
const (
	Refused     Outcome = "refused"     // never accepted: Submit would return Err
	Success     Outcome = "success"     // SUCCESS
	Retry       Outcome = "retry"       // another attempt follows, after Delay
	DeadLetter  Outcome = "dead letter" // FAILED; Reason says why
	Cancelled   Outcome = "cancelled"   // CANCELLED
	Interrupted Outcome = "interrupted" // free again at once; the attempt does not count
)

// maxInterrupted is how often a run may be interrupted before that counts.
const maxInterrupted = 10

// Result of one run.
type Result struct {
	Outcome Outcome
	// Err is what the worker returned, a [task.PanicError] when it panicked,
	// or why the task was refused.
	Err error
	// Cause is why the context had ended when the worker returned; nil when it
	// had not.
	Cause  error
	Reason task.Reason   // of the dead letter
	Delay  time.Duration // before the retry, the shortest that chance allows
	Report task.Report   // progress, checkpoint, result, bytes moved
	Params []byte        // as a record carries them

	run run
}

// ReadResult decodes what the worker left by SetResult.
func (r Result) ReadResult(v any) error { return read("result", r.Report.Result, v) }

// ReadCheckpoint decodes the newest checkpoint: the one that the run inherited
// when it made none itself.
func (r Result) ReadCheckpoint(v any) error { return read("checkpoint", r.Report.Checkpoint, v) }

func read(what string, b []byte, v any) error {
	if b == nil {
		return fmt.Errorf("the run left no %s", what)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decode %s: %w", what, err)
	}
	return nil
}

// Again is the run that follows on this one, at once: the same task with the
// checkpoint that was left and a higher allocation id, and as the next attempt
// unless this one does not count. No run follows on a task that has ended or
// was refused: Again returns r.
func (r Result) Again(ctx context.Context, options ...Option) Result {
	next := r.run
	switch r.Outcome {
	case Retry:
		next.attempt++
		next.interrupted = 0
	case Interrupted:
		next.interrupted++
	default:
		return r
	}
	next.allocation++
	next.checkpoint = r.Report.Checkpoint
	return next.do(ctx, options)
}

// judge reads how the run ended, by the rules of a node.
func (r run) judge(policy task.RetryPolicy, err, cause error, report task.Report) Result {
	result := Result{Err: err, Cause: cause, Report: report, Params: r.params, run: r}
	switch {
	case err == nil:
		result.Outcome = Success
	case errors.Is(cause, task.ErrCancelled):
		result.Outcome = Cancelled
	case task.IsPermanent(err):
		result.Outcome, result.Reason = DeadLetter, task.PermanentFailure
	case interrupts(cause) && r.interrupted < maxInterrupted:
		result.Outcome = Interrupted
	case r.attempt >= r.maxAttempts:
		result.Outcome, result.Reason = DeadLetter, task.RetriesExhausted
	default:
		result.Outcome, result.Delay = Retry, policy.Delay(r.attempt, 0)
	}
	return result
}

// interrupts tells whether the node, not the task, ended the run.
func interrupts(cause error) bool {
	return errors.Is(cause, task.ErrDraining) || errors.Is(cause, task.ErrLeaseLost) || errors.Is(cause, task.ErrLeaseUnknown)
}
