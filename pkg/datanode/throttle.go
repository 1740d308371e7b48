package datanode

import (
	"context"
	"sync"
	"time"
)

// slots bound how many merges run here at the same time.
type slots struct {
	mu    sync.Mutex
	limit int
	held  int
	freed chan struct{} // closed when one may be free
}

func newSlots(limit int) *slots { return &slots{limit: limit, freed: make(chan struct{})} }

// take waits for a slot, or returns why ctx has ended.
func (s *slots) take(ctx context.Context) error {
	for {
		s.mu.Lock()
		if s.held < s.limit {
			s.held++
			s.mu.Unlock()
			return nil
		}
		freed := s.freed
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-freed:
		}
	}
}

func (s *slots) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held--
	s.wake()
}

// resize changes the number of slots. What is held stays held.
func (s *slots) resize(limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = limit
	s.wake()
}

func (s *slots) wake() {
	close(s.freed)
	s.freed = make(chan struct{})
}

// leastPause is how far writers may be ahead before they are held back: a merge writes in small pieces.
const leastPause = 5 * time.Millisecond

// throttle bounds the bytes per second that all who share it write. Time in which nothing is written is not saved up.
type throttle struct {
	now func() time.Time

	mu      sync.Mutex
	rate    int64         // 0: no limit
	paid    time.Time     // when the rate allows what was written so far
	changed chan struct{} // closed when the rate changes
}

func newThrottle(rate int64) *throttle {
	return &throttle{now: time.Now, rate: rate, changed: make(chan struct{})}
}

// wrote counts bytes, and returns when the rate allows them, or ctx ends.
func (t *throttle) wrote(ctx context.Context, bytes int64) {
	for first := true; ; first = false {
		pause, changed := t.count(bytes, first)
		if pause < leastPause {
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			return
		case <-changed: // what is left to wait is another time now
		}
		timer.Stop()
	}
}

// count adds bytes once, and tells how long to wait.
func (t *throttle) count(bytes int64, first bool) (pause time.Duration, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rate == 0 {
		return 0, nil
	}
	now := t.now()
	if t.paid.Before(now) {
		t.paid = now
	}
	if first {
		t.paid = t.paid.Add(time.Duration(float64(bytes) / float64(t.rate) * float64(time.Second)))
	}
	return t.paid.Sub(now), t.changed
}

// set changes the rate. What waits goes on under the new one.
func (t *throttle) set(rate int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if rate == t.rate {
		return
	}
	now := t.now()
	if ahead := t.paid.Sub(now); ahead > 0 && rate > 0 {
		t.paid = now.Add(time.Duration(float64(ahead) * float64(t.rate) / float64(rate)))
	}
	t.rate = rate
	close(t.changed)
	t.changed = make(chan struct{})
}
