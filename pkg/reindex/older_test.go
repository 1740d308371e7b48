package reindex_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/document"
	"github.com/blevesearch/bleve/v2/index/scorch"
	index "github.com/blevesearch/bleve_index_api"
	zapv16 "github.com/blevesearch/zapx/v16"
	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/reindex"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// buildV16 is a segment as an earlier version of bleve has written it.
func (w *writer) buildV16(docs map[string]string) shard.Segment {
	w.t.Helper()
	analyzer, err := scorch.NewScorch(scorch.Name, nil, nil)
	require.NoError(w.t, err)
	m := bleve.NewIndexMapping()
	require.NoError(w.t, json.Unmarshal(shard.DefaultMapping(), m))
	var analyzed []index.Document
	for id, source := range docs {
		doc := document.NewDocument(id)
		var fields map[string]any
		require.NoError(w.t, json.Unmarshal([]byte(source), &fields))
		require.NoError(w.t, m.MapDocument(doc, fields))
		doc.AddIDField()
		doc.AddField(document.NewTextFieldWithIndexingOptions(shard.SourceField, nil, []byte(source), index.StoreField))
		analyzer.(*scorch.Scorch).Analyze(doc)
		analyzed = append(analyzed, doc)
	}
	var plugin zapv16.ZapPlugin
	seg, _, err := plugin.New(analyzed)
	require.NoError(w.t, err)
	path := filepath.Join(w.dir, "v16")
	require.NoError(w.t, zapv16.PersistSegmentBase(seg.(*zapv16.SegmentBase), path))
	info, err := os.Stat(path)
	require.NoError(w.t, err)
	n := uint64(len(docs))
	return w.upload(shard.Segment{Bytes: info.Size(), Type: "zap", Version: zapv16.Version, Docs: n, Live: n}, path)
}

// TestAnOlderFormatIsLeftBehind upgrades a shard that this build can neither search nor merge.
func TestAnOlderFormatIsLeftBehind(t *testing.T) {
	w := newWorld(t, 3)
	old := map[string]string{}
	for i := range 20 {
		old[fmt.Sprint("old-", i)] = fmt.Sprintf(`{"title":"word%d","n":%d}`, i%7, i)
	}
	out := w.source.buildV16(old)
	_, err := w.source.shard.Commit(t.Context(), func(cur shard.Manifest) (shard.Manifest, error) {
		return shard.Commit(cur, shard.Change{Outputs: []shard.Segment{out}})
	})
	require.NoError(t, err)
	_, err = w.cache.OpenIndex(t.Context(), w.source.shard, w.newest(t))
	require.ErrorIs(t, err, shard.ErrFormat, "it cannot be searched")

	_, err = w.fleet.do(t, "some", reindex.Params{Source: "books", Target: "books-2", Query: "title:word1"})
	require.ErrorContains(t, err, "unsupported format", "nor asked by a query")

	r, err := w.fleet.do(t, "again", reindex.Params{Source: "books", Target: "books", Slices: 2})
	require.NoError(t, err)
	require.EqualValues(t, 23, r.Docs)
	is, m := contents(t, w.store, w.cache, "books")
	maps.Copy(old, w.source.model)
	require.Equal(t, old, is)
	for _, seg := range m.Segments {
		require.Equal(t, shard.SegmentVersion, seg.Version)
	}
	x, err := w.cache.OpenIndex(t.Context(), w.source.shard, m)
	require.NoError(t, err)
	require.NoError(t, x.Close())
	require.Len(t, hits(t, w.cache, w.source.shard, m, "title:word1"), 4)
}
