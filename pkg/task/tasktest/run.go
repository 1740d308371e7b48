package tasktest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Run runs one attempt of a task of type typ with the worker that mux has for
// it. It returns when the worker does. params are what Submit would get: a
// value, or bytes as they are.
func Run(ctx context.Context, mux *task.Mux, typ string, params any, options ...Option) Result {
	r := run{mux: mux, attempt: 1, allocation: 1}
	s, err := task.NewSubmission(typ, params)
	if err != nil {
		return Result{Outcome: Refused, Err: err, run: r}
	}
	r.envelope, r.params = s.Envelope, s.Params
	return r.do(ctx, options)
}

// run is what one attempt is made of, and the next one after it.
type run struct {
	mux         *task.Mux
	envelope    task.Envelope
	params      []byte
	attempt     int
	replay      int
	maxAttempts int // 0: the type's own
	interrupted int // runs of this attempt that were cut short before
	allocation  int64
	checkpoint  []byte
	log         *slog.Logger
	family      *family

	stops []stop
	err   error // of an option
}

func (r run) do(ctx context.Context, options []Option) Result {
	r.stops = nil
	for _, option := range options {
		option(&r)
	}
	d := r.mux.Lookup(r.envelope.Type)
	if d == nil {
		r.err = errors.Join(r.err, fmt.Errorf("%w: no worker for type %q: the mux has %v", task.ErrInvalid, r.envelope.Type, r.mux.Types()))
	}
	if r.err != nil {
		return Result{Outcome: Refused, Err: r.err, Params: r.params, run: r}
	}
	if r.maxAttempts == 0 {
		r.maxAttempts = d.Retry.MaxAttempts
	}
	r.envelope.Attempt, r.envelope.Replay = r.attempt, r.replay
	x := task.NewExecution(r.envelope, r.params, r.allocation, r.checkpoint, r.log)
	if r.family != nil {
		x.SetFamily(r.family)
	}
	err, cause := r.work(ctx, d, x)
	return r.judge(d.Retry, err, cause, x.Report())
}

// work runs the worker under a context that ends as the options say, or when
// the worker is silent for too long.
func (r run) work(ctx context.Context, d *task.Definition, x *task.Execution) (err, cause error) {
	stops := r.stops
	if d.Stall > 0 {
		stops = append(stops, stalled(d.Stall))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	began := time.Now()
	if _, why := due(stops, x.Report(), 0); why != nil {
		cancel(why)
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		watch(ctx, cancel, stops, x, began)
	}()
	defer func() { // also when the worker ends the goroutine, as FailNow does
		cancel(nil)
		<-watched
	}()
	if cause = context.Cause(ctx); cause != nil {
		return cause, cause // as on a node: told to stop before it began
	}
	err = d.Do(ctx, x)
	return err, context.Cause(ctx)
}
