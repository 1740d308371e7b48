package reindex_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/offline-nodes/offline-nodes/pkg/reindex"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "25"); err != nil { // each opens a cache and writes files; -rapid.checks=n for more
		panic(err)
	}
	goleak.VerifyTestMain(m,
		// bleve's analysis workers live as long as the process.
		goleak.IgnoreTopFunction("github.com/blevesearch/bleve_index_api.AnalysisWorker"))
}

// check is what both a test and a rapid property can fail by.
type check interface {
	require.TestingT
	Helper()
}

// writer is a data node that writes one shard, in the plainest way, and remembers what every generation holds.
type writer struct {
	t       check
	shard   *shard.Shard
	cache   *shard.Cache
	dir     string
	model   map[string]string            // documents by ID
	history map[uint64]map[string]string // by generation
	ops     []op
}

// op is one write, as the generation that shows it.
type op struct {
	generation uint64
	docs       map[string]string
	gone       []string
}

func (o op) apply(to map[string]string) {
	for _, id := range o.gone {
		delete(to, id)
	}
	maps.Copy(to, o.docs)
}

func newWriter(t check, store remotestore.Store, cache *shard.Cache, dir, name string, mapping json.RawMessage) *writer {
	t.Helper()
	s, err := shard.Open(store, name)
	require.NoError(t, err)
	_, err = s.Create(context.Background(), shard.Settings{Mapping: mapping})
	require.NoError(t, err)
	w := &writer{t: t, shard: s, cache: cache, dir: dir, model: map[string]string{}, history: map[uint64]map[string]string{1: {}}}
	return w
}

// write adds documents, replacing those of the same IDs, and deletes others, as one generation.
func (w *writer) write(docs map[string]string, gone ...string) {
	w.t.Helper()
	var batch []shard.Document
	for _, id := range slices.Sorted(maps.Keys(docs)) {
		batch = append(batch, shard.Document{ID: id, Source: json.RawMessage(docs[id])})
		gone = append(gone, id)
	}
	ctx := context.Background()
	m, err := w.shard.Commit(ctx, func(cur shard.Manifest) (shard.Manifest, error) {
		change := shard.Change{Writer: shard.Writer{Node: "data"}, Deleted: w.find(cur, gone)}
		if len(batch) > 0 {
			change.Outputs = []shard.Segment{w.build(cur.Mapping, batch)}
		}
		return shard.Commit(cur, change)
	})
	require.NoError(w.t, err)
	w.ops = append(w.ops, op{m.Generation, docs, gone})
	w.ops[len(w.ops)-1].apply(w.model)
	w.history[m.Generation] = maps.Clone(w.model)
}

func (w *writer) build(mapping json.RawMessage, docs []shard.Document) shard.Segment {
	m, err := shard.ParseMapping(mapping)
	require.NoError(w.t, err)
	path := filepath.Join(w.dir, fmt.Sprint("new-", rand.Uint64()))
	seg, err := shard.BuildSegment(context.Background(), path, m, docs)
	require.NoError(w.t, err)
	return w.upload(seg, path)
}

func (w *writer) upload(seg shard.Segment, path string) shard.Segment {
	blob, err := shard.NameBlob(path)
	require.NoError(w.t, err)
	require.NoError(w.t, w.shard.Upload(context.Background(), blob, path))
	seg.Blob = blob.Name
	return seg
}

func (w *writer) find(m shard.Manifest, ids []string) map[uint64]shard.DocSet {
	found := map[uint64]shard.DocSet{}
	for _, seg := range m.Segments {
		read(w.t, w.cache, w.shard, seg, func(r *shard.Reader) {
			docs, err := r.Find(ids)
			require.NoError(w.t, err)
			if docs = docs.Minus(seg.Deleted); !docs.IsZero() {
				found[seg.ID] = docs
			}
		})
	}
	return found
}

// merge replaces all segments by one: no document changes.
func (w *writer) merge() {
	ctx := context.Background()
	m, err := w.shard.Newest(ctx)
	require.NoError(w.t, err)
	if len(m.Segments) == 0 {
		return
	}
	files, err := w.cache.GetAll(ctx, w.shard, m.Segments)
	require.NoError(w.t, err)
	var in []shard.MergeInput
	for i, seg := range m.Segments {
		in = append(in, shard.MergeInput{Path: files[i].Path, Segment: seg})
	}
	path := filepath.Join(w.dir, fmt.Sprint("merged-", rand.Uint64()))
	seg, err := shard.MergeSegments(ctx, in, path, nil)
	require.NoError(w.t, err)
	var out []shard.Segment
	if seg.Docs > 0 {
		out = append(out, w.upload(seg, path))
	}
	for _, f := range files {
		f.Close()
	}
	next, err := w.shard.Commit(ctx, func(cur shard.Manifest) (shard.Manifest, error) {
		return shard.Commit(cur, shard.Change{Writer: shard.Writer{Task: "merge"}, Inputs: m.Segments, Outputs: out})
	})
	require.NoError(w.t, err)
	w.history[next.Generation] = maps.Clone(w.model)
}

func read(t check, cache *shard.Cache, s *shard.Shard, seg shard.Segment, with func(*shard.Reader)) {
	file, err := cache.Get(context.Background(), s, seg)
	require.NoError(t, err)
	defer file.Close()
	r, err := shard.OpenSegment(file.Path, seg)
	require.NoError(t, err)
	with(r)
	require.NoError(t, r.Close())
}

// contents returns every document that can be found in the newest generation of a shard.
func contents(t check, store remotestore.Store, cache *shard.Cache, name string) (map[string]string, shard.Manifest) {
	t.Helper()
	s, err := shard.Open(store, name)
	require.NoError(t, err)
	m, err := s.Newest(context.Background())
	require.NoError(t, err)
	all := map[string]string{}
	for _, seg := range m.Segments {
		live := uint64(0)
		read(t, cache, s, seg, func(r *shard.Reader) {
			for n := range uint32(seg.Docs) {
				if seg.Deleted.Contains(n) {
					continue
				}
				d, err := r.Document(n)
				require.NoError(t, err)
				require.NotContains(t, all, d.ID, "a document is there twice")
				all[d.ID] = string(d.Source)
				live++
			}
		})
		require.Equal(t, seg.Live, live)
	}
	return all, m
}

// hits are the IDs that a query finds in the newest generation of a shard.
func hits(t check, cache *shard.Cache, s *shard.Shard, m shard.Manifest, query string) []string {
	t.Helper()
	var found []string
	for _, seg := range m.Segments {
		file, err := cache.Get(context.Background(), s, seg)
		require.NoError(t, err)
		docs, err := shard.MatchSegment(context.Background(), file.Path, seg, m.Mapping, query)
		require.NoError(t, err)
		read(t, cache, s, seg, func(r *shard.Reader) {
			for n := range docs.All() {
				id, err := r.ID(n)
				require.NoError(t, err)
				found = append(found, id)
			}
		})
		file.Close()
	}
	slices.Sort(found)
	return found
}

// fleet runs a reindex and its slices, one run at a time, as nodes do that may be killed at any call of the store.
type fleet struct {
	cfg      reindex.Config
	tasks    map[string]*taskOf
	kill     func() (calls int, effect bool) // how long the next run lives; 0: to its end
	allocate int64
	runs     int
}

type taskOf struct {
	submission task.Submission
	state      task.ChildState
	checkpoint []byte
}

func newFleet(t interface{ TempDir() string }, store remotestore.Store) *fleet {
	return &fleet{
		cfg:   reindex.Config{Store: store, Scratch: filepath.Join(t.TempDir(), "scratch"), Node: "node-1", BatchBytes: 400},
		tasks: map[string]*taskOf{}, kill: func() (int, bool) { return 0, false },
	}
}

// States implements task.Family.
func (f *fleet) States(_ context.Context, ids []string) ([]*task.ChildState, error) {
	states := make([]*task.ChildState, len(ids))
	for i, id := range ids {
		if known := f.tasks[id]; known != nil {
			state := known.state
			states[i] = &state
		}
	}
	return states, nil
}

// Submit implements task.Family.
func (f *fleet) Submit(_ context.Context, children []task.Submission) error {
	for _, s := range children {
		f.tasks[s.ID] = &taskOf{submission: s, state: task.ChildState{
			ID: s.ID, Type: s.Type, Status: task.Unassigned, ParamsHash: task.Hash(s.Params), Replay: s.Replay,
		}}
	}
	return nil
}

// do runs a reindex to its end and returns its result.
func (f *fleet) do(t check, id string, p reindex.Params) (r reindex.Result, err error) {
	t.Helper()
	s, err := task.NewSubmission(reindex.Type, p, task.ID(id))
	if err != nil {
		return r, err
	}
	require.NoError(t, f.Submit(context.Background(), []task.Submission{s}))
	parent := f.tasks[id]
	for range 1000 {
		err := f.run(t, parent)
		if parent.state.Status == task.Success { // by this run, or by another that has gone by it
			require.NoError(t, json.Unmarshal(parent.state.Result, &r))
			return r, nil
		}
		if err != nil && !errors.Is(err, task.ErrWaiting) && !errors.Is(err, errKilled) {
			return r, err
		}
		for f.step(t, id) {
		}
	}
	require.Fail(t, "the reindex does not end")
	return r, nil
}

// step runs one of the children that have not ended.
func (f *fleet) step(t check, parent string) bool {
	var open []*taskOf
	for _, id := range slices.Sorted(maps.Keys(f.tasks)) {
		if c := f.tasks[id]; task.Parent(id) == parent && !c.state.Status.Terminal() {
			open = append(open, c)
		}
	}
	if len(open) == 0 {
		return false
	}
	c := open[f.runs%len(open)]
	if err := f.run(t, c); err != nil && !errors.Is(err, errKilled) && !c.state.Status.Terminal() {
		c.state.Status, c.state.Error = task.Failed, err.Error()
	}
	return true
}

// run is one run of a task. The checkpoint of one that is killed is lost.
func (f *fleet) run(t check, c *taskOf) error {
	f.runs++
	f.allocate++
	cfg := f.cfg
	mortal := &mortal{Store: cfg.Store}
	mortal.left, mortal.effect = f.kill()
	cfg.Store = mortal
	mux := task.NewMux()
	require.NoError(t, reindex.Register(mux, cfg))
	x := task.NewExecution(c.submission.Envelope, c.submission.Params, f.allocate, c.checkpoint, nil)
	x.SetFamily(f)
	err := mux.Lookup(c.submission.Type).Worker.Work(context.Background(), x) // a panic is the test's
	if mortal.dead {
		return errKilled
	}
	c.checkpoint = x.Report().Checkpoint
	if err == nil {
		c.state.Status, c.state.Result = task.Success, x.Report().Result
	}
	return err
}

var errKilled = errors.New("killed")

// mortal is the store as a process sees it that dies after some calls: the last one may still have its effect.
type mortal struct {
	remotestore.Store
	left   int  // calls; 0: it lives on
	effect bool // of the last call
	dead   bool
}

// call tells whether a call has its effect, and whether its caller lives to hear of it.
func (m *mortal) call() (effect bool, err error) {
	if m.dead {
		return false, errKilled
	}
	if m.left > 0 {
		if m.left--; m.left == 0 {
			m.dead = true
			return m.effect, errKilled
		}
	}
	return true, nil
}

func (m *mortal) PutFile(ctx context.Context, key, path string) error {
	effect, err := m.call()
	if effect {
		err = errors.Join(m.Store.PutFile(ctx, key, path), err)
	}
	return err
}

func (m *mortal) GetFile(ctx context.Context, key, path string) error {
	if _, err := m.call(); err != nil {
		return err
	}
	return m.Store.GetFile(ctx, key, path)
}

func (m *mortal) Get(ctx context.Context, key string, r remotestore.Range) ([]byte, error) {
	if _, err := m.call(); err != nil {
		return nil, err
	}
	return m.Store.Get(ctx, key, r)
}

func (m *mortal) Put(ctx context.Context, key string, body []byte) error {
	effect, err := m.call()
	if effect {
		err = errors.Join(m.Store.Put(ctx, key, body), err)
	}
	return err
}

func (m *mortal) Create(ctx context.Context, key string, body []byte) error {
	effect, err := m.call()
	if effect {
		err = errors.Join(err, m.Store.Create(ctx, key, body))
	}
	return err
}

func (m *mortal) List(ctx context.Context, prefix, after string) iter.Seq2[remotestore.Object, error] {
	if _, err := m.call(); err != nil {
		return func(yield func(remotestore.Object, error) bool) { yield(remotestore.Object{}, err) }
	}
	return m.Store.List(ctx, prefix, after)
}

func (m *mortal) Delete(ctx context.Context, key string) error {
	effect, err := m.call()
	if effect {
		err = errors.Join(m.Store.Delete(ctx, key), err)
	}
	return err
}

// disturbed calls before ahead of the calls that others may come between.
type disturbed struct {
	remotestore.Store
	before func(key string)
}

func (d disturbed) Create(ctx context.Context, key string, body []byte) error {
	d.before(key)
	return d.Store.Create(ctx, key, body)
}

func (d disturbed) PutFile(ctx context.Context, key, path string) error {
	d.before(key)
	return d.Store.PutFile(ctx, key, path)
}

func (d disturbed) GetFile(ctx context.Context, key, path string) error {
	d.before(key)
	return d.Store.GetFile(ctx, key, path)
}
