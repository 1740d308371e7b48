package claims

import (
	"context"
	"errors"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Buckets is into how many parts the tasks are divided by the root of their id.
const Buckets = 64

// Coldness says what Redis may have forgotten.
type Coldness struct {
	// Buckets that are cold; none: all is warm.
	Buckets []int
	// Since when outcomes may be missing: one minute before the buckets were
	// last touched. Zero when a key is gone: read one Retention back.
	Since time.Time
}

// Cold tells which buckets Redis may have forgotten: it is empty, was
// restarted, failed over, or a rebuild was begun and not ended.
func (s *Store) Cold(ctx context.Context) (Coldness, error) {
	return Coldness{}, errors.New("not yet")
}

// RebuildLock is the right to read the outcomes back.
type RebuildLock struct {
	store *Store
	value string
}

// LockRebuild takes the right to rebuild for one lease; nil when another
// process has it. The nonces of MarkCold and Warm decide, the lock only saves
// double work.
func (s *Store) LockRebuild(ctx context.Context, claimant string) (*RebuildLock, error) {
	return nil, errors.New("not yet")
}

// Renew extends the lock by one lease and tells whether it is still ours.
func (l *RebuildLock) Renew(ctx context.Context) (bool, error) { return false, errors.New("not yet") }

// Release gives the lock up.
func (l *RebuildLock) Release(ctx context.Context) error { return errors.New("not yet") }

// MarkCold signs the buckets that are still cold with the nonce of a rebuild.
func (s *Store) MarkCold(ctx context.Context, nonce string, buckets []int) error {
	return errors.New("not yet")
}

// Warm opens the buckets that still bear the nonce, on the server that bore it
// then, and returns how many.
func (s *Store) Warm(ctx context.Context, nonce string, buckets []int) (int, error) {
	return 0, errors.New("not yet")
}

// Outcome is a terminal event read back from the results topic.
type Outcome struct {
	ID              string
	Replay, Attempt int
	Status          task.Status
	AllocationID    int64
	Reason          task.Reason
	At              time.Time
	Info            []byte
}

// Restore writes outcomes, marked published, over states of the same or a
// lower (replay, attempt) that did not end at that replay.
func (s *Store) Restore(ctx context.Context, outcomes []Outcome) error { return errors.New("not yet") }
