package reindex_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/reindex"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// world is a shard of some documents and a fleet.
type world struct {
	store  *remotestore.Memory
	cache  *shard.Cache
	source *writer
	fleet  *fleet
}

func newWorld(t *testing.T, docs int) *world {
	t.Helper()
	dir := t.TempDir()
	cache, err := shard.OpenCache(filepath.Join(dir, "cache"), 1<<30)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cache.Close()) })
	w := &world{store: remotestore.NewMemory(), cache: cache}
	w.source = newWriter(t, w.store, cache, dir, "books", nil)
	w.fleet = newFleet(t, w.store)
	for i := range docs {
		w.source.write(map[string]string{fmt.Sprint("doc-", i): fmt.Sprintf(`{"title":"word%d","n":%d}`, i%7, i)})
	}
	return w
}

// unchanged checks that a failed reindex has left no trace in a shard.
func (w *world) unchanged(t *testing.T, name string, before shard.Manifest) {
	t.Helper()
	s, err := shard.Open(w.store, name)
	require.NoError(t, err)
	m, err := s.Newest(t.Context())
	if before.Generation == 0 {
		require.ErrorIs(t, err, shard.ErrNotFound)
		return
	}
	require.NoError(t, err)
	require.Equal(t, before.Generation, m.Generation)
}

func (w *world) newest(t *testing.T) shard.Manifest {
	t.Helper()
	m, err := w.source.shard.Newest(t.Context())
	require.NoError(t, err)
	return m
}

func TestWhatCannotWorkFailsForGoodAndChangesNothing(t *testing.T) {
	blob := func(w *world) string {
		m, _ := w.source.shard.Newest(context.Background())
		return "books/blob/" + string(m.Segments[1].Blob)
	}
	for name, test := range map[string]struct {
		params  reindex.Params
		arrange func(w *world)
		says    string
		is      error
	}{
		"no such source": {
			params: reindex.Params{Source: "none", Target: "books-2"}, says: "not in the store", is: shard.ErrNotFound,
		},
		"a blob is gone": {
			params:  reindex.Params{Source: "books", Target: "books-2"},
			arrange: func(w *world) { _ = w.store.Delete(context.Background(), blob(w)) },
			says:    "garbage collection has taken it",
		},
		"a blob is corrupt": {
			params: reindex.Params{Source: "books", Target: "books"},
			arrange: func(w *world) {
				body, _ := w.store.Get(context.Background(), blob(w), remotestore.All)
				body = append([]byte{}, body...)
				body[len(body)/2] ^= 1
				_ = w.store.Put(context.Background(), blob(w), body)
			},
			says: "corrupt object",
		},
		"the transform does not fit a document": {
			params: reindex.Params{Source: "books", Target: "books-2", Transform: reindex.Transform{{Op: "set", Field: "title.x", Value: []byte("1")}}},
			says:   `bad document "doc-`,
		},
		"the target is there with another mapping": {
			params: reindex.Params{Source: "books", Target: "other", Mapping: []byte(`{"default_analyzer":"keyword"}`)},
			arrange: func(w *world) {
				newWriter(w.source.t, w.store, w.cache, w.source.dir, "other", nil)
			},
			says: "is there with another mapping",
		},
		"the target has a document": {
			params: reindex.Params{Source: "books", Target: "other"},
			arrange: func(w *world) {
				newWriter(w.source.t, w.store, w.cache, w.source.dir, "other", nil).write(map[string]string{"doc-3": `{"title":"mine"}`})
			},
			says: `document "doc-3" of shard other`, is: reindex.ErrConflict,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 5)
			if test.arrange != nil {
				test.arrange(w)
			}
			var before shard.Manifest
			s, err := shard.Open(w.store, test.params.Target)
			require.NoError(t, err)
			if m, err := s.Newest(t.Context()); err == nil {
				before = m
			}
			_, err = w.fleet.do(t, "again", test.params)
			require.ErrorContains(t, err, test.says)
			require.True(t, task.IsPermanent(err), err)
			if test.is != nil {
				require.ErrorIs(t, err, test.is)
			}
			w.unchanged(t, test.params.Target, before)
		})
	}
}

func TestParamsAreRefusedAtSubmit(t *testing.T) {
	w := newWorld(t, 0)
	for says, p := range map[string]reindex.Params{
		"shard name":            {Source: "", Target: "x"},
		"belong to no shard":    {Source: "books", Target: "_x"},
		"index mapping":         {Source: "books", Target: "x", Mapping: []byte(`{"default_analyzer":"none"}`)},
		"unterminated quote":    {Source: "books", Target: "x", Query: `title:"a`},
		"a query in place":      {Source: "books", Target: "books", Query: "a"},
		"transform, step 1":     {Source: "books", Target: "x", Transform: reindex.Transform{{Op: "eval"}}},
		"65 slices":             {Source: "books", Target: "x", Slices: 65},
		"conflicts is \"fail\"": {Source: "books", Target: "x", Conflicts: "fail"},
		"rate is -1":            {Source: "books", Target: "x", Rate: -1},
	} {
		_, err := w.fleet.do(t, "again", p)
		require.ErrorIs(t, err, task.ErrInvalid, says)
		require.ErrorContains(t, err, says)
	}
	for o, err := range w.store.List(t.Context(), "_", "") {
		require.NoError(t, err)
		require.Fail(t, "something was written", o.Key)
	}
}

func TestAnIDStandsForOneReindex(t *testing.T) {
	w := newWorld(t, 5)
	w.fleet.kill = func() (int, bool) { return 14, true }
	p := reindex.Params{Source: "books", Target: "books-2"}
	s, err := task.NewSubmission(reindex.Type, p, task.ID("again"))
	require.NoError(t, err)
	require.NoError(t, w.fleet.Submit(t.Context(), []task.Submission{s}))
	require.ErrorIs(t, w.fleet.run(t, w.fleet.tasks["again"]), task.ErrWaiting)
	p.Slices = 2
	_, err = w.fleet.do(t, "again", p)
	require.ErrorContains(t, err, "use another ID")
	require.True(t, task.IsPermanent(err))
}

// TestWhatIsCommittedIsNotRepeated kills every run after a few calls: each document is indexed once all the same, but for the
// batches that were under way.
func TestWhatIsCommittedIsNotRepeated(t *testing.T) {
	w := newWorld(t, 60)
	w.fleet.cfg.BatchBytes = 1
	uploads, kills := 0, 0
	w.fleet.cfg.Store = disturbed{w.store, func(key string) {
		if strings.HasPrefix(key, "books-2/blob/") {
			uploads++
		}
	}}
	w.fleet.kill = func() (int, bool) {
		if kills > 12 {
			return 0, false
		}
		kills++
		return 40, kills%2 == 0
	}
	r, err := w.fleet.do(t, "again", reindex.Params{Source: "books", Target: "books-2"})
	require.NoError(t, err)
	require.EqualValues(t, 60, r.Written)
	require.EqualValues(t, 60, r.Docs)
	require.Greater(t, kills, 5)
	require.LessOrEqual(t, uploads, 60+kills)
}

func TestASliceThatIsHeldBackCommitsByTime(t *testing.T) {
	w := newWorld(t, 20)
	w.fleet.cfg.BatchEvery = time.Nanosecond
	r, err := w.fleet.do(t, "again", reindex.Params{Source: "books", Target: "books-2"})
	require.NoError(t, err)
	require.EqualValues(t, 20, r.Docs)
	require.Equal(t, 20, r.Segments, "a batch of one document each")
}

// TestInPlaceKeepsANewerMapping changes the mapping while a reindex runs that was to leave it as it is.
func TestInPlaceKeepsANewerMapping(t *testing.T) {
	w := newWorld(t, 5)
	changed := false
	w.fleet.cfg.Store = disturbed{w.store, func(key string) {
		if changed || !strings.HasPrefix(key, "books/blob/") {
			return
		}
		changed = true
		_, err := w.source.shard.Commit(t.Context(), func(cur shard.Manifest) (shard.Manifest, error) {
			return shard.Replace(cur, shard.Replacement{
				Writer: shard.Writer{Task: "other"}, Segments: cur.Segments, Mapping: json.RawMessage(`{"default_analyzer":"keyword"}`),
			})
		})
		require.NoError(t, err)
	}}
	_, err := w.fleet.do(t, "again", reindex.Params{Source: "books", Target: "books"})
	require.True(t, changed)
	require.ErrorContains(t, err, "another mapping meanwhile")
	require.True(t, task.IsPermanent(err))
	require.JSONEq(t, `{"default_analyzer":"keyword"}`, string(w.newest(t).Mapping))
}

// TestTheManifestThatWasPinnedMayBeCollected deletes all generations but the newest while the reindex waits for its slices.
func TestTheManifestThatWasPinnedMayBeCollected(t *testing.T) {
	w := newWorld(t, 10)
	w.source.merge()
	pinned := w.newest(t)
	deleted := false
	w.fleet.cfg.Store = disturbed{w.store, func(key string) {
		if deleted || !strings.HasPrefix(key, "books-2/") {
			return
		}
		deleted = true
		w.source.write(map[string]string{"doc-3": `{"title":"new"}`}, "doc-4")
		newest := w.newest(t)
		for g := range pinned.Generation {
			require.NoError(t, w.source.shard.DeleteGeneration(t.Context(), g+1, newest))
		}
		for _, seg := range pinned.Segments {
			by, err := w.source.shard.ReservedBy(t.Context(), seg.Blob)
			require.NoError(t, err)
			require.Equal(t, "again", by)
		}
	}}
	_, err := w.fleet.do(t, "again", reindex.Params{Source: "books", Target: "books-2"})
	require.NoError(t, err)
	require.True(t, deleted)
	is, _ := contents(t, w.store, w.cache, "books-2")
	require.Equal(t, w.source.model, is)
}

func TestConflictsAreCounted(t *testing.T) {
	for conflicts, title := range map[reindex.Conflicts]string{reindex.Proceed: "mine", reindex.Overwrite: "word3"} {
		w := newWorld(t, 5)
		other := newWriter(t, w.store, w.cache, t.TempDir(), "other", nil)
		other.write(map[string]string{"doc-3": `{"title":"mine","n":3}`, "doc-9": `{"title":"mine","n":9}`})
		r, err := w.fleet.do(t, "again", reindex.Params{Source: "books", Target: "other", Conflicts: conflicts})
		require.NoError(t, err)
		require.EqualValues(t, 1, r.Conflicts)
		is, _ := contents(t, w.store, w.cache, "other")
		require.Len(t, is, 6)
		require.JSONEq(t, fmt.Sprintf(`{"title":%q,"n":3}`, title), is["doc-3"])
	}
}

// TestTwoParentsAgreeOnWhatIsPinned has another run, that has looked earlier, pin its generation right before this one would.
func TestTwoParentsAgreeOnWhatIsPinned(t *testing.T) {
	w := newWorld(t, 5)
	pinned := w.newest(t)
	w.source.write(map[string]string{"doc-3": `{"title":"new"}`}, "doc-4")
	body, err := pinned.Encode()
	require.NoError(t, err)
	earlier := false
	w.fleet.cfg.Store = disturbed{w.store, func(key string) {
		if !earlier && strings.HasSuffix(key, "/source/0000.json") {
			earlier = true
			require.NoError(t, w.store.Create(t.Context(), key, body))
		}
	}}
	_, err = w.fleet.do(t, "again", reindex.Params{Source: "books", Target: "books"})
	require.NoError(t, err)
	require.True(t, earlier)
	is, _ := contents(t, w.store, w.cache, "books")
	require.Equal(t, w.source.model, is)
}
