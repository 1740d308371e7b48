package shard

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/mutant"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
)

const (
	// hintEvery is how many generations share a hint: listing a few manifests costs as much as listing one.
	hintEvery = 8

	// maxUnknown bounds how often a create is asked again whose outcome could not be found out.
	maxUnknown = 5

	// longCommit is the time between reading a generation and having created the next one from which on it is checked
	// that garbage collection did not overtake us.
	longCommit = time.Minute
)

// Commit makes the next generation by change, which is called with the newest one, and again with a newer one whenever
// another writer was first. change must not change what it is given; [Commit] is the usual way to write it:
//
//	m, err := s.Commit(ctx, func(cur shard.Manifest) (shard.Manifest, error) {
//		return shard.Commit(cur, shard.Change{…})
//	})
//
// When change returns an error, nothing is committed, and Commit returns the error with the generation it was about;
// test it with errors.Is(err, ErrNoEffect) to tell a success without effect. An error that is
// [remotestore.ErrUnknown] leaves open whether the change was applied; a task finds out when it tries again.
//
// A writer that is frozen for longer than manifests are kept could create a generation that others have created,
// built upon and collected. A commit that took long is checked for it afterwards and then made again, so manifests must
// be kept for at least a day.
func (s *Shard) Commit(ctx context.Context, change func(cur Manifest) (Manifest, error)) (Manifest, error) {
	for attempt := 0; ; attempt++ {
		began := time.Now()
		cur, err := s.Newest(ctx)
		if err != nil {
			return Manifest{}, err
		}
		next, err := change(cur)
		if err != nil {
			return cur, err
		}
		next.Shard, next.Generation, next.Nonce, next.StoredAt = s.name, cur.Generation+1, rand.Text(), time.Time{}
		if err := follows(cur, next); err != nil {
			return cur, err
		}
		err = s.put(ctx, next)
		if err == nil {
			err = s.overtaken(ctx, cur, began)
		}
		if err == nil {
			return next, nil
		}
		if !errors.Is(err, remotestore.ErrExists) {
			return cur, err
		}
		if err := jitter(ctx, attempt); err != nil {
			return cur, err
		}
	}
}

// follows refuses what no change may do, whoever wrote it.
func follows(cur, next Manifest) error {
	if next.NextSegment < cur.NextSegment {
		return fmt.Errorf("shard %s: next segment goes back from %d to %d", cur.Shard, cur.NextSegment, next.NextSegment)
	}
	return nil
}

// put creates a generation. It returns remotestore.ErrExists when another writer was first.
func (s *Shard) put(ctx context.Context, m Manifest) error {
	body, err := m.Encode()
	if err != nil {
		return err
	}
	key, unknown := s.manifestKey(m.Generation), false
	for attempt := range maxUnknown {
		// The body has a nonce, so asking again finds out whether an earlier request was applied.
		err = s.store.Create(ctx, key, body)
		if errors.Is(err, remotestore.ErrExists) && mutant.On("manifests are overwritten") {
			err = s.store.Put(ctx, key, body)
		}
		if !errors.Is(err, remotestore.ErrUnknown) || jitter(ctx, attempt) != nil {
			break
		}
		unknown = true
	}
	if err != nil && unknown && !errors.Is(err, remotestore.ErrExists) && !errors.Is(err, remotestore.ErrUnknown) {
		err = fmt.Errorf("%w: %w", remotestore.ErrUnknown, err) // of the first request nothing is known still
	}
	if err != nil {
		return fmt.Errorf("commit generation %d of %s: %w", m.Generation, s.name, err)
	}
	s.learn(m)
	if m.Generation%hintEvery == 1 {
		s.writeHint(ctx, m.Generation)
	}
	return nil
}

// writeHint is best effort: without it, readers list a little more.
func (s *Shard) writeHint(ctx context.Context, generation uint64) {
	_ = s.store.Put(ctx, s.hintKey(), fmt.Appendf(nil, "%020d\n", generation))
}

// overtaken returns remotestore.ErrExists if the generation that was just created had been there before: then the one
// it follows was collected too.
func (s *Shard) overtaken(ctx context.Context, cur Manifest, began time.Time) error {
	monotonic, wall := time.Since(began), time.Now().Round(0).Sub(began.Round(0))
	if max(monotonic, wall) < longCommit || mutant.On("a long sleep is not noticed") { // the wall clock counts the sleep of a machine, the monotonic one may not
		return nil
	}
	_, err := s.store.Get(ctx, s.manifestKey(cur.Generation), remotestore.Range{Bytes: 1})
	if errors.Is(err, remotestore.ErrNotFound) {
		s.forget()
		return fmt.Errorf("generation %d of %s is long collected: %w", cur.Generation, s.name, remotestore.ErrExists)
	}
	if err != nil {
		return fmt.Errorf("look at generation %d of %s: %w: %w", cur.Generation, s.name, remotestore.ErrUnknown, err)
	}
	return nil
}

// forget makes the next read look for the newest generation afresh.
func (s *Shard) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest = Manifest{}
}
