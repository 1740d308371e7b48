package node

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Config makes a [Service]. Only Kafka.Brokers, Claims.Addrs and Workers must
// be set.
type Config struct {
	// Name is the node's own, unique in the fleet; the host's name unless set.
	Name string
	// IP is shown in the registry, for people.
	IP string

	Kafka   kafkaqueue.Config
	Claims  claims.Config
	Workers *task.Mux

	// Types are the task types that this node runs; all of Workers unless set.
	Types []string

	// Grace is how long a stopping node lets its tasks run on; 30 s unless
	// set. What it cuts short keeps its checkpoint and is free at once.
	Grace time.Duration
	// StuckAfter is how long a worker may ignore its cancelled context before
	// that is reported; 10 s unless set. When every slot of a type is lost so,
	// the node gives its other tasks back and Run returns [ErrStuck].
	StuckAfter time.Duration
	// DetachAfter is how long a record whose task runs, here or elsewhere,
	// stays open before its copy goes to the return topic; 60 s unless set.
	DetachAfter time.Duration
	// HopAfter is how long a record waits for a slot before it is published
	// anew; 1 h unless set.
	HopAfter time.Duration
	// NoRouter leaves the delay tiers to other nodes.
	NoRouter bool

	points // of a simulation; nothing in a release build

	Version string // of the program, for the registry
	Log     *slog.Logger
	Meter   metric.Meter
	Tracer  trace.Tracer
}

// withDefaults fills in what is not set.
func (c Config) withDefaults() Config {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&c.Grace, 30*time.Second)
	set(&c.StuckAfter, 10*time.Second)
	set(&c.DetachAfter, time.Minute)
	set(&c.HopAfter, time.Hour)
	if c.Name == "" {
		c.Name, _ = os.Hostname()
	}
	if len(c.Types) == 0 && c.Workers != nil {
		c.Types = c.Workers.Types()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Kafka.Log, c.Kafka.Meter = c.Log, c.Meter
	c.Claims.Log = c.Log
	return c
}

// validate reports every mistake at once.
func (c Config) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Name == "" {
		bad("node: the host has no name: set Name")
	}
	if c.Workers == nil || len(c.Workers.Types()) == 0 {
		bad("node: Workers has no task type: register one with task.Handle")
		return errors.Join(errs...)
	}
	for _, t := range c.Types {
		if c.Workers.Lookup(t) == nil {
			bad("node: no worker for type %q: Workers has %v", t, c.Workers.Types())
		}
	}
	if c.DetachAfter >= c.HopAfter || c.Grace < 0 || c.DetachAfter < 0 {
		bad("node: DetachAfter (%s) must be below HopAfter (%s), and Grace (%s) not negative", c.DetachAfter, c.HopAfter, c.Grace)
	}
	return errors.Join(errs...)
}
