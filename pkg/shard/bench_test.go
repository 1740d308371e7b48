package shard

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
)

// largeManifest has a thousand segments, ten million documents, and one in ten deleted.
func largeManifest(b *testing.B) Manifest {
	b.Helper()
	m := Manifest{
		Shard: "books/0", Generation: 1, NextSegment: 1001, AppliedFor: time.Hour, Mapping: json.RawMessage(`{}`), Nonce: "n",
	}
	random := rand.New(rand.NewPCG(1, 2))
	for id := range uint64(1000) {
		s := Segment{ID: id + 1, Blob: fakeBlob(), Bytes: 30 << 20, Type: SegmentType, Version: SegmentVersion, Docs: 10_000, Live: 10_000}
		deleted := make([]uint32, 1000)
		for i := range deleted {
			deleted[i] = random.Uint32N(10_000)
		}
		m.Segments = append(m.Segments, s.without(NewDocSet(deleted...)))
	}
	for i := range 10_000 {
		m.Applied = append(m.Applied, Applied{Task: fmt.Sprint("merge-", i), AllocationID: 1, At: time.Unix(1, 0)})
	}
	return m
}

// BenchmarkCommit merges ten segments of a large shard from which a hundred documents each were deleted meanwhile.
func BenchmarkCommit(b *testing.B) {
	began := largeManifest(b)
	change := Change{Inputs: began.Segments[:10], Writer: Writer{Task: "new", AllocationID: 1}}
	docs := NewRemap(change.Inputs).Docs()
	change.Outputs = []Segment{{Blob: fakeBlob(), Bytes: 1, Type: SegmentType, Version: SegmentVersion, Docs: docs, Live: docs}}
	cur := began.Clone()
	for i := range 10 {
		late := make([]uint32, 100)
		for k := range late {
			late[k] = uint32(k * 100)
		}
		cur.Segments[i] = cur.Segments[i].without(NewDocSet(late...))
	}
	b.ReportAllocs()
	for b.Loop() {
		_, err := Commit(cur, change)
		require.NoError(b, err)
	}
}

func BenchmarkEncode(b *testing.B) {
	m := largeManifest(b)
	stored, err := m.Encode()
	require.NoError(b, err)
	b.ReportMetric(float64(len(stored)), "manifest-bytes")
	b.ReportAllocs()
	for b.Loop() {
		_, err := m.Encode()
		require.NoError(b, err)
	}
}

func BenchmarkDecode(b *testing.B) {
	stored, err := largeManifest(b).Encode()
	require.NoError(b, err)
	b.SetBytes(int64(len(stored)))
	b.ReportAllocs()
	for b.Loop() {
		_, err := Decode(stored)
		require.NoError(b, err)
	}
}

// BenchmarkCommitToMemory is the whole round: newest, change, encode, create.
func BenchmarkCommitToMemory(b *testing.B) {
	store := remotestore.NewMemory()
	s := open(b, store)
	m := largeManifest(b)
	body, err := m.Encode()
	require.NoError(b, err)
	require.NoError(b, store.Create(b.Context(), s.manifestKey(1), body))
	b.ReportAllocs()
	for b.Loop() {
		_, err := s.Commit(b.Context(), addOne)
		require.NoError(b, err)
	}
}
