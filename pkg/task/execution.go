package task

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"sync"
	"time"
)

// Run is one run of a task whose parameters are a P.
type Run[P any] struct {
	*Execution
	Params P
}

// Execution is one run of a task, as its worker sees it. Its methods are safe
// for concurrent use; none of them blocks: what they report travels with the
// next beat.
type Execution struct {
	ID      string
	Type    string
	Attempt int // from 1
	Replay  int // from 0
	// AllocationID is the fencing token: higher than that of every earlier
	// run of the task, unless Redis lost all its data since and its clock is
	// behind by now.
	AllocationID int64
	OpaqueID     string
	Raw          []byte       // the parameters as submitted
	Log          *slog.Logger // with the task's id, never nil

	family Family

	mu     sync.Mutex
	report Report
}

// Report is what a run has told so far.
type Report struct {
	Active       bool      // the worker has reported at least once
	Fraction     float64   // 0 to 1
	Note         string    // what it is doing, for people
	ReportedAt   time.Time // last Progress or Checkpoint
	Checkpoint   []byte    // nil: none in this run and none inherited
	Checkpointed int       // how often this run has set it
	Result       json.RawMessage
	BytesMoved   int64
}

// NewExecution is for nodes and tests: checkpoint is what the run before left, or nil.
func NewExecution(e Envelope, params []byte, allocation int64, checkpoint []byte, log *slog.Logger) *Execution {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Execution{
		ID: e.ID, Type: e.Type, Attempt: e.Attempt, Replay: e.Replay, OpaqueID: e.OpaqueID,
		AllocationID: allocation, Raw: params, Log: log,
		report: Report{Checkpoint: checkpoint, ReportedAt: time.Now()},
	}
}

// Progress says how far the run is (0 to 1; no number counts as 0) and what it
// does now. It also proves that the run is not stalled.
func (x *Execution) Progress(fraction float64, note string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.report.Active, x.report.ReportedAt = true, time.Now()
	if math.IsNaN(fraction) { // 0 of 0 done
		fraction = 0
	}
	x.report.Fraction, x.report.Note = min(max(fraction, 0), 1), Cut(note)
}

// Checkpoint keeps v, as JSON, for a later run of the task: on this node or
// on another, after a failure, a crash or a drain. It is stored with the next
// beat, so a crash may lose the last few seconds' one. More than
// [MaxCheckpointBytes] is an error and keeps the one before.
func (x *Execution) Checkpoint(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode checkpoint: %w", err)
	}
	if len(b) > MaxCheckpointBytes {
		return fmt.Errorf("%w: a checkpoint of %d bytes, at most %d", ErrInvalid, len(b), MaxCheckpointBytes)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.report.Active, x.report.ReportedAt = true, time.Now()
	x.report.Checkpoint = b
	x.report.Checkpointed++
	return nil
}

// Resume reads the newest checkpoint into *v and tells whether there is one. A
// checkpoint that does not decode counts as none: a warning says why, *v is
// its zero value, and the run starts over.
func (x *Execution) Resume(v any) bool {
	x.mu.Lock()
	b := x.report.Checkpoint
	x.mu.Unlock()
	if b == nil {
		return false
	}
	if err := json.Unmarshal(b, v); err != nil {
		x.Log.Warn("checkpoint does not decode, the run starts over", "error", err)
		reflect.ValueOf(v).Elem().SetZero()
		return false
	}
	return true
}

// ReportEvery calls report once a period, for workers whose progress is
// counted elsewhere, until stop, which calls it for the last time. Calls do not
// overlap.
func (x *Execution) ReportEvery(period time.Duration, report func()) (stop func()) {
	over := make(chan struct{})
	var reporting sync.WaitGroup
	reporting.Go(func() {
		ticker := time.NewTicker(period)
		defer ticker.Stop()
		for {
			select {
			case <-over:
				report()
				return
			case <-ticker.C:
				report()
			}
		}
	})
	return func() {
		close(over)
		reporting.Wait()
	}
}

// SetResult leaves v, as JSON, for listeners and for whoever asks for the
// task's state; the last one counts, and only when the task succeeds.
func (x *Execution) SetResult(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	if len(b) > MaxResultBytes {
		return fmt.Errorf("%w: a result of %d bytes, at most %d: put it into a store and return its key", ErrInvalid, len(b), MaxResultBytes)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.report.Result = b
	return nil
}

// Moved counts bytes that went to or came from the remote store.
func (x *Execution) Moved(bytes int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.report.BytesMoved += bytes
}

// Report is what the run has told so far.
func (x *Execution) Report() Report {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.report
}
