package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"github.com/offline-nodes/offline-nodes/bench/internal/work"
)

type asynqSystem struct{ spec Spec }

func (s *asynqSystem) config() asynq.Config {
	c := asynq.Config{
		Concurrency: 10, // of its README; without it, as many as there are cores
		Queues:      map[string]int{s.spec.Space: 1},
		LogLevel:    asynq.ErrorLevel,

		ShutdownTimeout: s.spec.Grace,
	}
	if s.spec.Variant != Default {
		c.Concurrency = asynqBestConcurrency
		c.TaskCheckInterval = 5 * time.Millisecond
		c.DelayedTaskCheckInterval = time.Second
	}
	if s.spec.Slots > 0 {
		c.Concurrency = s.spec.Slots
	}
	if s.spec.FastRetries || s.spec.Variant == Tuned {
		c.RetryDelayFunc = func(n int, _ error, _ *asynq.Task) time.Duration { return retryDelay(n + 1) }
	}
	return c
}

// asynqBestConcurrency burnt no-ops down the fastest of those that the sweep tries.
const asynqBestConcurrency = 64

func (s *asynqSystem) Settings() []string {
	c := s.config()
	settings := []string{fmt.Sprintf("Concurrency %d", c.Concurrency)}
	if c.TaskCheckInterval == 0 {
		settings = append(settings, "TaskCheckInterval 1 s, DelayedTaskCheckInterval 5 s, ShutdownTimeout 8 s (defaults)")
	} else {
		settings = append(settings, fmt.Sprintf("TaskCheckInterval %s, DelayedTaskCheckInterval %s", c.TaskCheckInterval, c.DelayedTaskCheckInterval))
	}
	if c.RetryDelayFunc != nil {
		settings = append(settings, "RetryDelayFunc 1, 2, 4, 8 s")
	}
	return append(settings, fmt.Sprintf("tasks enqueued by %d goroutines: the release has no call for many tasks", submitters))
}

func (s *asynqSystem) redis() asynq.RedisClientOpt {
	return asynq.RedisClientOpt{Addr: s.spec.Redis, PoolSize: max(10, s.config().Concurrency+submitters)}
}

func (s *asynqSystem) Create(context.Context) error { return nil }

// Drop leaves the queue: a killed worker's tasks keep it from being removed. Redis is emptied before each turn.
func (s *asynqSystem) Drop(context.Context) error { return nil }

func (s *asynqSystem) Work(ctx context.Context, do Handler, ready func()) error {
	server := asynq.NewServer(s.redis(), s.config())
	mux := asynq.NewServeMux()
	mux.HandleFunc(TaskType, func(ctx context.Context, t *asynq.Task) error {
		var params work.Task
		if err := json.Unmarshal(t.Payload(), &params); err != nil {
			return err
		}
		retried, _ := asynq.GetRetryCount(ctx)
		return do(ctx, params, retried+1)
	})
	if err := server.Start(mux); err != nil {
		return err
	}
	ready()
	<-ctx.Done()
	server.Stop()
	server.Shutdown()
	return nil
}

func (s *asynqSystem) Open(context.Context) (Queue, error) {
	return &asynqQueue{system: s, client: asynq.NewClient(s.redis()), inspector: asynq.NewInspector(s.redis())}, nil
}

type asynqQueue struct {
	system    *asynqSystem
	client    *asynq.Client
	inspector *asynq.Inspector
}

func (q *asynqQueue) Submit(ctx context.Context, t work.Task) error {
	payload, err := json.Marshal(t)
	if err != nil {
		return err
	}
	_, err = q.client.EnqueueContext(ctx, asynq.NewTask(TaskType, payload), asynq.Queue(q.system.spec.Space))
	return err
}

func (q *asynqQueue) SubmitMany(ctx context.Context, tasks []work.Task) error {
	return oneByOne(ctx, q, tasks)
}

// Left is the size of the queue: what has succeeded is not kept.
func (q *asynqQueue) Left(context.Context) (int, error) {
	info, err := q.inspector.GetQueueInfo(q.system.spec.Space)
	if err != nil {
		return 0, err
	}
	return info.Pending + info.Active + info.Scheduled + info.Retry, nil
}

func (q *asynqQueue) Dead(context.Context) (int, error) {
	info, err := q.inspector.GetQueueInfo(q.system.spec.Space)
	if err != nil {
		return 0, err
	}
	return info.Archived, nil
}

func (q *asynqQueue) Close(context.Context) error {
	return errors.Join(q.client.Close(), q.inspector.Close())
}
