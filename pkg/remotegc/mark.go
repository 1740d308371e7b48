package remotegc

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// errNoGeneration is about a shard that was purged in part, that a reindex has failed to fill, or whose manifests
// somebody has removed: nothing tells which of its blobs are needed.
var errNoGeneration = errors.New("it has no generation, so nothing tells what it needs: restore it, or create it empty and collect again")

// mark finds out what is needed. A need may pass from a reservation to a generation, and from a snapshot to a
// generation that restores it: what it passes from is read first, so that it cannot slip through.
func (r *collection) mark(ctx context.Context) error {
	r.marks = make(map[shard.BlobName]Reason, len(r.stored))
	for b, err := range r.shard.Reserved(ctx) {
		if err != nil {
			return err
		}
		if r.now.Sub(b.At) >= r.cfg.Reserved {
			r.expired = append(r.expired, b)
			continue
		}
		r.marks[b.Name] = Reserved
	}
	pinned, err := r.pins.of(ctx, r.shelf.shard, r.now)
	if err != nil {
		return err
	}
	for b := range pinned {
		r.marks[b] = Pinned
	}
	if err := r.generations(ctx); err != nil {
		return err
	}
	return r.markLive(ctx)
}

// generations divides the generations into those that are kept and those that go. Only an unbroken row of the oldest
// goes: each was replaced longer ago than generations are kept, and an earlier run has seen it. The latter makes sure that
// whatever came back to life between two runs is seen by the second one.
func (r *collection) generations(ctx context.Context) error {
	var all []shard.StoredGeneration
	for g, err := range r.shard.Generations(ctx, 0) {
		if err != nil {
			return err
		}
		all = append(all, g)
	}
	if len(all) == 0 {
		return errNoGeneration
	}
	r.newest = all[len(all)-1]
	seen := r.before.Newest
	if seen > r.newest.Generation { // of another life of the shard
		seen, r.since = 0, nil
	}
	for i, g := range all[:len(all)-1] {
		next := all[i+1].At
		if g.Generation > seen || r.now.Sub(next) < r.cfg.Keep {
			r.kept = all[i:]
			return nil
		}
		r.old = append(r.old, replaced{g, next})
	}
	r.kept = all[len(all)-1:]
	return nil
}

// markLive reads every kept generation. One that cannot be read ends the collection.
func (r *collection) markLive(ctx context.Context) error {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.parallel)
	for _, g := range r.kept {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			m, err := r.shard.At(ctx, g.Generation)
			if err != nil {
				return err
			}
			r.step()
			mu.Lock()
			defer mu.Unlock()
			for _, s := range m.Segments {
				r.marks[s.Blob] = Live
			}
			return nil
		})
	}
	return group.Wait()
}

// pinsFor is how long what snapshots need is taken for known.
const pinsFor = 10 * time.Minute

// errPins says that it is not known what snapshots need: no shard's garbage can be told.
var errPins = errors.New("what snapshots need cannot be read")

// pinboard knows what snapshots need. It is safe for concurrent use.
type pinboard struct {
	source func(ctx context.Context) iter.Seq2[Pin, error]

	mu      sync.Mutex
	asked   time.Time
	byShard map[string]map[shard.BlobName]struct{}
}

// of returns the blobs of a shard that are needed.
func (p *pinboard) of(ctx context.Context, name string, now time.Time) (map[shard.BlobName]struct{}, error) {
	if p.source == nil {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if age := now.Sub(p.asked); p.byShard == nil || age < 0 || age >= pinsFor {
		found, err := p.ask(ctx)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errPins, err)
		}
		p.asked, p.byShard = now, found
	}
	return p.byShard[name], nil
}

func (p *pinboard) ask(ctx context.Context) (map[string]map[shard.BlobName]struct{}, error) {
	found := map[string]map[shard.BlobName]struct{}{}
	for pin, err := range p.source(ctx) {
		if err != nil {
			return nil, err
		}
		if found[pin.Shard] == nil {
			found[pin.Shard] = map[shard.BlobName]struct{}{}
		}
		found[pin.Shard][pin.Blob] = struct{}{}
	}
	return found, nil
}
