//go:build synctests

package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func leaseKey(id string) string {
	return fmt.Sprintf("%s{%02d}l:%s", claims.DefaultPrefix, claims.Bucket(id), id)
}

// isBeat tells a call of the script that beats: it alone keeps the index of what runs.
func isBeat(command string, args []string) bool {
	index := func(arg string) bool { return strings.HasSuffix(arg, "}running") }
	return (command == "EVALSHA" || command == "EVAL") && slices.ContainsFunc(args, index)
}

// A copy asks right after Redis was emptied, before the holder's next beat: the rebuild that it sets off lets that beat
// come first.
func TestARebuildLetsTheHoldersBeatFirst(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		first := w.node("n1", sleep(10*time.Minute), func(c *Config) { c.Grace = time.Hour })
		_, err := w.client.Submit(t.Context(), "work", nil, task.ID("a"))
		require.NoError(t, err)
		w.eventually(time.Minute, "it runs", func() bool { return len(w.runsOf("a")) == 1 })
		ended := make(chan error, 1)
		go func() { ended <- first.end() }() // it runs on, and the partition goes to
		second := w.node("n2", sleep(10*time.Minute), nil)

		lease := leaseKey("a")
		w.eventually(time.Minute, "a beat", func() bool { return w.servers.Redis.TTL(lease) > claims.DefaultLease-100*time.Millisecond })
		w.servers.Redis.FlushAll()
		_, err = w.client.Submit(t.Context(), "work", nil, task.ID("a")) // its sender had no answer the first time
		require.NoError(t, err)
		require.Equal(t, task.Success, w.outcome("a", 15*time.Minute).Status)
		require.Len(t, w.runsOf("a"), 1)
		require.NoError(t, <-ended)
		require.NoError(t, second.end())
	})
}

func TestAParentGoesOnThoughNoWakeUpComes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		n := w.node("n1", tree(2, 1, sleep(10*time.Second)), nil)
		w.onRedis(func(peer *server.Peer, command string, _ ...string) bool {
			if command == "PUBLISH" {
				peer.WriteInt(0)
			}
			return command == "PUBLISH"
		})
		_, err := w.client.Submit(t.Context(), "work", nil, task.ID("a"))
		require.NoError(t, err)
		e := w.outcome("a", 2*time.Minute)
		require.Equal(t, task.Success, e.Status)
		last := max(w.outcome("a/0", time.Second).CompletedAt.UnixMilli(), w.outcome("a/1", time.Second).CompletedAt.UnixMilli())
		require.Less(t, e.CompletedAt.Sub(time.UnixMilli(last)), claims.DefaultBeat+time.Second)
		require.NoError(t, n.end())
	})
}

// The state of a failed task would owe its dead letter until a replay comes, which would publish it again.
func TestARedriveLeavesOneLetter(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		n := w.node("n1", failOnce, nil)
		_, err := w.client.Submit(t.Context(), "work", nil, task.ID("a"))
		require.NoError(t, err)
		require.Equal(t, task.Failed, w.outcome("a", time.Minute).Status)
		time.Sleep(time.Minute)
		plan, err := w.client.Redrive(t.Context(), client.LetterFilter{IDs: []string{"a"}}, false)
		require.NoError(t, err)
		require.Len(t, plan, 1)
		require.Equal(t, task.Success, w.replayed("a").Status)
		letters := 0
		require.NoError(t, w.client.DeadLetters(t.Context(), client.LetterFilter{}, func(kafkaqueue.DeadLetter) error {
			letters++
			return nil
		}))
		require.Equal(t, 1, letters)
		require.NoError(t, n.end())
	})
}

// Beats that are too slow or too large would fail all the more if the node took more on.
func TestANodeWhoseBeatsFailTakesNothingMore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		n := w.node("n1", sleep(10*time.Minute), nil, task.Slots(2), task.Guarded())
		_, err := w.client.Submit(t.Context(), "work", nil, task.ID("a"))
		require.NoError(t, err)
		w.eventually(time.Minute, "it runs", func() bool { return len(w.runsOf("a")) == 1 })
		var failed atomic.Int32
		w.onRedis(func(peer *server.Peer, command string, args ...string) bool {
			if !isBeat(command, args) {
				return false
			}
			failed.Add(1)
			peer.WriteError("BUSY Redis is busy running a script")
			return true
		})
		w.eventually(time.Minute, "a beat fails", func() bool { return failed.Load() > 0 })
		time.Sleep(time.Second)
		_, err = w.client.Submit(t.Context(), "work", nil, task.ID("b"))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.Empty(t, w.runsOf("b"))
		w.onRedis(func(*server.Peer, string, ...string) bool { return false })
		w.eventually(claims.DefaultBeat+2*time.Second, "b runs", func() bool { return len(w.runsOf("b")) == 1 })
		require.Equal(t, task.Success, w.outcome("a", 15*time.Minute).Status)
		require.Equal(t, task.Success, w.outcome("b", 15*time.Minute).Status)
		require.Len(t, w.runsOf("a"), 1)
		require.Len(t, w.runsOf("b"), 1)
		require.NoError(t, n.end())
	})
}

// A beat that is on its way when its run ends, and meets a Redis that was emptied meanwhile, would put the lease back
// that the settlement released.
func TestASettlementWaitsForTheBeatUnderWay(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		underWay, arrived := make(chan struct{}), make(chan struct{})
		n := w.node("n1", func(_ context.Context, x *task.Execution) error {
			x.Progress(0.5, "half")
			<-underWay
			time.Sleep(500 * time.Millisecond)
			return nil
		}, nil)
		var beats atomic.Int32
		w.onRedis(func(_ *server.Peer, command string, args ...string) bool {
			if isBeat(command, args) && beats.Add(1) == 1 {
				close(underWay)
				time.Sleep(time.Second)
				w.servers.Redis.FlushAll()
				close(arrived)
			}
			return false
		})
		_, err := w.client.Submit(t.Context(), "work", nil, task.ID("a"))
		require.NoError(t, err)
		<-arrived
		require.Equal(t, task.Success, w.outcome("a", time.Minute).Status)
		time.Sleep(time.Second)
		require.False(t, w.servers.Redis.Exists(leaseKey("a")), "nobody runs it")
		state, err := w.client.State(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, task.Success, state.Status)
		require.NoError(t, n.end())
	})
}
