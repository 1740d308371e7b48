package life

import (
	"context"
	"errors"
	"iter"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// clocked is a store whose clock goes as the test wants: it is ahead of the machine's.
type clocked struct {
	remotestore.Store

	mu      sync.Mutex
	ahead   time.Duration
	written map[string]time.Time
}

func newClocked(store remotestore.Store) *clocked {
	return &clocked{Store: store, written: map[string]time.Time{}}
}

func (c *clocked) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

func (c *clocked) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clocked) date(key string, err error) error {
	if err == nil {
		now := c.now()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.written[key] = now
	}
	return err
}

func (c *clocked) PutFile(ctx context.Context, key, path string) error {
	return c.date(key, c.Store.PutFile(ctx, key, path))
}

func (c *clocked) Put(ctx context.Context, key string, body []byte) error {
	return c.date(key, c.Store.Put(ctx, key, body))
}

func (c *clocked) Create(ctx context.Context, key string, body []byte) error {
	return c.date(key, c.Store.Create(ctx, key, body))
}

func (c *clocked) List(ctx context.Context, prefix, after string) iter.Seq2[remotestore.Object, error] {
	return func(yield func(remotestore.Object, error) bool) {
		c.mu.Lock()
		written := maps.Clone(c.written)
		c.mu.Unlock()
		for o, err := range c.Store.List(ctx, prefix, after) {
			if at, ok := written[o.Key]; ok {
				o.Modified = at
			}
			if !yield(o, err) {
				return
			}
		}
	}
}

// local is the store as the machine's clock dates it: for those who compare what they list with that.
type local struct{ *clocked }

func (l local) List(ctx context.Context, prefix, after string) iter.Seq2[remotestore.Object, error] {
	return func(yield func(remotestore.Object, error) bool) {
		l.mu.Lock()
		ahead := l.ahead
		l.mu.Unlock()
		for o, err := range l.clocked.List(ctx, prefix, after) {
			o.Modified = o.Modified.Add(-ahead)
			if !yield(o, err) {
				return
			}
		}
	}
}

var errKilled = errors.New("killed")

// fate is what happens to a run. Its calls of all stores count.
type fate struct {
	mu      sync.Mutex
	random  *rand.Rand
	left    int  // calls until it ends; 0: it lives on
	drained bool // it ends by being told to, not by being killed
	effect  bool // the call that kills it has its effect
	disturb func(*rand.Rand)

	dead   bool
	cancel context.CancelCauseFunc
}

// call tells whether a call has its effect, and whether its caller lives to hear of it.
func (f *fate) call() (effect bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return false, errKilled
	}
	if f.disturb != nil {
		f.disturb(f.random)
	}
	if f.left == 0 {
		return true, nil
	}
	if f.left--; f.left > 0 {
		return true, nil
	}
	if f.drained {
		f.cancel(task.ErrDraining)
		return true, nil
	}
	f.dead = true
	return f.effect, errKilled
}

// fated is a store as one run sees it.
type fated struct {
	remotestore.Store
	fate *fate
}

func (f fated) write(put func() error) error {
	effect, err := f.fate.call()
	if effect {
		err = errors.Join(put(), err)
	}
	return err
}

func (f fated) PutFile(ctx context.Context, key, path string) error {
	return f.write(func() error { return f.Store.PutFile(ctx, key, path) })
}

func (f fated) Put(ctx context.Context, key string, body []byte) error {
	return f.write(func() error { return f.Store.Put(ctx, key, body) })
}

func (f fated) Create(ctx context.Context, key string, body []byte) error {
	return f.write(func() error { return f.Store.Create(ctx, key, body) })
}

func (f fated) Delete(ctx context.Context, key string) error {
	return f.write(func() error { return f.Store.Delete(ctx, key) })
}

func (f fated) GetFile(ctx context.Context, key, path string) error {
	if _, err := f.fate.call(); err != nil {
		return err
	}
	return f.Store.GetFile(ctx, key, path)
}

func (f fated) Get(ctx context.Context, key string, r remotestore.Range) ([]byte, error) {
	if _, err := f.fate.call(); err != nil {
		return nil, err
	}
	return f.Store.Get(ctx, key, r)
}

func (f fated) List(ctx context.Context, prefix, after string) iter.Seq2[remotestore.Object, error] {
	if _, err := f.fate.call(); err != nil {
		return func(yield func(remotestore.Object, error) bool) { yield(remotestore.Object{}, err) }
	}
	return f.Store.List(ctx, prefix, after)
}
