package testkit_test

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/test/testkit"
)

func TestRedisClusterServesEverySlot(t *testing.T) {
	nodes := testkit.StartRedisCluster(t, 3)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{nodes[0].Addr}})
	defer client.Close()
	for i := range 100 {
		require.NoError(t, client.Set(t.Context(), fmt.Sprint("key-", i), i, 0).Err())
	}
	for _, node := range nodes {
		require.Positive(t, redisClient(t, node.Addr).DBSize(t.Context()).Val(), "every node got keys")
	}
}
