package faults

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/test/fleet"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

const storeServers = "1 versitygw behind a proxy"

// faultyBucket is a bucket whose line breaks in a way, until healed says that it is whole again.
func faultyBucket(t *testing.T, fault func(http.ResponseWriter, *http.Request, http.Handler)) (faulty, direct testkit.Bucket, healed *atomic.Bool) {
	t.Helper()
	healed = new(atomic.Bool)
	direct = testkit.S3(t)
	faulty = direct.Through(t, func(w http.ResponseWriter, r *http.Request, server http.Handler) {
		if healed.Load() {
			server.ServeHTTP(w, r)
			return
		}
		fault(w, r, server)
	})
	return faulty, direct, healed
}

func conditional(r *http.Request) bool {
	return r.Method == http.MethodPut && r.Header.Get("If-None-Match") != ""
}

// settled waits until a shard's merges have ended.
func (s *shelf) settled(within time.Duration) {
	s.r.t.Helper()
	require.Eventually(s.r.t, func() bool {
		for _, m := range s.node().Merges(s.shard) {
			if m.Status == "running" || m.Status == "waiting" {
				return false
			}
		}
		return true
	}, within, 100*time.Millisecond, "merges do not end: %+v", s.node().Merges(s.shard))
}

func TestRow29AnswersToManifestWritesAreLost(t *testing.T) {
	r := begin(t, 29)
	r.on(oneBroker, oneRedis, storeServers)
	var lost, applied atomic.Int32
	bucket, _, healed := faultyBucket(t, func(w http.ResponseWriter, q *http.Request, server http.Handler) {
		if !conditional(q) || rand.IntN(3) > 0 {
			server.ServeHTTP(w, q)
			return
		}
		answer := httptest.NewRecorder()
		server.ServeHTTP(answer, q)
		lost.Add(1)
		if answer.Code == http.StatusOK {
			applied.Add(1)
		}
		panic(http.ErrAbortHandler)
	})
	f := r.fleet(fleet.Servers{Store: &bucket})
	start(f, []string{"n1", "n2"}, "node.types=merge")
	d := f.DataNode("d1")
	s := r.shelve(d, "books", 10*time.Millisecond)
	r.strike("of the writes of manifests, by the data node and two nodes that merge, a third has no answer")
	require.Eventually(t, func() bool {
		_, offline := s.merges()
		return offline >= 6 && applied.Load() >= 20
	}, 2*time.Minute, 100*time.Millisecond)
	s.stop()
	s.settled(time.Minute)
	committed, offline := s.merges()
	healed.Store(true)
	docs, queries := s.compare()
	r.checked("%d answers lost, %d of them to writes that were applied; %d merges committed, %d of them offline", lost.Load(), applied.Load(), committed, offline)
	r.checked("all %d documents are there once, no deleted one is back; %d queries answer as on a plain index", docs, queries)
}

func TestRow29AStoreThatIgnoresConditionsIsRefused(t *testing.T) {
	r := begin(t, 29)
	r.on(oneBroker, oneRedis, storeServers)
	// What the server refuses, because it is there, this line says was done.
	bucket, _, _ := faultyBucket(t, func(w http.ResponseWriter, q *http.Request, server http.Handler) {
		if !conditional(q) {
			server.ServeHTTP(w, q)
			return
		}
		answer := httptest.NewRecorder()
		server.ServeHTTP(answer, q)
		w.Header().Set("ETag", `"0"`)
		w.WriteHeader(http.StatusOK)
	})
	f := r.fleet(fleet.Servers{Store: &bucket})
	r.strike("the store answers 200 to a conditional write of what exists")
	for _, program := range []*fleet.Process{f.Node("n1"), fleet.Start(t, "data-node", fleet.Environ(f.Settings()), "--data_node.dir", t.TempDir(), "--listen", "127.0.0.1:0")} {
		require.Equal(t, 1, program.Wait(30*time.Second), program.Tail())
		require.Contains(t, program.Output(), "If-None-Match")
	}
	r.checked("offline-node and data-node end with 1 at start and say what the store does not honour")
}

// heavy is a bulk of large documents, whose segments travel in parts.
func heavy(round int) string {
	var lines bytes.Buffer
	for i := range 20 {
		words := make([]byte, 100<<10)
		for at := range words {
			words[at] = byte(rand.Uint32())
		}
		text := []byte(hex.EncodeToString(words))
		for at := 16; at < len(text); at += 17 {
			text[at] = ' '
		}
		fmt.Fprintf(&lines, "{\"index\":{\"_id\":\"%d-%d\"}}\n{\"body\":%q}\n", round, i, text)
	}
	return lines.String()
}

func TestRow30UploadsAreCutWhileTheSweeperRuns(t *testing.T) {
	r := begin(t, 30)
	r.on(oneBroker, oneRedis, storeServers)
	var cutting atomic.Bool
	var cut, parts atomic.Int32
	var doomed atomic.Value // the first upload in parts: all of it is cut, so that it fails for good
	bucket, direct, healed := faultyBucket(t, func(w http.ResponseWriter, q *http.Request, server http.Handler) {
		if q.URL.Query().Has("partNumber") {
			parts.Add(1)
			if cutting.Load() {
				doomed.CompareAndSwap(nil, q.URL.Query().Get("uploadId"))
			}
		}
		switch {
		case cutting.Load() && q.Method == http.MethodDelete && q.URL.Query().Has("uploadId"):
			panic(http.ErrAbortHandler) // as if the uploader had died: its parts stay
		case !cutting.Load(), q.Method != http.MethodPut, conditional(q), rand.IntN(3) > 0 && q.URL.Query().Get("uploadId") != doomed.Load():
			server.ServeHTTP(w, q)
		default:
			cut.Add(1)
			_, _ = io.CopyN(io.Discard, q.Body, q.ContentLength/2)
			panic(http.ErrAbortHandler)
		}
	})
	query := url.Values{"endpoint": {direct.Endpoint}, "region": {direct.Region}}
	store, err := remotestore.Open(t.Context(), remotestore.Config{
		URL: "s3://" + direct.Name + "/shards?" + query.Encode(), AccessKey: direct.AccessKey, SecretKey: remotestore.Secret(direct.SecretKey),
	})
	require.NoError(t, err)
	sweeper := store.(remotestore.Sweeper)

	f := r.fleet(fleet.Servers{Store: &bucket})
	settings := []string{"node.types=merge,remote-gc", "types.merge.retry.initial=1s", "types.merge.retry.max=2s", "types.merge.retry.max_attempts=50"}
	start(f, []string{"n1", "n2"}, settings...)
	d := f.DataNode("d1")
	s := r.shelve(d, "books", 20*time.Millisecond)
	d.Call(http.MethodPut, "/shards/heavy", `{}`, nil)
	for round := range 3 {
		d.Call(http.MethodPost, "/shards/heavy/_bulk?refresh=true", heavy(round), nil)
	}

	cutting.Store(true)
	r.strike("a third of all uploads, whole ones and parts, is cut in the middle, and aborts never arrive")
	d.Call(http.MethodPost, "/shards/heavy/_merge?max_segments=1", "", nil)
	swept, looks := 0, 0
	require.Eventually(t, func() bool {
		removed, err := sweeper.Sweep(t.Context(), 20*time.Second)
		require.NoError(t, err)
		swept += removed
		if looks++; looks%10 == 0 {
			d.Call(http.MethodPost, "/gc", "", nil)
		}
		var stats struct{ Segments int }
		d.Call(http.MethodGet, "/shards/heavy/_stats", "", &stats)
		_, offline := s.merges()
		return stats.Segments == 1 && offline >= 3 && cut.Load() >= 10
	}, 5*time.Minute, 500*time.Millisecond, "merges do not end")
	s.stop()
	cutting.Store(false)
	healed.Store(true)
	s.settled(time.Minute)

	left := 0
	for _, err := range sweeper.Unfinished(t.Context()) {
		require.NoError(t, err)
		left++
	}
	removed, err := sweeper.Sweep(t.Context(), -time.Minute)
	require.NoError(t, err)
	require.Equal(t, left, removed)
	for _, err := range sweeper.Unfinished(t.Context()) {
		require.NoError(t, err)
		t.Error("an upload stays behind the sweeper")
	}
	r.checked("%d uploads cut, %d parts sent; the sweeper removed %d left-over uploads beside the merges and %d after them", cut.Load(), parts.Load(), swept, removed)
	require.Positive(t, swept+removed, "nothing was left to sweep")

	d.Kill()
	d = f.DataNode("d2", "data_node.shards=books,heavy") // its disk is empty: it has only what the store has
	s.moved(d)
	_, total := d.Hits("heavy", `{"size":1}`)
	require.EqualValues(t, 60, total)
	docs, queries := s.compare()
	r.checked("a data node with an empty disk finds all %d documents; %d queries answer as on a plain index", docs+60, queries)
}
