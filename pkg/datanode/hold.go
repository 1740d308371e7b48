package datanode

import (
	"context"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

const (
	// holdFor is how long writes wait when a task asks for it, counted from when the node hears of it.
	holdFor = 10 * time.Second
	// holdLook is how often the node looks whether the task has committed.
	holdLook = 50 * time.Millisecond
)

// hold is a task's request to let it commit first; see shard.Hold.
type hold struct {
	generation uint64 // of the request, or of its end
	task       string
	until      time.Time // zero: it has ended
}

// noteHold takes a generation as the begin or the end of a hold, unless a later one has been seen; the lock is held.
func (sh *Shard) noteHold(m shard.Manifest) {
	if m.Generation <= sh.held.generation {
		return
	}
	if task, ok := shard.HeldFor(m); ok {
		sh.held = hold{m.Generation, task, time.Now().Add(holdFor)}
	} else if m.Writer.Task == sh.held.task {
		sh.held = hold{generation: m.Generation}
	}
}

// yield waits while writes are held, and tells whether it has: the newest generation is another one then.
func (sh *Shard) yield(ctx context.Context) (waited bool, err error) {
	for {
		sh.mu.Lock()
		left := time.Until(sh.held.until)
		sh.mu.Unlock()
		if left <= 0 {
			return waited, nil
		}
		waited = true
		timer := time.NewTimer(min(left, holdLook))
		select {
		case <-ctx.Done():
			timer.Stop()
			return waited, context.Cause(ctx)
		case <-timer.C:
		}
		m, err := sh.store.Newest(ctx)
		if err != nil {
			return waited, err
		}
		if err := sh.stillOurs(ctx, m); err != nil {
			return waited, err
		}
	}
}
