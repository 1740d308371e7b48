package shard

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	mrand "math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/mutant"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
)

// Shard reads and commits the generations of one shard. It is safe for concurrent use, and holds nothing that must be
// closed.
type Shard struct {
	store remotestore.Store
	name  string

	mu     sync.Mutex
	newest Manifest // the newest generation that was read; generations are never changed, so it stays right
}

// Open returns a handle of the shard called name. It does not ask the store; reads of a shard that was never created
// return ErrNotFound.
func Open(store remotestore.Store, name string) (*Shard, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	return &Shard{store: store, name: name}, nil
}

// OpenApart is Open for what has the layout of a shard but is none: its name starts with an underscore, so that neither
// users nor garbage collection find it. A task keeps account there of what it builds.
func OpenApart(store remotestore.Store, name string) (*Shard, error) {
	if !strings.HasPrefix(name, apart) {
		return nil, fmt.Errorf("name %q: it is a shard's: what is apart starts with %s", name, apart)
	}
	if err := checkLayout(name); err != nil {
		return nil, err
	}
	return &Shard{store: store, name: name}, nil
}

// Settings are what a shard is created with.
type Settings struct {
	// Mapping is the bleve index mapping. The default is DefaultMapping.
	Mapping json.RawMessage

	// AppliedFor is how long applied tasks are remembered, at least the retention of the task topic. Default 14 days.
	AppliedFor time.Duration
}

const defaultAppliedFor = 14 * 24 * time.Hour

// Create makes an empty shard, generation 1. It returns ErrExists if there is one.
func (s *Shard) Create(ctx context.Context, settings Settings) (Manifest, error) {
	m, err := s.first(ctx, settings)
	if err != nil {
		return Manifest{}, err
	}
	err = s.put(ctx, m)
	if errors.Is(err, remotestore.ErrExists) {
		return Manifest{}, fmt.Errorf("shard %s: %w", s.name, ErrExists)
	}
	return m, err
}

// CreateOrCommit is Commit for a shard that may not be there: then it is created by the generation that change makes of
// an empty one, so that nobody ever sees it empty. The settings are for a shard that is created.
func (s *Shard) CreateOrCommit(ctx context.Context, settings Settings, change func(cur Manifest) (Manifest, error)) (Manifest, error) {
	empty, err := s.first(ctx, settings)
	if errors.Is(err, ErrExists) {
		return s.Commit(ctx, change)
	}
	if err != nil {
		return Manifest{}, err
	}
	next, err := change(empty)
	if err != nil {
		return empty, err
	}
	next.Shard, next.Generation, next.Nonce, next.StoredAt = s.name, empty.Generation, empty.Nonce, time.Time{}
	err = s.put(ctx, next)
	if errors.Is(err, remotestore.ErrExists) {
		return s.Commit(ctx, change)
	}
	return next, err
}

// first is the first generation of a shard that is not there yet; ErrExists if it is.
func (s *Shard) first(ctx context.Context, settings Settings) (Manifest, error) {
	if settings.AppliedFor == 0 {
		settings.AppliedFor = defaultAppliedFor
	}
	if settings.Mapping == nil {
		settings.Mapping = DefaultMapping()
	}
	if _, err := ParseMapping(settings.Mapping); err != nil {
		return Manifest{}, err
	}
	_, err := s.Newest(ctx) // generation 1 may have been collected as garbage: being free says nothing
	if err == nil {
		return Manifest{}, fmt.Errorf("shard %s: %w", s.name, ErrExists)
	}
	if !errors.Is(err, ErrNotFound) {
		return Manifest{}, err
	}
	return Manifest{
		Shard: s.name, Generation: 1, NextSegment: 1, AppliedFor: settings.AppliedFor, Mapping: settings.Mapping,
		Writer: Writer{At: time.Now().UTC()}, Nonce: rand.Text(),
	}, nil
}

// Name returns the shard's name.
func (s *Shard) Name() string { return s.name }

// Newest returns the newest generation. The cost does not grow with the number of generations.
func (s *Shard) Newest(ctx context.Context) (Manifest, error) {
	known := s.known()
	start := known.Generation
	if start == 0 {
		var err error
		if start, err = s.hint(ctx); err != nil {
			return Manifest{}, err
		}
	}
	found, err := s.lastSince(ctx, start)
	if err == nil && found.Generation == 0 && start > 0 && !mutant.On("hints are believed") { // a hint at what is not there: look at everything
		found, err = s.lastSince(ctx, 0)
	}
	switch {
	case err != nil:
		return Manifest{}, err
	case found.Generation == 0:
		return Manifest{}, fmt.Errorf("shard %s: %w", s.name, ErrNotFound)
	}
	m := known
	if found.Generation != known.Generation {
		if m, err = s.At(ctx, found.Generation); err != nil {
			return Manifest{}, err
		}
	}
	m.StoredAt = found.StoredAt
	s.learn(m)
	return m, nil
}

// At returns one generation; its StoredAt is not filled in. ErrNotFound says that it never was or is collected.
func (s *Shard) At(ctx context.Context, generation uint64) (Manifest, error) {
	key := s.manifestKey(generation)
	body, err := s.store.Get(ctx, key, remotestore.All)
	if errors.Is(err, remotestore.ErrNotFound) {
		return Manifest{}, fmt.Errorf("manifest %s: %w", key, ErrNotFound)
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("read manifest: %w", err)
	}
	m, err := Decode(body)
	if err != nil {
		return Manifest{}, fmt.Errorf("manifest %s: %w", key, err)
	}
	if m.Shard != s.name || m.Generation != generation {
		return Manifest{}, fmt.Errorf("manifest %s: %w: it is generation %d of shard %s", key, ErrCorrupt, m.Generation, m.Shard)
	}
	return m, nil
}

// lastSince returns generation and date of the newest manifest that is not older than start.
func (s *Shard) lastSince(ctx context.Context, start uint64) (found Manifest, err error) {
	after := ""
	if start > 1 {
		after = s.manifestKey(start - 1)
	}
	for o, err := range s.store.List(ctx, s.name+"/"+manifestDir, after) {
		if err != nil {
			return Manifest{}, fmt.Errorf("find newest generation: %w", err)
		}
		if generation, ok := s.parseManifestKey(o.Key); ok {
			found.Generation, found.StoredAt = generation, o.Modified
		}
	}
	return found, nil
}

// hint returns where to look for the newest generation; 0 when there is no hint or none that can be read.
func (s *Shard) hint(ctx context.Context) (uint64, error) {
	body, err := s.store.Get(ctx, s.hintKey(), remotestore.All)
	if errors.Is(err, remotestore.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read hint: %w", err)
	}
	generation, err := strconv.ParseUint(strings.TrimSpace(string(body)), 10, 64)
	if err != nil || generation == math.MaxUint64 {
		return 0, nil //nolint:nilerr // a hint decides nothing: without one everything is listed
	}
	return generation, nil
}

func (s *Shard) known() Manifest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}

func (s *Shard) learn(m Manifest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Generation >= s.newest.Generation {
		s.newest = m
	}
}

// jitter spreads writers that collided.
func jitter(ctx context.Context, attempt int) error {
	wait := time.Millisecond << min(attempt, 8)
	timer := time.NewTimer(time.Duration(mrand.Int64N(int64(wait)) + 1))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
