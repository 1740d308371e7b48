//go:build synctests

package node

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Found by the simulation: what Redis called early and the tiers called due
// hopped thousands of times a second.
func TestARedisWhoseClockIsBehindStartsNoStormOfHops(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		n := w.node("n1", func(_ context.Context, x *task.Execution) error {
			if x.Attempt == 1 {
				return errors.New("once")
			}
			return nil
		}, nil, task.Retry(task.RetryPolicy{MaxAttempts: 2, Initial: 6 * time.Second, Max: 6 * time.Second, Factor: 1}))
		w.servers.Redis.SetTime(time.Now().Add(-time.Hour))
		id, err := w.client.Submit(t.Context(), "work", nil)
		require.NoError(t, err)
		time.Sleep(30 * time.Second)
		state, err := w.client.State(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, 2, state.Attempt)
		require.LessOrEqual(t, state.Hop, 1)
		w.servers.Redis.SetTime(time.Time{})
		require.Equal(t, task.Success, w.outcome(id, 2*time.Minute).Status)
		require.NoError(t, n.end())
	})
}
