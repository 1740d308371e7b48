package shard

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
)

// addOne is a change that is easy to count: a segment of one document.
func addOne(cur Manifest) (Manifest, error) {
	n := uint64(1)
	seg := Segment{Blob: fakeBlob(), Bytes: 1, Type: SegmentType, Version: SegmentVersion, Docs: n, Live: n}
	return Commit(cur, Change{Outputs: []Segment{seg}})
}

func newShard(t testing.TB, store remotestore.Store) *Shard {
	t.Helper()
	s, err := Open(store, "books/0")
	require.NoError(t, err)
	_, err = s.Create(t.Context(), Settings{})
	require.NoError(t, err)
	return s
}

func open(t testing.TB, store remotestore.Store) *Shard {
	t.Helper()
	s, err := Open(store, "books/0")
	require.NoError(t, err)
	return s
}

func TestCreate(t *testing.T) {
	t.Parallel()
	store := remotestore.NewMemory()
	s := open(t, store)
	_, err := s.Newest(t.Context())
	require.ErrorIs(t, err, ErrNotFound)
	_, err = s.Commit(t.Context(), addOne)
	require.ErrorIs(t, err, ErrNotFound)
	_, err = s.Create(t.Context(), Settings{Mapping: []byte(`{"default_analyzer":"klingon"}`)})
	require.ErrorContains(t, err, "klingon")

	m, err := s.Create(t.Context(), Settings{})
	require.NoError(t, err)
	require.EqualValues(t, 1, m.Generation)
	_, err = s.Create(t.Context(), Settings{})
	require.ErrorIs(t, err, ErrExists)

	// Generation 1 is free again once it is collected; that must not bring an empty shard back.
	m, err = s.Commit(t.Context(), addOne)
	require.NoError(t, err)
	require.NoError(t, s.DeleteGeneration(t.Context(), 1, m))
	_, err = open(t, store).Create(t.Context(), Settings{})
	require.ErrorIs(t, err, ErrExists)
	require.Error(t, s.DeleteGeneration(t.Context(), m.Generation, m), "the newest stays")

	for _, name := range []string{"", "/", "a//b", "../a", "a/blob", "manifest", "a/hint/b"} {
		_, err := Open(store, name)
		require.Error(t, err, name)
	}
}

func TestCommitsOfManyWritersAreAllApplied(t *testing.T) {
	t.Parallel()
	const faultyLine = "a faulty line"
	for name, store := range map[string]remotestore.Store{
		"memory":          remotestore.NewMemory(),
		faultyLine:        remotestore.NewMemory(),
		"the file system": openFolder(t),
	} {
		t.Run(name, func(t *testing.T) {
			const writers, each = 8, 40
			newShard(t, store)
			if name == faultyLine {
				store = &faulty{store}
			}
			var group sync.WaitGroup
			for range writers {
				group.Go(func() {
					s := open(t, store)
					for range each {
						if err := addAtLast(t.Context(), s); err != nil {
							t.Error(err)
						}
					}
				})
			}
			group.Wait()
			m, err := open(t, store).Newest(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, 1+writers*each, m.Generation)
			require.Len(t, m.Segments, writers*each)
		})
	}
}

// addAtLast commits one segment, and again while the outcome is unknown: the blob tells that it was applied.
func addAtLast(ctx context.Context, s *Shard) error {
	seg := Segment{Blob: fakeBlob(), Bytes: 1, Type: SegmentType, Version: SegmentVersion, Docs: 1, Live: 1}
	for {
		_, err := s.Commit(ctx, func(cur Manifest) (Manifest, error) { return Commit(cur, Change{Outputs: []Segment{seg}}) })
		switch {
		case errors.Is(err, ErrApplied):
			return nil
		case !errors.Is(err, remotestore.ErrUnknown):
			return err
		}
	}
}

func openFolder(t *testing.T) remotestore.Store {
	t.Helper()
	store, err := remotestore.NewFilesystem(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// faulty loses answers of creates: some were applied, some were not.
type faulty struct{ remotestore.Store }

func (f *faulty) Create(ctx context.Context, key string, body []byte) error {
	switch rand.IntN(4) {
	case 0:
		return fmt.Errorf("lost on the way: %w", remotestore.ErrUnknown)
	case 1:
		_ = f.Store.Create(ctx, key, body)
		return fmt.Errorf("lost on the way back: %w", remotestore.ErrUnknown)
	}
	return f.Store.Create(ctx, key, body)
}

// failing answers creates with one error after the other.
type failing struct {
	remotestore.Store
	errs []error
}

func (f *failing) Create(ctx context.Context, key string, body []byte) error {
	if len(f.errs) == 0 {
		return f.Store.Create(ctx, key, body)
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	return err
}

// TestAnOutcomeThatWasUnknownStaysSo refuses the second request: of the first nobody knows.
func TestAnOutcomeThatWasUnknownStaysSo(t *testing.T) {
	t.Parallel()
	store := &failing{Store: remotestore.NewMemory()}
	s := newShard(t, store)
	refused := errors.New("access denied")
	same := func(cur Manifest) (Manifest, error) { return cur, nil }
	store.errs = []error{remotestore.ErrUnknown, refused}
	_, err := s.Commit(t.Context(), same)
	require.ErrorIs(t, err, remotestore.ErrUnknown)
	require.ErrorIs(t, err, refused)
	store.errs = []error{refused}
	_, err = s.Commit(t.Context(), same)
	require.ErrorIs(t, err, refused)
	require.NotErrorIs(t, err, remotestore.ErrUnknown)
}

// TestAShardIsCreatedByItsFirstContent races two writers: one creates the shard, the other commits to it.
func TestAShardIsCreatedByItsFirstContent(t *testing.T) {
	t.Parallel()
	store := remotestore.NewMemory()
	open := func() *Shard {
		s, err := Open(store, "new")
		require.NoError(t, err)
		return s
	}
	add := func(cur Manifest) (Manifest, error) {
		seg := Segment{Blob: fakeBlob(), Bytes: 1, Type: SegmentType, Version: SegmentVersion, Docs: 1, Live: 1}
		return Commit(cur, Change{Outputs: []Segment{seg}})
	}
	var other Manifest
	m, err := open().CreateOrCommit(t.Context(), Settings{}, func(cur Manifest) (Manifest, error) {
		if other.Generation == 0 {
			var err error
			other, err = open().CreateOrCommit(t.Context(), Settings{AppliedFor: time.Hour}, add)
			require.NoError(t, err)
		}
		return add(cur)
	})
	require.NoError(t, err)
	require.EqualValues(t, 1, other.Generation)
	require.Len(t, other.Segments, 1)
	require.EqualValues(t, 2, m.Generation)
	require.Len(t, m.Segments, 2)
	require.Equal(t, time.Hour, m.AppliedFor)

	refused := errors.New("refused")
	third, err := Open(store, "third")
	require.NoError(t, err)
	_, err = third.CreateOrCommit(t.Context(), Settings{}, func(Manifest) (Manifest, error) { return Manifest{}, refused })
	require.ErrorIs(t, err, refused)
	_, err = third.Newest(t.Context())
	require.ErrorIs(t, err, ErrNotFound)
}

func TestCommitReturnsTheErrorOfItsChange(t *testing.T) {
	t.Parallel()
	s := newShard(t, remotestore.NewMemory())
	m, err := s.Commit(t.Context(), func(Manifest) (Manifest, error) { return Manifest{}, ErrInputsGone })
	require.ErrorIs(t, err, ErrNoEffect)
	require.EqualValues(t, 1, m.Generation)
	_, err = s.Commit(t.Context(), func(cur Manifest) (Manifest, error) {
		cur.NextSegment = 0
		return cur, nil
	})
	require.ErrorContains(t, err, "goes back")
	_, err = s.Commit(t.Context(), func(cur Manifest) (Manifest, error) {
		cur.Mapping = nil
		return cur, nil
	})
	require.ErrorContains(t, err, "mapping is missing")
	m, err = s.Newest(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, m.Generation)
}

func TestNewestIsFoundWhateverTheHintSays(t *testing.T) {
	t.Parallel()
	store := remotestore.NewMemory()
	s := newShard(t, store)
	for range 30 {
		_, err := s.Commit(t.Context(), addOne)
		require.NoError(t, err)
	}
	for name, hint := range map[string]string{
		"as written": "", "behind": "00000000000000000003\n", "ahead": "00000000000000000999\n", "at none": "0",
		"at the last there can be": "18446744073709551615", "no number": "<html>", "negative": "-1", "empty": " ",
	} {
		t.Run(name, func(t *testing.T) {
			if hint != "" {
				require.NoError(t, store.Put(t.Context(), s.hintKey(), []byte(hint)))
			}
			m, err := open(t, store).Newest(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, 31, m.Generation)
			require.False(t, m.StoredAt.IsZero())
		})
	}
	require.NoError(t, store.Delete(t.Context(), s.hintKey()))
	require.NoError(t, store.Put(t.Context(), "books/0/manifest/readme.txt", nil))
	m, err := open(t, store).Newest(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 31, m.Generation)
}

// counting counts what is asked of a store.
type counting struct {
	remotestore.Store
	calls, listed atomic.Int64
}

func (c *counting) Get(ctx context.Context, key string, r remotestore.Range) ([]byte, error) {
	c.calls.Add(1)
	return c.Store.Get(ctx, key, r)
}

func (c *counting) List(ctx context.Context, prefix, after string) iter.Seq2[remotestore.Object, error] {
	c.calls.Add(1)
	return func(yield func(remotestore.Object, error) bool) {
		for o, err := range c.Store.List(ctx, prefix, after) {
			c.listed.Add(1)
			if !yield(o, err) {
				return
			}
		}
	}
}

func TestCostOfReadingDoesNotGrow(t *testing.T) {
	t.Parallel()
	store := &counting{Store: remotestore.NewMemory()}
	s := newShard(t, store)
	for range 200 {
		_, err := s.Commit(t.Context(), addOne)
		require.NoError(t, err)
	}
	fresh := open(t, store)
	store.calls.Store(0)
	store.listed.Store(0)
	_, err := fresh.Newest(t.Context())
	require.NoError(t, err)
	require.LessOrEqual(t, store.calls.Load(), int64(3))
	require.LessOrEqual(t, store.listed.Load(), int64(hintEvery))

	store.calls.Store(0)
	_, err = fresh.Newest(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, store.calls.Load(), "what is known is not read again")
}

func TestWriterThatSleptThroughGarbageCollectionCommitsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := remotestore.NewMemory()
		newShard(t, store)
		slept := false
		m, err := open(t, store).Commit(t.Context(), func(cur Manifest) (Manifest, error) {
			if !slept {
				slept = true
				time.Sleep(48 * time.Hour)
				others := open(t, store)
				for range 5 {
					_, err := others.Commit(t.Context(), addOne)
					require.NoError(t, err)
				}
				newest, err := others.Newest(t.Context())
				require.NoError(t, err)
				for g := range uint64(4) {
					require.NoError(t, others.DeleteGeneration(t.Context(), g+1, newest))
				}
			}
			return addOne(cur)
		})
		require.NoError(t, err)
		require.EqualValues(t, 7, m.Generation)
		require.Len(t, m.Segments, 6)
		newest, err := open(t, store).Newest(t.Context())
		require.NoError(t, err)
		require.Equal(t, m.Nonce, newest.Nonce)
	})
}

func TestManifestThatCannotBeReadIsNamed(t *testing.T) {
	t.Parallel()
	store := remotestore.NewMemory()
	s := newShard(t, store)
	m, err := s.Commit(t.Context(), addOne)
	require.NoError(t, err)
	key := "books/0/manifest/00000000000000000002.json"
	whole, err := store.Get(t.Context(), key, remotestore.All)
	require.NoError(t, err)

	for name, c := range map[string]struct {
		body []byte
		is   error
	}{
		"cut":               {whole[:len(whole)/2], ErrCorrupt},
		"of a newer format": {[]byte(sealed(`{"format":9}`)), ErrFormat},
		"of another shard":  {otherShard(t, m), ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, store.Put(t.Context(), key, c.body))
			_, err := open(t, store).Newest(t.Context())
			require.ErrorIs(t, err, c.is)
			require.ErrorContains(t, err, key)
			_, err = open(t, store).Commit(t.Context(), addOne)
			require.ErrorIs(t, err, c.is, "nothing is built upon it")
		})
	}
	_, err = s.At(t.Context(), 99)
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorContains(t, err, "00000000000000000099.json")
}

func otherShard(t *testing.T, m Manifest) []byte {
	t.Helper()
	m.Shard = "films/0"
	body, err := m.Encode()
	require.NoError(t, err)
	return body
}
