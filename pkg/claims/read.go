package claims

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// States reads many states; nil stands for a task that Redis does not know.
func (s *Store) States(ctx context.Context, ids []string) ([]*State, error) {
	states := make([]*State, 0, len(ids))
	for len(ids) > 0 {
		n := min(len(ids), MaxBatch)
		page, err := s.readStates(ctx, ids[:n])
		if err != nil {
			return nil, fmt.Errorf("read states: %w", err)
		}
		states, ids = append(states, page...), ids[n:]
	}
	return states, nil
}

func (s *Store) readStates(ctx context.Context, ids []string) ([]*State, error) {
	type read struct {
		state, lease *redis.StringCmd
		left         *redis.DurationCmd
	}
	pipe := s.client.Pipeline()
	reads := make([]read, len(ids))
	for i, id := range ids {
		bucket := Bucket(id)
		reads[i] = read{
			state: pipe.Get(ctx, s.keys.state(bucket, id)),
			lease: pipe.Get(ctx, s.keys.lease(bucket, id)),
			left:  pipe.PTTL(ctx, s.keys.lease(bucket, id)),
		}
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	states := make([]*State, len(ids))
	for i, r := range reads {
		raw, err := r.state.Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if states[i], err = decodeState(ids[i], raw); err != nil {
			return nil, err
		}
		if lease := r.lease.Val(); lease != "" && r.left.Val() > 0 {
			states[i].Holder, _, _ = strings.Cut(lease, "|")
			states[i].Lease = max(r.left.Val(), time.Millisecond)
		}
	}
	return states, nil
}
