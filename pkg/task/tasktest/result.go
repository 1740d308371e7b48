package tasktest

import (
	"context"
	"encoding/json"
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
	Waiting     Outcome = "waiting"     // runs again when its children have ended
)

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
	case Waiting:
	default:
		return r
	}
	next.allocation++
	next.checkpoint = r.Report.Checkpoint
	return next.do(ctx, options)
}

// judge reads how the run ended, by the rules of a node.
func (r run) judge(policy task.RetryPolicy, err, cause error, report task.Report) Result {
	v := task.Judge(err, cause, task.Tries{Attempt: r.attempt, Max: r.maxAttempts, Interrupted: r.interrupted}, policy, 0)
	result := Result{Err: err, Cause: cause, Report: report, Params: r.params, run: r, Reason: v.Reason, Delay: v.Delay}
	switch {
	case v.Status == task.Success:
		result.Outcome = Success
	case v.Status == task.Failed:
		result.Outcome = DeadLetter
	case v.Status == task.Cancelled:
		result.Outcome = Cancelled
	case v.Interrupted:
		result.Outcome = Interrupted
	case v.Waiting:
		result.Outcome = Waiting
	default:
		result.Outcome = Retry
	}
	return result
}
