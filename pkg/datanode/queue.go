package datanode

import (
	"context"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Queue is what a data node needs of the task queue. Its methods are called from several goroutines, and return soon
// after their context has ended.
type Queue interface {
	// Submit publishes a task. One that is there under this ID already counts, but one that has ended runs once more.
	// Returning nil means that the task will reach a terminal status, an error that wraps [ErrUnknown] that it may have been
	// accepted, any other that it was not.
	Submit(ctx context.Context, id, typ string, params any) error

	// State tells where a task stands; nil when nothing is known of it.
	State(ctx context.Context, id string) (*TaskState, error)

	// Cancel asks a task to end. One that does not run has ended when it returns nil; one that runs ends later, if it does:
	// State tells.
	Cancel(ctx context.Context, id string) error

	// Fleet tells who could run tasks of a type now.
	Fleet(ctx context.Context, typ string) (Fleet, error)

	// Listen calls handle for each completion event, from about now on, until ctx ends. Every data node must see every
	// event, so each listens for itself.
	Listen(ctx context.Context, handle func(ctx context.Context, e task.Event) error) error
}

// TaskState is where a task stands.
type TaskState struct {
	Status      task.Status
	Explanation string // why it is not running
	Node        string // that runs or last ran it
	Attempt     int
	Fraction    float64 // of its progress, 0 to 1
	Note        string
	Error       string
	BytesMoved  int64
	StartedAt   time.Time
}

// Fleet is who could run the tasks of one type.
type Fleet struct {
	Nodes    int           // alive, with the type, not draining
	Draining int           // alive, with the type, and only finishing what they run
	Slots    int           // for the type, on those that do not drain
	Running  int           // slots in use
	Waiting  int64         // tasks of the type that have not ended; those that run count too. -1: not known
	Oldest   time.Duration // how long the oldest of them is there; 0 when none, or not known
}
