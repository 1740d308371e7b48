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
	nodes := startClusterNodes(t, masters)
	if err := formCluster(t.Context(), nodes); err != nil {
		t.Fatalf("form a Redis Cluster: %v", err)
	}
	return nodes
}

// StartRedisClusterWithReplicas is a cluster of which each master has one replica, in the same order. It returns when every
// replica has what its master has.
func StartRedisClusterWithReplicas(t testing.TB, masters int) (of, replicas []*Server) {
	t.Helper()
	of, replicas = StartRedisCluster(t, masters), startClusterNodes(t, masters)
	for i, replica := range replicas {
		if err := follow(t.Context(), replica.Addr, of[i].Addr); err != nil {
			t.Fatalf("%s follows %s: %v", replica.Addr, of[i].Addr, err)
		}
	}
	return of, replicas
}

func startClusterNodes(t testing.TB, count int) []*Server {
	t.Helper()
	options := privateOptions(t)
	options.Where = servers.Local
	config := servers.RedisConfig{Args: []string{"--cluster-enabled", "yes", "--cluster-node-timeout", "2000"}}
	nodes := make([]*Server, count)
	for i := range nodes {
		server, err := servers.StartRedis(t.Context(), options, config, t.TempDir())
		nodes[i] = own(t, server, err)
	}
	return nodes
}

// follow makes a node that nobody knows the replica of a master.
func follow(ctx context.Context, replica, master string) error {
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	to, from := redis.NewClient(&redis.Options{Addr: master}), redis.NewClient(&redis.Options{Addr: replica})
	defer to.Close()
	defer from.Close()
	id, err := to.ClusterMyID(ctx).Result()
	if err != nil {
		return fmt.Errorf("ask its id: %w", err)
	}
	host, port, err := net.SplitHostPort(master)
	if err != nil {
		return fmt.Errorf("split address: %w", err)
	}
	if err := from.ClusterMeet(ctx, host, port).Err(); err != nil {
		return fmt.Errorf("meet: %w", err)
	}
	// Until gossip has told it of the master, a node cannot follow it.
	if err := await(ctx, func() error { return from.ClusterReplicate(ctx, id).Err() }); err != nil {
		return fmt.Errorf("replicate: %w", err)
	}
	return await(ctx, func() error {
		info, err := from.Info(ctx, "replication").Result()
		if err == nil && !strings.Contains(info, "master_link_status:up") {
			err = fmt.Errorf("it says: %s", info)
		}
		return err
	})
}

func formCluster(ctx context.Context, nodes []*Server) error {
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	first := redis.NewClient(&redis.Options{Addr: nodes[0].Addr})
	defer first.Close()
	for i, node := range nodes {
		if err := join(ctx, first, node.Addr, i*clusterSlots/len(nodes), (i+1)*clusterSlots/len(nodes)-1); err != nil {
			return fmt.Errorf("%s: %w", node.Addr, err)
		}
	}
	for _, node := range nodes {
		if err := awaitCluster(ctx, node.Addr, len(nodes)); err != nil {
			return fmt.Errorf("%s: %w", node.Addr, err)
		}
	}
	return nil
}

// join gives a node its slots and introduces it to the first.
func join(ctx context.Context, first *redis.Client, addr string, from, to int) error {
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	if err := client.ClusterAddSlotsRange(ctx, from, to).Err(); err != nil {
		return fmt.Errorf("give slots: %w", err)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("split address: %w", err)
	}
	if err := first.ClusterMeet(ctx, host, port).Err(); err != nil {
		return fmt.Errorf("meet: %w", err)
	}
	return nil
}

func awaitCluster(ctx context.Context, addr string, size int) error {
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	return await(ctx, func() error {
		info, err := client.ClusterInfo(ctx).Result()
		if err != nil {
			return fmt.Errorf("ask cluster: %w", err)
		}
		if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, fmt.Sprintf("cluster_size:%d", size)) {
			return fmt.Errorf("the cluster says:\n%s", info)
		}
		return nil
	})
}
