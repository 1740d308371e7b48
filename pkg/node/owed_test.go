//go:build synctests

package node

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// settled writes the state of a task whose node died after the settlement.
func (w *world) settled(id string, status task.Status) {
	w.t.Helper()
	store, err := claims.Open(w.t.Context(), w.claims())
	require.NoError(w.t, err)
	answers, err := store.Claim(w.t.Context(), "dead/1", id, []claims.Ask{{ID: id, Attempt: 1}})
	require.NoError(w.t, err)
	require.Equal(w.t, claims.Granted, answers[0].Verdict)
	settled, err := store.Settle(w.t.Context(), []claims.Settlement{{ID: id, Lease: answers[0].Lease, Status: status, Attempt: 1}})
	require.NoError(w.t, err)
	require.Equal(w.t, claims.Done, settled[0].Verdict)
	require.NoError(w.t, store.Close())
}

func TestWhatIsOwedIsPublishedThoughNoSlotIsFree(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		work := func(ctx context.Context, x *task.Execution) error { return sleep(time.Hour)(ctx, x) }
		require.NoError(t, w.node("n1", work, nil).end())
		for i := range 10 {
			for _, kind := range []string{"owed", "long"} {
				_, err := w.client.Submit(t.Context(), "work", nil, task.ID(fmt.Sprint(kind, i)))
				require.NoError(t, err)
			}
			w.settled(fmt.Sprint("owed", i), task.Success)
		}
		n := w.node("n2", work, func(c *Config) { c.Grace = time.Second }, task.Slots(1))
		for i := range 10 {
			require.Equal(t, task.Success, w.outcome(fmt.Sprint("owed", i), time.Minute).Status)
		}
		require.NoError(t, n.end())
	})
}

func TestAReplayPublishesWhatTheLastOneOwedAndThenRuns(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		n := w.node("n1", func(context.Context, *task.Execution) error { return nil }, nil)
		w.settled("a", task.Cancelled)
		p, err := kafkaqueue.NewProducer(w.kafka())
		require.NoError(t, err)
		replay := task.Delivery{Envelope: task.Envelope{ID: "a", Type: "work", Replay: 1, Attempt: 1, SubmittedAt: time.Now()}}
		require.Empty(t, p.Submit(t.Context(), []task.Delivery{replay}))
		require.NoError(t, p.Close(t.Context()))
		require.Equal(t, task.Success, w.replayed("a").Status)
		require.Equal(t, task.Cancelled, w.outcome("a", time.Second).Status)
		require.NoError(t, n.end())
	})
}

func TestARunWhoseLeaseSomebodyHasIsStopped(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		var cause atomic.Value
		n := w.node("n1", func(ctx context.Context, _ *task.Execution) error {
			<-ctx.Done()
			cause.Store(context.Cause(ctx))
			return ctx.Err()
		}, nil, task.Guarded())
		_, err := w.client.Submit(t.Context(), "work", nil, task.ID("a"))
		require.NoError(t, err)
		w.eventually(time.Minute, "it runs", func() bool { return len(w.runsOf("a")) == 1 })
		lease := fmt.Sprintf("%s{%02d}l:a", claims.DefaultPrefix, claims.Bucket("a"))
		require.NoError(t, w.servers.Redis.Set(lease, "other/1|call|99999999999999"))
		w.eventually(20*time.Second, "it is stopped", func() bool { return cause.Load() != nil })
		require.ErrorIs(t, cause.Load().(error), task.ErrLeaseLost)
		n.stop()
		<-n.done
	})
}

// A copy that waits elsewhere asks sooner or later than the holder beats: a rebuild lets the leases come back first.
func TestAnEmptiedRedisCostsNoWorkThoughACopyWaits(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		work := sleep(10 * time.Minute)
		a, b := w.node("n1", work, nil, task.Slots(4)), w.node("n2", work, nil, task.Slots(4))
		for i := range 4 {
			_, err := w.client.Submit(t.Context(), "work", nil, task.ID(fmt.Sprint(i)))
			require.NoError(t, err)
		}
		time.Sleep(90 * time.Second)
		var copies int64
		for _, p := range w.servers.Broker.PartitionInfos("tasks.work.again") {
			copies += p.HighWatermark
		}
		require.GreaterOrEqual(t, copies, int64(4), "what runs for long is detached")
		for range 8 {
			w.servers.Redis.FlushAll()
			time.Sleep(47 * time.Second)
		}
		for i := range 4 {
			require.Equal(t, task.Success, w.outcome(fmt.Sprint(i), 10*time.Minute).Status)
			require.Len(t, w.runsOf(fmt.Sprint(i)), 1)
		}
		require.NoError(t, a.end())
		require.NoError(t, b.end())
	})
}
