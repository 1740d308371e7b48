package claims

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// wakeSilence is after how long without a wake-up the connection is tried.
	wakeSilence = 10 * time.Second
	wakeBackoff = time.Second
)

// Wakes calls fn with the id of each task that somebody may wait for (its copy
// is free, settled or published; a cancel was requested), until ctx ends, and
// returns nil then. It connects again by itself: a wake-up that is missed
// costs only time. fn must not block.
func (s *Store) Wakes(ctx context.Context, fn func(id string)) error {
	for {
		cause := s.listen(ctx, fn)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // an orderly stop, whatever the read was cut short with
		}
		s.cfg.Log.Warn("wake-ups interrupted", "error", cause)
		select {
		case <-ctx.Done():
		case <-time.After(wakeBackoff):
		}
	}
}

func (s *Store) listen(ctx context.Context, fn func(id string)) error {
	sub := s.client.Subscribe(ctx, s.keys.wakes())
	// A read heeds the context's deadline, not its end.
	stop := context.AfterFunc(ctx, func() { _ = sub.Close() })
	defer func() {
		stop()
		_ = sub.Close()
	}()
	silent := false
	for {
		received, err := sub.ReceiveTimeout(ctx, wakeSilence)
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout() && !silent:
			silent = true
			if err := sub.Ping(ctx); err != nil {
				return fmt.Errorf("ping: %w", err)
			}
			continue
		case err != nil:
			return err
		}
		silent = false
		if m, ok := received.(*redis.Message); ok {
			fn(m.Payload)
		}
	}
}
