package kafkaqueue_test

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// A task goes in, a consumer gets it, and its outcome can be read back.
func Example() {
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		panic(err)
	}
	defer kafka.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cfg := kafkaqueue.Config{Brokers: kafka.ListenAddrs()}

	admin, err := kafkaqueue.OpenAdmin(cfg)
	if err != nil {
		panic(err)
	}
	defer admin.Close()
	if err := admin.Ensure(ctx, []string{"image.resize"}); err != nil {
		panic(err)
	}

	producer, err := kafkaqueue.NewProducer(cfg)
	if err != nil {
		panic(err)
	}
	errs := producer.Submit(ctx, []task.Delivery{{
		Envelope: task.Envelope{ID: "cat-1", Type: "image.resize"}, Params: []byte(`{"key":"cat.jpg"}`),
	}})
	if errs != nil {
		panic(errs[0])
	}

	consumer, err := kafkaqueue.NewConsumer(cfg, "image.resize", kafkaqueue.Hooks{})
	if err != nil {
		panic(err)
	}
	life, leave := context.WithCancel(ctx)
	left := make(chan error, 1)
	go func() { left <- consumer.Run(life) }()
	deliveries, err := consumer.Poll(ctx)
	if err != nil {
		panic(err)
	}
	d := deliveries[0]
	fmt.Println(d.ID, string(d.Params))

	// The event first, the offset when Kafka has it.
	acked := make(chan error, 1)
	producer.Event(task.Event{TaskID: d.ID, Type: d.Type, Status: task.Success, CompletedAt: time.Now()}, func(err error) { acked <- err })
	if err := <-acked; err != nil {
		panic(err)
	}
	consumer.Finish(&d)
	leave()
	fmt.Println("left:", <-left)

	err = kafkaqueue.ReadResults(ctx, cfg, time.Time{}, func(e task.Event) error {
		fmt.Println(e.TaskID, e.Status)
		return nil
	})
	fmt.Println("read:", err, producer.Close(ctx))
	// Output:
	// cat-1 {"key":"cat.jpg"}
	// left: <nil>
	// cat-1 SUCCESS
	// read: <nil> <nil>
}
