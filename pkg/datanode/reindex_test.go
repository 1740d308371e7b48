package datanode_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/reindex"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func one(id string) []datanode.Op {
	return []datanode.Op{{Kind: datanode.Index, ID: id, Source: []byte(`{"title":"moon"}`)}}
}

func TestWritesWaitForATaskThatAsksToCommitFirst(t *testing.T) {
	t.Parallel()
	store := remotestore.NewMemory()
	n := start(t, datanode.Config{Store: store})
	sh, _, err := n.Create(t.Context(), "books", datanode.Settings{})
	require.NoError(t, err)
	_, err = sh.Bulk(t.Context(), one("1"))
	require.NoError(t, err)
	s, err := shard.Open(store, "books")
	require.NoError(t, err)
	writer := shard.Writer{Node: "n1", Task: "reindex-7", AllocationID: 1}
	_, err = s.Commit(t.Context(), func(cur shard.Manifest) (shard.Manifest, error) { return shard.Hold(cur, writer), nil })
	require.NoError(t, err)

	written := make(chan datanode.Written, 1)
	go func() {
		w, err := sh.Bulk(context.WithoutCancel(t.Context()), one("2"))
		if err != nil {
			t.Error(err)
		}
		written <- w
	}()
	select {
	case <-written:
		t.Fatal("the write did not wait")
	case <-time.After(300 * time.Millisecond):
	}
	switched, err := s.Commit(t.Context(), func(cur shard.Manifest) (shard.Manifest, error) {
		return shard.Commit(cur, shard.Change{Writer: writer})
	})
	require.NoError(t, err)
	w := <-written
	require.Greater(t, w.Generation, switched.Generation)
	doc, err := sh.Get(t.Context(), "2")
	require.NoError(t, err)
	require.JSONEq(t, `{"title":"moon"}`, string(doc.Source))
}

// TestTheEndOfAReindexIsHeard has a node that would look for it a minute later.
func TestTheEndOfAReindexIsHeard(t *testing.T) {
	t.Parallel()
	store, q := remotestore.NewMemory(), newQueue()
	n := start(t, datanode.Config{Store: store, Queue: q, Poll: time.Minute})
	sh, _, err := n.Create(t.Context(), "books", datanode.Settings{})
	require.NoError(t, err)
	s, err := shard.Open(store, "books")
	require.NoError(t, err)
	m, err := s.Commit(t.Context(), func(cur shard.Manifest) (shard.Manifest, error) {
		return shard.Commit(cur, shard.Change{Writer: shard.Writer{Task: "reindex-7", AllocationID: 1}})
	})
	require.NoError(t, err)
	eventually(t, func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		for _, handle := range q.listeners {
			_ = handle(t.Context(), task.Event{TaskID: "reindex-7", Type: reindex.Type, Status: task.Success})
		}
		return sh.Stats().Generation == m.Generation
	}, "it is looked for")
}

func TestAReindexIsSubmitted(t *testing.T) {
	t.Parallel()
	q := newQueue()
	n := start(t, datanode.Config{Store: remotestore.NewMemory(), Queue: q})
	sh, _, err := n.Create(t.Context(), "books", datanode.Settings{})
	require.NoError(t, err)
	id, err := sh.Reindex(t.Context(), reindex.Params{Source: "not this one", Slices: 2})
	require.NoError(t, err)
	var p reindex.Params
	require.NoError(t, json.Unmarshal(q.tasks[id].params, &p))
	require.Equal(t, reindex.Params{Source: "books", Target: "books", Slices: 2}, p)

	_, err = sh.Reindex(t.Context(), reindex.Params{Query: "x"})
	require.ErrorIs(t, err, datanode.ErrInvalid, "a query in place")
	q.mu.Lock()
	q.err = errors.New("Kafka is away")
	q.mu.Unlock()
	_, err = sh.Reindex(t.Context(), reindex.Params{})
	require.ErrorIs(t, err, datanode.ErrNoQueue)
	require.ErrorContains(t, err, "Kafka is away")

	alone, _, err := start(t, datanode.Config{Store: remotestore.NewMemory()}).Create(t.Context(), "books", datanode.Settings{})
	require.NoError(t, err)
	_, err = alone.Reindex(t.Context(), reindex.Params{})
	require.ErrorIs(t, err, datanode.ErrNoQueue)
}
