package testkit

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/offline-nodes/offline-nodes/test/testkit/servers"
)

// SentinelName is the name of the master that a Sentinel here watches.
const SentinelName = "offline"

const sentinelDown = 2 * time.Second

// Watched is a Redis master with a replica, and a Sentinel that watches both.
type Watched struct {
	Master, Replica, Sentinel *Server
}

// StartRedisWithSentinel starts a master, its replica and a Sentinel for this test alone, as processes, and returns them
// when the Sentinel knows both and the replica has what the master has.
func StartRedisWithSentinel(t testing.TB) Watched {
	t.Helper()
	options := privateOptions(t)
	options.Where = servers.Local
	start := func(args ...string) *Server {
		server, err := servers.StartRedis(t.Context(), options, servers.RedisConfig{Args: args}, t.TempDir())
		return own(t, server, err)
	}
	w := Watched{Master: start()}
	w.Replica = start("--replicaof", strings.Replace(w.Master.Addr, ":", " ", 1))
	sentinel, err := servers.StartSentinel(t.Context(), servers.SentinelConfig{
		Name: SentinelName, Master: w.Master.Addr, Down: sentinelDown,
	}, t.TempDir())
	w.Sentinel = own(t, sentinel, err)
	if err := w.awaitReplica(t.Context()); err != nil {
		t.Fatalf("Redis with Sentinel: %v", err)
	}
	return w
}

func (w Watched) awaitReplica(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	sentinel := redis.NewSentinelClient(&redis.Options{Addr: w.Sentinel.Addr})
	defer sentinel.Close()
	return await(ctx, func() error {
		replicas, err := sentinel.Replicas(ctx, SentinelName).Result()
		if err != nil {
			return fmt.Errorf("ask the Sentinel: %w", err)
		}
		if len(replicas) != 1 || replicas[0]["master-link-status"] != "ok" {
			return fmt.Errorf("the Sentinel says of replicas: %v", replicas)
		}
		return nil
	})
}

// await asks until there is no error.
func await(ctx context.Context, ask func() error) error {
	tick := time.NewTicker(clusterAsk)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; last: %w", ctx.Err(), err)
		case <-tick.C:
		}
	}
}
