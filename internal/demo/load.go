package demo

import (
	"context"
	"errors"
	"sync"
)

// load is what runs in the background: it writes and searches.
type load struct {
	stop chan struct{}
	done sync.WaitGroup

	mu  sync.Mutex
	err error
}

// part is something that goes on until stop is closed. When ctx ends first it
// returns at once, in the middle of whatever it does.
type part func(ctx context.Context, stop <-chan struct{}) error

// startLoad runs parts until end is called. fail is called with the error of
// one that cannot go on.
func startLoad(ctx context.Context, fail context.CancelCauseFunc, parts ...part) *load {
	l := &load{stop: make(chan struct{})}
	for _, run := range parts {
		l.done.Go(func() {
			if err := run(ctx, l.stop); err != nil {
				l.mu.Lock()
				l.err = errors.Join(l.err, err)
				l.mu.Unlock()
				fail(err)
			}
		})
	}
	return l
}

// end stops the parts, waits for them, and returns what went wrong.
func (l *load) end() error {
	close(l.stop)
	l.done.Wait()
	return l.err
}
