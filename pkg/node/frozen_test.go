//go:build synctests

package node

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Found by the simulation: a node stood still between a grant and its run, and
// began to run although another node had the lease by then.
func TestARunThatMayNotTrustItsLeaseAnyMoreDoesNotBegin(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		var granted atomic.Int64
		var frozen time.Time
		n := w.node("n1", func(context.Context, *task.Execution) error { return nil }, func(c *Config) {
			c.Reached = func(step string) {
				if step == "claim.granted" && granted.Add(1) == 1 {
					time.Sleep(12 * time.Second) // longer than the trust window, shorter than the lease
					frozen = time.Now()
				}
			}
		})
		id, err := w.client.Submit(t.Context(), "work", nil)
		require.NoError(t, err)
		require.Equal(t, task.Success, w.outcome(id, time.Minute).Status)
		runs := w.runsOf(id)
		require.Len(t, runs, 1)
		require.GreaterOrEqual(t, runs[0].allocation, frozen.UnixMilli(), "it runs under a claim made after the freeze")
		require.NoError(t, n.end())
	})
}
