package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// writer sends one bulk after the other, of documents that the model proposes.
type writer struct {
	node  *dataNode
	model *model // the writer's alone while it runs
	meter *meter

	fresh atomic.Int64 // documents written for the first time
}

// pace is what the writer sends, and how long it rests after each bulk: so many
// times as long as that took.
type pace struct {
	mix
	rest float64
}

// Filling makes the shard. Churn goes on all the time after that, the same in
// all phases, so that they can be compared; most of the time it leaves the
// cores to those who stand for other machines.
var (
	filling = pace{mix: mix{puts: 850, updates: 100, deletes: 50}}
	churn   = pace{mix{puts: 200, updates: 150, deletes: 50}, 3}
)

// longestRest keeps the writer going on a slow machine.
const longestRest = 4 * time.Second

// writeTimeout bounds one try of one bulk.
const writeTimeout = 60 * time.Second

// run writes until it is told to stop: what was sent is waited for, so that the
// model knows what became of it. When ctx ends that is not known any more.
func (w *writer) run(ctx context.Context, stop <-chan struct{}, at pace) error {
	for {
		began := time.Now()
		if err := w.bulk(ctx, at.mix); err != nil {
			return err
		}
		rest := min(time.Duration(at.rest*float64(time.Since(began))), longestRest)
		select {
		case <-stop:
			return nil
		case <-ctx.Done():
			return nil
		case <-time.After(rest):
		}
	}
}

// bulk writes one bulk, however often it must be sent.
func (w *writer) bulk(ctx context.Context, of mix) error {
	writes := w.model.propose(of)
	body, err := w.model.encode(writes)
	if err != nil || len(writes) == 0 {
		return err
	}
	began, waited := time.Now(), time.Duration(0)
	for again := false; ; again = true {
		try, cancel := context.WithTimeout(ctx, writeTimeout)
		answer, err := w.node.bulk(try, body)
		cancel()
		if err == nil {
			err = check(writes, answer, again)
		}
		if err == nil {
			break
		}
		pause, ok := retryAfter(err)
		if !ok || ctx.Err() != nil {
			return fmt.Errorf("write: %w", err)
		}
		if waited += pause; !wait(ctx, pause) {
			return context.Cause(ctx)
		}
	}
	w.model.accept(writes)
	for _, write := range writes {
		if write.fresh {
			w.fresh.Add(1)
		}
	}
	w.meter.wrote(len(writes), time.Since(began), waited)
	return nil
}

// retryAfter tells whether a bulk may be sent again, and when: all of its
// writes can be repeated without harm.
func retryAfter(err error) (time.Duration, bool) {
	status, ok := errors.AsType[*statusError](err)
	switch {
	case !ok:
		return 0, false
	case status.after > 0:
		return min(status.after, time.Second), status.again()
	}
	return 200 * time.Millisecond, status.again()
}

// check makes sure that each write did what it must.
func check(writes []write, answer bulkAnswer, again bool) error {
	if len(answer.Items) != len(writes) {
		return fmt.Errorf("a bulk of %d writes has %d answers", len(writes), len(answer.Items))
	}
	for i, w := range writes {
		item, ok := answer.Items[i][w.action.String()]
		want := http.StatusOK
		if w.action == put {
			want = http.StatusCreated
		}
		switch {
		case ok && item.Status == want:
		case ok && again && (item.Status == http.StatusOK || item.Status == http.StatusNotFound && w.action == remove):
			// the bulk was applied before, and its answer was lost
		default:
			reason := item.Result
			if item.Error != nil {
				reason = item.Error.Reason
			}
			return fmt.Errorf("%s of %q answers %d %s", w.action, item.ID, item.Status, reason)
		}
	}
	return nil
}

// wait is false when ctx ends first.
func wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
