package kafkaqueue

import (
	"context"
	"errors"
	"time"
)

// Admin creates, checks and describes topics and groups. It is safe for
// concurrent use.
type Admin struct{ cfg Config }

// OpenAdmin does not connect yet; use [Admin.Ping] to find out.
func OpenAdmin(cfg Config) (*Admin, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Admin{cfg: cfg.withDefaults()}, nil
}

// Close ends the connections.
func (a *Admin) Close() {}

// Ping asks a broker for an answer.
func (a *Admin) Ping(ctx context.Context) error { return errors.ErrUnsupported }

// Ensure creates the topics that are missing and compares the others with
// what the queue's promises need: the error names every deviation. It changes
// no topic that exists.
func (a *Admin) Ensure(ctx context.Context, types []string) error { return errors.ErrUnsupported }

// Severity says how bad a [Finding] is.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"   // breaks a promise
	SeverityWarning Severity = "warning" // may break one, or hides trouble
)

// Finding is one thing that endangers a promise, and what to do about it.
type Finding struct {
	What     string   `json:"what"`
	Severity Severity `json:"severity"`
	Advice   string   `json:"advice"`
}

// Check lists what endangers a promise: settings of topics and brokers, lost
// replicas, committed offsets that retention has overtaken.
func (a *Admin) Check(ctx context.Context, types []string) ([]Finding, error) {
	return nil, errors.ErrUnsupported
}

// Alone tells whether the groups of these types have no member at all. Ask
// before the own consumers run. An error means that it is not known.
func (a *Admin) Alone(ctx context.Context, types []string) (bool, error) {
	return false, errors.ErrUnsupported
}

// Backlog is what waits for one type.
type Backlog struct {
	Lag       int64         // records not finished, in the task topic and the return topic
	OldestAge time.Duration // of the oldest of them
}

// Backlog tells per type what waits.
func (a *Admin) Backlog(ctx context.Context, types []string) (map[string]Backlog, error) {
	return nil, errors.ErrUnsupported
}
