package datanode_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/merge"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// merging returns the one merge that is under way.
func merging(t testing.TB, sh *datanode.Shard) datanode.Merge {
	t.Helper()
	running := sh.Stats().Merges.Running
	require.Len(t, running, 1)
	return running[0]
}

func TestAFleetThatGoesAndReturns(t *testing.T) {
	store, q := remotestore.NewMemory(), newQueue()
	sh := create(t, start(t, datanode.Config{Store: store, Queue: q, Offline: auto()}), "books")
	id := forced(t, sh, q)
	local, reason := sh.RunLocally(t.Context(), 1<<20)
	require.False(t, local)
	require.Contains(t, reason, "1 offline node with 4 slots")

	q.set(func(q *queue) { q.fleet = datanode.Fleet{} })
	idle(t, sh)
	m := sh.Merges()[0]
	require.Equal(t, id, m.ID)
	require.Equal(t, datanode.Local, m.Where)
	require.Equal(t, "taken back: no offline node is alive any more", m.Reason)
	state, err := q.State(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, task.Cancelled, state.Status)
	fill(t, sh, 3)
	begun, err := sh.ForceMerge(t.Context(), 1)
	require.NoError(t, err)
	require.Contains(t, begun[0].Reason, "no offline node is alive")
	idle(t, sh)
	require.EqualValues(t, 2, sh.Stats().Merges.Local)

	q.set(func(q *queue) { q.fleet = datanode.Fleet{Nodes: 1, Slots: 4} })
	newWorker(t, q, store).serve(t)
	eventually(t, func() bool { local, _ := sh.RunLocally(t.Context(), 1); return !local }, "it is seen")
	fill(t, sh, 3)
	_, err = sh.ForceMerge(t.Context(), 1)
	require.NoError(t, err)
	idle(t, sh)
	require.EqualValues(t, 1, sh.Stats().Merges.Offline)
}

func TestAMergeIsNotRunHereBeforeItsCancelIsConfirmed(t *testing.T) {
	q := newQueue()
	n := start(t, datanode.Config{Store: remotestore.NewMemory(), Queue: q, Offline: auto()})
	sh := create(t, n, "books")
	id := forced(t, sh, q)
	q.set(func(q *queue) { q.cancelErr = errors.New("redis is away") })
	require.NoError(t, n.SetOffline(datanode.Offline{Merge: datanode.Off}))
	eventually(t, func() bool { return strings.Contains(merging(t, sh).Note, "not cancelled yet") }, "it is tried")
	m := merging(t, sh)
	require.Equal(t, datanode.Remote, m.Where)
	require.Equal(t, "to be taken back: offline.merge was set to off; its task is not cancelled yet: redis is away", m.Note)
	require.NoError(t, n.SetOffline(auto())) // what was begun is brought to its end
	require.Equal(t, 4, sh.Stats().Segments)

	q.set(func(q *queue) { q.cancelErr = nil })
	idle(t, sh)
	require.Equal(t, 1, sh.Stats().Segments)
	m = sh.Merges()[0]
	require.Equal(t, id, m.ID)
	require.Equal(t, "taken back: offline.merge was set to off", m.Reason)
}

// A node takes the task in the moment in which it is cancelled: the merge ends there first.
func TestAMergeThatANodeTookMeanwhileComesBackWhenTheNodeHasStopped(t *testing.T) {
	q := newQueue()
	n := start(t, datanode.Config{Store: remotestore.NewMemory(), Queue: q, Offline: auto()})
	sh := create(t, n, "books")
	id := forced(t, sh, q)
	q.set(func(q *queue) { q.cancelErr = errors.New("redis is away") })
	require.NoError(t, n.SetOffline(datanode.Offline{Merge: datanode.Off}))
	eventually(t, func() bool { return strings.Contains(merging(t, sh).Note, "not cancelled yet") }, "it is tried")
	q.set(func(q *queue) { q.tasks[id].state.Status, q.cancelErr = task.Active, nil })
	eventually(t, func() bool {
		return merging(t, sh).Note == "to be taken back: offline.merge was set to off; a node that runs it is told to stop"
	}, "it is cancelled")
	require.Equal(t, datanode.Remote, merging(t, sh).Where)
	q.end(t.Context(), id, task.Cancelled, "task cancelled on request")
	idle(t, sh)
	require.Equal(t, datanode.Local, sh.Merges()[0].Where)
	require.Equal(t, 1, sh.Stats().Segments)
}

func TestANodeThatDrainsEndsWhatItRuns(t *testing.T) {
	store, q := remotestore.NewMemory(), newQueue()
	sh := create(t, start(t, datanode.Config{Store: store, Queue: q, Offline: auto()}), "books")
	id := forced(t, sh, q)
	q.set(func(q *queue) {
		q.tasks[id].state.Status = task.Active
		q.fleet = datanode.Fleet{Draining: 1}
	})
	eventually(t, func() bool { local, _ := sh.RunLocally(t.Context(), 1<<20); return local }, "no other merge goes there")
	newWorker(t, q, store).run(t, id)
	idle(t, sh)
	require.Equal(t, datanode.Remote, sh.Merges()[0].Where)
}

func TestAMergeOnANodeThatDiedWithTheWholeFleetRunsHere(t *testing.T) {
	q := newQueue()
	sh := create(t, start(t, datanode.Config{Store: remotestore.NewMemory(), Queue: q, Offline: auto()}), "books")
	id := forced(t, sh, q)
	q.set(func(q *queue) {
		q.tasks[id].state.Status = task.Active // and nobody will ever end it
		q.fleet = datanode.Fleet{}
	})
	idle(t, sh)
	require.Equal(t, 1, sh.Stats().Segments)
	require.Contains(t, sh.Merges()[0].Reason, "no offline node is alive any more")
}

func TestATaskThatMayHaveBeenSubmittedIsTakenBackFirst(t *testing.T) {
	q := newQueue()
	q.set(func(q *queue) { q.submitErr = fmt.Errorf("kafka is slow: %w", datanode.ErrUnknown) })
	sh := create(t, start(t, datanode.Config{Store: remotestore.NewMemory(), Queue: q, Offline: auto()}), "books")
	id := forced(t, sh, q)
	idle(t, sh)
	m := sh.Merges()[0]
	require.Equal(t, datanode.Local, m.Where)
	require.Contains(t, m.Reason, "it is unknown whether it was submitted")
	state, err := q.State(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, task.Cancelled, state.Status)
}

func TestMergesHereKeepToTheirRate(t *testing.T) {
	const rate = 64 << 10
	n := start(t, datanode.Config{Store: remotestore.NewMemory(), Local: datanode.LocalMerges{BytesPerSecond: rate}})
	sh := create(t, n, "books")
	fill(t, sh, 6)
	_, err := sh.ForceMerge(t.Context(), 1)
	require.NoError(t, err)
	idle(t, sh)
	m := sh.Merges()[0]
	least := time.Duration(float64(sh.Stats().Bytes) / rate * float64(time.Second) * 0.8)
	require.Greater(t, least, 50*time.Millisecond)
	require.Greater(t, m.EndedAt.Sub(m.StartedAt), least)
	require.ErrorIs(t, n.SetLocalMerges(datanode.LocalMerges{AtOnce: -1}), datanode.ErrInvalid)
	require.NoError(t, n.SetLocalMerges(datanode.LocalMerges{}))
	require.Equal(t, datanode.LocalMerges{AtOnce: 1}, n.LocalMerges())
}

func TestARestartPlansNothingOverAMergeThatRunsOffline(t *testing.T) {
	store, q, dir := remotestore.NewMemory(), newQueue(), t.TempDir()
	n := start(t, datanode.Config{Store: store, Queue: q, Offline: always(), Dir: dir})
	id := forced(t, create(t, n, "books"), q)
	eventually(t, func() bool { state, _ := q.State(t.Context(), id); return state != nil }, "it is submitted")
	n.stop()
	sh := create(t, start(t, datanode.Config{Store: store, Queue: q, Offline: always(), Dir: dir}), "books")
	fill(t, sh, 3)
	begun, err := sh.ForceMerge(t.Context(), 1)
	require.NoError(t, err)
	require.Len(t, begun, 1)
	require.Len(t, begun[0].Inputs, 3, "the other four are being merged")
	w := newWorker(t, q, store)
	w.run(t, id)
	w.run(t, begun[0].ID)
	idle(t, sh)
	require.Equal(t, 2, sh.Stats().Segments)
	require.EqualValues(t, 2, sh.Stats().Merges.Offline)
}

// spread has more segments than one merge of a force merge takes.
func spread(t testing.TB, sh *datanode.Shard) {
	t.Helper()
	for i := range merge.DefaultAtOnce + 3 {
		write(t, sh, put(fmt.Sprint(i), title(i)))
	}
}

func TestAForceMergeThatFailsOfflineIsDoneHere(t *testing.T) {
	q := newQueue()
	sh := create(t, start(t, datanode.Config{Store: remotestore.NewMemory(), Queue: q, Offline: auto()}), "books")
	spread(t, sh)
	begun, err := sh.ForceMerge(t.Context(), 1)
	require.NoError(t, err)
	require.Len(t, begun, 1)
	require.Equal(t, merge.ForceType, begun[0].Type)
	require.Equal(t, datanode.Remote, begun[0].Where)
	again, err := sh.ForceMerge(t.Context(), 1)
	require.NoError(t, err)
	require.Empty(t, again, "all segments have been given to it")
	id := <-q.submitted
	require.Equal(t, begun[0].ID, id)
	var p merge.ForceParams
	require.NoError(t, json.Unmarshal(q.tasks[id].params, &p))
	require.Len(t, p.Segments, merge.DefaultAtOnce+3)
	q.end(t.Context(), id, task.Failed, "a child failed")
	eventually(t, func() bool { return sh.Stats().Segments == 1 }, "it is merged here")
	idle(t, sh)
	require.Len(t, ids(t, sh, datanode.Query{}), merge.DefaultAtOnce+3)
	all := sh.Merges()
	require.Equal(t, datanode.Local, all[0].Where)
	require.Contains(t, all[0].Reason, "taken back: it failed offline: a child failed")
	require.Equal(t, datanode.Cancelled, all[1].Status)
}

func TestAForceMergeIsTakenBack(t *testing.T) {
	q := newQueue()
	sh := create(t, start(t, datanode.Config{Store: remotestore.NewMemory(), Queue: q, Offline: auto()}), "books")
	spread(t, sh)
	_, err := sh.ForceMerge(t.Context(), 2)
	require.NoError(t, err)
	<-q.submitted
	q.set(func(q *queue) { q.fleet = datanode.Fleet{} })
	idle(t, sh)
	require.Equal(t, 2, sh.Stats().Segments)
}
