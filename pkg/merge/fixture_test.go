package merge

import (
	"context"
	"encoding/json"
	"errors"
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
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// bleve's analysis workers live as long as the process.
		goleak.IgnoreTopFunction("github.com/blevesearch/bleve_index_api.AnalysisWorker"))
}

// fixture is a shard with a few segments, and the data node that writes it.
type fixture struct {
	store   remotestore.Store // as the data node sees it
	shard   *shard.Shard
	cache   *shard.Cache
	mapping *shard.Mapping
	dir     string
	files   atomic.Int64
}

func newFixture(t *testing.T, store remotestore.Store) *fixture {
	t.Helper()
	f := &fixture{store: store, dir: t.TempDir()}
	var err error
	f.shard, err = shard.Open(store, "books/0")
	require.NoError(t, err)
	m, err := f.shard.Create(t.Context(), shard.Settings{})
	require.NoError(t, err)
	f.mapping, err = shard.ParseMapping(m.Mapping)
	require.NoError(t, err)
	f.cache, err = shard.OpenCache(filepath.Join(f.dir, "cache"), 1<<30)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.cache.Close()) })
	return f
}

// filled has four segments of fifty documents, of which some are deleted.
func filled(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t, remotestore.NewMemory())
	f.fill(t)
	return f
}

func (f *fixture) fill(t *testing.T) {
	t.Helper()
	for i := range 4 {
		f.write(t, i*50, i*50+50)
	}
	f.write(t, 0, 0, "doc-3", "doc-77", "doc-199")
}

// write adds a segment with documents from ≤ i < to, and deletes others.
func (f *fixture) write(t *testing.T, from, to int, gone ...string) shard.Manifest {
	t.Helper()
	m, err := f.tryWrite(t.Context(), from, to, gone...)
	require.NoError(t, err)
	return m
}

func (f *fixture) tryWrite(ctx context.Context, from, to int, gone ...string) (shard.Manifest, error) {
	var docs []shard.Document
	for i := from; i < to; i++ {
		source, _ := json.Marshal(map[string]any{"title": fmt.Sprint("word", i%7, " word", i%11), "n": i})
		docs = append(docs, shard.Document{ID: fmt.Sprint("doc-", i), Source: source})
	}
	var out []shard.Segment
	if len(docs) > 0 {
		path := filepath.Join(f.dir, fmt.Sprint("segment-", f.files.Add(1)))
		seg, err := shard.BuildSegment(ctx, path, f.mapping, docs)
		if err != nil {
			return shard.Manifest{}, err
		}
		blob, err := shard.NameBlob(path)
		if err := errors.Join(err, f.shard.Upload(ctx, blob, path)); err != nil {
			return shard.Manifest{}, err
		}
		seg.Blob = blob.Name
		out = append(out, seg)
	}
	return f.shard.Commit(ctx, func(cur shard.Manifest) (shard.Manifest, error) {
		deleted, err := f.find(ctx, cur, gone)
		if err != nil {
			return shard.Manifest{}, err
		}
		return shard.Commit(cur, shard.Change{Outputs: out, Deleted: deleted})
	})
}

func (f *fixture) find(ctx context.Context, m shard.Manifest, ids []string) (map[uint64]shard.DocSet, error) {
	found := make(map[uint64]shard.DocSet)
	for _, seg := range m.Segments {
		err := f.read(ctx, seg, func(r *shard.Reader) error {
			docs, err := r.Find(ids)
			if !docs.IsZero() {
				found[seg.ID] = docs
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (f *fixture) read(ctx context.Context, seg shard.Segment, with func(*shard.Reader) error) error {
	file, err := f.cache.Get(ctx, f.shard, seg)
	if err != nil {
		return err
	}
	defer file.Close()
	r, err := shard.OpenSegment(file.Path, seg)
	if err != nil {
		return err
	}
	return errors.Join(with(r), r.Close())
}

func (f *fixture) newest(t *testing.T) shard.Manifest {
	t.Helper()
	m, err := f.shard.Newest(t.Context())
	require.NoError(t, err)
	return m
}

// contents returns every document that can be found in the newest generation.
func (f *fixture) contents(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, seg := range f.newest(t).Segments {
		require.NoError(t, f.read(t.Context(), seg, func(r *shard.Reader) error {
			for n := range uint32(seg.Docs) {
				if seg.Deleted.Contains(n) {
					continue
				}
				d, err := r.Document(n)
				require.NoError(t, err)
				require.NotContains(t, all, d.ID)
				all[d.ID] = string(d.Source)
			}
			return nil
		}))
	}
	return all
}

// node runs merges as an offline node does.
type node struct {
	definition *task.Definition
	scratch    string
}

func newNode(t testing.TB, cfg Config) *node {
	t.Helper()
	n := &node{scratch: filepath.Join(t.TempDir(), "scratch")}
	cfg.Scratch, cfg.Node = n.scratch, "node-1"
	mux := task.NewMux()
	require.NoError(t, Register(mux, cfg))
	n.definition = mux.Lookup(Type)
	return n
}

// execution is a run of the merge of segments, under an ID of its own if one is given.
func execution(t testing.TB, m shard.Manifest, segments []shard.Segment, allocation int64, left []byte, id ...string) *task.Execution {
	t.Helper()
	taskID, params := Plan(m, segments)
	if len(id) > 0 {
		taskID = id[0]
	}
	raw, err := task.Encode(params)
	require.NoError(t, err)
	return task.NewExecution(task.Envelope{ID: taskID, Type: Type, Attempt: 1}, raw, allocation, left, nil)
}

func resultOf(t *testing.T, x *task.Execution) (r Result) {
	t.Helper()
	require.NoError(t, json.Unmarshal(x.Report().Result, &r))
	return r
}

// cleanScratch checks that a run has left nothing.
func (n *node) cleanScratch(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(n.scratch)
	if !errors.Is(err, os.ErrNotExist) {
		require.NoError(t, err)
	}
	require.Empty(t, entries)
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
