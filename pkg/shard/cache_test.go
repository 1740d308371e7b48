package shard

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
)

func TestCacheDownloadsOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	seg := f.build(t, docs("a", 0, 50)...)
	var meter remotestore.Meter
	ctx := remotestore.WithMeter(t.Context(), &meter)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			file, err := f.cache.Get(ctx, f.shard, seg)
			if err != nil {
				t.Error(err)
				return
			}
			if err := verifyFile(file.Path, seg); err != nil {
				t.Error(err)
			}
			file.Close()
			file.Close()
		})
	}
	group.Wait()
	require.Equal(t, seg.Bytes, meter.Read())
	require.Equal(t, seg.Bytes, f.cache.Bytes())

	require.NoError(t, f.cache.Remove(seg.Blob))
	require.NoError(t, f.cache.Remove(seg.Blob))
	require.Zero(t, f.cache.Bytes())
	_, err := os.Stat(f.cache.path(seg.Blob))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestCacheKeepsWhatIsHeldAndForgetsTheOldest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var segs []Segment
	for range 4 {
		segs = append(segs, f.build(t, docs("a", 0, 50)...))
	}
	c := openCache(t, filepath.Join(f.dir, "small"), 2*segs[0].Bytes)
	get := func(i int) *File {
		file, err := c.Get(t.Context(), f.shard, segs[i])
		require.NoError(t, err)
		return file
	}
	there := func(i int) bool {
		_, err := os.Stat(c.path(segs[i].Blob))
		return err == nil
	}
	held := get(0)
	get(1).Close()
	get(2).Close()
	require.False(t, there(1), "it was used longest ago")
	require.True(t, there(2))
	require.NoError(t, c.Remove(segs[0].Blob))
	require.True(t, there(0), "it is held")

	all, err := c.GetAll(t.Context(), f.shard, segs)
	require.NoError(t, err)
	require.Equal(t, 4*segs[0].Bytes, c.Bytes(), "what is held may exceed the bound")
	closeFiles(all)
	held.Close()
	require.Equal(t, 2*segs[0].Bytes, c.Bytes())
	require.True(t, there(0), "it was used last")
}

func TestCacheOfAnEarlierProcess(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	segs := []Segment{f.build(t, docs("a", 0, 50)...), f.build(t, docs("b", 0, 50)...)}
	dir := filepath.Join(f.dir, "again")
	c, err := OpenCache(dir, 1<<30)
	require.NoError(t, err)
	_, err = OpenCache(dir, 1<<30)
	require.ErrorContains(t, err, "another process")
	files, err := c.GetAll(t.Context(), f.shard, segs)
	require.NoError(t, err)
	closeFiles(files)
	half := filepath.Join(dir, filesDir, string(segs[0].Blob)+".half")
	require.NoError(t, os.WriteFile(half, []byte("half"), 0o600))
	stale := filepath.Join(dir, indexesDir, "index-1")
	require.NoError(t, os.Mkdir(stale, 0o700))
	damaged := files[1].Path
	require.NoError(t, os.WriteFile(damaged, make([]byte, segs[1].Bytes), 0o600))
	require.NoError(t, c.Close())

	c = openCache(t, dir, 1<<30)
	require.NoFileExists(t, half)
	require.NoDirExists(t, stale)
	require.Equal(t, segs[0].Bytes+segs[1].Bytes, c.Bytes())
	var meter remotestore.Meter
	files, err = c.GetAll(remotestore.WithMeter(t.Context(), &meter), f.shard, segs)
	require.NoError(t, err)
	closeFiles(files)
	require.Equal(t, segs[1].Bytes, meter.Read(), "only what was damaged is downloaded again")
	require.NoError(t, verifyFile(damaged, segs[1]))
}

func TestCacheAdoptsWhatWasBuiltHere(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	path := filepath.Join(f.dir, "built")
	seg, err := BuildSegment(t.Context(), path, f.mapping, docs("a", 0, 10))
	require.NoError(t, err)
	seg = f.upload(t, seg, path)
	other := f.build(t, docs("b", 0, 10)...)

	require.ErrorIs(t, f.cache.Adopt(other, path), ErrCorrupt, "it is another segment's file")
	require.NoError(t, f.cache.Adopt(seg, path))
	require.NoFileExists(t, path)
	var meter remotestore.Meter
	file, err := f.cache.Get(remotestore.WithMeter(t.Context(), &meter), f.shard, seg)
	require.NoError(t, err)
	file.Close()
	require.Zero(t, meter.Read())
}

// gate lets a download wait.
type gate struct {
	remotestore.Store
	entered chan struct{}
}

func (g gate) GetFile(ctx context.Context, key, path string) error {
	select {
	case g.entered <- struct{}{}:
		<-ctx.Done() // the first download stands still until it is cancelled
		return ctx.Err()
	default:
		return g.Store.GetFile(ctx, key, path)
	}
}

func TestCacheDownloadGoesOnWhenItsFirstCallerLeaves(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	seg := f.build(t, docs("a", 0, 10)...)
	entered := make(chan struct{})
	slow, err := Open(gate{f.store, entered}, "books/0")
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := f.cache.Get(ctx, slow, seg)
		first <- err
	}()
	<-entered
	second := make(chan error)
	go func() {
		file, err := f.cache.Get(t.Context(), slow, seg)
		if err == nil {
			file.Close()
		}
		second <- err
	}()
	cancel()
	require.ErrorIs(t, <-first, context.Canceled)
	require.NoError(t, <-second)
}
