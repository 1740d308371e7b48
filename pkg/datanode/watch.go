package datanode

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"
)

// run keeps the shard up to date until ctx ends or the shard is closed.
func (sh *Shard) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return sh.watch(ctx) })
	group.Go(func() error { return sh.refreshes(ctx) })
	group.Go(func() error { return sh.tendMerges(ctx) })
	group.Go(func() error {
		select {
		case <-ctx.Done():
		case <-sh.closing:
			stop()
		}
		return nil
	})
	return group.Wait()
}

// watch follows the store: others, mergers above all, commit generations too.
func (sh *Shard) watch(ctx context.Context) error {
	for {
		timer := time.NewTimer(sh.pollEvery())
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-sh.look:
		case <-timer.C:
		}
		timer.Stop()
		if err := sh.follow(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) {
			sh.log.Warn("store cannot be asked for the newest generation: trying again", "error", err)
		}
	}
}

// follow opens the newest generation in the store.
func (sh *Shard) follow(ctx context.Context) error {
	m, err := sh.store.Newest(sh.metered(ctx))
	if err != nil {
		return err
	}
	if err := sh.stillOurs(ctx, m); err != nil && !errors.Is(err, ErrNotWriter) {
		return err // one that others write is followed all the same
	}
	return sh.advance(ctx, m)
}

// refreshes makes new generations searchable, at most one per interval.
func (sh *Shard) refreshes(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sh.dirty:
		}
		if _, err := sh.Refresh(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) {
			sh.log.Warn("new generation cannot be searched: trying again", "error", err)
			poke(sh.dirty)
		}
		timer := time.NewTimer(sh.node.cfg.Refresh)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}
