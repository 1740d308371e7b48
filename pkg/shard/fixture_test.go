package shard

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/search/query"
	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
)

// fixture is a shard in memory with a cache, and what builds segments for it.
type fixture struct {
	store   remotestore.Store
	shard   *Shard
	cache   *Cache
	mapping *Mapping
	dir     string
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{store: remotestore.NewMemory(), dir: t.TempDir()}
	var err error
	f.shard, err = Open(f.store, "books/0")
	require.NoError(t, err)
	m, err := f.shard.Create(t.Context(), Settings{AppliedFor: time.Hour})
	require.NoError(t, err)
	f.mapping, err = ParseMapping(m.Mapping)
	require.NoError(t, err)
	f.cache = openCache(t, filepath.Join(f.dir, "cache"), 1<<30)
	return f
}

func openCache(t testing.TB, dir string, maxBytes int64) *Cache {
	t.Helper()
	c, err := OpenCache(dir, maxBytes)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// build makes and uploads a segment.
func (f *fixture) build(t testing.TB, docs ...Document) Segment {
	t.Helper()
	path := filepath.Join(f.dir, fmt.Sprint("new-", rand.Uint64()))
	seg, err := BuildSegment(t.Context(), path, f.mapping, docs)
	require.NoError(t, err)
	return f.upload(t, seg, path)
}

func (f *fixture) upload(t testing.TB, seg Segment, path string) Segment {
	t.Helper()
	blob, err := NameBlob(path)
	require.NoError(t, err)
	require.NoError(t, f.shard.Upload(t.Context(), blob, path))
	seg.Blob = blob.Name
	require.Equal(t, seg.Bytes, blob.Bytes)
	return seg
}

// write does what a data node does: it adds docs and deletes what was there under their IDs and under gone.
func (f *fixture) write(t testing.TB, docs []Document, gone ...string) Manifest {
	t.Helper()
	var out []Segment
	if len(docs) > 0 {
		out = append(out, f.build(t, docs...))
	}
	for _, d := range docs {
		gone = append(gone, d.ID)
	}
	m, err := f.shard.Commit(t.Context(), func(cur Manifest) (Manifest, error) {
		return Commit(cur, Change{Writer: Writer{Node: "data"}, Outputs: out, Deleted: f.find(t, cur, gone)})
	})
	require.NoError(t, err)
	return m
}

func (f *fixture) find(t testing.TB, m Manifest, ids []string) map[uint64]DocSet {
	t.Helper()
	found := make(map[uint64]DocSet)
	for _, seg := range m.Segments {
		f.read(t, seg, func(r *Reader) {
			docs, err := r.Find(ids)
			require.NoError(t, err)
			if !docs.IsZero() {
				found[seg.ID] = docs
			}
		})
	}
	return found
}

func (f *fixture) read(t testing.TB, seg Segment, with func(*Reader)) {
	t.Helper()
	file, err := f.cache.Get(t.Context(), f.shard, seg)
	require.NoError(t, err)
	defer file.Close()
	r, err := OpenSegment(file.Path, seg)
	require.NoError(t, err)
	with(r)
	require.NoError(t, r.Close())
}

// merge merges inputs as they are in m, and uploads the output.
func (f *fixture) merge(t testing.TB, inputs []Segment) []Segment {
	t.Helper()
	files, err := f.cache.GetAll(t.Context(), f.shard, inputs)
	require.NoError(t, err)
	defer closeFiles(files)
	var in []MergeInput
	for i, seg := range inputs {
		in = append(in, MergeInput{files[i].Path, seg})
	}
	path := filepath.Join(f.dir, fmt.Sprint("merged-", rand.Uint64()))
	out, err := MergeSegments(t.Context(), in, path, nil)
	require.NoError(t, err)
	if out.Docs == 0 {
		require.NoFileExists(t, path)
		return nil
	}
	return []Segment{f.upload(t, out, path)}
}

// search returns the IDs of the hits, all of them.
func (f *fixture) search(t testing.TB, m Manifest, text string) []string {
	t.Helper()
	x, err := f.cache.OpenIndex(t.Context(), f.shard, m)
	require.NoError(t, err)
	defer func() { require.NoError(t, x.Close()) }()
	var q query.Query = bleve.NewMatchAllQuery()
	if text != "*" {
		q = bleve.NewQueryStringQuery(text)
	}
	request := bleve.NewSearchRequestOptions(q, 10_000, 0, false)
	request.SortBy([]string{"_id"})
	result, err := x.Search(request)
	require.NoError(t, err)
	ids := []string{}
	for _, hit := range result.Hits {
		ids = append(ids, hit.ID)
	}
	return ids
}

// contents returns every document that can be found, by ID.
func (f *fixture) contents(t testing.TB, m Manifest) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, seg := range m.Segments {
		f.read(t, seg, func(r *Reader) {
			for doc := range uint32(seg.Docs) {
				if seg.Deleted.Contains(doc) {
					continue
				}
				d, err := r.Document(doc)
				require.NoError(t, err)
				require.NotContains(t, all, d.ID)
				all[d.ID] = string(d.Source)
			}
		})
	}
	return all
}

// docs makes documents "<prefix><i>" for from ≤ i < to.
func docs(prefix string, from, to int) []Document {
	words := strings.Fields("alpha beta gamma delta epsilon zeta eta theta iota kappa")
	var out []Document
	for i := from; i < to; i++ {
		source, _ := json.Marshal(map[string]any{
			"title": words[i%10] + " " + words[i*7%10], "n": i, "at": "2026-01-02T03:04:05Z", "prefix": prefix,
		})
		out = append(out, Document{fmt.Sprintf("%s%d", prefix, i), source})
	}
	return out
}
