package system

import (
	"context"
	"fmt"
	"time"

	"github.com/offline-nodes/offline-nodes/bench/internal/work"
)

// Name is a system's name.
type Name string

// The systems.
const (
	Ours  Name = "offline-nodes"
	Asynq Name = "asynq"
	River Name = "River"
)

// Variant says which settings a system is given.
type Variant string

// The variants.
const (
	// Best are the settings that its documentation, its own benchmark or our trials recommend for speed.
	Best Variant = "best"
	// Default are the settings that it has when nobody sets any. Where there is no default, the one of its examples.
	Default Variant = "default"
	// Tuned are those of Best, with the shortest times for noticing a dead worker that its checks and its servers allow.
	Tuned Variant = "tuned"
	// Relaxed is Best without waiting for the disk, as far as the system's server can be told so by its client.
	Relaxed Variant = "relaxed"
)

// Addresses say where the servers are.
type Addresses struct {
	Kafka, Redis, Postgres string
}

// Spec is a system with its settings, as a worker process gets it.
type Spec struct {
	System  Name
	Variant Variant
	Addresses
	// Space keeps apart what uses the same servers: a prefix of topics and keys, a queue, a database.
	Space string
	// Worker is the worker's own name.
	Worker string
	// Slots is how many tasks a worker runs at a time; 0: the variant's.
	Slots int
	// Grace is how long a worker that is told to stop lets its tasks run; 0: the variant's.
	Grace time.Duration
	// LongTasks lifts a time limit that the system has by default and that the scenario's tasks would hit.
	LongTasks bool
	// FastRetries has every system try a failed task again after 1, 2, 4, 8 s.
	FastRetries bool
	// Partitions of a task topic; 0: the variant's.
	Partitions int32
	// Counting: workers tell only how many tasks have ended.
	Counting bool
	// Profile is a file for the worker's CPU profile; none if empty.
	Profile string
}

// String names the system and its variant.
func (s Spec) String() string { return fmt.Sprintf("%s, %s", s.System, s.Variant) }

// System is one of the systems under test.
type System interface {
	// Settings are what differs between variants, one a line.
	Settings() []string
	// Create makes what must be there before the first task, and Drop removes it with all tasks.
	Create(ctx context.Context) error
	Drop(ctx context.Context) error
	// Open is the submitting side.
	Open(ctx context.Context) (Queue, error)
	// Work runs tasks until ctx ends; then it stops as the system does on SIGTERM. It calls ready when it takes tasks.
	Work(ctx context.Context, do Handler, ready func()) error
}

// Handler runs one task.
type Handler func(ctx context.Context, t work.Task, attempt int) error

// Queue submits tasks and counts them.
type Queue interface {
	Submit(ctx context.Context, t work.Task) error
	// SubmitMany submits in the way that the system has for many tasks.
	SubmitMany(ctx context.Context, tasks []work.Task) error
	// Left is how many tasks have not ended, as the system's servers say, and Dead how many it has given up.
	Left(ctx context.Context) (int, error)
	Dead(ctx context.Context) (int, error)
	Close(ctx context.Context) error
}

// New makes the system of a spec.
func New(spec Spec) (System, error) {
	switch spec.System {
	case Ours:
		return &ours{spec}, nil
	case Asynq:
		return &asynqSystem{spec}, nil
	case River:
		return &riverSystem{spec}, nil
	default:
		return nil, fmt.Errorf("no system is called %q", spec.System)
	}
}

// retryDelay is the delay of FastRetries after so many failures.
func retryDelay(failures int) time.Duration {
	return time.Second << min(max(failures-1, 0), 3)
}
