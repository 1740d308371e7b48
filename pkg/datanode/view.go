package datanode

import (
	"context"
	"errors"
	"fmt"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// view is a generation opened for search.
type view struct {
	index *shard.Index
	uses  *uses
}

// Refresh makes everything searchable that was acknowledged before the call, and returns the generation that is searched
// from then on. Calls at the same time share the work.
func (sh *Shard) Refresh(ctx context.Context) (uint64, error) {
	want, err := sh.newestManifest()
	if err != nil {
		return 0, err
	}
	sh.swapping.Lock()
	defer sh.swapping.Unlock()
	if have := sh.searchable(); have >= want.Generation {
		return have, nil
	}
	if want, err = sh.newestManifest(); err != nil { // more may have come while others swapped
		return 0, err
	}
	index, err := sh.node.cache.OpenIndex(sh.metered(ctx), sh.store, want)
	if err != nil {
		return 0, fmt.Errorf("refresh shard %s: %w", sh.name, err)
	}
	return want.Generation, sh.swap(&view{index, newUses(index.Close)})
}

// swap replaces the view. Searches that run keep the old one open until they end.
func (sh *Shard) swap(next *view) error {
	sh.mu.Lock()
	if sh.closed {
		sh.mu.Unlock()
		return errors.Join(fmt.Errorf("shard %s: %w", sh.name, ErrClosed), next.uses.release())
	}
	old := sh.view
	sh.view = next
	sh.announce()
	sh.mu.Unlock()
	if old != nil {
		sh.release(old.uses)
	}
	return nil
}

// WaitSearchable waits until a generation, or a newer one, is searched.
func (sh *Shard) WaitSearchable(ctx context.Context, generation uint64) error {
	return sh.await(ctx, func() bool { return sh.view != nil && sh.view.index.Manifest.Generation >= generation })
}

func (sh *Shard) newestManifest() (shard.Manifest, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.newest == nil {
		return shard.Manifest{}, fmt.Errorf("shard %s: %w", sh.name, ErrClosed)
	}
	return sh.newest.manifest, nil
}

func (sh *Shard) searchable() uint64 {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.view == nil {
		return 0
	}
	return sh.view.index.Manifest.Generation
}

// acquireView returns what is searched now, held; searchers is done after its release.
func (sh *Shard) acquireView() (*view, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.view == nil || !sh.view.uses.take() {
		return nil, fmt.Errorf("shard %s: %w", sh.name, ErrClosed)
	}
	sh.searchers.Add(1)
	return sh.view, nil
}
