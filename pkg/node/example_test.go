package node_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/node"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

type Resize struct {
	Key   string `json:"key"`
	Width int    `json:"width"`
}

// A node with one type of its own. SIGINT drains it: its tasks go on for the
// grace period, and what is cut short runs elsewhere from its checkpoint.
func Example() {
	mux := task.NewMux()
	task.Handle(mux, "image.resize", func(ctx context.Context, run *task.Run[Resize]) error {
		run.Progress(0.4, "decoded") // travels with the next beat
		return store(ctx, run.Params.Key, run.Params.Width)
	}, task.Slots(4))

	service, err := node.New(node.Config{
		Kafka:   kafkaqueue.Config{Brokers: []string{"localhost:9092"}},
		Claims:  claims.Config{Addrs: []string{"localhost:6379"}},
		Workers: mux,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := service.Run(ctx); err != nil {
		fmt.Println(err)
	}
}

func store(context.Context, string, int) error { return nil }
