package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/pkg/task/tasktest"
)

// spoil changes an object, or removes it.
func spoil(t testing.TB, store remotestore.Store, key string, change func([]byte) []byte) {
	t.Helper()
	body, err := store.Get(t.Context(), key, remotestore.All)
	require.NoError(t, err)
	if body = change(bytes.Clone(body)); body == nil {
		require.NoError(t, store.Delete(t.Context(), key))
		return
	}
	require.NoError(t, store.Put(t.Context(), key, body))
}

func cut(body []byte) []byte { return body[:len(body)/2] }

func flip(body []byte) []byte {
	body[len(body)/2] ^= 1
	return body
}

func gone([]byte) []byte { return nil }

func newer(body []byte) []byte {
	return bytes.Replace(body, []byte(`"format":1`), []byte(`"format":9`), 1)
}

func foreign([]byte) []byte { return []byte("PK\x03\x04 not ours") }

// TestARestoreOfWhatIsDamagedWritesNothing spoils every object that a restore reads.
func TestARestoreOfWhatIsDamagedWritesNothing(t *testing.T) {
	t.Parallel()
	damages := map[string]func([]byte) []byte{"cut": cut, "flip": flip, "gone": gone, "newer": newer, "foreign": foreign}
	for _, repository := range []bool{false, true} {
		for damage, change := range damages {
			for _, kind := range []string{documentName, partsDir, "/blob/"} {
				if damage == "newer" && kind == "/blob/" {
					continue // a blob names no format of ours
				}
				t.Run(fmt.Sprint(damage, " ", kind, " repository ", repository), func(t *testing.T) {
					t.Parallel()
					w := filled(t)
					w.succeeds(t, Type, Params{Snapshot: "monday", Shards: []string{"books/0"}, Repository: repository})
					home := w.store
					if repository {
						home = w.repository
					}
					key := objectOf(t, home, kind)
					w.write(t, "books/0", 100, 110)
					spoil(t, home, key, change)
					before := w.newest(t, "books/0")
					for _, as := range []string{"books/0", "new"} {
						err := w.fails(t, RestoreType, RestoreParams{
							Snapshot: "monday", Repository: repository, Shards: []Target{{"books/0", as}}, Force: true,
						})
						if kind == documentName && damage == "gone" {
							require.ErrorIs(t, err, ErrIncomplete)
						} else {
							require.ErrorContains(t, err, key[strings.LastIndexByte(key, '/')+1:], "it names the object")
						}
						require.Equal(t, before.Generation, w.newest(t, "books/0").Generation)
						_, err = w.open(t, "new").Newest(t.Context())
						require.ErrorIs(t, err, shard.ErrNotFound)
					}
				})
			}
		}
	}
}

// objectOf returns the key of the one object of a kind, or the first blob of books/0.
func objectOf(t testing.TB, store remotestore.Store, kind string) string {
	t.Helper()
	for _, prefix := range []string{root, "books/0"} {
		for _, key := range keys(t, store, prefix) {
			if strings.Contains(key, kind) {
				return key
			}
		}
	}
	t.Fatalf("no %s", kind)
	return ""
}

// TestASegmentOfAnotherVersionIsNotRestored: the build could not open it.
func TestASegmentOfAnotherVersionIsNotRestored(t *testing.T) {
	t.Parallel()
	w := filled(t)
	m := w.newest(t, "books/0").Clone()
	m.Segments[1].Version = shard.SegmentVersion + 1
	keep(t, w.store, "monday", m)
	err := w.fails(t, RestoreType, RestoreParams{Snapshot: "monday", Shards: []Target{{"books/0", "new"}}})
	require.ErrorContains(t, err, "upgrade this one")
	require.ErrorContains(t, err, string(m.Segments[1].Blob))
}

func TestASnapshotOfWhatIsDamagedFails(t *testing.T) {
	t.Parallel()
	for _, repository := range []bool{false, true} {
		for damage, change := range map[string]func([]byte) []byte{"cut": cut, "gone": gone, "flip": flip} {
			if damage == "flip" && !repository {
				continue // it reads no blob
			}
			t.Run(fmt.Sprint(damage, " repository ", repository), func(t *testing.T) {
				t.Parallel()
				w := filled(t)
				blob := string(w.newest(t, "books/0").Segments[1].Blob)
				spoil(t, w.store, "books/0/blob/"+blob, change)
				require.ErrorContains(t, w.fails(t, Type, Params{Snapshot: "monday", Shards: both, Repository: repository}), blob)
				home := w.store
				if repository {
					home = w.repository
				}
				d, err := Get(t.Context(), home, "monday")
				require.NoError(t, err)
				require.False(t, d.Complete())
			})
		}
	}
}

// TestACopyThatArrivesDamagedIsMadeAgain lets one upload lose a bit.
func TestACopyThatArrivesDamagedIsNoticed(t *testing.T) {
	t.Parallel()
	w := filled(t)
	var once sync.Once
	mux := w.node(t, w.store, hooked{w.repository, func(verb, key string) (err error) {
		if verb == "get" && strings.HasPrefix(key, "books/0/blob/") { // it is read back
			once.Do(func() { spoil(t, w.repository, key, flip) })
		}
		return nil
	}})
	r := w.run(t, mux, "snapshot-1", Type, Params{Snapshot: "monday", Shards: []string{"books/0"}, Repository: true})
	require.ErrorContains(t, r.Err, shard.ErrCorrupt.Error())

	// The task is redriven, and only the damaged copy is made again.
	uploads := 0
	mux = w.node(t, w.store, hooked{w.repository, func(verb, _ string) error {
		if verb == "put file" {
			uploads++
		}
		return nil
	}})
	r = w.run(t, mux, "snapshot-1", Type, Params{Snapshot: "monday", Shards: []string{"books/0"}, Repository: true})
	require.NoError(t, r.Err)
	require.Positive(t, uploads)
	w.succeeds(t, RestoreType, RestoreParams{Snapshot: "monday", Repository: true, Shards: []Target{{"books/0", "new"}}})
	require.Equal(t, w.contents(t, "books/0"), w.contents(t, "new"))
}

// TestCollectionBeforeThePin plays the interleaving that the second look is for.
func TestCollectionBeforeThePin(t *testing.T) {
	t.Parallel()
	w := filled(t)
	s := w.open(t, "books/0")
	old := w.newest(t, "books/0")
	var once sync.Once
	mux := w.node(t, hooked{w.store, func(verb, key string) error {
		if verb == "create" && strings.Contains(key, partsDir) {
			once.Do(func() { // another generation takes its place, and a collector its manifest and blobs
				w.merge(t, "books/0")
				require.NoError(t, s.DeleteGeneration(context.Background(), old.Generation, w.newest(t, "books/0")))
				for _, seg := range old.Segments {
					require.NoError(t, s.DeleteBlob(context.Background(), seg.Blob))
				}
			})
		}
		return nil
	}}, nil)
	params := Params{Snapshot: "monday", Shards: []string{"books/0"}}
	r := w.run(t, mux, "snapshot-1", Type, params)
	require.ErrorContains(t, r.Err, errCollected.Error())
	require.ErrorContains(t, r.Err, string(tasktest.Retry), "the next attempt pins the next generation")
	require.NoError(t, w.run(t, mux, "snapshot-1", Type, params).Err)
	pins, err := pinned(t, w.store)
	require.NoError(t, err)
	require.Len(t, pins, 1, "the pin that did not count is gone")
}

// TestABaseThatIsDeletedMeanwhile plays the interleaving of a copy that takes over blobs with their deletion.
func TestABaseThatIsDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	w := filled(t)
	w.succeeds(t, Type, Params{Snapshot: "monday", Shards: both, Repository: true})
	var once sync.Once
	mux := w.node(t, w.store, hooked{w.repository, func(verb, key string) error {
		if verb == "create" && strings.Contains(key, "tuesday/"+partsDir) {
			once.Do(func() {
				_, err := DeleteCopy(context.Background(), w.repository, w.store, "monday")
				require.NoError(t, err)
			})
		}
		return nil
	}})
	r := w.run(t, mux, "snapshot-1", Type, Params{Snapshot: "tuesday", Shards: []string{"books/0"}, Repository: true})
	require.ErrorContains(t, r.Err, errBaseGone.Error())
	require.ErrorContains(t, r.Err, string(tasktest.Retry))
	r = w.run(t, mux, "snapshot-1", Type, Params{Snapshot: "tuesday", Shards: []string{"books/0"}, Repository: true})
	require.NoError(t, r.Err)
	w.succeeds(t, RestoreType, RestoreParams{Snapshot: "tuesday", Repository: true, Shards: []Target{{"books/0", "new"}}})
	require.Equal(t, w.contents(t, "books/0"), w.contents(t, "new"))
}

// TestCrashAnywhere lets a task die at each call of a store, and go on from what it left.
func TestCrashAnywhere(t *testing.T) {
	t.Parallel()
	died := errors.New("died")
	for _, repository := range []bool{false, true} {
		for _, restore := range []bool{false, true} {
			t.Run(fmt.Sprint("repository ", repository, " restore ", restore), func(t *testing.T) {
				t.Parallel()
				for at := 1; ; at++ {
					w := newWorld(t, remotestore.NewMemory(), remotestore.NewMemory())
					w.create(t, "books")
					w.write(t, "books", 0, 3)
					w.write(t, "books", 3, 5, "doc-1")
					want := w.contents(t, "books")
					params := Params{Snapshot: "monday", Shards: []string{"books"}, Repository: repository}
					back := RestoreParams{Snapshot: "monday", Shards: []Target{{"books", "new"}}, Repository: repository}
					if restore {
						w.succeeds(t, Type, params)
					}
					var mu sync.Mutex
					calls := 0
					dies := func(string, string) error {
						mu.Lock()
						defer mu.Unlock()
						if calls++; calls >= at {
							return died
						}
						return nil
					}
					mux := w.node(t, hooked{w.store, dies}, hooked{w.repository, dies})
					run := func(mux *task.Mux, allocation int64) tasktest.Result {
						if restore {
							return w.runAs(t, mux, allocation, "restore-1", RestoreType, back)
						}
						return w.runAs(t, mux, allocation, "snapshot-1", Type, params)
					}
					if r := run(mux, 1); r.Outcome == tasktest.Success && calls < at {
						return // it was over before
					}
					r := run(w.mux, 2)
					require.Equal(t, tasktest.Success, r.Outcome, "crash at call %d: %v", at, r.Err)
					if !restore {
						w.succeeds(t, RestoreType, back)
					}
					require.Equal(t, want, w.contents(t, "new"), "crash at call %d", at)
					require.EqualValues(t, 1, w.newest(t, "new").Generation, "one commit, whatever happened")
					require.Empty(t, keys(t, w.store, "new/pending/"))
					require.Empty(t, keys(t, w.store, root+"monday"+copySuffix))
				}
			})
		}
	}
}
