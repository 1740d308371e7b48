package client_test

import (
	"context"
	"fmt"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/embedded"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/node"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

type Resize struct {
	Image string
	Width int
}

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	servers, err := embedded.Start(ctx, embedded.Options{}) // a broker and a Redis, for this example
	if err != nil {
		fmt.Println(err)
		return
	}
	defer servers.Stop()
	kafka := kafkaqueue.Config{Brokers: []string{servers.Addresses.Kafka}, Topics: kafkaqueue.Topics{Replication: 1}}
	redis := claims.Config{Addrs: []string{servers.Addresses.Redis}}
	stop := runNode(ctx, kafka, redis)
	defer stop()

	c, err := client.Open(ctx, client.Config{Kafka: kafka, Claims: redis})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close(ctx)
	if err := c.Ensure(ctx, "image.resize"); err != nil {
		fmt.Println(err)
		return
	}

	id, err := c.Submit(ctx, "image.resize", Resize{"cat.jpg", 640}, task.Unique("cat.jpg"))
	if err != nil {
		fmt.Println(err)
		return
	}
	state, err := c.Wait(ctx, id, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(state.Status, string(state.Result))

	_, err = c.Submit(ctx, "image.resize", Resize{"cat.jpg", 640}, task.Unique("cat.jpg"))
	fmt.Println(err)
	// Output:
	// SUCCESS "cat.jpg at 640"
	// submit image.resize u-06a9d74e6dd64e83cd3dc7ec1997cf66: the unique task has ended already
}

// runNode runs the tasks of the example.
func runNode(ctx context.Context, kafka kafkaqueue.Config, redis claims.Config) (stop func()) {
	workers := task.NewMux()
	task.Handle(workers, "image.resize", func(_ context.Context, run *task.Run[Resize]) error {
		return run.SetResult(fmt.Sprintf("%s at %d", run.Params.Image, run.Params.Width))
	})
	service, err := node.New(node.Config{Name: "example", Kafka: kafka, Claims: redis, Workers: workers, Grace: time.Second})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	return func() {
		cancel()
		<-done
	}
}
