//go:build synctests

package embedded_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/embedded"
)

func TestInMemoryServersLiveInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := start(t, embedded.Options{InMemory: true})
		client := connect(t, servers)
		require.NoError(t, client.Set(t.Context(), "lease", "x", time.Hour).Err())
		stamp(t, servers, "appended", "LogAppendTime") // compares with the bubble's clock
		time.Sleep(time.Hour)
		require.ErrorIs(t, client.Get(t.Context(), "lease").Err(), redis.Nil)
	})
}
