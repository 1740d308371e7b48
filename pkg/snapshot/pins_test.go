package snapshot

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

func blobName(i int) shard.BlobName {
	digit := string('a' + rune(i))
	return shard.BlobName(strings.Repeat(digit, 64) + "-00000000-0000-4000-8000-000000000000")
}

// manifest is a generation with as many segments as blobs.
func manifest(name string, generation uint64, blobs ...int) shard.Manifest {
	m := shard.Manifest{
		Shard: name, Generation: generation, NextSegment: 100, AppliedFor: time.Hour, Mapping: shard.DefaultMapping(), Nonce: "nonce",
	}
	for i, b := range blobs {
		m.Segments = append(m.Segments, shard.Segment{
			ID: uint64(i + 1), Blob: blobName(b), Bytes: 10, Type: shard.SegmentType, Version: shard.SegmentVersion, Docs: 2, Live: 2,
		})
	}
	return m
}

// keep writes a snapshot of manifests that is complete.
func keep(t *testing.T, store remotestore.Store, name string, manifests ...shard.Manifest) {
	t.Helper()
	d := Document{Snapshot: name, Task: "task-" + name, BegunAt: time.Unix(1, 0).UTC()}
	body, err := d.encode()
	require.NoError(t, err)
	require.NoError(t, create(t.Context(), store, begunKey(name), body))
	for i, m := range manifests {
		sum, err := writePart(t.Context(), store, name, int64(i+1), m)
		require.NoError(t, err)
		d.Shards = append(d.Shards, Part{Shard: m.Shard, Part: int64(i + 1), SHA256: sum, Generation: m.Generation})
	}
	d.EndedAt = time.Unix(2, 0).UTC()
	body, err = d.encode()
	require.NoError(t, err)
	require.NoError(t, create(t.Context(), store, documentKey(name), body))
}

func pinned(t *testing.T, store remotestore.Store) (pins []Pin, err error) {
	t.Helper()
	for p, err := range Pins(t.Context(), store) {
		if err != nil {
			return pins, err
		}
		pins = append(pins, p)
	}
	return pins, nil
}

func TestPinsAreWhatSnapshotsNeed(t *testing.T) {
	t.Parallel()
	store := remotestore.NewMemory()
	pins, err := pinned(t, store)
	require.NoError(t, err)
	require.Empty(t, pins)

	keep(t, store, "monday", manifest("books/0", 7, 1, 2), manifest("books", 3))
	keep(t, store, "monday-2", manifest("books/0", 8, 2, 3))
	_, err = writePart(t.Context(), store, "running", 5, manifest("films", 1, 4)) // one that is being made
	require.NoError(t, err)
	pins, err = pinned(t, store)
	require.NoError(t, err)
	require.ElementsMatch(t, []Pin{
		{"books/0", 7, blobName(1)},
		{"books/0", 7, blobName(2)},
		{"books/0", 8, blobName(2)},
		{"books/0", 8, blobName(3)},
		{"films", 1, blobName(4)},
	}, pins)
}

func TestPinsEndAtWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	part := partKey("monday", "books/0", 1)
	get := func(t *testing.T, store remotestore.Store, key string) []byte {
		t.Helper()
		body, err := store.Get(t.Context(), key, remotestore.All)
		require.NoError(t, err)
		return body
	}
	put := func(t *testing.T, store remotestore.Store, key string, body []byte) string {
		t.Helper()
		require.NoError(t, store.Put(t.Context(), key, body))
		return key
	}
	spoil := map[string]func(t *testing.T, store remotestore.Store) (names string){
		"a part is cut": func(t *testing.T, store remotestore.Store) string {
			t.Helper()
			return put(t, store, part, get(t, store, part)[:100])
		},
		"a part is of another shard": func(t *testing.T, store remotestore.Store) string {
			t.Helper()
			body, err := manifest("films", 1).Encode()
			require.NoError(t, err)
			return put(t, store, part, body)
		},
		"a part is missing": func(t *testing.T, store remotestore.Store) string {
			t.Helper()
			require.NoError(t, store.Delete(t.Context(), part))
			return part
		},
		"a document has changed": func(t *testing.T, store remotestore.Store) string {
			t.Helper()
			key := documentKey("monday")
			return put(t, store, key, []byte(strings.Replace(string(get(t, store, key)), "books", "cooks", 1)))
		},
		"a document is empty": func(t *testing.T, store remotestore.Store) string {
			t.Helper()
			return put(t, store, documentKey("monday"), nil)
		},
		"a document is newer": func(t *testing.T, store remotestore.Store) string {
			t.Helper()
			return put(t, store, documentKey("monday"), []byte(`{"format":2,"pins":[],"checksum":"?"}`+"\n"))
		},
		"a document is another snapshot's": func(t *testing.T, store remotestore.Store) string {
			t.Helper()
			keep(t, store, "tuesday", manifest("books/0", 9))
			return put(t, store, documentKey("monday"), get(t, store, documentKey("tuesday")))
		},
		"a key is of no known kind": func(t *testing.T, store remotestore.Store) string {
			t.Helper()
			return put(t, store, root+"monday/index.bin", nil)
		},
	}
	for name := range maps.Keys(spoil) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := remotestore.NewMemory()
			keep(t, store, "monday", manifest("books/0", 7, 1))
			key := spoil[name](t, store)
			_, err := pinned(t, store)
			require.ErrorContains(t, err, key)
		})
	}
}

func TestKeysComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	for _, want := range []located{
		{"n", partsDir, "books/0", 7},
		{"n@copy", partsDir, "..part/snapshot.json", 1 << 62},
		{"n", partsDir, strings.Repeat("long/", 100) + "x", 0},
	} {
		key := partKey(want.name, want.slug, want.part)
		require.NoError(t, remotestore.CheckKey(key))
		got, err := parseKey(key)
		want.slug = slug(want.slug)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, key := range []string{begunKey("n"), documentKey("n")} {
		got, err := parseKey(key)
		require.NoError(t, err)
		require.Equal(t, "n", got.name)
	}
	for _, key := range []string{"_snapshot/x", "_snapshot/n/part/books-7.json", "_snapshot/n/part/00000000000000000007.json", "_snapshot/n/parts/x-00000000000000000007.json", "other/n/begun.json"} {
		_, err := parseKey(key)
		require.ErrorIs(t, err, shard.ErrFormat, key)
	}
	require.True(t, slices.IsSorted([]string{begunKey("n"), partKey("n", "z", 1), documentKey("n")}), "Pins lists documents behind their parts")
}
