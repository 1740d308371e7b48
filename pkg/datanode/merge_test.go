package datanode_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/blevesearch/bleve/v2/index/scorch/mergeplan"
	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/merge"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// eager merges as soon as there are four segments.
func eager() *mergeplan.MergePlanOptions {
	return &mergeplan.MergePlanOptions{
		MaxSegmentsPerTier: 2, SegmentsPerMergeTask: 4, MaxSegmentSize: 1_000_000, TierGrowth: 2, FloorSegmentSize: 50, ReclaimDeletesWeight: 2,
	}
}

// never merges unless it is asked to.
func never() *mergeplan.MergePlanOptions {
	plan := datanode.DefaultPlan()
	plan.CalcBudget = func(int64, int64, *mergeplan.MergePlanOptions) int { return 1_000_000 }
	return &plan
}

// always sends every merge to the queue, auto those that may go.
func always() datanode.Offline { return datanode.Offline{Merge: datanode.Always, MinBytes: 1} }
func auto() datanode.Offline   { return datanode.Offline{Merge: datanode.Auto, MinBytes: 1} }

// fill writes n segments of ten documents, which delete some of the ones before.
func fill(t testing.TB, sh *datanode.Shard, n int) {
	t.Helper()
	for i := range n {
		var ops []datanode.Op
		for k := range 10 {
			ops = append(ops, put(fmt.Sprint(i*7+k), title(i)))
		}
		write(t, sh, ops...)
	}
}

func docsOf(n int) (all []string) {
	for i := range (n-1)*7 + 10 {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

// idle waits until no merge is under way and none is to be planned.
func idle(t testing.TB, sh *datanode.Shard) {
	t.Helper()
	eventually(t, func() bool {
		begun, err := sh.PlanMerges(t.Context())
		return err == nil && len(begun) == 0 && len(sh.Stats().Merges.Running) == 0
	}, "merges come to an end")
}

func TestMergesRunHereWithoutAQueue(t *testing.T) {
	sh := create(t, start(t, datanode.Config{Store: remotestore.NewMemory(), Plan: eager()}), "books")
	fill(t, sh, 20)
	idle(t, sh)
	s := sh.Stats()
	require.Less(t, s.Segments, 10)
	require.Positive(t, s.Merges.Local)
	require.Zero(t, s.Merges.Offline+s.Merges.Failed)
	require.Len(t, ids(t, sh, datanode.Query{}), len(docsOf(20)))
	for _, m := range sh.Merges() {
		require.Equal(t, datanode.Local, m.Where)
		require.Equal(t, "this node has no task queue", m.Reason)
		require.True(t, m.Ended())
	}
}

func TestForceMergeAndExpunge(t *testing.T) {
	sh := create(t, start(t, datanode.Config{Store: remotestore.NewMemory()}), "books")
	fill(t, sh, 6)
	begun, err := sh.ForceMerge(t.Context(), 2)
	require.NoError(t, err)
	require.Len(t, begun, 1)
	require.Contains(t, begun[0].Reason, "asked for by force merge")
	idle(t, sh)
	require.Equal(t, 2, sh.Stats().Segments)

	write(t, sh, datanode.Op{Kind: datanode.Delete, ID: "1"})
	before := sh.Stats().Deleted
	require.Positive(t, before)
	begun, err = sh.Expunge(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, begun)
	idle(t, sh)
	require.Zero(t, sh.Stats().Deleted)
	require.Len(t, ids(t, sh, datanode.Query{}), len(docsOf(6))-1)
	_, err = sh.ForceMerge(t.Context(), 0)
	require.ErrorIs(t, err, datanode.ErrInvalid)
}

func TestMergesGoOfflineWhenThereIsAFleet(t *testing.T) {
	store, q := remotestore.NewMemory(), newQueue()
	newWorker(t, q, store).serve(t)
	sh := create(t, start(t, datanode.Config{Store: store, Queue: q, Offline: auto(), Plan: eager()}), "books")
	fill(t, sh, 20)
	idle(t, sh)
	s := sh.Stats()
	require.Positive(t, s.Merges.Offline)
	require.Zero(t, s.Merges.Local+s.Merges.Failed)
	require.Positive(t, s.Merges.OfflineBytes)
	require.Len(t, ids(t, sh, datanode.Query{}), len(docsOf(20)))
	m := sh.Merges()[0]
	require.Equal(t, datanode.Committed, m.Status)
	require.Equal(t, "offline-1", m.Node)
	require.Contains(t, m.Reason, "1 offline node with 4 slots")
}

func TestALostEventCostsAPoll(t *testing.T) {
	store, q := remotestore.NewMemory(), newQueue()
	q.set(func(q *queue) { q.lose = true })
	newWorker(t, q, store).serve(t)
	sh := create(t, start(t, datanode.Config{Store: store, Queue: q, Offline: always(), Plan: eager()}), "books")
	fill(t, sh, 8)
	idle(t, sh)
	require.Positive(t, sh.Stats().Merges.Offline)
	require.Len(t, ids(t, sh, datanode.Query{}), len(docsOf(8)))
}

func TestAnEventBringsTheGenerationWithoutAPoll(t *testing.T) {
	store, q := remotestore.NewMemory(), newQueue()
	newWorker(t, q, store).serve(t)
	sh := create(t, start(t, datanode.Config{Store: store, Queue: q, Offline: always(), Plan: eager(), Poll: time.Hour}), "books")
	fill(t, sh, 8)
	eventually(t, func() bool { s := sh.Stats(); return s.Merges.Offline > 0 && len(s.Merges.Running) == 0 }, "the event is heard")
}

func TestWritesDuringAnOfflineMergeStayDeleted(t *testing.T) {
	store, q := remotestore.NewMemory(), newQueue()
	sh := create(t, start(t, datanode.Config{Store: store, Queue: q, Offline: always()}), "books")
	fill(t, sh, 4)
	_, err := sh.ForceMerge(t.Context(), 1)
	require.NoError(t, err)
	id := <-q.submitted
	write(t, sh, datanode.Op{Kind: datanode.Delete, ID: "5"}, put("6", title(66)))
	newWorker(t, q, store).run(t, id)
	idle(t, sh)
	require.Equal(t, 2, sh.Stats().Segments)
	require.Len(t, ids(t, sh, datanode.Query{}), len(docsOf(4))-1)
	got, err := sh.Get(t.Context(), "6")
	require.NoError(t, err)
	require.Equal(t, title(66), string(got.Source))
	_, err = sh.Get(t.Context(), "5")
	require.ErrorIs(t, err, datanode.ErrNotFound)
}

// forced begins an offline merge of everything and returns its task.
func forced(t testing.TB, sh *datanode.Shard, q *queue) string {
	t.Helper()
	fill(t, sh, 4)
	_, err := sh.ForceMerge(t.Context(), 1)
	require.NoError(t, err)
	return <-q.submitted
}

func TestAMergeThatFailsOfflineIsDoneHere(t *testing.T) {
	store, q := remotestore.NewMemory(), newQueue()
	sh := create(t, start(t, datanode.Config{Store: store, Queue: q, Offline: auto()}), "books")
	q.end(t.Context(), forced(t, sh, q), task.Failed, "no space left on device")
	idle(t, sh)
	require.Equal(t, 1, sh.Stats().Segments)
	m := sh.Merges()[0]
	require.Equal(t, datanode.Local, m.Where)
	require.Equal(t, datanode.Committed, m.Status)
	require.Contains(t, m.Reason, "failed offline: no space left on device")
}

func TestAMergeThatFailsWhileItMayOnlyRunOfflineIsTriedAgainLater(t *testing.T) {
	store, q := remotestore.NewMemory(), newQueue()
	sh := create(t, start(t, datanode.Config{Store: store, Queue: q, Offline: always(), Plan: eager(), Retry: time.Millisecond}), "books")
	id := forced(t, sh, q)
	q.end(t.Context(), id, task.Failed, "broken")
	eventually(t, func() bool { return sh.Stats().Merges.Failed == 1 }, "it is seen")
	w := newWorker(t, q, store)
	w.run(t, <-q.submitted) // planned again, submitted again
	w.serve(t)
	idle(t, sh)
	require.Positive(t, sh.Stats().Merges.Offline)
	require.Zero(t, sh.Stats().Merges.Local)
	require.Contains(t, fmt.Sprint(sh.Merges()), "broken")
}

func TestAMergeThatSomebodyCancelledIsLeftAlone(t *testing.T) {
	q := newQueue()
	sh := create(t, start(t, datanode.Config{Store: remotestore.NewMemory(), Queue: q, Offline: auto(), Retry: time.Hour}), "books")
	id := forced(t, sh, q)
	require.NoError(t, q.Cancel(t.Context(), id))
	eventually(t, func() bool { return sh.Stats().Merges.Cancelled == 1 }, "it is seen")
	begun, err := sh.ForceMerge(t.Context(), 1)
	require.NoError(t, err)
	require.Empty(t, begun)
	require.Equal(t, 4, sh.Stats().Segments)
}

func TestAMergeThatNobodyTakesComesBack(t *testing.T) {
	q := newQueue()
	offline := auto()
	offline.MaxQueueAge = time.Millisecond
	sh := create(t, start(t, datanode.Config{Store: remotestore.NewMemory(), Queue: q, Offline: offline}), "books")
	id := forced(t, sh, q)
	idle(t, sh)
	m := sh.Merges()[0]
	require.Equal(t, id, m.ID)
	require.Equal(t, datanode.Local, m.Where)
	require.Contains(t, m.Reason, "no offline node took it")
	state, err := q.State(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, task.Cancelled, state.Status)
}

func TestSwitchingOfflineMergesOffBringsWaitingOnesBack(t *testing.T) {
	q := newQueue()
	n := start(t, datanode.Config{Store: remotestore.NewMemory(), Queue: q, Offline: always()})
	sh := create(t, n, "books")
	forced(t, sh, q)
	require.NoError(t, n.SetOffline(datanode.Offline{Merge: datanode.Off}))
	idle(t, sh)
	require.EqualValues(t, 1, sh.Stats().Merges.Local)
	require.ErrorIs(t, n.SetOffline(datanode.Offline{Merge: "perhaps"}), datanode.ErrInvalid)
}

func TestAQueueThatIsAwayKeepsNothingFromBeingMerged(t *testing.T) {
	q := newQueue()
	q.set(func(q *queue) { q.err = errors.New("connection refused") })
	sh := create(t, start(t, datanode.Config{Store: remotestore.NewMemory(), Queue: q, Offline: auto(), Plan: eager()}), "books")
	fill(t, sh, 8)
	idle(t, sh)
	require.Positive(t, sh.Stats().Merges.Local)
	require.Contains(t, sh.Merges()[0].Reason, "connection refused")
}

func TestARestartFindsTheTaskThatRuns(t *testing.T) {
	store, q := remotestore.NewMemory(), newQueue()
	n := start(t, datanode.Config{Store: store, Queue: q, Offline: always()})
	id := forced(t, create(t, n, "books"), q)
	n.stop()
	sh := create(t, start(t, datanode.Config{Store: store, Queue: q, Offline: always()}), "books")
	begun, err := sh.ForceMerge(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, id, begun[0].ID)
	newWorker(t, q, store).run(t, id)
	idle(t, sh)
	require.Equal(t, 1, sh.Stats().Segments)
}

func TestTwoThatMergeTheSameChangeItOnce(t *testing.T) {
	store, q := remotestore.NewMemory(), newQueue()
	offline := auto()
	sh := create(t, start(t, datanode.Config{Store: store, Queue: q, Offline: offline}), "books")
	id := forced(t, sh, q)
	w := newWorker(t, q, store)
	raw := q.tasks[id].params
	q.end(t.Context(), id, task.Failed, "the node was thought dead")
	// The node was not dead: it goes on while the merge is done here.
	x := task.NewExecution(task.Envelope{ID: id, Type: merge.Type, Attempt: 1}, raw, time.Now().UnixMilli()-1000, nil, nil)
	_ = w.merger.Do(t.Context(), x) // committed, or refused: the shard has it once
	idle(t, sh)
	require.Equal(t, 1, sh.Stats().Segments)
	require.Len(t, ids(t, sh, datanode.Query{}), len(docsOf(4)))
	require.EqualValues(t, 1, sh.Stats().Merges.Local+sh.Stats().Merges.Offline)
}

func TestWritesWaitWhileTooManySegmentsAreToBeMerged(t *testing.T) {
	store, q := remotestore.NewMemory(), newQueue()
	sh := create(t, start(t, datanode.Config{
		Store: store, Queue: q, Offline: always(),
		Limits: datanode.Limits{Segments: 4, SegmentsWait: 50 * time.Millisecond},
	}), "books")
	id := forced(t, sh, q)
	_, err := sh.Bulk(t.Context(), []datanode.Op{put("more", `{}`)})
	require.ErrorIs(t, err, datanode.ErrBusy)
	require.ErrorContains(t, err, "4 segments")
	write(t, sh, datanode.Op{Kind: datanode.Delete, ID: "1"}) // makes no segment
	newWorker(t, q, store).run(t, id)
	eventually(t, func() bool {
		_, err := sh.Bulk(t.Context(), []datanode.Op{put("more", `{}`)})
		return err == nil
	}, "the merge has made room")
	require.Positive(t, sh.Stats().Writes.Busy)
}

func TestAMergeThatCommitsDuringAWriteIsBuiltUpon(t *testing.T) {
	q := newQueue()
	store := &away{Store: remotestore.NewMemory()}
	sh := create(t, start(t, datanode.Config{Store: store, Queue: q, Offline: always(), Poll: time.Hour}), "books")
	id, w := forced(t, sh, q), newWorker(t, q, store.Store)
	uploads := store.uploaded.Load()
	hold := sync.OnceFunc(func() { w.run(t, id) })
	before := func(string) { hold() }
	store.before.Store(&before) // the write has looked up what it deletes, and is about to commit
	written := write(t, sh, put("5", title(55)), datanode.Op{Kind: datanode.Delete, ID: "6"})
	require.Equal(t, []string{"updated", "deleted"}, outcomes(written))
	s := sh.Stats()
	require.EqualValues(t, 1, s.Writes.Conflicts)
	require.Equal(t, 2, s.Segments)
	require.EqualValues(t, len(docsOf(4))-1, s.Docs)
	require.Equal(t, uploads+1, store.uploaded.Load(), "what was built is not built again")
	idle(t, sh)
	require.EqualValues(t, 1, sh.Stats().Merges.Offline)
	require.Len(t, ids(t, sh, datanode.Query{Text: "title:55"}), 1)
}
