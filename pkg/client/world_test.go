//go:build synctests

package client_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/embedded"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/node"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// world is a broker, a Redis and a client in one bubble of fake time.
type world struct {
	*client.Client
	t       *testing.T
	servers *embedded.Servers

	mu   sync.Mutex
	runs []task.Envelope
}

// retention is how long Redis keeps outcomes in the world: fake hours take
// real seconds.
const retention = 10 * time.Minute

// inWorld runs a test in fake time. The bubble has a testing.T of its own: w.t.
func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		servers, err := embedded.Start(t.Context(), embedded.Options{InMemory: true})
		require.NoError(t, err)
		t.Cleanup(servers.Stop)
		w := &world{t: t, servers: servers}
		w.Client = w.open(client.Config{})
		require.NoError(t, w.Ensure(t.Context(), "work"))
		test(w)
	})
}

// open opens a client of the world's servers; what cfg leaves out is filled in.
func (w *world) open(cfg client.Config) *client.Client {
	w.t.Helper()
	cfg.Kafka = w.kafka()
	if cfg.Claims.Dialer == nil {
		cfg.Claims = w.claims()
	}
	c, err := client.Open(w.t.Context(), cfg)
	require.NoError(w.t, err)
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(w.t.Context()), time.Second)
		defer cancel()
		_ = c.Close(ctx) // the broker may be gone
	})
	return c
}

func (w *world) kafka() kafkaqueue.Config {
	return kafkaqueue.Config{
		Brokers: []string{w.servers.Addresses.Kafka}, Dialer: w.servers.KafkaDialer,
		Topics: kafkaqueue.Topics{Partitions: 2, Replication: 1},
	}
}

func (w *world) claims() claims.Config {
	return claims.Config{Addrs: []string{w.servers.Addresses.Redis}, Dialer: w.servers.RedisDialer, Retention: retention}
}

// node runs tasks of the type "work" until the test ends.
func (w *world) node(worker task.WorkerFunc, options ...task.Option) {
	w.t.Helper()
	mux := task.NewMux()
	mux.Register("work", task.WorkerFunc(func(ctx context.Context, x *task.Execution) error {
		w.mu.Lock()
		w.runs = append(w.runs, task.Envelope{ID: x.ID, Replay: x.Replay, Attempt: x.Attempt})
		w.mu.Unlock()
		return worker(ctx, x)
	}), options...)
	s, err := node.New(node.Config{Name: "n1", Kafka: w.kafka(), Claims: w.claims(), Workers: mux, Grace: time.Second})
	require.NoError(w.t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	w.t.Cleanup(func() {
		stop()
		require.NoError(w.t, <-done)
	})
	w.eventually("the node is ready", func() bool { return s.Ready() == nil })
}

// eventually waits a minute of fake time at most.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("not within a minute: %s", what)
		}
	}
}

func (w *world) runsOf(id string) (runs []task.Envelope) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.runs {
		if r.ID == id {
			runs = append(runs, r)
		}
	}
	return runs
}

// letters are the dead letters that match.
func (w *world) letters(filter client.LetterFilter) (letters []kafkaqueue.DeadLetter) {
	w.t.Helper()
	require.NoError(w.t, w.DeadLetters(w.t.Context(), filter, func(l kafkaqueue.DeadLetter) error {
		letters = append(letters, l)
		return nil
	}))
	return letters
}

// events are all that are on the results topic.
func (w *world) events() (events []task.Event) {
	w.t.Helper()
	require.NoError(w.t, kafkaqueue.ReadResults(w.t.Context(), w.kafka(), time.Time{}, func(e task.Event) error {
		events = append(events, e)
		return nil
	}))
	return events
}

// deliver reads n records of the type "work" as a node would.
func (w *world) deliver(n int) (deliveries []task.Delivery) {
	w.t.Helper()
	consumer, err := kafkaqueue.NewConsumer(w.kafka(), "work", kafkaqueue.Hooks{})
	require.NoError(w.t, err)
	ctx, stop := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- consumer.Run(ctx) }()
	defer func() {
		stop()
		require.NoError(w.t, <-done)
	}()
	for len(deliveries) < n {
		polled, err := consumer.Poll(ctx)
		require.NoError(w.t, err)
		deliveries = append(deliveries, polled...)
	}
	return deliveries
}
