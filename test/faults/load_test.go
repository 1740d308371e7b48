package faults

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/fleet"
)

// loadOf says what a load is made of.
type loadOf struct {
	Every time.Duration // time between two submissions; default 200 ms
	For   string        // how long each probe runs; default 100ms
}

// load submits probes until it is stopped, whatever breaks meanwhile.
type load struct {
	r    *run
	f    *fleet.Fleet
	end  context.CancelFunc
	done chan struct{}

	mu       sync.Mutex
	accepted []string
	refused  int
	unknown  int
}

// load starts one.
func (r *run) load(f *fleet.Fleet, of loadOf) *load {
	r.t.Helper()
	if of.Every == 0 {
		of.Every = 200 * time.Millisecond
	}
	if of.For == "" {
		of.For = "100ms"
	}
	ctx, end := context.WithCancel(r.t.Context())
	l := &load{r: r, f: f, end: end, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		var calls sync.WaitGroup
		defer calls.Wait()
		tick := time.NewTicker(of.Every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				calls.Go(func() { l.submit(ctx, of.For) })
			case <-ctx.Done():
				return
			}
		}
	}()
	r.t.Cleanup(func() { l.stop() })
	return l
}

// submit publishes one under an id of its own. An answer that leaves open whether it was accepted is asked again under the
// same id, as a caller would.
func (l *load) submit(ctx context.Context, long string) {
	id := task.NewID()
	for {
		_, err := l.f.Client.Submit(context.WithoutCancel(ctx), "probe", map[string]any{"for": long}, task.ID(id))
		l.mu.Lock()
		switch {
		case err == nil:
			l.accepted = append(l.accepted, id)
		case errors.Is(err, client.ErrUnknown):
			l.unknown++
		default:
			l.refused++
		}
		l.mu.Unlock()
		if !errors.Is(err, client.ErrUnknown) {
			return
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return
		}
	}
}

// stop ends the load and returns the ids of all accepted tasks. It may be called again.
func (l *load) stop() []string {
	l.end()
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.accepted)
}

// next submits one more probe and waits until it has ended.
func (l *load) next(within time.Duration) task.Event {
	l.r.t.Helper()
	var id string
	require.Eventually(l.r.t, func() bool {
		var err error
		id, err = l.f.Client.Submit(l.r.t.Context(), "probe", nil)
		return err == nil
	}, within, 100*time.Millisecond, "nothing is accepted")
	l.mu.Lock()
	l.accepted = append(l.accepted, id)
	l.mu.Unlock()
	return l.f.Outcome(id, 0, within)
}

// tell says what the submissions were answered.
func (l *load) tell() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.r.checked("submissions: %d accepted, %d refused, %d answered unknown and submitted again", len(l.accepted), l.refused, l.unknown)
}
