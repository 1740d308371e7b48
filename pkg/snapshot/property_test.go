package snapshot

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

// history is what shards and snapshots must be after some actions.
type history struct {
	t       *testing.T
	w       *world
	shards  map[string]map[string]string // documents by shard
	shallow map[string]taken
	full    map[string]taken
	next    int
}

// taken is what a snapshot must bring back.
type taken map[string]map[string]string

func (h *history) write(r *rapid.T) {
	name := rapid.SampledFrom(slices.Sorted(maps.Keys(h.shards))).Draw(r, "shard")
	var gone []string
	if ids := slices.Sorted(maps.Keys(h.shards[name])); len(ids) > 0 {
		gone = rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 0, min(len(ids), 3), rapid.ID).Draw(r, "deleted")
	}
	n := rapid.IntRange(0, 4).Draw(r, "documents")
	h.w.write(h.t, name, h.next, h.next+n, gone...)
	h.next += n
	h.shards[name] = h.w.contents(h.t, name)
}

func (h *history) merge(r *rapid.T) {
	h.w.merge(h.t, rapid.SampledFrom(slices.Sorted(maps.Keys(h.shards))).Draw(r, "shard"))
}

func (h *history) snapshot(r *rapid.T) {
	repository := rapid.Bool().Draw(r, "repository")
	shards := rapid.SliceOfNDistinct(rapid.SampledFrom(slices.Sorted(maps.Keys(h.shards))), 1, len(h.shards), rapid.ID).Draw(r, "shards")
	name := fmt.Sprint("s", h.next)
	h.next++
	h.w.succeeds(h.t, Type, Params{Snapshot: name, Shards: shards, Repository: repository})
	docs := taken{}
	for _, s := range shards {
		docs[s] = h.shards[s]
	}
	h.kept(repository)[name] = docs
}

func (h *history) kept(repository bool) map[string]taken {
	if repository {
		return h.full
	}
	return h.shallow
}

// choose draws one of the snapshots.
func (h *history) choose(r *rapid.T) (name string, repository bool) {
	repository = rapid.Bool().Draw(r, "repository")
	names := slices.Sorted(maps.Keys(h.kept(repository)))
	if len(names) == 0 {
		r.Skip("there is none")
	}
	return rapid.SampledFrom(names).Draw(r, "snapshot"), repository
}

func (h *history) remove(r *rapid.T) {
	name, repository := h.choose(r)
	if repository {
		_, err := DeleteCopy(h.t.Context(), h.w.repository, h.w.store, name)
		require.NoError(h.t, err)
	} else {
		require.NoError(h.t, Delete(h.t.Context(), h.w.store, name))
	}
	delete(h.kept(repository), name)
}

func (h *history) restore(r *rapid.T) {
	name, repository := h.choose(r)
	docs := h.kept(repository)[name]
	from := rapid.SampledFrom(slices.Sorted(maps.Keys(docs))).Draw(r, "shard")
	to := rapid.SampledFrom([]string{from, "a", "b/0", "c"}).Draw(r, "as")
	h.w.succeeds(h.t, RestoreType, RestoreParams{
		Snapshot: name, Repository: repository, Shards: []Target{{from, to}}, Force: true, Trust: rapid.Bool().Draw(r, "trust"),
	})
	h.shards[to] = docs[from]
}

// collect deletes whatever is not needed, as a collector whose time has come.
func (h *history) collect(*rapid.T) {
	needed := map[shard.BlobName]bool{}
	for name := range h.shards {
		s, newest := h.w.open(h.t, name), h.w.newest(h.t, name)
		for g, err := range s.Generations(h.t.Context(), 0) {
			require.NoError(h.t, err)
			if g.Generation < newest.Generation {
				require.NoError(h.t, s.DeleteGeneration(h.t.Context(), g.Generation, newest))
			}
		}
		for _, seg := range newest.Segments {
			needed[seg.Blob] = true
		}
	}
	pins, err := pinned(h.t, h.w.store)
	require.NoError(h.t, err)
	for _, p := range pins {
		needed[p.Blob] = true
	}
	for name := range h.shards {
		s := h.w.open(h.t, name)
		for b, err := range s.Blobs(h.t.Context()) {
			require.NoError(h.t, err)
			if !needed[b.Name] {
				require.NoError(h.t, s.DeleteBlob(h.t.Context(), b.Name))
			}
		}
	}
}

// check compares shards with the model, and looks whether every snapshot is whole.
func (h *history) check(*rapid.T) {
	for name, docs := range h.shards {
		require.Equal(h.t, docs, h.w.contents(h.t, name))
	}
	for _, repository := range []bool{false, true} {
		home := h.w.store
		if repository {
			home = h.w.repository
		}
		listed, err := List(h.t.Context(), home)
		require.NoError(h.t, err)
		require.Len(h.t, listed, len(h.kept(repository)))
		used := map[shard.BlobName]bool{}
		for _, l := range listed {
			require.NoError(h.t, l.Err)
			require.Contains(h.t, h.kept(repository), l.Snapshot)
			for _, p := range l.Shards {
				m, err := readPartOf(h.t.Context(), home, l.Snapshot, p)
				require.NoError(h.t, err)
				s, err := shard.Open(home, p.Shard)
				require.NoError(h.t, err)
				require.NoError(h.t, checkBlobs(h.t.Context(), s, m.Segments))
				for _, seg := range m.Segments {
					used[seg.Blob] = true
				}
			}
		}
		if repository {
			for _, key := range keys(h.t, home, "") {
				parsed, isBlob := blobOf(key)
				require.True(h.t, !isBlob || used[parsed], "%s is left though no snapshot needs it", key)
			}
		}
	}
}

// blobOf returns the blob that a key is of.
func blobOf(key string) (shard.BlobName, bool) {
	name := shard.BlobName(key[max(len(key)-101, 0):])
	return name, name.Check() == nil
}

func TestAnyHistory(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(t, remotestore.NewMemory(), remotestore.NewMemory())
		h := &history{t: t, w: w, shards: map[string]map[string]string{}, shallow: map[string]taken{}, full: map[string]taken{}}
		for _, name := range []string{"a", "b/0"} {
			w.create(t, name)
			h.shards[name] = map[string]string{}
		}
		r.Repeat(map[string]func(*rapid.T){
			"write": h.write, "write more": h.write, "merge": h.merge, "snapshot": h.snapshot, "delete": h.remove,
			"restore": h.restore, "collect": h.collect, "": h.check,
		})
		for _, repository := range []bool{false, true} { // every snapshot brings back what was there
			for name, docs := range h.kept(repository) {
				for from, want := range docs {
					w.succeeds(t, RestoreType, RestoreParams{Snapshot: name, Repository: repository, Shards: []Target{{from, "end/" + name + "/" + from}}})
					require.Equal(t, want, w.contents(t, "end/"+name+"/"+from))
				}
			}
		}
	})
}

// openFolder opens a store of its own in a bucket.
func openFolder(t testing.TB, b testkit.Bucket, name string) remotestore.Store {
	t.Helper()
	store, err := remotestore.Open(t.Context(), remotestore.Config{
		URL:       "s3://" + b.Name + "/" + name + "?region=" + b.Region + "&endpoint=" + b.Endpoint,
		AccessKey: b.AccessKey, SecretKey: remotestore.Secret(b.SecretKey),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.(io.Closer).Close()) })
	return store
}

func TestSnapshotsOnS3(t *testing.T) {
	t.Parallel()
	b := testkit.S3(t)
	w := newWorld(t, openFolder(t, b, "shards"), openFolder(t, b, "repository"))
	w.fill(t)
	want := w.contents(t, "books/0")
	for _, repository := range []bool{false, true} {
		w.succeeds(t, Type, Params{Snapshot: "monday", Shards: both, Repository: repository})
	}
	w.write(t, "books/0", 50, 60, "doc-2")
	second := w.succeeds(t, Type, Params{Snapshot: "tuesday", Shards: both, Repository: true})
	require.Equal(t, w.newest(t, "books/0").Segments[3].Bytes, second.Copied)
	w.succeeds(t, RestoreType, RestoreParams{Snapshot: "monday", Shards: []Target{{Shard: "books/0"}}, Force: true})
	require.Equal(t, want, w.contents(t, "books/0"))
	w.succeeds(t, RestoreType, RestoreParams{Snapshot: "monday", Repository: true, Shards: []Target{{"books/0", "copy"}}})
	require.Equal(t, want, w.contents(t, "copy"))
	_, err := DeleteCopy(t.Context(), w.repository, w.store, "monday")
	require.NoError(t, err)
	w.succeeds(t, RestoreType, RestoreParams{Snapshot: "tuesday", Repository: true, Force: true})
	require.Len(t, w.contents(t, "books/0"), len(want)+9)
	_, err = DeleteCopy(t.Context(), w.repository, w.store, "tuesday")
	require.NoError(t, err)
	require.Empty(t, keys(t, w.repository, ""))
}
