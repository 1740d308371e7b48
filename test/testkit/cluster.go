package testkit

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/offline-nodes/offline-nodes/test/testkit/servers"
)

const (
	clusterSlots   = 16384
	clusterTimeout = 30 * time.Second
	clusterAsk     = 50 * time.Millisecond
)

// StartRedisCluster starts a Redis Cluster of so many masters, three or more, for this test alone, and returns them when
// every one of them says that the cluster serves all slots. They are processes, wherever other servers run:
// nodes of a cluster tell clients their own addresses, which only this machine's are for a client outside a container.
func StartRedisCluster(t testing.TB, masters int) []*Server {
	t.Helper()
	options := privateOptions(t)
	options.Where = servers.Local
	config := servers.RedisConfig{Args: []string{"--cluster-enabled", "yes", "--cluster-node-timeout", "2000"}}
	nodes := make([]*Server, masters)
	for i := range nodes {
		server, err := servers.StartRedis(t.Context(), options, config, t.TempDir())
		nodes[i] = own(t, server, err)
	}
	if err := formCluster(t.Context(), nodes); err != nil {
		t.Fatalf("form a Redis Cluster: %v", err)
	}
	return nodes
}

func formCluster(ctx context.Context, nodes []*Server) error {
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	clients := make([]*redis.Client, len(nodes))
	for i, node := range nodes {
		clients[i] = redis.NewClient(&redis.Options{Addr: node.Addr})
		defer clients[i].Close()
	}
	for i, client := range clients {
		from, to := i*clusterSlots/len(nodes), (i+1)*clusterSlots/len(nodes)-1
		if err := client.ClusterAddSlotsRange(ctx, from, to).Err(); err != nil {
			return fmt.Errorf("give slots to %s: %w", nodes[i].Addr, err)
		}
		host, port, err := net.SplitHostPort(nodes[i].Addr)
		if err != nil {
			return fmt.Errorf("split %s: %w", nodes[i].Addr, err)
		}
		if err := clients[0].ClusterMeet(ctx, host, port).Err(); err != nil {
			return fmt.Errorf("meet %s: %w", nodes[i].Addr, err)
		}
	}
	for i, client := range clients {
		if err := awaitCluster(ctx, client, len(nodes)); err != nil {
			return fmt.Errorf("%s: %w", nodes[i].Addr, err)
		}
	}
	return nil
}

func awaitCluster(ctx context.Context, client *redis.Client, size int) error {
	tick := time.NewTicker(clusterAsk)
	defer tick.Stop()
	for {
		info, err := client.ClusterInfo(ctx).Result()
		if err != nil {
			return fmt.Errorf("ask cluster: %w", err)
		}
		if strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_size:%d", size)) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; the cluster says:\n%s", ctx.Err(), info)
		case <-tick.C:
		}
	}
}
