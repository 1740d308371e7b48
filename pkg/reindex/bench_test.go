package reindex_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/document"
	"github.com/blevesearch/bleve/v2/index/scorch"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/offline-nodes/offline-nodes/pkg/reindex"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// prose is documents of about 1 KB.
func prose(n int) []shard.Document {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same at every run
	docs := make([]shard.Document, n)
	for i := range docs {
		var words strings.Builder
		for range 140 {
			fmt.Fprintf(&words, "w%d ", int(random.ExpFloat64()*3000))
		}
		source, _ := json.Marshal(map[string]any{"title": fmt.Sprint("title ", i), "body": words.String(), "year": 1800 + i%200})
		docs[i] = shard.Document{ID: fmt.Sprint("doc-", i), Source: source}
	}
	return docs
}

// plain indexes documents as bleve's own builder does, with the source stored.
func plain(b *testing.B, docs []shard.Document, mapping json.RawMessage) time.Duration {
	b.Helper()
	m := bleve.NewIndexMapping()
	require.NoError(b, json.Unmarshal(mapping, m))
	began := time.Now()
	builder, err := scorch.NewBuilder(map[string]any{"path": filepath.Join(b.TempDir(), "plain"), "internal": map[string][]byte{}})
	require.NoError(b, err)
	for _, d := range docs {
		var fields map[string]any
		require.NoError(b, json.Unmarshal(d.Source, &fields))
		doc := document.NewDocument(d.ID)
		require.NoError(b, m.MapDocument(doc, fields))
		doc.AddField(document.NewTextFieldWithIndexingOptions(shard.SourceField, nil, d.Source, 2))
		require.NoError(b, builder.Index(doc))
	}
	require.NoError(b, builder.Close())
	return time.Since(began)
}

// copies runs a whole reindex, its slices at the same time, on a store in the local file system.
func copies(b *testing.B, store remotestore.Store, id string, slices int) time.Duration {
	b.Helper()
	f := newFleet(b, store)
	f.cfg.BatchBytes = 0
	p := reindex.Params{Source: "books", Target: id, Mapping: keywords(b), Slices: slices}
	s, err := task.NewSubmission(reindex.Type, p, task.ID(id))
	require.NoError(b, err)
	require.NoError(b, f.Submit(b.Context(), []task.Submission{s}))
	began := time.Now()
	require.ErrorIs(b, f.run(b, f.tasks[id]), task.ErrWaiting)
	mux := task.NewMux()
	require.NoError(b, reindex.Register(mux, f.cfg))
	var group errgroup.Group
	for i := range slices {
		c := f.tasks[id+"/"+reindex.ChildName(i, 0)]
		group.Go(func() error {
			x := task.NewExecution(c.submission.Envelope, c.submission.Params, 1, nil, nil)
			err := mux.Lookup(reindex.SliceType).Worker.Work(context.Background(), x)
			c.state.Status, c.state.Result = task.Success, x.Report().Result
			return err
		})
	}
	require.NoError(b, group.Wait())
	require.NoError(b, f.run(b, f.tasks[id]))
	return time.Since(began)
}

// BenchmarkReindex compares a reindex with bleve's builder on the same documents, and two slices with one.
func BenchmarkReindex(b *testing.B) {
	const n = 30_000
	docs := prose(n)
	store, err := remotestore.Open(b.Context(), remotestore.Config{URL: "file://" + b.TempDir()})
	require.NoError(b, err)
	cache, err := shard.OpenCache(filepath.Join(b.TempDir(), "cache"), 1<<30)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, cache.Close()) })
	w := newWriter(b, store, cache, b.TempDir(), "books", nil)
	for start := 0; start < n; start += 3000 {
		all := map[string]string{}
		for _, d := range docs[start : start+3000] {
			all[d.ID] = string(d.Source)
		}
		w.write(all)
	}
	rounds := 0
	for b.Loop() {
		rounds++
		builder := plain(b, docs, keywords(b))
		one := copies(b, store, fmt.Sprintf("one-%d", rounds), 1)
		two := copies(b, store, fmt.Sprintf("two-%d", rounds), 2)
		b.ReportMetric(n/builder.Seconds(), "builder_docs/s")
		b.ReportMetric(n/one.Seconds(), "one_slice_docs/s")
		b.ReportMetric(n/two.Seconds(), "two_slices_docs/s")
		b.ReportMetric(builder.Seconds()/one.Seconds(), "one/builder")
		b.ReportMetric(one.Seconds()/two.Seconds(), "two/one")
	}
}
