//go:build synctests

package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func TestATaskRunsAndItsEventTells(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		n := w.node("n1", func(_ context.Context, x *task.Execution) error {
			x.Progress(0.5, "half")
			return x.SetResult(string(x.Raw))
		}, nil)
		id, err := w.client.Submit(t.Context(), "work", []byte("params"), task.OpaqueID("mine"))
		require.NoError(t, err)
		e := w.outcome(id, time.Minute)
		require.Equal(t, task.Success, e.Status)
		require.JSONEq(t, `"params"`, string(e.Result))
		require.Equal(t, "mine", e.OpaqueID)
		require.Equal(t, "n1", e.Node)
		state, err := w.client.State(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, task.Success, state.Status)
		require.NoError(t, n.end())
	})
}

func TestAFailureRunsAgainAfterItsDelay(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		boom := errors.New("boom")
		n := w.node("n1", func(_ context.Context, x *task.Execution) error {
			if x.Attempt < 3 {
				return boom
			}
			return nil
		}, nil, task.Retry(task.RetryPolicy{MaxAttempts: 3, Initial: time.Second, Max: time.Hour, Factor: 60}))
		id, err := w.client.Submit(t.Context(), "work", nil)
		require.NoError(t, err)
		require.Equal(t, task.Success, w.outcome(id, 10*time.Minute).Status)
		runs := w.runsOf(id)
		require.Len(t, runs, 3)
		require.GreaterOrEqual(t, runs[1].at.Sub(runs[0].at), time.Second, "by parking")
		require.GreaterOrEqual(t, runs[2].at.Sub(runs[1].at), time.Minute, "by the tiers")
		require.Less(t, runs[2].at.Sub(runs[1].at), time.Minute+2*time.Second)
		require.Less(t, runs[0].allocation, runs[1].allocation)
		require.NoError(t, n.end())
	})
}

func TestTheLastFailureIsADeadLetterThatCanBeRedriven(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		n := w.node("n1", failOnce, nil)
		id, err := w.client.Submit(t.Context(), "work", []byte("params"))
		require.NoError(t, err)
		require.Equal(t, task.Failed, w.outcome(id, time.Minute).Status)
		var letters []kafkaqueue.DeadLetter
		require.NoError(t, w.client.DeadLetters(t.Context(), client.LetterFilter{}, func(l kafkaqueue.DeadLetter) error {
			letters = append(letters, l)
			return nil
		}))
		require.Len(t, letters, 1)
		require.Equal(t, task.PermanentFailure, letters[0].Letter.Reason)
		require.Equal(t, "params", string(letters[0].Delivery.Params))
		plan, err := w.client.Redrive(t.Context(), client.LetterFilter{IDs: []string{id}}, false)
		require.NoError(t, err)
		require.Len(t, plan, 1)
		require.NoError(t, plan[0].Err)
		w.eventually(time.Minute, "the replay's event", func() bool { return len(w.eventsOf(id)) == 2 })
		require.Equal(t, 1, w.eventsOf(id)[1].Replay)
		require.Equal(t, task.Success, w.eventsOf(id)[1].Status)
		require.NoError(t, n.end())
	})
}

func TestARunningTaskOutlivesARebalanceAndADrain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		hour := func(ctx context.Context, x *task.Execution) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Hour):
				return nil
			}
		}
		change := func(c *Config) { c.Grace = 2 * time.Hour }
		first := w.node("n1", hour, change, task.Slots(4))
		var ids []string
		for range 4 {
			id, err := w.client.Submit(t.Context(), "work", nil)
			require.NoError(t, err)
			ids = append(ids, id)
		}
		w.eventually(time.Minute, "all run", func() bool { return w.allRuns() == 4 })
		second := w.node("n2", hour, change, task.Slots(4))
		time.Sleep(10 * time.Minute)
		ended := make(chan error, 1)
		go func() { ended <- first.end() }()
		for _, id := range ids {
			require.Equal(t, task.Success, w.outcome(id, 2*time.Hour).Status)
			require.Len(t, w.runsOf(id), 1)
		}
		require.NoError(t, <-ended)
		time.Sleep(time.Minute)
		for _, id := range ids {
			require.Len(t, w.eventsOf(id), 1)
			require.Len(t, w.runsOf(id), 1)
		}
		require.NoError(t, second.end())
	})
}

func TestAShortGraceGivesTasksBackAtOnceWithTheirCheckpoint(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		worker := func(ctx context.Context, x *task.Execution) error {
			var at int
			x.Resume(&at)
			for ; at < 100; at++ {
				if err := x.Checkpoint(at); err != nil {
					return err
				}
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(time.Second):
				}
			}
			return x.SetResult(x.Attempt)
		}
		change := func(c *Config) { c.Grace = time.Second }
		first := w.node("n1", worker, change)
		id, err := w.client.Submit(t.Context(), "work", nil)
		require.NoError(t, err)
		w.eventually(time.Minute, "it runs", func() bool { return len(w.runsOf(id)) == 1 })
		time.Sleep(50 * time.Second)
		second := w.node("n2", worker, change)
		require.NoError(t, first.end())
		stopped := time.Now()
		e := w.outcome(id, 2*time.Minute)
		require.Equal(t, "1", string(e.Result), "no attempt was counted")
		runs := w.runsOf(id)
		require.Len(t, runs, 2)
		require.Less(t, runs[1].at.Sub(stopped), 5*time.Second, "it was free at once")
		require.Less(t, e.CompletedAt.Sub(runs[1].at), 60*time.Second, "it went on from its checkpoint")
		require.NoError(t, second.end())
	})
}

func TestCancel(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		n := w.node("n1", func(ctx context.Context, x *task.Execution) error {
			<-ctx.Done()
			return ctx.Err()
		}, nil)
		running, err := w.client.Submit(t.Context(), "work", nil)
		require.NoError(t, err)
		w.eventually(time.Minute, "it runs", func() bool { return len(w.runsOf(running)) == 1 })
		waiting, err := w.client.Submit(t.Context(), "work", nil)
		require.NoError(t, err)

		state, err := w.client.Cancel(t.Context(), waiting)
		require.NoError(t, err)
		require.Equal(t, task.Cancelled, state.Status)
		require.Equal(t, task.Cancelled, w.outcome(waiting, time.Minute).Status)

		_, err = w.client.Cancel(t.Context(), running)
		require.NoError(t, err)
		require.Equal(t, task.Cancelled, w.outcome(running, time.Minute).Status)
		time.Sleep(time.Minute)
		require.Empty(t, w.runsOf(waiting))
		require.NoError(t, n.end())
	})
}

func TestAnEmptiedRedisCostsNoWorkAndNoOutcome(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		worker := func(ctx context.Context, x *task.Execution) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(5 * time.Minute):
				return nil
			}
		}
		n := w.node("n1", worker, nil, task.Slots(2))
		done, err := w.client.Submit(t.Context(), "work", nil, task.ID("done"))
		require.NoError(t, err)
		require.Equal(t, task.Success, w.outcome(done, 10*time.Minute).Status)
		running, err := w.client.Submit(t.Context(), "work", nil)
		require.NoError(t, err)
		w.eventually(time.Minute, "it runs", func() bool { return len(w.runsOf(running)) == 1 })
		w.servers.Redis.FlushAll()
		again, err := w.client.Submit(t.Context(), "work", nil, task.ID("done"))
		require.NoError(t, err)
		require.Equal(t, done, again)
		require.Equal(t, task.Success, w.outcome(running, 10*time.Minute).Status)
		time.Sleep(10 * time.Minute)
		require.Len(t, w.runsOf(running), 1, "its lease was put back")
		require.Len(t, w.runsOf("done"), 1, "its outcome was read back")
		require.NoError(t, n.end())
	})
}

// Found on real servers: the last beat had failed, its run had ended, and no
// beat was left to find out that Redis was back.
func TestANodeClaimsAgainAfterRedisWasAway(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		n := w.node("n1", func(ctx context.Context, _ *task.Execution) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(30 * time.Second):
				return nil
			}
		}, nil)
		id, err := w.client.Submit(t.Context(), "work", nil)
		require.NoError(t, err)
		w.eventually(time.Minute, "it runs", func() bool { return len(w.runsOf(id)) == 1 })
		w.servers.Redis.SetError("LOADING Redis is loading the dataset in memory")
		time.Sleep(time.Minute)
		w.servers.Redis.SetError("")
		require.Equal(t, task.Success, w.outcome(id, 5*time.Minute).Status)
		require.Len(t, w.runsOf(id), 2, "its trust window had ended")
		require.NoError(t, n.end())
	})
}

// A run that fails at once for want of space must not draw every task of the backlog.
func TestANodeWithAFullDiskClaimsNothingForAWhile(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		full := true
		n := w.node("n1", func(context.Context, *task.Execution) error {
			if full {
				return fmt.Errorf("download: %w", &fs.PathError{Op: "write", Path: "scratch", Err: syscall.ENOSPC})
			}
			return nil
		}, nil, task.Slots(1))
		ids := []string{"a", "b", "c"}
		for _, id := range ids {
			_, err := w.client.Submit(t.Context(), "work", nil, task.ID(id))
			require.NoError(t, err)
		}
		w.eventually(time.Minute, "one run", func() bool { return w.allRuns() > 0 })
		time.Sleep(fullPause - time.Second)
		require.Equal(t, 1, w.allRuns())
		require.ErrorContains(t, n.Ready(), "no space left")
		full = false
		for _, id := range ids {
			require.Equal(t, task.Success, w.outcome(id, time.Minute).Status)
		}
		require.NoError(t, n.Ready())
		require.NoError(t, n.end())
	})
}

func TestANodeWithoutWorkIsHealthy(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		n := w.node("n1", func(context.Context, *task.Execution) error { return nil }, nil)
		for range 20 {
			time.Sleep(17 * time.Second)
			require.NoError(t, n.Healthy())
			require.NoError(t, n.Ready())
		}
		require.NoError(t, n.end())
	})
}

// A topic that was just made has no leader for a moment.
func TestANodeStartsWhileTheResultsCannotBeRead(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		w.servers.Broker.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: "tasks.results", Err: kerr.LeaderNotAvailable, Count: 20})
		n := w.node("n1", func(context.Context, *task.Execution) error { return nil }, nil)
		id, err := w.client.Submit(t.Context(), "work", nil)
		require.NoError(t, err)
		require.Equal(t, task.Success, w.outcome(id, time.Minute).Status)
		require.NoError(t, n.end())
	})
}

func TestANodeThatCannotStartSaysWhy(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		mux := task.NewMux()
		mux.Register("work", task.WorkerFunc(func(context.Context, *task.Execution) error { return nil }))
		s, err := New(Config{Name: "n1", Kafka: w.kafka(), Claims: w.claims(), Workers: mux})
		require.NoError(t, err)
		w.servers.Redis.SetError("NOAUTH Authentication required.")
		err = s.Run(t.Context())
		w.servers.Redis.SetError("")
		require.ErrorContains(t, err, "NOAUTH")
	})
}

func TestAStopWhileANodeStartsIsAnOrderlyOne(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		mux := task.NewMux()
		mux.Register("work", task.WorkerFunc(func(context.Context, *task.Execution) error { return nil }))
		s, err := New(Config{Name: "n1", Kafka: w.kafka(), Claims: w.claims(), Workers: mux})
		require.NoError(t, err)
		w.servers.Redis.SetError("LOADING Redis is loading the dataset in memory")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		require.NoError(t, s.Run(ctx))
		w.servers.Redis.SetError("")
	})
}

func TestADrainEndsWithoutRedis(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		n := w.node("n1", func(ctx context.Context, _ *task.Execution) error {
			<-ctx.Done()
			return ctx.Err()
		}, func(c *Config) { c.Grace = time.Second })
		id, err := w.client.Submit(t.Context(), "work", nil)
		require.NoError(t, err)
		w.eventually(time.Minute, "it runs", func() bool { return len(w.runsOf(id)) == 1 })
		w.servers.Redis.SetError("LOADING Redis is loading the dataset in memory")
		began := time.Now()
		require.ErrorIs(t, n.end(), errUnsettled)
		require.Less(t, time.Since(began), time.Minute)
		w.servers.Redis.SetError("")
		second := w.node("n2", func(context.Context, *task.Execution) error { return nil }, nil)
		require.Equal(t, task.Success, w.outcome(id, 5*time.Minute).Status)
		require.NoError(t, second.end())
	})
}

func TestAWorkerThatIgnoresItsContextEndsTheNode(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		release := make(chan struct{})
		n := w.node("n1", func(context.Context, *task.Execution) error {
			<-release
			return nil
		}, func(c *Config) { c.Grace = time.Second })
		id, err := w.client.Submit(t.Context(), "work", nil)
		require.NoError(t, err)
		w.eventually(time.Minute, "it runs", func() bool { return len(w.runsOf(id)) == 1 })
		require.ErrorIs(t, n.end(), ErrStuck)
		close(release)
	})
}
