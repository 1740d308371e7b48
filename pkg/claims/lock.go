package claims

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// LockName says what a [Lock] is the right to do.
type LockName string

// Every lock.
const (
	// RebuildLock is the right to read the outcomes back.
	RebuildLock LockName = "rebuild"
	// SchedulerLock is the right to submit what schedules say.
	SchedulerLock LockName = "scheduler"
)

// Lock is the right to do something that one process at a time should do. It
// saves double work only, and must not be needed for anything else: Redis may
// forget it, and a holder may be frozen while it ends.
type Lock struct {
	store    *Store
	name     LockName
	claimant string
}

// Lock returns the lock of a name for a claimant. Nothing is taken yet.
func (s *Store) Lock(name LockName, claimant string) (*Lock, error) {
	if err := checkName("claimant", claimant); err != nil {
		return nil, err
	}
	return &Lock{s, name, claimant}, nil
}

// Take takes the lock for one lease, or renews it, and tells whether it is ours.
func (l *Lock) Take(ctx context.Context) (bool, error) {
	err := l.store.client.SetArgs(ctx, l.store.keys.lock(l.name), l.claimant, redis.SetArgs{Mode: "NX", TTL: l.store.cfg.Lease}).Err()
	switch {
	case err == nil:
		return true, nil
	case !errors.Is(err, redis.Nil):
		return false, fmt.Errorf("take lock %s: %w", l.name, err)
	}
	return l.Renew(ctx)
}

// Renew extends the lock by one lease and tells whether it is still ours. It
// does not take it again once it was lost.
func (l *Lock) Renew(ctx context.Context) (bool, error) {
	return l.set(ctx, millis(l.store.cfg.Lease))
}

// Release gives the lock up.
func (l *Lock) Release(ctx context.Context) error {
	_, err := l.set(ctx, 0)
	return err
}

func (l *Lock) set(ctx context.Context, ms int64) (bool, error) {
	replies := l.store.run(ctx, scriptCall{scriptLock, []string{l.store.keys.lock(l.name)}, []any{l.claimant, ms}})
	n, err := replies[0].number()
	if err != nil {
		return false, fmt.Errorf("renew lock %s: %w", l.name, err)
	}
	return n == 1, nil
}
