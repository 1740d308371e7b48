package embedded_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/embedded"
)

func TestALongPipelineIsAnsweredInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers, err := embedded.Start(t.Context(), embedded.Options{InMemory: true})
		require.NoError(t, err)
		defer servers.Stop()
		client := redis.NewClient(&redis.Options{Addr: servers.Addresses.Redis, Dialer: servers.RedisDialer})
		defer client.Close()
		pipe := client.Pipeline()
		for i := range 5000 {
			pipe.Set(t.Context(), fmt.Sprint("key-", i), "value", 0)
		}
		answers, err := pipe.Exec(t.Context())
		require.NoError(t, err)
		require.Len(t, answers, 5000)
	})
}
