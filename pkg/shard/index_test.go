package shard

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/index/scorch"
	segment "github.com/blevesearch/scorch_segment_api/v2"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

// TestIndexFilesAreReadAsWritten guards the layout that bleve does not document: what we write is what bleve reads.
func TestIndexFilesAreReadAsWritten(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i := range 5 {
		f.write(t, docs(fmt.Sprint("p", i, "-"), 0, 20))
	}
	m := f.write(t, nil, "p0-1", "p3-0", "p3-19")
	x, err := f.cache.OpenIndex(t.Context(), f.shard, m)
	require.NoError(t, err)
	defer x.Close()

	advanced, err := x.Advanced()
	require.NoError(t, err)
	reader, err := advanced.Reader()
	require.NoError(t, err)
	defer reader.Close()
	snapshot := reader.(*scorch.IndexSnapshot)
	require.Len(t, snapshot.Segments(), 5)
	for i, s := range snapshot.Segments() {
		require.Equal(t, m.Segments[i].ID, s.Id())
		require.EqualValues(t, m.Segments[i].Docs, s.FullSize())
		require.True(t, m.Segments[i].Deleted.Equal(docSetOf(s.Deleted())))
		path := s.Segment().(segment.PersistedSegment).Path()
		require.Equal(t, segmentFile(s.Id()), filepath.Base(path))
	}
	mapping, err := snapshot.GetInternal([]byte("_mapping"))
	require.NoError(t, err)
	require.JSONEq(t, string(m.Mapping), string(mapping))
	count, err := x.DocCount()
	require.NoError(t, err)
	require.EqualValues(t, 97, count)
}

// TestIndexFilesLookLikeBleves compares with what bleve writes for the same documents.
func TestIndexFilesLookLikeBleves(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	m := f.write(t, docs("a", 0, 5))
	x, err := f.cache.OpenIndex(t.Context(), f.shard, m)
	require.NoError(t, err)
	defer x.Close()

	mapping, err := ParseMapping(m.Mapping)
	require.NoError(t, err)
	dir := filepath.Join(f.dir, "theirs")
	theirs, err := bleve.New(dir, mapping.impl)
	require.NoError(t, err)
	for _, d := range docs("a", 0, 5) {
		require.NoError(t, theirs.Index(d.ID, map[string]any{"title": "x"}))
	}
	require.NoError(t, theirs.Close())

	ours, bleves := keysOf(t, filepath.Join(x.dir, "store", "root.bolt")), keysOf(t, filepath.Join(dir, "store", "root.bolt"))
	for key := range ours {
		require.Contains(t, bleves, key)
	}
	for _, name := range []string{"index_meta.json", "store/root.bolt"} {
		require.FileExists(t, filepath.Join(dir, name))
		require.FileExists(t, filepath.Join(x.dir, name))
	}
	want, err := os.ReadFile(filepath.Join(dir, "index_meta.json"))
	require.NoError(t, err)
	got, err := os.ReadFile(filepath.Join(x.dir, "index_meta.json"))
	require.NoError(t, err)
	require.JSONEq(t, strings.TrimRight(string(want), "\x00"), string(got)) // bleve pads it with an empty writer ID
}

// keysOf returns the paths of a bolt file's keys, with numbers replaced by #.
func keysOf(t *testing.T, path string) map[string]bool {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "root.bolt")
	body, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(copied, body, 0o600))
	db, err := bolt.Open(copied, 0o600, nil)
	require.NoError(t, err)
	defer db.Close()
	keys := make(map[string]bool)
	var visit func(path string, b *bolt.Bucket) error
	visit = func(path string, b *bolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			name := string(k)
			if k[0] >= 0x80 {
				name = "#"
			}
			keys[path+"/"+name] = true
			if v == nil {
				return visit(path+"/"+name, b.Bucket(k))
			}
			return nil
		})
	}
	require.NoError(t, db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error { return visit(string(name), b) })
	}))
	return keys
}

func TestOrderedUvarint(t *testing.T) {
	t.Parallel()
	for v, want := range map[uint64]string{
		0: "88", 1: "89", 109: "f5", 110: "f66e", 255: "f6ff", 256: "f70100", 65535: "f7ffff", 65536: "f8010000",
		1<<32 - 1: "f9ffffffff", 1 << 32: "fa0100000000", 1<<64 - 1: "fdffffffffffffffff",
	} {
		require.Equal(t, want, fmt.Sprintf("%x", orderedUvarint(v)), v)
	}
}

func TestSearchGoesOnWhileGenerationsChange(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i := range 6 {
		f.write(t, docs(fmt.Sprint("p", i, "-"), 0, 50))
	}
	many, err := f.shard.Newest(t.Context())
	require.NoError(t, err)
	outputs := f.merge(t, many.Segments)
	one, err := f.shard.Commit(t.Context(), func(cur Manifest) (Manifest, error) {
		return Commit(cur, Change{Inputs: many.Segments, Outputs: outputs})
	})
	require.NoError(t, err)

	current, err := f.cache.OpenIndex(t.Context(), f.shard, many)
	require.NoError(t, err)
	alias := bleve.NewIndexAlias(current)
	var searches atomic.Int64
	stop := make(chan struct{})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				result, err := alias.Search(bleve.NewSearchRequest(bleve.NewMatchAllQuery()))
				if err != nil || result.Total != 300 {
					t.Errorf("total %v, error %v", result, err)
					return
				}
				searches.Add(1)
			}
		})
	}
	for i := range 20 {
		next, err := f.cache.OpenIndex(t.Context(), f.shard, []Manifest{one, many}[i%2])
		require.NoError(t, err)
		before := searches.Load()
		alias.Swap([]bleve.Index{next}, []bleve.Index{current})
		require.NoError(t, current.Close())
		require.NoError(t, current.Close())
		require.NoDirExists(t, current.dir)
		current = next
		require.Eventually(t, func() bool { return t.Failed() || searches.Load() > before }, waitFor, tick)
	}
	close(stop)
	group.Wait()
	require.NoError(t, current.Close())
}

func TestThousandSegmentsOpen(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds a thousand segments")
	}
	f := newFixture(t)
	var segs []Segment
	for i := range 1000 {
		segs = append(segs, f.build(t, docs(fmt.Sprint("p", i, "-"), 0, 3)...))
	}
	m, err := f.shard.Commit(t.Context(), func(cur Manifest) (Manifest, error) { return Commit(cur, Change{Outputs: segs}) })
	require.NoError(t, err)
	x, err := f.cache.OpenIndex(t.Context(), f.shard, m)
	require.NoError(t, err)
	count, err := x.DocCount()
	require.NoError(t, err)
	require.EqualValues(t, 3000, count)
	require.NoError(t, x.Close())
}

func TestSegmentsOfOtherFormatsAreRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	seg := f.build(t, docs("a", 0, 3)...)
	for name, c := range map[string]struct {
		kind    string
		version uint32
		says    string
	}{
		"newer":   {SegmentType, SegmentVersion + 1, "upgrade this one"},
		"older":   {SegmentType, SegmentVersion - 1, "indexed anew"},
		"foreign": {"lucene", SegmentVersion, "indexed anew"},
	} {
		t.Run(name, func(t *testing.T) {
			other := seg
			other.Type, other.Version = c.kind, c.version
			_, err := OpenSegment("unused", other)
			require.ErrorIs(t, err, ErrFormat)
			require.ErrorContains(t, err, c.says)
			_, err = f.cache.OpenIndex(t.Context(), f.shard, Manifest{Segments: []Segment{other}})
			require.ErrorIs(t, err, ErrFormat)
			_, err = MergeSegments(t.Context(), []MergeInput{{"unused", other}}, filepath.Join(f.dir, "out"), nil)
			require.ErrorIs(t, err, ErrFormat)
		})
	}
	file, err := f.cache.Get(t.Context(), f.shard, seg)
	require.NoError(t, err)
	defer file.Close()
	seg.Docs++
	_, err = OpenSegment(file.Path, seg)
	require.ErrorIs(t, err, ErrCorrupt)
	garbage := filepath.Join(f.dir, "garbage")
	require.NoError(t, os.WriteFile(garbage, make([]byte, 1000), 0o600))
	_, err = OpenSegment(garbage, seg)
	require.Error(t, err)
}
