//go:build synctests

package node

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/embedded"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// world is a broker, a Redis, a client and nodes in one bubble of fake time.
type world struct {
	t       *testing.T
	servers *embedded.Servers
	client  *client.Client

	redisHook atomic.Pointer[server.Hook] // of commands; nil: none

	mu     sync.Mutex
	events []task.Event
	runs   []started
}

// started is one call of a worker.
type started struct {
	node, id   string
	attempt    int
	allocation int64
	at         time.Time
}

// inWorld runs a test in fake time.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t}
		var err error
		w.servers, err = embedded.Start(t.Context(), embedded.Options{InMemory: true, RedisHook: w.hook})
		require.NoError(t, err)
		t.Cleanup(w.servers.Stop)
		w.client, err = client.Open(t.Context(), client.Config{Kafka: w.kafka(), Claims: w.claims()})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, w.client.Close(context.WithoutCancel(t.Context()))) })
		require.NoError(t, w.client.Ensure(t.Context(), "work"))
		w.listen()
		test(t, w)
	})
}

// onRedis lets hook see every command, as [embedded.Options] say.
func (w *world) onRedis(hook server.Hook) { w.redisHook.Store(&hook) }

func (w *world) hook(peer *server.Peer, command string, args ...string) bool {
	hook := w.redisHook.Load()
	return hook != nil && (*hook)(peer, command, args...)
}

func (w *world) kafka() kafkaqueue.Config {
	return kafkaqueue.Config{
		Brokers: []string{w.servers.Addresses.Kafka}, Dialer: w.servers.KafkaDialer,
		FetchWait: 5 * time.Second, // hours pass here: each fetch costs
		Topics:    kafkaqueue.Topics{Partitions: 3, Replication: 1},
	}
}

func (w *world) claims() claims.Config {
	return claims.Config{Addrs: []string{w.servers.Addresses.Redis}, Dialer: w.servers.RedisDialer}
}

// listen gathers every event, repeats included.
func (w *world) listen() {
	l, err := w.client.Listener(kafkaqueue.ListenerConfig{Group: "world", Remember: 1})
	require.NoError(w.t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan error, 1)
	go func() {
		done <- l.Run(ctx, func(_ context.Context, e task.Event) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e)
			return nil
		})
	}()
	w.t.Cleanup(func() {
		stop()
		require.NoError(w.t, <-done)
	})
}

// outcome waits for a task's first event.
func (w *world) outcome(id string, within time.Duration) task.Event {
	w.t.Helper()
	var found task.Event
	w.eventually(within, "an event of "+id, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, e := range w.events {
			if e.TaskID == id {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// eventually waits in fake time.
func (w *world) eventually(within time.Duration, what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("not within %s: %s", within, what)
		}
	}
}

func (w *world) eventsOf(id string) (events []task.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e.TaskID == id {
			events = append(events, e)
		}
	}
	return events
}

func (w *world) runsOf(id string) (runs []started) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.runs {
		if r.id == id {
			runs = append(runs, r)
		}
	}
	return runs
}

// endsOnce wants a task to succeed in one run and one event that leave nothing open, and its node to end in order.
func (w *world) endsOnce(n *testNode, id string) {
	w.t.Helper()
	require.Equal(w.t, task.Success, w.outcome(id, time.Hour).Status)
	require.Len(w.t, w.runsOf(id), 1)
	time.Sleep(5 * time.Minute)
	require.Zero(w.t, w.backlog().Lag)
	require.Len(w.t, w.eventsOf(id), 1)
	require.NoError(w.t, n.end())
}

// failOnce fails for good until the task is redriven.
func failOnce(_ context.Context, x *task.Execution) error {
	if x.Replay == 0 {
		return task.Permanent(errors.New("never"))
	}
	return nil
}

func (w *world) allRuns() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.runs)
}

// testNode is a node that can be stopped, and its end waited for.
type testNode struct {
	*Service
	stop context.CancelFunc
	done chan error
}

// node starts one whose type "work" is run by worker.
func (w *world) node(name string, worker task.WorkerFunc, change func(*Config), options ...task.Option) *testNode {
	mux := task.NewMux()
	mux.Register("work", task.WorkerFunc(func(ctx context.Context, x *task.Execution) error {
		w.mu.Lock()
		w.runs = append(w.runs, started{name, x.ID, x.Attempt, x.AllocationID, time.Now()})
		w.mu.Unlock()
		return worker(ctx, x)
	}), options...)
	cfg := Config{Name: name, Kafka: w.kafka(), Claims: w.claims(), Workers: mux, Log: testLog(w.t)}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	require.NoError(w.t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(w.t.Context()))
	n := &testNode{Service: s, stop: stop, done: make(chan error, 1)}
	go func() { n.done <- s.Run(ctx) }()
	w.t.Cleanup(stop)
	w.eventually(time.Minute, name+" is ready", func() bool { return s.Ready() == nil })
	return n
}

// end stops a node and returns what Run did.
func (n *testNode) end() error {
	n.stop()
	return <-n.done
}

func testLog(t *testing.T) *slog.Logger {
	t.Helper()
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
