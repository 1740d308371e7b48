// Package nodetest runs whole flows in a test without any server: a node with
// the caller's workers on an embedded broker and Redis, and a client.
//
//	fleet := nodetest.Start(t, mux)
//	event := fleet.Do("image.resize", Resize{"cat.jpg", 640})
//
// To test a worker alone, see package tasktest: it is far quicker. The embedded
// servers speak the real protocols, but they are no proof of durability.
package nodetest

import (
	"context"
	"testing"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/embedded"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/node"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Fleet is one node, its servers and a client; all end with the test.
type Fleet struct {
	Client *client.Client
	// Kafka and Claims open further clients, nodes or listeners on the same servers.
	Kafka  kafkaqueue.Config
	Claims claims.Config

	t testing.TB
}

// Timeout is how long [Fleet.Do] waits for a task's end.
const Timeout = time.Minute

// Start returns when the node takes tasks.
func Start(t testing.TB, mux *task.Mux) *Fleet {
	t.Helper()
	servers, err := embedded.Start(t.Context(), embedded.Options{})
	check(t, err)
	t.Cleanup(servers.Stop)
	f := &Fleet{
		Kafka:  kafkaqueue.Config{Brokers: []string{servers.Addresses.Kafka}, Topics: kafkaqueue.Topics{Partitions: 2, Replication: 1}},
		Claims: claims.Config{Addrs: []string{servers.Addresses.Redis}},
		t:      t,
	}
	n, err := node.New(node.Config{Name: "test", Kafka: f.Kafka, Claims: f.Claims, Workers: mux, Grace: time.Second})
	check(t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		check(t, <-ended)
	})
	f.Client, err = client.Open(t.Context(), client.Config{Kafka: f.Kafka, Claims: f.Claims, Workers: mux})
	check(t, err)
	t.Cleanup(func() { check(t, f.Client.Close(context.WithoutCancel(t.Context()))) })
	check(t, f.Client.Ensure(t.Context(), mux.Types()...))
	return f
}

// Do submits a task and returns its state once it has ended. The test fails
// when it is refused or does not end within [Timeout].
func (f *Fleet) Do(typ string, params any, options ...task.SubmitOption) *claims.State {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), Timeout)
	defer cancel()
	id, err := f.Client.Submit(ctx, typ, params, options...)
	check(f.t, err)
	state, err := f.Client.Wait(ctx, id, nil)
	check(f.t, err)
	return state
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
