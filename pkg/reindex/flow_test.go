package reindex_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/nodetest"
	"github.com/offline-nodes/offline-nodes/pkg/reindex"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

// dataNode serves shards until the test ends.
func dataNode(t *testing.T, store remotestore.Store) *datanode.Node {
	t.Helper()
	n, err := datanode.Open(datanode.Config{
		Name: "data-1", Store: store, Dir: t.TempDir(), Refresh: time.Millisecond, Poll: 20 * time.Millisecond,
		Offline: datanode.Offline{Merge: datanode.Off},
	})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
		require.NoError(t, n.Close())
	})
	return n
}

// book is a document whose title is found as a whole by the new mapping alone.
func book(i, version int) datanode.Op {
	return datanode.Op{Kind: datanode.Index, ID: fmt.Sprint("book-", i), Source: fmt.Appendf(nil, `{"title":"Moby %d","version":%d}`, i, version)}
}

// writeOn writes to a shard as fast as it can, one bulk after the other, until stop, which returns how many versions there
// are.
func writeOn(t *testing.T, sh *datanode.Shard) (stop func() int) {
	t.Helper()
	var stopped atomic.Bool
	versions := make(chan int)
	go func() {
		version := 1
		for ; !stopped.Load(); version++ {
			gone := datanode.Op{Kind: datanode.Delete, ID: fmt.Sprint("book-", 100+version%50)}
			if _, err := sh.Bulk(t.Context(), []datanode.Op{book(version%100, version), gone}); err != nil {
				t.Error(err)
				break
			}
		}
		versions <- version
	}()
	return func() int {
		stopped.Store(true)
		return <-versions
	}
}

func fleetOf(t *testing.T, store remotestore.Store, rate func() float64) *nodetest.Fleet {
	t.Helper()
	mux := task.NewMux()
	require.NoError(t, reindex.Register(mux, reindex.Config{
		Store: store, Scratch: filepath.Join(t.TempDir(), "scratch"), Node: "node-1", BatchBytes: 4000, Rate: rate,
	}, task.Slots(2)))
	return nodetest.Start(t, mux)
}

func resultOf(t *testing.T, state *claims.State) (r reindex.Result) {
	t.Helper()
	require.Equal(t, task.Success, state.Status, state.Error)
	require.NoError(t, json.Unmarshal(state.Result, &r))
	return r
}

// TestInPlaceUnderWrites is the whole flow: a data node that is written to all the time gets a new mapping, and loses
// nothing.
func TestInPlaceUnderWrites(t *testing.T) {
	store := remotestore.NewMemory()
	n := dataNode(t, store)
	sh, _, err := n.Create(t.Context(), "books", datanode.Settings{})
	require.NoError(t, err)
	for i := range 5 {
		var ops []datanode.Op
		for k := range 40 {
			ops = append(ops, book(i*40+k, 0))
		}
		_, err := sh.Bulk(t.Context(), ops)
		require.NoError(t, err)
	}
	fleet := fleetOf(t, store, nil)
	stop := writeOn(t, sh)
	mapping := keywords(t)
	r := resultOf(t, fleet.Do(reindex.Type, reindex.Params{Source: "books", Target: "books", Mapping: mapping, Slices: 2}))
	last := stop()
	require.GreaterOrEqual(t, r.Read, uint64(150))
	require.Equal(t, "books", r.Target)
	require.Equal(t, r.SourceGeneration+1, r.Generation)

	require.Eventually(t, func() bool { return sh.Stats().Generation >= r.Generation }, 10*time.Second, time.Millisecond)
	is, err := sh.Mapping()
	require.NoError(t, err)
	require.JSONEq(t, string(mapping), string(is))
	_, err = sh.Refresh(t.Context())
	require.NoError(t, err)
	for i := range 200 {
		found, err := sh.Search(t.Context(), datanode.Query{Text: fmt.Sprintf(`title:"Moby %d"`, i), Size: 10})
		require.NoError(t, err)
		version := newestVersion(i, last)
		if version < 0 {
			require.Empty(t, found.Hits, i)
			continue
		}
		require.Len(t, found.Hits, 1, i)
		require.JSONEq(t, fmt.Sprintf(`{"title":"Moby %d","version":%d}`, i, version), string(found.Hits[0].Source))
	}
	found, err := sh.Search(t.Context(), datanode.Query{Text: "title:moby"})
	require.NoError(t, err)
	require.Zero(t, found.Total, "every title is a keyword now, also those written meanwhile")
}

// newestVersion is what writeOn has left of a book; -1: nothing.
func newestVersion(i, versions int) int {
	newest := 0
	for v := 1; v < versions; v++ {
		switch {
		case v%100 == i:
			newest = v
		case i >= 100 && i-100 == v%50:
			newest = -1
		}
	}
	return newest
}

// TestARateMayChangeWhileItRuns begins at a crawl, and is let go.
func TestARateMayChangeWhileItRuns(t *testing.T) {
	store := remotestore.NewMemory()
	n := dataNode(t, store)
	sh, _, err := n.Create(t.Context(), "books", datanode.Settings{})
	require.NoError(t, err)
	var ops []datanode.Op
	for i := range 300 {
		ops = append(ops, book(i, 0))
	}
	_, err = sh.Bulk(t.Context(), ops)
	require.NoError(t, err)
	var rate atomic.Int64
	rate.Store(1)
	fleet := fleetOf(t, store, func() float64 { return float64(rate.Load()) })
	id, err := fleet.Client.Submit(t.Context(), reindex.Type, reindex.Params{Source: "books", Target: "books-2"})
	require.NoError(t, err)
	var slow *claims.State
	require.Eventually(t, func() bool {
		slow, _ = fleet.Client.State(t.Context(), id+"/"+reindex.ChildName(0, 0))
		return slow != nil && slow.Status == task.Active && slow.Fraction > 0
	}, 20*time.Second, 10*time.Millisecond)
	require.Less(t, slow.Fraction, 0.1)
	rate.Store(0)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	state, err := fleet.Client.Wait(ctx, id, nil)
	require.NoError(t, err)
	require.EqualValues(t, 300, resultOf(t, state).Docs)
}

// TestOnARealStore copies with a query and a transform.
func TestOnARealStore(t *testing.T) {
	bucket := testkit.S3(t)
	query := url.Values{"endpoint": {bucket.Endpoint}, "region": {bucket.Region}}
	store, err := remotestore.Open(t.Context(), remotestore.Config{
		URL: "s3://" + bucket.Name + "/shards?" + query.Encode(), AccessKey: bucket.AccessKey, SecretKey: remotestore.Secret(bucket.SecretKey),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.(io.Closer).Close()) })
	n := dataNode(t, store)
	sh, _, err := n.Create(t.Context(), "books", datanode.Settings{})
	require.NoError(t, err)
	var ops []datanode.Op
	for i := range 100 {
		ops = append(ops, book(i, i%4))
	}
	_, err = sh.Bulk(t.Context(), ops)
	require.NoError(t, err)
	fleet := fleetOf(t, store, nil)
	r := resultOf(t, fleet.Do(reindex.Type, reindex.Params{
		Source: "books", Target: "versions/2", Mapping: keywords(t), Query: "version:>1", Slices: 3,
		Transform: reindex.Transform{{Op: "set", Field: "of", Value: []byte(`{"store":"s3"}`)}, {Op: "remove", Field: "version"}},
	}))
	require.EqualValues(t, 50, r.Docs)
	require.EqualValues(t, 50, r.LeftOut)
	copied, _, err := n.Create(t.Context(), "versions/2", datanode.Settings{})
	require.NoError(t, err)
	found, err := copied.Search(t.Context(), datanode.Query{Text: `title:"Moby 3"`, Size: 10})
	require.NoError(t, err)
	require.Len(t, found.Hits, 1)
	require.JSONEq(t, `{"title":"Moby 3","of":{"store":"s3"}}`, string(found.Hits[0].Source))
}
