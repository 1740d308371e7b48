//go:build synctests

package client_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func TestWaitShowsWhatATaskPassesThrough(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		id, err := w.Submit(t.Context(), "work", nil)
		require.NoError(t, err)
		w.node(func(ctx context.Context, x *task.Execution) error {
			for i := range 4 {
				x.Progress(float64(i)/4, "step")
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(10 * time.Second):
				}
			}
			return nil
		})
		var statuses []task.Status
		var most float64
		ended, err := w.Wait(t.Context(), id, func(s *claims.State) {
			if n := len(statuses); n == 0 || statuses[n-1] != s.Status {
				statuses = append(statuses, s.Status)
			}
			if s.Status == task.Active {
				most = max(most, s.Fraction)
			}
		})
		require.NoError(t, err)
		require.Equal(t, task.Success, ended.Status)
		require.Equal(t, []task.Status{task.Assigned, task.Active, task.Success}, statuses)
		require.InDelta(t, 0.75, most, 0.3)
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		id, err := w.Submit(t.Context(), "work", nil)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		s, err := w.Wait(ctx, id, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, task.Unassigned, s.Status)
		require.Equal(t, 10*time.Second, time.Since(start))
	})
}

func TestWaitAllCallsForEachAndSurvivesAnEmptyRedis(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.node(func(ctx context.Context, _ *task.Execution) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(30 * time.Second):
				return nil
			}
		}, task.Slots(3))
		var awaited []client.Awaited
		for range 3 {
			id, err := w.Submit(t.Context(), "work", nil)
			require.NoError(t, err)
			awaited = append(awaited, client.Awaited{ID: id})
		}
		w.eventually("all run", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return len(w.runs) == 3
		})
		w.servers.Redis.FlushAll()
		ended := map[int]task.Status{}
		require.NoError(t, w.WaitAll(t.Context(), awaited, func(i int, s *claims.State) {
			require.Equal(t, awaited[i].ID, s.ID)
			if s.Status.Terminal() {
				ended[i] = s.Status
			}
		}))
		require.Equal(t, map[int]task.Status{0: task.Success, 1: task.Success, 2: task.Success}, ended)
		require.NoError(t, w.WaitAll(t.Context(), nil, nil), "nothing to wait for")
	})
}
