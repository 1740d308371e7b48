package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/pkg/task/tasktest"
)

func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "15"); err != nil { // each step builds segments; -rapid.checks=n for more
		panic(err)
	}
	goleak.VerifyTestMain(m,
		// bleve's analysis workers live as long as the process.
		goleak.IgnoreTopFunction("github.com/blevesearch/bleve_index_api.AnalysisWorker"))
}

// world is a store with shards, a repository, and a node that runs tasks.
type world struct {
	dir               string
	store, repository remotestore.Store
	cache             *shard.Cache // of the store
	mux               *task.Mux
	files             atomic.Int64
	allocations       atomic.Int64
}

func newWorld(t testing.TB, store, repository remotestore.Store) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), store: store, repository: repository}
	var err error
	w.cache, err = shard.OpenCache(filepath.Join(w.dir, "cache"), 1<<30)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.cache.Close()) })
	w.mux = w.node(t, store, repository)
	return w
}

// node is one that works with these stores, which may stand in front of the world's.
func (w *world) node(t testing.TB, store, repository remotestore.Store) *task.Mux {
	t.Helper()
	mux := task.NewMux()
	require.NoError(t, Register(mux, Config{Store: store, Repository: repository, Scratch: w.scratch(), Node: "node-1"}))
	return mux
}

func (w *world) scratch() string { return filepath.Join(w.dir, "scratch") }

func (w *world) open(t testing.TB, name string) *shard.Shard {
	t.Helper()
	s, err := shard.Open(w.store, name)
	require.NoError(t, err)
	return s
}

func (w *world) create(t testing.TB, name string) {
	t.Helper()
	_, err := w.open(t, name).Create(t.Context(), shard.Settings{})
	require.NoError(t, err)
}

// write adds a segment of documents from ≤ i < to, and deletes others.
func (w *world) write(t testing.TB, name string, from, to int, gone ...string) shard.Manifest {
	t.Helper()
	s := w.open(t, name)
	mapping, err := shard.ParseMapping(shard.DefaultMapping())
	require.NoError(t, err)
	var docs []shard.Document
	for i := from; i < to; i++ {
		source, _ := json.Marshal(map[string]any{"n": i, "in": name})
		docs = append(docs, shard.Document{ID: fmt.Sprint("doc-", i), Source: source})
	}
	var out []shard.Segment
	if len(docs) > 0 {
		path := filepath.Join(w.dir, fmt.Sprint("segment-", w.files.Add(1)))
		seg, err := shard.BuildSegment(t.Context(), path, mapping, docs)
		require.NoError(t, err)
		blob, err := shard.NameBlob(path)
		require.NoError(t, err)
		require.NoError(t, s.Upload(t.Context(), blob, path))
		require.NoError(t, os.Remove(path))
		seg.Blob = blob.Name
		out = append(out, seg)
	}
	m, err := s.Commit(t.Context(), func(cur shard.Manifest) (shard.Manifest, error) {
		deleted := map[uint64]shard.DocSet{}
		for _, seg := range cur.Segments {
			w.read(t, s, seg, func(r *shard.Reader) {
				found, err := r.Find(gone)
				require.NoError(t, err)
				if !found.IsZero() {
					deleted[seg.ID] = found
				}
			})
		}
		return shard.Commit(cur, shard.Change{Outputs: out, Deleted: deleted})
	})
	require.NoError(t, err)
	return m
}

// merge replaces all segments by one.
func (w *world) merge(t testing.TB, name string) {
	t.Helper()
	s := w.open(t, name)
	m, err := s.Newest(t.Context())
	require.NoError(t, err)
	if shard.NewRemap(m.Segments).Docs() == 0 {
		return
	}
	files, err := w.cache.GetAll(t.Context(), s, m.Segments)
	require.NoError(t, err)
	inputs := make([]shard.MergeInput, len(files))
	for i, f := range files {
		inputs[i] = shard.MergeInput{Path: f.Path, Segment: m.Segments[i]}
	}
	path := filepath.Join(w.dir, fmt.Sprint("merged-", w.files.Add(1)))
	out, err := shard.MergeSegments(t.Context(), inputs, path, func(int64) {})
	require.NoError(t, err)
	for _, f := range files {
		f.Close()
	}
	blob, err := shard.NameBlob(path)
	require.NoError(t, err)
	require.NoError(t, s.Upload(t.Context(), blob, path))
	out.Blob = blob.Name
	_, err = s.Commit(t.Context(), func(cur shard.Manifest) (shard.Manifest, error) {
		return shard.Commit(cur, shard.Change{Inputs: m.Segments, Outputs: []shard.Segment{out}})
	})
	require.NoError(t, err)
}

func (w *world) read(t testing.TB, s *shard.Shard, seg shard.Segment, with func(*shard.Reader)) {
	t.Helper()
	file, err := w.cache.Get(t.Context(), s, seg)
	require.NoError(t, err)
	defer file.Close()
	r, err := shard.OpenSegment(file.Path, seg)
	require.NoError(t, err)
	with(r)
	require.NoError(t, r.Close())
}

func (w *world) newest(t testing.TB, name string) shard.Manifest {
	t.Helper()
	m, err := w.open(t, name).Newest(t.Context())
	require.NoError(t, err)
	return m
}

// contents returns every document of the newest generation that can be found.
func (w *world) contents(t testing.TB, name string) map[string]string {
	t.Helper()
	all := map[string]string{}
	s := w.open(t, name)
	for _, seg := range w.newest(t, name).Segments {
		w.read(t, s, seg, func(r *shard.Reader) {
			for n := range uint32(seg.Docs) {
				if seg.Deleted.Contains(n) {
					continue
				}
				d, err := r.Document(n)
				require.NoError(t, err)
				require.NotContains(t, all, d.ID)
				all[d.ID] = string(d.Source)
			}
		})
	}
	return all
}

// run runs a task with its children, each until it ends or is to be tried again.
func (w *world) run(t testing.TB, mux *task.Mux, id, typ string, params any, options ...tasktest.Option) tasktest.Result {
	t.Helper()
	return w.runAs(t, mux, w.allocations.Add(1), id, typ, params, options...)
}

// runAs is run under an allocation id.
func (w *world) runAs(t testing.TB, mux *task.Mux, allocation int64, id, typ string, params any, options ...tasktest.Option) tasktest.Result {
	t.Helper()
	ended := map[string]*task.ChildState{}
	children := tasktest.Children(func(child task.Submission) *task.ChildState {
		if ended[child.ID] == nil {
			ended[child.ID] = state(tasktest.Run(t.Context(), mux, child.Type, child.Params, tasktest.ID(child.ID), tasktest.AllocationID(allocation)))
		}
		return ended[child.ID]
	})
	r := tasktest.Run(t.Context(), mux, typ, params, append(options, tasktest.ID(id), tasktest.AllocationID(allocation), children)...)
	for r.Outcome == tasktest.Waiting {
		r = r.Again(t.Context())
	}
	w.cleanScratch(t)
	return r
}

// state is how a child is whose run ended so. What is to be tried again counts as failed.
func state(r tasktest.Result) *task.ChildState {
	if r.Outcome == tasktest.Success {
		return &task.ChildState{Status: task.Success, Result: r.Report.Result, Fraction: 1}
	}
	return &task.ChildState{Status: task.Failed, Error: fmt.Sprintf("%s: %v", r.Outcome, r.Err)}
}

// succeeds runs a task that must succeed and returns its result.
func (w *world) succeeds(t testing.TB, typ string, params any) (result Result) {
	t.Helper()
	r := w.run(t, w.mux, task.NewID(), typ, params)
	require.NoError(t, r.Err)
	require.Equal(t, tasktest.Success, r.Outcome)
	require.NoError(t, r.ReadResult(&result))
	return result
}

// fails runs a task that must become a dead letter, and returns why.
func (w *world) fails(t testing.TB, typ string, params any) error {
	t.Helper()
	r := w.run(t, w.mux, task.NewID(), typ, params)
	require.Equal(t, tasktest.DeadLetter, r.Outcome, "%v", r.Err)
	return r.Err
}

// cleanScratch checks that a run has left nothing.
func (w *world) cleanScratch(t testing.TB) {
	t.Helper()
	entries, err := os.ReadDir(w.scratch())
	if !errors.Is(err, os.ErrNotExist) {
		require.NoError(t, err)
	}
	require.Empty(t, entries)
}

// keys lists what a store has below a prefix.
func keys(t testing.TB, store remotestore.Store, prefix string) (all []string) {
	t.Helper()
	for o, err := range store.List(t.Context(), prefix, "") {
		require.NoError(t, err)
		all = append(all, o.Key)
	}
	return all
}

// hooked calls before ahead of each call of the store; what it returns is the call's error.
type hooked struct {
	remotestore.Store
	before func(verb, key string) error
}

func (h hooked) PutFile(ctx context.Context, key, path string) error {
	if err := h.before("put file", key); err != nil {
		return err
	}
	return h.Store.PutFile(ctx, key, path)
}

func (h hooked) GetFile(ctx context.Context, key, path string) error {
	if err := h.before("get file", key); err != nil {
		return err
	}
	return h.Store.GetFile(ctx, key, path)
}

func (h hooked) Get(ctx context.Context, key string, r remotestore.Range) ([]byte, error) {
	if err := h.before("get", key); err != nil {
		return nil, err
	}
	return h.Store.Get(ctx, key, r)
}

func (h hooked) Put(ctx context.Context, key string, body []byte) error {
	if err := h.before("put", key); err != nil {
		return err
	}
	return h.Store.Put(ctx, key, body)
}

func (h hooked) Create(ctx context.Context, key string, body []byte) error {
	if err := h.before("create", key); err != nil {
		return err
	}
	return h.Store.Create(ctx, key, body)
}

func (h hooked) List(ctx context.Context, prefix, after string) iter.Seq2[remotestore.Object, error] {
	if err := h.before("list", prefix); err != nil {
		return func(yield func(remotestore.Object, error) bool) { yield(remotestore.Object{}, err) }
	}
	return h.Store.List(ctx, prefix, after)
}

func (h hooked) Delete(ctx context.Context, key string) error {
	if err := h.before("delete", key); err != nil {
		return err
	}
	return h.Store.Delete(ctx, key)
}
