//go:build synctests

package kafkaqueue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEveryTaskIsDeliveredAndCommitted(t *testing.T) {
	bubble(t, func(w *world) {
		w.topics("merge")
		p := w.producer()
		ids := w.submit(p, "merge", 100)
		c := w.consumer("merge")
		ds := c.await(100)
		require.ElementsMatch(t, ids, idsOf(ds))
		for i := range ds {
			require.True(t, c.Owned(&ds[i]))
			c.Finish(&ds[i])
		}
		c.stop()
		total := int64(0)
		for _, at := range w.committed("offline-nodes.merge")["tasks.merge"] {
			total += at
		}
		require.EqualValues(t, 100, total)
		for i := range ds {
			require.False(t, c.Owned(&ds[i]))
		}
		require.ErrorIs(t, c.pollErr, ErrClosed)
		require.Less(t, time.Since(w.start), 30*time.Second)
	})
}
