package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/offline-nodes/offline-nodes/internal/config"
	"github.com/offline-nodes/offline-nodes/internal/telemetry"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/merge"
	"github.com/offline-nodes/offline-nodes/pkg/reindex"
	"github.com/offline-nodes/offline-nodes/pkg/snapshot"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// queue is the task queue as a data node sees it. It connects when it is needed, and again until that succeeds: a data
// node starts and works while Kafka and Redis are away.
type queue struct {
	kafka  kafkaqueue.Config
	claims claims.Config
	group  string
	log    *slog.Logger
	tracer trace.Tracer

	mu     sync.Mutex
	client *client.Client
	admin  *kafkaqueue.Admin
	stored *kafkaqueue.Settings // what is set for all processes
	setter *kafkaqueue.Producer
	topics bool // they are there
	failed error
	until  time.Time // failed is the answer until then
}

const (
	// connectTimeout bounds one attempt to connect, reconnect is the time between two.
	connectTimeout = 3 * time.Second
	reconnect      = 5 * time.Second
)

func newQueue(settings *config.Settings, name string, tel *telemetry.Telemetry) (*queue, error) {
	kafka, kafkaErr := settings.Kafka.Config()
	redis, redisErr := settings.Redis.Config()
	if err := errors.Join(kafkaErr, redisErr); err != nil {
		return nil, err
	}
	kafka.Log, kafka.Meter, redis.Log = tel.Log, tel.Meter(), tel.Log
	admin, err := kafkaqueue.OpenAdmin(kafka)
	if err != nil {
		return nil, err
	}
	stored, storedErr := kafkaqueue.NewSettings(kafka)
	setter, setterErr := kafkaqueue.NewProducer(kafka)
	if err := errors.Join(storedErr, setterErr); err != nil {
		return nil, err
	}
	return &queue{
		kafka: kafka, claims: redis, group: "data-node." + plain(name), log: tel.Log, tracer: tel.Tracer(),
		admin: admin, stored: stored, setter: setter,
	}, nil
}

// plain leaves of a name what a consumer group's may have.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '-'
	}, name)
}

// connect returns the client, or why there is none.
func (q *queue) connect(ctx context.Context) (*client.Client, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.client != nil {
		return q.client, nil
	}
	if time.Now().Before(q.until) {
		return nil, q.failed
	}
	limited, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	c, err := client.Open(limited, client.Config{Kafka: q.kafka, Claims: q.claims, Log: q.log, Tracer: q.tracer})
	if err != nil {
		err = fmt.Errorf("task queue: %w", err)
		if ctx.Err() == nil { // else it says nothing about the queue
			q.failed, q.until = err, time.Now().Add(reconnect)
		}
		return nil, err
	}
	q.client = c
	return c, nil
}

// Submit implements [datanode.Queue]. The ID stands for the merge: a plan made on a newer generation is the same merge,
// and one that has ended is to run once more.
func (q *queue) Submit(ctx context.Context, id, typ string, params any) error {
	c, err := q.connect(ctx)
	if err != nil {
		return err
	}
	if err := q.ensure(ctx, c); err != nil {
		return err
	}
	s, err := task.NewSubmission(typ, params, task.ID(id), task.Again())
	if err != nil {
		return err
	}
	s.Unique = true
	err = c.SubmitBatch(ctx, []task.Submission{s})[0].Err
	switch {
	case errors.Is(err, client.ErrConflict):
		return nil // planned on another generation, at the same moment: its task merges the same
	case errors.Is(err, client.ErrUnknown):
		return fmt.Errorf("%w: %w", datanode.ErrUnknown, err)
	}
	return err
}

// ensure makes the topics where they are missing: the data node may be there before the first offline node.
func (q *queue) ensure(ctx context.Context, c *client.Client) error {
	q.mu.Lock()
	there := q.topics
	q.mu.Unlock()
	if there {
		return nil
	}
	if err := c.Ensure(ctx, merge.Type, merge.ForceType, snapshot.Type, snapshot.RestoreType, reindex.Type); err != nil {
		return fmt.Errorf("topics of merges, snapshots and reindexes: %w", err)
	}
	q.mu.Lock()
	q.topics = true
	q.mu.Unlock()
	return nil
}

// State implements [datanode.Queue].
func (q *queue) State(ctx context.Context, id string) (*datanode.TaskState, error) {
	c, err := q.connect(ctx)
	if err != nil {
		return nil, err
	}
	s, err := c.State(ctx, id)
	if errors.Is(err, client.ErrNoTask) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &datanode.TaskState{
		Status: s.Status, Explanation: s.Explanation, Node: s.Node, Attempt: s.Attempt, Fraction: s.Fraction, Note: s.Note,
		Error: s.Error, BytesMoved: s.BytesMoved, StartedAt: s.StartedAt,
	}, nil
}

// Cancel implements [datanode.Queue].
func (q *queue) Cancel(ctx context.Context, id string) error {
	c, err := q.connect(ctx)
	if err != nil {
		return err
	}
	_, err = c.Cancel(ctx, id)
	return err
}

// Fleet implements [datanode.Queue].
func (q *queue) Fleet(ctx context.Context, typ string) (datanode.Fleet, error) {
	c, err := q.connect(ctx)
	if err != nil {
		return datanode.Fleet{}, err
	}
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return datanode.Fleet{}, err
	}
	fleet := datanode.Fleet{Waiting: -1}
	for _, n := range nodes {
		switch {
		case !slices.Contains(n.Types, typ):
		case n.Draining:
			fleet.Draining++
		default:
			fleet.Nodes++
			fleet.Slots += n.Slots[typ]
			fleet.Running += n.Running[typ]
		}
	}
	if fleet.Nodes == 0 {
		return fleet, nil
	}
	backlogs, err := q.admin.Backlog(ctx, []string{typ})
	if err != nil {
		q.log.Debug("age of the queue not known", "error", err)
		return fleet, nil
	}
	fleet.Waiting, fleet.Oldest = backlogs[typ].Lag, backlogs[typ].OldestAge
	return fleet, nil
}

// Listen implements [datanode.Queue].
func (q *queue) Listen(ctx context.Context, handle func(context.Context, task.Event) error) error {
	c, err := q.connect(ctx)
	if err != nil {
		return err
	}
	if err := q.ensure(ctx, c); err != nil {
		return err
	}
	l, err := c.Listener(kafkaqueue.ListenerConfig{Group: q.group, Latest: true})
	if err != nil {
		return err
	}
	return l.Run(ctx, handle)
}

// settingTimeout bounds how long Kafka may take to accept a setting.
const settingTimeout = 5 * time.Second

// Set implements [dataapi.StoredSettings].
func (q *queue) Set(ctx context.Context, key string, value []byte, by string) error {
	ctx, cancel := context.WithTimeout(ctx, settingTimeout)
	defer cancel()
	return q.setter.SetBy(ctx, key, value, by)
}

// All implements [dataapi.StoredSettings].
func (q *queue) All() map[string][]byte { return q.stored.All() }

// Version implements [dataapi.StoredSettings].
func (q *queue) Version(key string) (kafkaqueue.SettingVersion, bool) { return q.stored.Version(key) }

// History implements [dataapi.StoredSettings].
func (q *queue) History(ctx context.Context, fn func(kafkaqueue.SettingVersion) error) error {
	return kafkaqueue.ReadSettings(ctx, q.kafka, fn)
}

func (q *queue) close(ctx context.Context) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.admin.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	if err := q.setter.Close(ctx); err != nil {
		q.log.Warn("settings not closed cleanly", "error", err)
	}
	if q.client == nil {
		return
	}
	if err := q.client.Close(ctx); err != nil {
		q.log.Warn("task queue not closed cleanly", "error", err)
	}
}
