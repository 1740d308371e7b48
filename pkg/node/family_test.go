//go:build synctests

package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// tree is a worker whose task "a" has children "a/0" … and these have children
// of their own, to a depth; leaf does the leaves' work.
func tree(width, depth int, leaf task.WorkerFunc) task.WorkerFunc {
	return func(ctx context.Context, x *task.Execution) error {
		if strings.Count(x.ID, "/") == depth {
			return leaf(ctx, x)
		}
		var children []task.Child
		for i := range width {
			children = append(children, task.Child{Name: fmt.Sprint(i), Type: "work", Params: []byte(x.ID)})
		}
		states, err := x.Await(ctx, children...)
		if err != nil {
			return err
		}
		return x.SetResult(len(states))
	}
}

func sleep(d time.Duration) task.WorkerFunc {
	return func(ctx context.Context, _ *task.Execution) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(d):
			return nil
		}
	}
}

// replayed waits for the event of a task's first replay.
func (w *world) replayed(id string) (e task.Event) {
	w.t.Helper()
	w.eventually(10*time.Minute, "the replay's event of "+id, func() bool {
		for _, e = range w.eventsOf(id) {
			if e.Replay == 1 {
				return true
			}
		}
		return false
	})
	return e
}

func TestOneSlotFinishesATree(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		n := w.node("n1", tree(3, 2, sleep(time.Second)), nil)
		_, err := w.client.Submit(t.Context(), "work", nil, task.ID("a"), task.OpaqueID("mine"))
		require.NoError(t, err)
		began := time.Now()
		e := w.outcome("a", 5*time.Minute)
		require.Equal(t, task.Success, e.Status)
		require.Equal(t, "3", string(e.Result))
		require.Equal(t, 1, e.Attempt)
		require.Less(t, time.Since(began), 15*time.Second, "nine leaves of a second, one after the other")
		leaf := w.outcome("a/2/1", time.Second)
		require.Equal(t, "a/2", leaf.Parent)
		require.Equal(t, "mine", leaf.OpaqueID, "children inherit it")
		require.Len(t, w.runsOf("a/2/1"), 1)
		state, err := w.client.State(t.Context(), "a")
		require.NoError(t, err)
		require.Zero(t, state.Lost)
		require.Zero(t, state.Interrupted)
		require.NoError(t, n.end())
	})
}

func TestAParentTellsItsChildrensProgress(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		n := w.node("n1", tree(4, 1, sleep(20*time.Second)), nil)
		_, err := w.client.Submit(t.Context(), "work", nil, task.ID("a"))
		require.NoError(t, err)
		w.eventually(time.Minute, "half is done", func() bool {
			state, err := w.client.State(t.Context(), "a")
			return err == nil && state.Status == task.Unassigned && state.Fraction > 0.49 && state.Fraction < 0.51 &&
				state.Explanation == "waits for its children: 2 of 4 children have ended"
		})
		require.Equal(t, task.Success, w.outcome("a", time.Minute).Status)
		require.NoError(t, n.end())
	})
}

func TestAFailedChildEndsTheTree(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		boom := errors.New("boom")
		n := w.node("n1", tree(4, 1, func(ctx context.Context, x *task.Execution) error {
			if x.ID == "a/1" && x.Replay == 0 {
				return errors.Join(sleep(time.Second)(ctx, x), task.Permanent(boom))
			}
			return sleep(30*time.Second)(ctx, x)
		}), nil, task.Slots(4))
		_, err := w.client.Submit(t.Context(), "work", nil, task.ID("a"))
		require.NoError(t, err)
		e := w.outcome("a", time.Minute)
		require.Equal(t, task.Failed, e.Status)
		require.Equal(t, task.PermanentFailure, e.Reason)
		require.Contains(t, e.Error, "a/1")
		require.Contains(t, e.Error, "boom")
		for _, id := range []string{"a/0", "a/2", "a/3"} {
			require.Equal(t, task.Cancelled, w.outcome(id, time.Minute).Status, id)
		}
		w.eventually(time.Minute, "letters", func() bool {
			plan, err := w.client.Redrive(t.Context(), client.LetterFilter{IDs: []string{"a"}}, false)
			return err == nil && len(plan) == 1 && plan[0].Err == nil
		})
		again := w.replayed("a")
		require.Equal(t, task.Success, again.Status, again.Error)
		require.NoError(t, n.end())
	})
}

func TestAReplayKeepsTheChildrenThatSucceeded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		n := w.node("n1", tree(3, 1, func(ctx context.Context, x *task.Execution) error {
			if x.ID == "a/2" && x.Replay == 0 {
				return task.Permanent(errors.New("boom"))
			}
			return nil
		}), nil)
		_, err := w.client.Submit(t.Context(), "work", nil, task.ID("a"))
		require.NoError(t, err)
		require.Equal(t, task.Failed, w.outcome("a", time.Minute).Status)
		_, err = w.client.Redrive(t.Context(), client.LetterFilter{IDs: []string{"a"}}, false)
		require.NoError(t, err)
		again := w.replayed("a")
		require.Equal(t, task.Success, again.Status, again.Error)
		require.Len(t, w.runsOf("a/0"), 1)
		require.Len(t, w.runsOf("a/2"), 2)
		require.NoError(t, n.end())
	})
}

func TestCancellingAParentCancelsItsDescendants(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		n := w.node("n1", tree(2, 2, sleep(time.Hour)), nil, task.Slots(8))
		_, err := w.client.Submit(t.Context(), "work", nil, task.ID("a"))
		require.NoError(t, err)
		w.eventually(time.Minute, "leaves run", func() bool { return len(w.runsOf("a/0/0")) == 1 })
		state, err := w.client.Cancel(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, task.Cancelled, state.Status)
		for _, id := range []string{"a", "a/0", "a/1", "a/0/0", "a/0/1", "a/1/0", "a/1/1"} {
			require.Equal(t, task.Cancelled, w.outcome(id, time.Minute).Status, id)
		}
		require.NoError(t, n.end())
	})
}

// Found by a shard's whole life: a parent died before the beat that was to
// carry its plan, and its next run planned other children.
func TestAPlanIsKeptBeforeItsChildrenAreSubmitted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		var kept []byte
		n := w.node("n1", func(ctx context.Context, x *task.Execution) error {
			if x.ID != "a" {
				return nil
			}
			var plan int64
			if !x.Resume(&plan) {
				plan = x.AllocationID
				if err := x.Checkpoint(plan); err != nil {
					return err
				}
			}
			_, err := x.Await(ctx, task.Child{Name: "0", Type: "work", Params: plan})
			return err
		}, func(c *Config) {
			c.Reached = func(step string) {
				if step == "children.submitted" {
					state, err := w.client.State(context.Background(), "a")
					if err == nil {
						kept = state.Checkpoint
					}
				}
			}
		})
		_, err := w.client.Submit(t.Context(), "work", nil, task.ID("a"))
		require.NoError(t, err)
		require.Equal(t, task.Success, w.outcome("a", time.Minute).Status)
		require.NotEmpty(t, kept)
		require.NoError(t, n.end())
	})
}

// A parent that waits for hours neither pins its offset nor dies with its node
// or with Redis.
func TestAParentWaitsThroughCrashesAndAnEmptiedRedis(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		worker := func(ctx context.Context, x *task.Execution) error {
			if x.ID == "a" {
				var plan string
				if !x.Resume(&plan) {
					plan = fmt.Sprint("planned at ", x.AllocationID)
					if err := x.Checkpoint(plan); err != nil {
						return err
					}
				}
				_, err := x.Await(ctx, task.Child{Name: "0", Type: "work", Params: plan}, task.Child{Name: "1", Type: "work", Params: plan})
				return err
			}
			return sleep(8*time.Minute)(ctx, x)
		}
		change := func(c *Config) { c.Grace = time.Second }
		first := w.node("n1", worker, change)
		_, err := w.client.Submit(t.Context(), "work", nil, task.ID("a"))
		require.NoError(t, err)
		w.eventually(time.Minute, "a child runs", func() bool { return len(w.runsOf("a/0"))+len(w.runsOf("a/1")) == 1 })
		time.Sleep(2 * time.Minute)
		second := w.node("n2", worker, change)
		time.Sleep(2 * time.Minute)
		w.servers.Redis.FlushAll()
		time.Sleep(2 * time.Minute)
		require.NoError(t, first.end())
		time.Sleep(20 * time.Minute)
		e := w.outcome("a", time.Second)
		require.Equal(t, task.Success, e.Status, e.Error)
		require.Equal(t, 1, e.Attempt)
		require.Len(t, w.eventsOf("a"), 1)
		require.NoError(t, second.end())
	})
}
