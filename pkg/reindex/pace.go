package reindex

import (
	"context"
	"sync"
	"time"
)

// pace lets documents through at a rate that may change at any time. It is safe for concurrent use.
type pace struct {
	rate func() float64 // documents a second; 0: no limit

	mu   sync.Mutex
	owed float64 // documents that went through ahead of their time
	at   time.Time
}

const (
	// paceAhead is how far ahead of its time a document may be, so that no timer runs for each.
	paceAhead = 50 * time.Millisecond
	// paceLook is how often a changed rate is looked for at least.
	paceLook = 200 * time.Millisecond
)

// take waits until one more document may go. waiting is called now and then meanwhile.
func (p *pace) take(ctx context.Context, waiting func()) error {
	for {
		wait := p.try(time.Now())
		if wait <= 0 {
			return nil
		}
		waiting()
		timer := time.NewTimer(min(wait, paceLook))
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
}

// try takes one document, or returns how long to wait at the rate of now.
func (p *pace) try(now time.Time) time.Duration {
	rate := p.rate()
	p.mu.Lock()
	defer p.mu.Unlock()
	if rate <= 0 {
		p.owed, p.at = 0, now
		return 0
	}
	ahead := rate * paceAhead.Seconds()
	p.owed = min(max(p.owed-rate*now.Sub(p.at).Seconds(), 0), ahead+1) // what a higher rate let through is not paid by a lower one
	p.at = now
	if early := p.owed - ahead; early > 0 {
		return max(time.Duration(min(early/rate, 3600)*float64(time.Second)), 1)
	}
	p.owed++
	return 0
}
