package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Errors that callers branch on.
var (
	// ErrUnknown: Kafka did not answer in time, so the task may or may not be
	// accepted. Submit it again with the same id: it will not run twice.
	ErrUnknown = kafkaqueue.ErrUnknown
	// ErrConflict: the id belongs to a task with other parameters.
	ErrConflict = errors.New("another task with other parameters has this id")
	// ErrSettled: the unique task has ended already; its id is returned.
	ErrSettled = errors.New("the unique task has ended already")
	// ErrNoTask: nothing is known of the id. Outcomes are kept for the
	// retention of terminal states; after that only the results topic has them.
	ErrNoTask = errors.New("no such task: never submitted, or its state has expired")
)

// Config opens a [Client].
type Config struct {
	Kafka  kafkaqueue.Config
	Claims claims.Config
	// Workers checks parameters before they are submitted, where the type is
	// known here; nil checks nothing.
	Workers *task.Mux
	// Timeout is how long Submit waits for Kafka, if its context does not end
	// before; 30 s unless set.
	Timeout time.Duration
	Log     *slog.Logger
	Tracer  trace.Tracer
}

// Client talks to the queue from outside. It is safe for concurrent use.
type Client struct {
	cfg      Config
	log      *slog.Logger
	claims   *claims.Store
	producer *kafkaqueue.Producer
}

// Open connects to Redis and makes a producer; topics are made by nodes, or by
// [Client.Ensure].
func Open(ctx context.Context, cfg Config) (*Client, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	cfg.Kafka.Log, cfg.Claims.Log = cfg.Log, cfg.Log
	producer, err := kafkaqueue.NewProducer(cfg.Kafka)
	if err != nil {
		return nil, err
	}
	store, err := claims.Open(ctx, cfg.Claims)
	if err != nil {
		return nil, errors.Join(err, producer.Close(ctx))
	}
	return &Client{cfg: cfg, log: cfg.Log, claims: store, producer: producer}, nil
}

// Close publishes what is under way and ends the connections.
func (c *Client) Close(ctx context.Context) error {
	return errors.Join(c.producer.Close(ctx), c.claims.Close())
}

// Ensure makes the topics of these types, and the shared ones, where they are
// missing.
func (c *Client) Ensure(ctx context.Context, types ...string) error {
	admin, err := kafkaqueue.OpenAdmin(c.cfg.Kafka)
	if err != nil {
		return err
	}
	defer admin.Close()
	return admin.Ensure(ctx, types)
}

// Listener follows completion events, at least once each, in a named group
// whose members share them.
func (c *Client) Listener(cfg kafkaqueue.ListenerConfig) (*kafkaqueue.Listener, error) {
	return kafkaqueue.NewListener(c.cfg.Kafka, cfg)
}

// State tells where a task stands; [ErrNoTask] when nothing is known of it.
func (c *Client) State(ctx context.Context, id string) (*claims.State, error) {
	states, err := c.claims.States(ctx, []string{id})
	if err != nil {
		return nil, fmt.Errorf("state of %s: %w", id, err)
	}
	if states[0] == nil {
		return nil, fmt.Errorf("%s: %w", id, ErrNoTask)
	}
	return states[0], nil
}

// States reads many states at once; nil stands for a task nothing is known of.
func (c *Client) States(ctx context.Context, ids []string) ([]*claims.State, error) {
	return c.claims.States(ctx, ids)
}

// List returns about limit states that match, and the cursor of the next
// page, which is "" after the last.
func (c *Client) List(ctx context.Context, filter claims.Filter, cursor string, limit int) ([]*claims.State, string, error) {
	return c.claims.List(ctx, filter, cursor, limit)
}

// Nodes lists the live nodes.
func (c *Client) Nodes(ctx context.Context) ([]claims.Node, error) { return c.claims.Nodes(ctx) }

// Forgetful tells whether Redis may have forgotten a task: it was emptied,
// restarted or moved, and no node has read the outcomes back yet. [ErrNoTask]
// then says nothing.
func (c *Client) Forgetful(ctx context.Context, id string) (bool, error) {
	cold, err := c.claims.Cold(ctx)
	return slices.Contains(cold.Buckets, claims.Bucket(id)), err
}
