package datanode_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/snapshot"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/pkg/task/tasktest"
)

// offlineTask runs a snapshot's task and its children as an offline node does.
func offlineTask(t testing.TB, store remotestore.Store, typ string, params any) {
	t.Helper()
	mux := task.NewMux()
	require.NoError(t, snapshot.Register(mux, snapshot.Config{Store: store, Scratch: t.TempDir(), Node: "node-1"}))
	r := tasktest.Run(t.Context(), mux, typ, params, tasktest.ID(task.NewID()), tasktest.Children(func(child task.Submission) *task.ChildState {
		r := tasktest.Run(t.Context(), mux, child.Type, child.Params, tasktest.ID(child.ID))
		if r.Outcome != tasktest.Success {
			return &task.ChildState{Status: task.Failed, Error: r.Err.Error()}
		}
		return &task.ChildState{Status: task.Success, Result: r.Report.Result}
	}))
	for r.Outcome == tasktest.Waiting {
		r = r.Again(t.Context())
	}
	require.Equal(t, tasktest.Success, r.Outcome, "%v", r.Err)
}

func newest(t testing.TB, store remotestore.Store, name string) shard.Manifest {
	t.Helper()
	s, err := shard.Open(store, name)
	require.NoError(t, err)
	m, err := s.Newest(t.Context())
	require.NoError(t, err)
	return m
}

// A restore comes between the writes of the node that has the shard open: what was written before it is gone, what was
// acknowledged after it stays, and no write or search fails.
func TestARestoreBetweenWrites(t *testing.T) {
	store, q := remotestore.NewMemory(), newQueue()
	n := start(t, datanode.Config{Store: store, Queue: q, Offline: datanode.Offline{Merge: datanode.Always}})
	sh := create(t, n, "books")
	for i := range 4 {
		write(t, sh, put(fmt.Sprint("kept-", i), `{"title":"moon"}`))
	}
	kept := []string{"kept-0", "kept-1", "kept-2", "kept-3"}
	offlineTask(t, store, snapshot.Type, snapshot.Params{Snapshot: "monday", Shards: []string{"books"}})
	write(t, sh, datanode.Op{Kind: datanode.Delete, ID: "kept-1"}, put("kept-2", `{"title":"sun"}`))
	merges, err := sh.ForceMerge(t.Context(), 1) // its inputs will be gone
	require.NoError(t, err)
	require.Len(t, merges, 1)

	type acked struct {
		id         string
		generation uint64
	}
	var written []acked
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			id := fmt.Sprintf("w-%04d", i)
			w, err := sh.Bulk(t.Context(), []datanode.Op{put(id, `{"title":"tide"}`)})
			if err != nil {
				t.Error(err)
				return
			}
			written = append(written, acked{id, w.Generation})
			if _, err := sh.Search(t.Context(), datanode.Query{Text: "title:moon"}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	eventually(t, func() bool { return newest(t, store, "books").Generation > 15 }, "it writes")
	offlineTask(t, store, snapshot.RestoreType, snapshot.RestoreParams{Snapshot: "monday", Force: true})
	after := newest(t, store, "books").Generation
	eventually(t, func() bool { return newest(t, store, "books").Generation > after+5 }, "it goes on writing")
	close(stop)
	group.Wait()

	restored := uint64(0) // the generation of the restore: the one that has none of the writes before it
	s, err := shard.Open(store, "books")
	require.NoError(t, err)
	for g := after; restored == 0; g-- {
		m, err := s.At(t.Context(), g)
		require.NoError(t, err)
		if m.Writer.Node == "node-1" {
			restored = g
		}
	}
	want := slices.Clone(kept)
	for _, w := range written {
		if w.generation > restored {
			want = append(want, w.id)
		}
	}
	require.Less(t, len(want), len(kept)+len(written), "some were written before")
	require.Greater(t, len(want), len(kept), "some were written after")
	require.ElementsMatch(t, want, ids(t, sh, datanode.Query{}))
	require.ElementsMatch(t, kept, ids(t, sh, datanode.Query{Text: "title:moon"}), "as they were")
	eventually(t, func() bool {
		return slices.ContainsFunc(sh.Merges(), func(m datanode.Merge) bool { return m.ID == merges[0].ID && m.Status == datanode.Superseded })
	}, "a merge of what is gone is given up")

	n.stop()
	again := create(t, start(t, datanode.Config{Store: store}), "books")
	require.ElementsMatch(t, want, ids(t, again, datanode.Query{}))
}

// What is restored may have another mapping: writes that follow are indexed by it.
func TestARestoreWithAnotherMapping(t *testing.T) {
	store := remotestore.NewMemory()
	n := start(t, datanode.Config{Store: store})
	keywords, err := datanode.FieldsMapping(map[string]string{"kind": "keyword"})
	require.NoError(t, err)
	films, _, err := n.Create(t.Context(), "films", datanode.Settings{Mapping: keywords})
	require.NoError(t, err)
	write(t, films, put("1", `{"kind":"Silent Film"}`))
	offlineTask(t, store, snapshot.Type, snapshot.Params{Snapshot: "monday", Shards: []string{"films"}})

	books := create(t, n, "books")
	write(t, books, put("2", `{"kind":"Paper Book"}`))
	offlineTask(t, store, snapshot.RestoreType, snapshot.RestoreParams{
		Snapshot: "monday", Shards: []snapshot.Target{{Shard: "films", As: "books"}}, Force: true,
	})
	restored := newest(t, store, "books").Generation
	require.NoError(t, books.WaitSearchable(t.Context(), restored))
	write(t, books, put("3", `{"kind":"Silent Film"}`))
	require.Equal(t, []string{"1", "3"}, ids(t, books, datanode.Query{Match: map[string]string{"kind": "Silent Film"}, Sort: []string{"_id"}}))
	mapping, err := books.Mapping()
	require.NoError(t, err)
	require.JSONEq(t, string(keywords), string(mapping))
	d, err := books.Get(t.Context(), "1")
	require.NoError(t, err)
	require.JSONEq(t, `{"kind":"Silent Film"}`, string(d.Source))
}
