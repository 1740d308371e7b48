package claims

import (
	"context"
	"errors"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Submission is a task that Kafka has accepted.
type Submission struct {
	ID         string
	Replay     int
	ParamsHash uint64
	NotBefore  time.Time
	Info       []byte
}

// SubmitAnswer is the answer to one [Submission].
type SubmitAnswer struct {
	Verdict SubmitVerdict
	Err     error // Unsubmitted only
}

// SubmitVerdict says what a submission met.
type SubmitVerdict uint8

// The verdicts of a submission.
const (
	// Unsubmitted: this one could not be judged.
	Unsubmitted SubmitVerdict = iota
	// Created: the state was absent, or of a lower replay that ended.
	Created
	// Exists: the same task is there and not finished, now or by an earlier call.
	Exists
	// Ended: the same task is there and terminal.
	Ended
	// Conflicts: another task with other parameters has this id and replay.
	Conflicts
)

// Submit creates the states of tasks that Kafka has accepted, where they are
// absent.
func (s *Store) Submit(ctx context.Context, submissions []Submission) ([]SubmitAnswer, error) {
	return nil, errors.New("not yet")
}

// States reads many states; nil stands for a task that Redis does not know.
func (s *Store) States(ctx context.Context, ids []string) ([]*State, error) {
	return nil, errors.New("not yet")
}

// CancelAnswer is the answer to [Store.Cancel].
type CancelAnswer uint8

// The answers to a request to cancel.
const (
	// CancelSettled: the task is CANCELLED now. The caller publishes the event,
	// then calls [Store.Published].
	CancelSettled CancelAnswer = iota + 1
	// CancelRequested: it runs, and its node was told.
	CancelRequested
	// CancelTooLate: it had ended, as the state says.
	CancelTooLate
)

// Cancel asks for one task to end. info is for a task that Redis does not
// know. ErrCold while Redis may have forgotten it.
func (s *Store) Cancel(ctx context.Context, id string, info []byte) (CancelAnswer, *State, error) {
	return 0, nil, errors.New("not yet")
}

// Filter chooses states; a zero field chooses all.
type Filter struct {
	Type     string
	Statuses []task.Status
	Node     string
	// OlderThan and YoungerThan compare the time since the last transition.
	OlderThan, YoungerThan time.Duration
}

// List returns about limit states that match, in no particular order, and the
// cursor of the next page: "" after the last, and at the first.
func (s *Store) List(ctx context.Context, filter Filter, cursor string, limit int) (states []*State, next string, err error) {
	return nil, "", errors.New("not yet")
}

// Wakes calls fn with the id of each task that somebody may wait for, until
// ctx ends. It connects again by itself; a wake-up that is missed costs only
// time. fn must not block.
func (s *Store) Wakes(ctx context.Context, fn func(id string)) error { return errors.New("not yet") }
