package claims_test

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// A claim is asked for, renewed while the task runs, and settled. What the
// settlement owes is published before anything is marked or finished.
func Example() {
	fake := miniredis.NewMiniRedis()
	defer fake.Close()
	ctx := context.Background()
	store, err := claims.Open(ctx, claims.Config{
		Dialer: func(context.Context, string, string) (net.Conn, error) { return fake.Dial() },
	})
	if err != nil {
		panic(err)
	}
	defer store.Close()

	// An empty Redis may have forgotten something: outcomes are read back from
	// the results topic (here there are none) before anything is granted.
	cold, _ := store.Cold(ctx)
	_ = store.MarkCold(ctx, "rebuild-1", cold.Buckets)
	warmed, _ := store.Warm(ctx, "rebuild-1", cold.Buckets)
	fmt.Println("warm buckets:", warmed)

	info := claims.Info{Type: "image.resize", Node: "node-1", AssignedAt: time.Now()}
	answers, _ := store.Claim(ctx, "node-1/4f1c", "call-1", []claims.Ask{{ID: "cat", Attempt: 1, Info: info.Encode()}})
	claim := answers[0]
	fmt.Println("granted:", claim.Verdict == claims.Granted)

	info.Fraction, info.Note = 0.4, "decoded"
	beats, _ := store.Beat(ctx, []claims.Beat{{ID: "cat", Lease: claim.Lease, Attempt: 1, Active: true, Info: info.Encode()}})
	fmt.Println("kept:", beats[0].Verdict == claims.Kept)

	settled, _ := store.Settle(ctx, []claims.Settlement{{ID: "cat", Lease: claim.Lease, Status: task.Success, Attempt: 1, Info: info.Encode()}})
	fmt.Println("settled:", settled[0].Status)

	// … the event is published and acknowledged …
	_ = store.Published(ctx, []claims.Mark{{ID: "cat", Attempt: 1, AllocationID: claim.AllocationID, Status: task.Success}})
	states, _ := store.States(ctx, []string{"cat"})
	fmt.Println("published:", states[0].Published)
	// Output:
	// warm buckets: 64
	// granted: true
	// kept: true
	// settled: SUCCESS
	// published: true
}
