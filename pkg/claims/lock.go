package claims

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// RebuildLock is the right to read the outcomes back.
type RebuildLock struct {
	store *Store
	value string
}

// LockRebuild takes the right to rebuild for one lease; nil when another
// claimant has it. It saves double work only: the nonces of MarkCold and Warm
// decide. A claimant that has it already gets it again.
func (s *Store) LockRebuild(ctx context.Context, claimant string) (*RebuildLock, error) {
	if err := checkName("claimant", claimant); err != nil {
		return nil, err
	}
	lock := &RebuildLock{store: s, value: claimant}
	err := s.client.SetArgs(ctx, s.keys.rebuild(), claimant, redis.SetArgs{Mode: "NX", TTL: s.cfg.Lease}).Err()
	switch {
	case err == nil:
		return lock, nil
	case !errors.Is(err, redis.Nil):
		return nil, fmt.Errorf("lock rebuild: %w", err)
	}
	ours, err := lock.Renew(ctx)
	if !ours {
		return nil, err
	}
	return lock, err
}

// Renew extends the lock by one lease and tells whether it is still ours.
func (l *RebuildLock) Renew(ctx context.Context) (bool, error) {
	return l.set(ctx, millis(l.store.cfg.Lease))
}

// Release gives the lock up.
func (l *RebuildLock) Release(ctx context.Context) error {
	_, err := l.set(ctx, 0)
	return err
}

func (l *RebuildLock) set(ctx context.Context, ms int64) (bool, error) {
	replies := l.store.run(ctx, scriptCall{scriptLock, []string{l.store.keys.rebuild()}, []any{l.value, ms}})
	n, err := replies[0].number()
	if err != nil {
		return false, fmt.Errorf("renew rebuild lock: %w", err)
	}
	return n == 1, nil
}
