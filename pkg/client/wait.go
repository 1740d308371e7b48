package client

import (
	"context"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// How often [Client.WaitAll] asks: often at first, for tasks that are quick.
const (
	shortestPause = 20 * time.Millisecond
	longestPause  = 500 * time.Millisecond
	// shareOfRedis is how much longer than a round the pause after it is, so
	// that whoever waits for many tasks does not keep Redis busy.
	shareOfRedis = 4
)

// Awaited is a task to wait for. The outcome of an earlier replay than Replay
// does not count: a task that runs once more keeps its old state until a node
// takes it up.
type Awaited struct {
	ID     string
	Replay int
}

// Wait asks for a task's state until it has ended, and calls each with every
// state that differs from the one before; each may be nil. It returns the
// terminal state, or the last one with ctx's error. A task that nothing is
// known of is waited for, too: its state may be lost and come back.
func (c *Client) Wait(ctx context.Context, id string, each func(*claims.State)) (*claims.State, error) {
	var last *claims.State
	err := c.WaitAll(ctx, []Awaited{{ID: id}}, func(_ int, s *claims.State) {
		last = s
		if each != nil {
			each(s)
		}
	})
	return last, err
}

// WaitAll asks for the states of many tasks until all have ended, and calls
// each with a task's place and every state that differs from the one before.
// While Redis does not answer it goes on asking. The error is ctx's.
func (c *Client) WaitAll(ctx context.Context, tasks []Awaited, each func(i int, s *claims.State)) error {
	w := waiting{client: c, tasks: tasks, each: each, left: make([]int, len(tasks)), last: make([]seen, len(tasks))}
	for i := range w.left {
		w.left[i] = i
	}
	for pause := shortestPause; ; pause = min(pause*3/2, longestPause) {
		asked := time.Now()
		if err := w.ask(ctx); err != nil {
			return err
		}
		if len(w.left) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(max(pause, shareOfRedis*time.Since(asked))):
		}
	}
}

// waiting is one call of WaitAll.
type waiting struct {
	client *Client
	tasks  []Awaited
	each   func(int, *claims.State)
	left   []int  // places of tasks that have not ended
	last   []seen // by place
	silent bool   // Redis did not answer the last time
}

// seen is what tells one state from the next.
type seen struct {
	at, beat        time.Time
	status          task.Status
	replay, attempt int
	cancelled       bool
}

// ask reads the states of what is left, once; the error is ctx's.
func (w *waiting) ask(ctx context.Context) error {
	ids := make([]string, len(w.left))
	for k, i := range w.left {
		ids[k] = w.tasks[i].ID
	}
	states, err := w.client.claims.States(ctx, ids)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	w.heard(err)
	if err != nil {
		return nil //nolint:nilerr // an error means unknown: it is asked again
	}
	left := w.left[:0]
	for k, i := range w.left {
		if !w.ended(i, states[k]) {
			left = append(left, i)
		}
	}
	w.left = left
	return nil
}

// heard says when Redis falls silent and when it answers again.
func (w *waiting) heard(err error) {
	switch {
	case err != nil && !w.silent:
		w.client.log.Warn("states are not known now: asking again until they are", "error", err)
	case err == nil && w.silent:
		w.client.log.Warn("states are known again")
	}
	w.silent = err != nil
}

func (w *waiting) ended(i int, s *claims.State) bool {
	if s == nil || s.Replay < w.tasks[i].Replay {
		return false
	}
	now := seen{s.At, s.BeatAt, s.Status, s.Replay, s.Attempt, s.CancelRequested}
	if now != w.last[i] {
		w.last[i] = now
		if w.each != nil {
			w.each(i, s)
		}
	}
	return s.Status.Terminal()
}
