package tasktest

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Option changes a run.
type Option func(*run)

// ID names the task; a random id unless set.
func ID(id string) Option {
	return func(r *run) {
		if err := task.ValidateID(id); err != nil {
			r.err = err
		}
		r.envelope.ID = id
	}
}

// Attempt is the number of the run, from 1; 1 unless set.
func Attempt(n int) Option { return func(r *run) { r.attempt = n } }

// Replay is how often the task was redriven before; 0 unless set.
func Replay(n int) Option { return func(r *run) { r.replay = n } }

// MaxAttempts replaces the limit of the type's policy.
func MaxAttempts(n int) Option { return func(r *run) { r.maxAttempts = n } }

// AllocationID is the fencing token; 1 unless set.
func AllocationID(id int64) Option { return func(r *run) { r.allocation = id } }

// Checkpoint is what an earlier run left: a value, or bytes as they are.
func Checkpoint(v any) Option {
	return func(r *run) {
		switch b := v.(type) {
		case []byte:
			r.checkpoint = b
			return
		case json.RawMessage:
			r.checkpoint = b
			return
		}
		encoded, err := json.Marshal(v)
		if err != nil {
			r.err = fmt.Errorf("encode checkpoint: %w", err)
		}
		r.checkpoint = encoded
	}
}

// StopAfter ends the run's context after a time, with a cause: one of
// [task.ErrCancelled], [task.ErrDraining], [task.ErrLeaseLost] and their like.
// After 0 the worker is not even started.
func StopAfter(after time.Duration, cause error) Option {
	return func(r *run) {
		r.stops = append(r.stops, stop{cause, func(_ task.Report, ran time.Duration) time.Duration { return after - ran }})
	}
}

// StopWhen ends the run's context with a cause soon after its report fulfils a
// condition, such as a first checkpoint.
func StopWhen(fulfils func(task.Report) bool, cause error) Option {
	return func(r *run) {
		r.stops = append(r.stops, stop{cause, func(report task.Report, _ time.Duration) time.Duration {
			if fulfils(report) {
				return 0
			}
			return pollEvery
		}})
	}
}

// Children answers for the children that the worker has submitted: how one is
// when a later run asks for it; nil when it waits.
func Children(answer func(child task.Submission) *task.ChildState) Option {
	return func(r *run) { r.family = &family{answer: answer, submitted: map[string]task.Submission{}} }
}

// Log is what the worker logs to; nowhere unless set.
func Log(log *slog.Logger) Option { return func(r *run) { r.log = log } }
