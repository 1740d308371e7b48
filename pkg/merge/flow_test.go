package merge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/merge"
	"github.com/offline-nodes/offline-nodes/pkg/nodetest"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// The whole way: a client, Kafka, a node that runs parent and children, Redis, the store.
func TestAFleetMergesTwentySegmentsToOne(t *testing.T) {
	store := remotestore.NewMemory()
	s, want := written(t, store, 20)
	mux := task.NewMux()
	require.NoError(t, merge.Register(mux, merge.Config{Store: store, Scratch: t.TempDir()}, task.Slots(2)))
	fleet := nodetest.Start(t, mux)

	state := fleet.Do(merge.ForceType, merge.ForceParams{Shard: "books/0", MaxSegments: 1, AtOnce: 8}, task.ID("nightly"))
	require.Equal(t, task.Success, state.Status, state.Error)
	require.Equal(t, "merge books/0 down to 1", state.Describe)
	var r merge.ForceResult
	require.NoError(t, json.Unmarshal(state.Result, &r))
	m, err := s.Newest(t.Context())
	require.NoError(t, err)
	require.Len(t, m.Segments, 1)
	require.Equal(t, want, contents(t, s, m))
	require.Equal(t, merge.ForceResult{
		Shard: "books/0", Generation: m.Generation, Rounds: 2, Merges: 3, SegmentsBefore: 20, SegmentsAfter: 1, Docs: 100,
		BytesIn: r.BytesIn, BytesMoved: r.BytesMoved,
	}, r)
	for _, a := range m.Applied {
		child, err := fleet.Client.State(t.Context(), a.Task)
		require.NoError(t, err)
		require.Equal(t, "nightly", task.Parent(child.ID))
		require.Equal(t, merge.Type, child.Type)
		require.Equal(t, task.Success, child.Status)
	}

	state = fleet.Do(merge.ForceType, merge.ForceParams{Shard: "books/0", MaxSegments: 1})
	require.JSONEq(t, fmt.Sprintf(`{"shard":"books/0","generation":%d,"rounds":0,"merges":0,"segments_before":1,"segments_after":1,
		"bytes_in":0,"bytes_moved":0,"docs":100}`, m.Generation), string(state.Result))
}

func TestACancelledForceMergeStopsItsMerges(t *testing.T) {
	store := remotestore.NewMemory()
	s, want := written(t, store, 6)
	began := make(chan struct{})
	begin := sync.OnceFunc(func() { close(began) })
	mux := task.NewMux()
	require.NoError(t, merge.Register(mux, merge.Config{
		Store: store, Scratch: t.TempDir(), Throttle: func(ctx context.Context, _ int64) {
			begin()
			<-ctx.Done()
		},
	}))
	fleet := nodetest.Start(t, mux)
	id, err := fleet.Client.Submit(t.Context(), merge.ForceType, merge.ForceParams{Shard: "books/0", MaxSegments: 1})
	require.NoError(t, err)
	<-began
	_, err = fleet.Client.Cancel(t.Context(), id)
	require.NoError(t, err)
	state, err := fleet.Client.Wait(t.Context(), id, nil)
	require.NoError(t, err)
	require.Equal(t, task.Cancelled, state.Status)
	m, err := s.Newest(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, contents(t, s, m))
	require.Len(t, m.Segments, 6)
}

// written makes a shard of n segments with five documents each, and returns these.
func written(t *testing.T, store remotestore.Store, n int) (*shard.Shard, map[string]string) {
	t.Helper()
	s, err := shard.Open(store, "books/0")
	require.NoError(t, err)
	m, err := s.Create(t.Context(), shard.Settings{})
	require.NoError(t, err)
	mapping, err := shard.ParseMapping(m.Mapping)
	require.NoError(t, err)
	want := map[string]string{}
	for i := range n {
		var docs []shard.Document
		for k := range 5 {
			d := shard.Document{ID: fmt.Sprint(i*5 + k), Source: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i*5+k))}
			docs, want[d.ID] = append(docs, d), string(d.Source)
		}
		path := filepath.Join(t.TempDir(), "segment")
		seg, err := shard.BuildSegment(t.Context(), path, mapping, docs)
		require.NoError(t, err)
		blob, err := shard.NameBlob(path)
		require.NoError(t, errors.Join(err, s.Upload(t.Context(), blob, path)))
		seg.Blob = blob.Name
		_, err = s.Commit(t.Context(), func(cur shard.Manifest) (shard.Manifest, error) {
			return shard.Commit(cur, shard.Change{Outputs: []shard.Segment{seg}})
		})
		require.NoError(t, err)
	}
	return s, want
}

// contents are the live documents of a generation.
func contents(t *testing.T, s *shard.Shard, m shard.Manifest) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, seg := range m.Segments {
		path := filepath.Join(t.TempDir(), "segment")
		require.NoError(t, s.Download(t.Context(), seg, path))
		r, err := shard.OpenSegment(path, seg)
		require.NoError(t, err)
		for n := range uint32(seg.Docs) {
			if !seg.Deleted.Contains(n) {
				d, err := r.Document(n)
				require.NoError(t, err)
				all[d.ID] = string(d.Source)
			}
		}
		require.NoError(t, r.Close())
	}
	return all
}
