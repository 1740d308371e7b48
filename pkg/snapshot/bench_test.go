package snapshot

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

// BenchmarkFullCopy compares a full snapshot with moving the same blobs from store to store and doing nothing else, as many
// at a time, in pairs; medians count. The second snapshot, after one more segment, says how much of it moves.
func BenchmarkFullCopy(b *testing.B) {
	b.Run("S3", func(b *testing.B) {
		bucket := testkit.S3(b)
		benchFullCopy(b, openFolder(b, bucket, "shards"), openFolder(b, bucket, "repository"))
	})
	b.Run("Filesystem", func(b *testing.B) {
		open := func() remotestore.Store {
			s, err := remotestore.NewFilesystem(b.TempDir())
			require.NoError(b, err)
			return s
		}
		benchFullCopy(b, open(), open())
	})
}

func benchFullCopy(b *testing.B, store, repository remotestore.Store) {
	b.Helper()
	const segments, pairs = 8, 5
	w := newWorld(b, store, repository)
	w.create(b, "books")
	for range segments {
		w.bulky(b, "books", 8<<20)
	}
	m := w.newest(b, "books")
	megabytes := float64(m.Bytes()) / 1e6
	for b.Loop() {
		var ours, plain []float64
		for i := range pairs {
			plain = append(plain, w.plainCopy(b, m, fmt.Sprint("plain-", i)).Seconds())
			began := time.Now()
			name := fmt.Sprint("full-", i)
			r := w.succeeds(b, Type, Params{Snapshot: name, Shards: []string{"books"}, Repository: true})
			ours = append(ours, time.Since(began).Seconds())
			require.Equal(b, m.Bytes(), r.Copied)
			if i < pairs-1 { // the next one is to copy everything again
				_, err := DeleteCopy(b.Context(), repository, store, name)
				require.NoError(b, err)
			}
		}
		slices.Sort(ours)
		slices.Sort(plain)
		b.Logf("%.0f MB in %d segments; seconds, sorted: snapshot %.2f, plain %.2f", megabytes, segments, ours, plain)
		b.ReportMetric(megabytes/ours[pairs/2], "MB/s")
		b.ReportMetric(megabytes/plain[pairs/2], "plain-MB/s")
		b.ReportMetric(plain[pairs/2]/ours[pairs/2], "ratio")

		added := w.bulky(b, "books", 1<<20)
		r := w.succeeds(b, Type, Params{Snapshot: "second", Shards: []string{"books"}, Repository: true})
		b.ReportMetric(float64(r.Copied)/float64(added.Bytes), "second-copied/new")
	}
}

// bulky adds a segment of about so many bytes that do not compress.
func (w *world) bulky(b *testing.B, name string, bytes int) shard.Segment {
	b.Helper()
	noise := rand.NewChaCha8([32]byte{byte(w.files.Add(1))})
	body := make([]byte, 3<<10)
	mapping, err := shard.ParseMapping(json.RawMessage(`{"default_mapping":{"dynamic":false}}`))
	require.NoError(b, err)
	var docs []shard.Document
	for i := range bytes / len(body) / 4 * 3 { // base64
		_, _ = noise.Read(body)
		source, _ := json.Marshal(map[string]any{"noise": body})
		docs = append(docs, shard.Document{ID: fmt.Sprint("doc-", w.files.Load(), "-", i), Source: source})
	}
	path := filepath.Join(w.dir, fmt.Sprint("segment-", w.files.Add(1)))
	defer os.Remove(path)
	seg, err := shard.BuildSegment(b.Context(), path, mapping, docs)
	require.NoError(b, err)
	blob, err := shard.NameBlob(path)
	require.NoError(b, err)
	s := w.open(b, name)
	require.NoError(b, s.Upload(b.Context(), blob, path))
	seg.Blob = blob.Name
	_, err = s.Commit(b.Context(), func(cur shard.Manifest) (shard.Manifest, error) {
		return shard.Commit(cur, shard.Change{Outputs: []shard.Segment{seg}})
	})
	require.NoError(b, err)
	return seg
}

// plainCopy moves the blobs of a manifest, by way of a file each, and removes the copies.
func (w *world) plainCopy(b *testing.B, m shard.Manifest, folder string) time.Duration {
	b.Helper()
	var group errgroup.Group
	group.SetLimit(parallelCopies)
	dir := b.TempDir()
	key := func(s shard.Segment) string { return folder + "/" + string(s.Blob) }
	began := time.Now()
	for _, s := range m.Segments {
		group.Go(func() error {
			path := filepath.Join(dir, string(s.Blob))
			if err := w.store.GetFile(b.Context(), "books/blob/"+string(s.Blob), path); err != nil {
				return err
			}
			return w.repository.PutFile(b.Context(), key(s), path)
		})
	}
	require.NoError(b, group.Wait())
	took := time.Since(began)
	for _, s := range m.Segments {
		require.NoError(b, w.repository.Delete(b.Context(), key(s)))
	}
	return took
}

// BenchmarkShallow takes snapshots in the store itself of a small shard and of one a hundred times its size.
func BenchmarkShallow(b *testing.B) {
	for _, size := range []int{100 << 10, 10 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			w := newWorld(b, openFolder(b, testkit.S3(b), "shards"), nil)
			w.create(b, "books")
			w.bulky(b, "books", size)
			n := 0
			for b.Loop() {
				w.succeeds(b, Type, Params{Snapshot: fmt.Sprint("shallow-", n), Shards: []string{"books"}})
				n++
			}
		})
	}
}
