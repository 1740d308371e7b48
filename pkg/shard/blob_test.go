package shard

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
)

func TestDownloadComparesTheHash(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	seg := f.build(t, docs("a", 0, 20)...)
	key := f.shard.blobKey(seg.Blob)
	whole, err := f.store.Get(t.Context(), key, remotestore.All)
	require.NoError(t, err)
	local := filepath.Join(t.TempDir(), "local")
	require.NoError(t, f.shard.Download(t.Context(), seg, local))

	t.Run("one bit changed anywhere", func(t *testing.T) {
		for _, at := range []int{0, len(whole) / 2, len(whole) - 1} {
			changed := append([]byte(nil), whole...)
			changed[at] ^= 0x10
			require.NoError(t, f.store.Put(t.Context(), key, changed))
			err := f.shard.Download(t.Context(), seg, local)
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, key)
			require.NoFileExists(t, local)
			_, err = f.cache.Get(t.Context(), f.shard, seg)
			require.ErrorIs(t, err, ErrCorrupt)
		}
	})
	t.Run("cut", func(t *testing.T) {
		require.NoError(t, f.store.Put(t.Context(), key, whole[:len(whole)-1]))
		err := f.shard.Download(t.Context(), seg, local)
		require.ErrorIs(t, err, ErrCorrupt)
		require.ErrorContains(t, err, "bytes")
	})
	t.Run("missing", func(t *testing.T) {
		require.NoError(t, f.store.Delete(t.Context(), key))
		err := f.shard.Download(t.Context(), seg, local)
		require.ErrorIs(t, err, ErrNotFound)
		require.ErrorContains(t, err, key)
		m, err := f.shard.Commit(t.Context(), func(cur Manifest) (Manifest, error) {
			return Commit(cur, Change{Outputs: []Segment{seg}})
		})
		require.NoError(t, err)
		_, err = f.cache.OpenIndex(t.Context(), f.shard, m)
		require.ErrorIs(t, err, ErrNotFound)
		require.ErrorContains(t, err, key)
	})
	t.Run("whole again", func(t *testing.T) {
		require.NoError(t, f.store.Put(t.Context(), key, whole))
		file, err := f.cache.Get(t.Context(), f.shard, seg)
		require.NoError(t, err, "a failure is not kept")
		file.Close()
	})
	t.Run("a name that leads elsewhere", func(t *testing.T) {
		bad := seg
		bad.Blob = "../../../../etc/passwd"
		require.Error(t, f.shard.Download(t.Context(), bad, local))
		_, err := f.cache.Get(t.Context(), f.shard, bad)
		require.Error(t, err)
		require.NoFileExists(t, local)
	})
}

func TestVerifyReadsInParts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	local := filepath.Join(t.TempDir(), "local")
	for _, size := range []int{1, verifyBytes - 1, verifyBytes, verifyBytes + 1, 2 * verifyBytes} {
		whole := bytes.Repeat([]byte{7}, size)
		require.NoError(t, os.WriteFile(local, whole, 0o600))
		blob, err := NameBlob(local)
		require.NoError(t, err)
		require.NoError(t, f.shard.Upload(t.Context(), blob, local))
		seg := Segment{ID: 1, Blob: blob.Name, Bytes: blob.Bytes}
		require.NoError(t, f.shard.Verify(t.Context(), seg))

		key := f.shard.blobKey(blob.Name)
		flipped := bytes.Clone(whole)
		flipped[size-1] ^= 1
		for name, is := range map[string][]byte{"a bit": flipped, "cut": whole[:size-1], "longer": append(flipped[:size-1:size-1], 7, 7)} {
			require.NoError(t, f.store.Put(t.Context(), key, is))
			err := f.shard.Verify(t.Context(), seg)
			require.ErrorIs(t, err, ErrCorrupt, "%s, %d bytes", name, size)
			require.ErrorContains(t, err, key)
		}
		require.NoError(t, f.store.Delete(t.Context(), key))
		require.ErrorIs(t, f.shard.Verify(t.Context(), seg), ErrNotFound)
	}
}

func TestListingsForGarbageCollection(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	seg := f.build(t, docs("a", 0, 1)...)
	require.NoError(t, f.store.Put(t.Context(), "books/0/blob/README", nil))
	require.NoError(t, f.shard.Reserve(t.Context(), seg.Blob, "merge-1"))
	f.write(t, docs("b", 0, 1))

	names := make(map[BlobName]int64)
	for b, err := range f.shard.Blobs(t.Context()) {
		require.NoError(t, err)
		require.False(t, b.At.IsZero())
		names[b.Name] = b.Bytes
	}
	require.Len(t, names, 2)
	require.Equal(t, seg.Bytes, names[seg.Blob])
	for b, err := range f.shard.Reserved(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, seg.Blob, b.Name)
	}
	require.NoError(t, f.shard.Unreserve(t.Context(), seg.Blob))
	for range f.shard.Reserved(t.Context()) {
		t.Error("a reservation is left")
	}

	has, err := f.shard.HasBlob(t.Context(), Blob{seg.Blob, seg.Bytes})
	require.NoError(t, err)
	require.True(t, has)
	require.NoError(t, f.shard.DeleteBlob(t.Context(), seg.Blob))
	has, err = f.shard.HasBlob(t.Context(), Blob{seg.Blob, seg.Bytes})
	require.NoError(t, err)
	require.False(t, has)

	var generations []uint64
	for g, err := range f.shard.Generations(t.Context(), 0) {
		require.NoError(t, err)
		generations = append(generations, g.Generation)
	}
	require.Equal(t, []uint64{1, 2}, generations)
	for g, err := range f.shard.Generations(t.Context(), 1) {
		require.NoError(t, err)
		require.EqualValues(t, 2, g.Generation)
	}
}

func TestSameContentGetsANewName(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte("same"), 0o600))
	a, err := NameBlob(path)
	require.NoError(t, err)
	b, err := NameBlob(path)
	require.NoError(t, err)
	require.Equal(t, a.Name.SHA256(), b.Name.SHA256())
	require.NotEqual(t, a.Name, b.Name)
	require.NoError(t, a.Name.Check())
}
