package system

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/node"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/bench/internal/work"
)

// TaskType is what the tasks are called in every system.
const TaskType = "bench"

type ours struct{ spec Spec }

func (s *ours) slots() int {
	switch {
	case s.spec.Slots > 0:
		return s.spec.Slots
	case s.spec.Variant == Default:
		return 4
	default:
		return 16
	}
}

func (s *ours) partitions() int32 {
	switch {
	case s.spec.Partitions > 0:
		return s.spec.Partitions
	case s.spec.Variant == Default:
		return 6
	default:
		return 12
	}
}

func (s *ours) Settings() []string {
	settings := []string{fmt.Sprintf("%d slots, %d partitions", s.slots(), s.partitions())}
	c := s.claims()
	if c.Lease != 0 {
		settings = append(settings, fmt.Sprintf("lease %s, beat %s, trust window %s, session timeout %s", c.Lease, c.Beat, c.Trust, s.kafka().SessionTimeout))
	} else {
		settings = append(settings, "lease 15 s, beat 5 s, session timeout 10 s (defaults)")
	}
	if s.spec.Variant == Default {
		return append(settings, "tasks submitted one by one")
	}
	return append(settings, "tasks submitted in batches")
}

func (s *ours) kafka() kafkaqueue.Config {
	c := kafkaqueue.Config{
		Brokers: []string{s.spec.Kafka}, Prefix: s.spec.Space + ".",
		Topics: kafkaqueue.Topics{Partitions: s.partitions(), Replication: 1},
	}
	if s.spec.Variant == Tuned {
		// The lowest that a broker allows by default.
		c.SessionTimeout = 6 * time.Second
	}
	return c
}

func (s *ours) claims() claims.Config {
	c := claims.Config{Addrs: []string{s.spec.Redis}, Prefix: s.spec.Space + ":"}
	if s.spec.Variant == Tuned {
		c.Lease, c.Beat, c.Trust = 4*time.Second, time.Second, 3*time.Second
	}
	return c
}

func (s *ours) client(ctx context.Context) (*client.Client, error) {
	return client.Open(ctx, client.Config{Kafka: s.kafka(), Claims: s.claims(), Timeout: time.Minute})
}

func (s *ours) Create(ctx context.Context) error {
	c, err := s.client(ctx)
	if err != nil {
		return err
	}
	return errors.Join(c.Ensure(ctx, TaskType), c.Close(ctx))
}

func (s *ours) Drop(ctx context.Context) error {
	kafka, err := kgo.NewClient(kgo.SeedBrokers(s.spec.Kafka))
	if err != nil {
		return err
	}
	defer kafka.Close()
	admin := kadm.NewClient(kafka)
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	var own []string
	for _, name := range topics.Names() {
		if len(name) > len(s.spec.Space) && name[:len(s.spec.Space)+1] == s.spec.Space+"." {
			own = append(own, name)
		}
	}
	_, err = admin.DeleteTopics(ctx, own...)
	return err
}

func (s *ours) Work(ctx context.Context, do Handler, ready func()) error {
	mux := task.NewMux()
	options := []task.Option{task.Slots(s.slots())}
	if s.spec.FastRetries {
		options = append(options, task.Retry(task.RetryPolicy{MaxAttempts: 25, Initial: retryDelay(1), Max: retryDelay(25), Factor: 2}))
	}
	task.Handle(mux, TaskType, func(ctx context.Context, run *task.Run[work.Task]) error {
		return do(ctx, run.Params, run.Attempt)
	}, options...)
	svc, err := node.New(node.Config{
		Name: s.spec.Worker, Kafka: s.kafka(), Claims: s.claims(), Workers: mux, Grace: s.spec.Grace,
	})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- svc.Run(ctx) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for svc.Ready() != nil {
		select {
		case err := <-ended:
			return err
		case <-tick.C:
		}
	}
	ready()
	return <-ended
}

func (s *ours) Open(ctx context.Context) (Queue, error) {
	c, err := s.client(ctx)
	if err != nil {
		return nil, err
	}
	kafka, err := kgo.NewClient(kgo.SeedBrokers(s.spec.Kafka))
	if err != nil {
		return nil, errors.Join(err, c.Close(ctx))
	}
	return &oursQueue{system: s, client: c, kafka: kafka, admin: kadm.NewClient(kafka)}, nil
}

type oursQueue struct {
	system    *ours
	client    *client.Client
	kafka     *kgo.Client
	admin     *kadm.Client
	submitted counter
}

func (q *oursQueue) Submit(ctx context.Context, t work.Task) error {
	_, err := q.client.Submit(ctx, TaskType, t)
	q.submitted.add(1)
	return err
}

func (q *oursQueue) SubmitMany(ctx context.Context, tasks []work.Task) error {
	if q.system.spec.Variant == Default {
		return oneByOne(ctx, q, tasks)
	}
	batch := make([]task.Submission, len(tasks))
	for i, t := range tasks {
		s, err := task.NewSubmission(TaskType, t)
		if err != nil {
			return err
		}
		batch[i] = s
	}
	q.submitted.add(len(tasks))
	for _, r := range q.client.SubmitBatch(ctx, batch) {
		if r.Err != nil {
			return r.Err
		}
	}
	return nil
}

// Left compares with the completion events, which are the last thing that a task leaves.
func (q *oursQueue) Left(ctx context.Context) (int, error) {
	n, err := q.records(ctx, "results")
	return q.submitted.value() - n, err
}

func (q *oursQueue) Dead(ctx context.Context) (int, error) { return q.records(ctx, "dead-letter") }

func (q *oursQueue) records(ctx context.Context, topic string) (int, error) {
	ends, err := q.admin.ListEndOffsets(ctx, q.system.spec.Space+".tasks."+topic)
	if err := errors.Join(err, ends.Error()); err != nil {
		return 0, err
	}
	var n int64
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return int(n), nil
}

func (q *oursQueue) Close(ctx context.Context) error {
	q.kafka.Close()
	return q.client.Close(ctx)
}
