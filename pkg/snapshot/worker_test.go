package snapshot

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/pkg/task/tasktest"
)

// filled has two shards of three segments, of which some documents are deleted.
func filled(t testing.TB) *world {
	t.Helper()
	w := newWorld(t, remotestore.NewMemory(), remotestore.NewMemory())
	w.fill(t)
	return w
}

func (w *world) fill(t testing.TB) {
	t.Helper()
	for _, name := range []string{"books/0", "books/1"} {
		w.create(t, name)
		w.write(t, name, 0, 10)
		w.write(t, name, 10, 30, "doc-3")
		w.write(t, name, 30, 35, "doc-12")
	}
}

var both = []string{"books/0", "books/1"}

func TestShallowSnapshotAndRestore(t *testing.T) {
	t.Parallel()
	w := filled(t)
	want := w.contents(t, "books/0")
	before := w.newest(t, "books/0")
	result := w.succeeds(t, Type, Params{Snapshot: "monday", Shards: both})
	require.Equal(t, Result{
		Snapshot: "monday", Shards: 2, Segments: 6, Docs: 66, Bytes: before.Bytes() + w.newest(t, "books/1").Bytes(),
	}, result)

	d, err := Get(t.Context(), w.store, "monday")
	require.NoError(t, err)
	require.True(t, d.Complete())
	part, ok := d.Part("books/0")
	require.True(t, ok)
	require.Equal(t, before.Generation, part.Generation)
	pins, err := pinned(t, w.store)
	require.NoError(t, err)
	require.Len(t, pins, 6)

	w.write(t, "books/0", 5, 50, "doc-1", "doc-5", "doc-6")
	w.merge(t, "books/0")
	lost := w.newest(t, "books/0")
	err = w.fails(t, RestoreType, RestoreParams{Snapshot: "monday", Shards: []Target{{Shard: "books/0"}}})
	require.ErrorContains(t, err, ErrNewer.Error())
	require.Equal(t, lost.Generation, w.newest(t, "books/0").Generation, "nothing was written")

	result = w.succeeds(t, RestoreType, RestoreParams{Snapshot: "monday", Shards: []Target{{Shard: "books/0"}}, Force: true})
	require.Equal(t, 1, result.Shards)
	require.Zero(t, result.Copied, "the blobs are where they are needed")
	require.Equal(t, want, w.contents(t, "books/0"))
	after := w.newest(t, "books/0")
	require.Equal(t, lost.Generation+1, after.Generation)
	require.Equal(t, lost.NextSegment, after.Segments[0].ID, "segments get new ids")
	require.Equal(t, "node-1", after.Writer.Node)
	require.Empty(t, keys(t, w.store, "books/0/pending/"))

	result = w.succeeds(t, RestoreType, RestoreParams{Snapshot: "monday", Shards: []Target{{"books/0", "copies/books"}}})
	require.Equal(t, before.Bytes(), result.Copied)
	require.Equal(t, want, w.contents(t, "copies/books"))
	require.Empty(t, keys(t, w.store, "copies/books/pending/"))
}

func TestFullSnapshotAndRestore(t *testing.T) {
	t.Parallel()
	w := filled(t)
	want := map[string]map[string]string{"books/0": w.contents(t, "books/0"), "books/1": w.contents(t, "books/1")}
	first := w.succeeds(t, Type, Params{Snapshot: "monday", Shards: both, Repository: true})
	require.Equal(t, first.Bytes, first.Copied)
	require.Empty(t, keys(t, w.store, root), "nothing is pinned any more")
	require.Len(t, keys(t, w.repository, "books/0/blob/"), 3)

	w.write(t, "books/0", 40, 50)
	second := w.succeeds(t, Type, Params{Snapshot: "tuesday", Shards: both, Repository: true})
	segments := w.newest(t, "books/0").Segments
	require.Equal(t, segments[3].Bytes, second.Copied, "what monday brought is not copied again")
	require.Len(t, keys(t, w.repository, "books/0/blob/"), 4)

	// The store is lost.
	w.store = remotestore.NewMemory()
	w.mux = w.node(t, w.store, w.repository)
	result := w.succeeds(t, RestoreType, RestoreParams{Snapshot: "monday", Repository: true})
	require.Equal(t, first.Bytes, result.Copied)
	for name, docs := range want {
		require.Equal(t, docs, w.contents(t, name))
	}
	require.EqualValues(t, 1, w.newest(t, "books/0").Generation)

	// tuesday needs what monday brought.
	freed, err := DeleteCopy(t.Context(), w.repository, w.store, "monday")
	require.NoError(t, err)
	require.Zero(t, freed)
	require.Len(t, keys(t, w.repository, "books/0/blob/"), 4)
	w.succeeds(t, RestoreType, RestoreParams{Snapshot: "tuesday", Repository: true, Force: true})
	require.Len(t, w.contents(t, "books/0"), 43)

	freed, err = DeleteCopy(t.Context(), w.repository, w.store, "tuesday")
	require.NoError(t, err)
	require.Equal(t, second.Bytes, freed)
	require.Empty(t, keys(t, w.repository, ""))
}

func TestARestoreIsAppliedOnce(t *testing.T) {
	t.Parallel()
	w := filled(t)
	w.succeeds(t, Type, Params{Snapshot: "monday", Shards: both})
	w.write(t, "books/0", 40, 50)
	params := RestoreParams{Snapshot: "monday", Shards: []Target{{Shard: "books/0"}}, Force: true}
	require.NoError(t, w.run(t, w.mux, "restore-1", RestoreType, params).Err)
	w.write(t, "books/0", 60, 70)
	m := w.newest(t, "books/0")
	require.NoError(t, w.run(t, w.mux, "restore-1", RestoreType, params).Err, "another run of the same task")
	require.Equal(t, m.Generation, w.newest(t, "books/0").Generation)
	require.Contains(t, w.contents(t, "books/0"), "doc-69")
}

func TestRestoreOfWhatHasNotChangedHasNoEffect(t *testing.T) {
	t.Parallel()
	w := filled(t)
	w.succeeds(t, Type, Params{Snapshot: "monday", Shards: both})
	m := w.newest(t, "books/0")
	w.succeeds(t, RestoreType, RestoreParams{Snapshot: "monday"})
	require.Equal(t, m.Generation, w.newest(t, "books/0").Generation)
}

func TestANameIsTakenOnce(t *testing.T) {
	t.Parallel()
	w := filled(t)
	w.succeeds(t, Type, Params{Snapshot: "monday", Shards: both})
	require.ErrorIs(t, w.fails(t, Type, Params{Snapshot: "monday", Shards: both}), ErrExists)
	require.ErrorContains(t, w.fails(t, Type, Params{Snapshot: "tuesday", Shards: []string{"none"}}), "shard none: not in the store")

	require.NoError(t, Delete(t.Context(), w.store, "monday"))
	require.NoError(t, Delete(t.Context(), w.store, "monday"), "again")
	_, err := Get(t.Context(), w.store, "monday")
	require.ErrorIs(t, err, shard.ErrNotFound)
	w.succeeds(t, Type, Params{Snapshot: "monday", Shards: both})
	all, err := List(t.Context(), w.store)
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.False(t, all[1].Complete())
	require.ErrorIs(t, w.fails(t, RestoreType, RestoreParams{Snapshot: "tuesday"}), ErrIncomplete)
}

func TestWithoutARepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t, remotestore.NewMemory(), nil)
	w.fill(t)
	require.ErrorIs(t, w.fails(t, Type, Params{Snapshot: "monday", Shards: both, Repository: true}), ErrNoRepository)
	require.ErrorIs(t, w.fails(t, RestoreType, RestoreParams{Snapshot: "monday", Repository: true}), ErrNoRepository)
}

// TestAShallowSnapshotTakesTheSameTimeForAnySize counts what it asks the store.
func TestAShallowSnapshotTakesTheSameTimeForAnySize(t *testing.T) {
	t.Parallel()
	w := newWorld(t, remotestore.NewMemory(), nil)
	calls := func(docs int) (calls int64) {
		name := strings.Repeat("x", docs)
		w.create(t, name)
		for i := range docs {
			w.write(t, name, i, i+1)
		}
		var n atomic.Int64
		mux := w.node(t, hooked{w.store, func(verb, key string) error {
			require.NotContains(t, verb, "file", "no blob moves")
			n.Add(1)
			return nil
		}}, nil)
		require.NoError(t, w.run(t, mux, task.NewID(), Type, Params{Snapshot: name, Shards: []string{name}}).Err)
		return n.Load()
	}
	require.Equal(t, calls(1), calls(8))
}

// TestACopyGoesOn lets a worker stop in the middle of a full copy.
func TestACopyGoesOn(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]bool{"with its checkpoint": false, "when the checkpoint is lost": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, remotestore.NewMemory(), remotestore.NewMemory())
			w.create(t, "books")
			for i := range 12 {
				w.write(t, "books", i*5, i*5+5)
			}
			want := w.contents(t, "books")
			parent := "snapshot-1"
			begin(t, w, parent, Params{Snapshot: "monday", Shards: []string{"books"}, Repository: true})

			var uploads atomic.Int64
			stopped := make(chan struct{})
			slow := w.node(t, w.store, hooked{w.repository, func(verb, _ string) error {
				if verb == "put file" && uploads.Add(1) > 6 {
					<-stopped
					return context.Canceled
				}
				return nil
			}})
			params := ShardParams{Snapshot: "monday", Shard: "books", Repository: true}
			half := func(r task.Report) bool {
				if r.Checkpointed < 7 { // the plan and six copies
					return false
				}
				select {
				case <-stopped:
				default:
					close(stopped)
				}
				return true
			}
			r := tasktest.Run(t.Context(), slow, ShardType, params, tasktest.ID(ChildTask(parent, "books")), tasktest.StopWhen(half, task.ErrDraining))
			require.Equal(t, tasktest.Interrupted, r.Outcome, "%v", r.Err)
			w.cleanScratch(t)
			require.Len(t, keys(t, w.repository, "books/blob/"), 6)

			var again, readBack atomic.Int64
			mux := w.node(t, w.store, hooked{w.repository, func(verb, key string) error {
				switch {
				case verb == "put file":
					again.Add(1)
				case verb == "get" && strings.HasPrefix(key, "books/blob/"):
					readBack.Add(1)
				}
				return nil
			}})
			options := []tasktest.Option{tasktest.ID(ChildTask(parent, "books")), tasktest.AllocationID(2)}
			if !lost {
				options = append(options, tasktest.Checkpoint(r.Report.Checkpoint))
			}
			r = tasktest.Run(t.Context(), mux, ShardType, params, options...)
			require.Equal(t, tasktest.Success, r.Outcome, "%v", r.Err)
			require.EqualValues(t, 6, again.Load(), "what was copied is not copied again")
			if lost {
				require.EqualValues(t, 12, readBack.Load(), "but what was not known to be whole is read")
			} else {
				require.EqualValues(t, 6, readBack.Load())
			}

			var part Part
			require.NoError(t, r.ReadResult(&part))
			complete(t, w, parent, Params{Snapshot: "monday", Shards: []string{"books"}, Repository: true}, r)
			require.Len(t, keys(t, w.repository, root+"monday/part/"), 1, "what the first run left is gone")
			require.Empty(t, keys(t, w.store, root))
			w.succeeds(t, RestoreType, RestoreParams{Snapshot: "monday", Repository: true, Shards: []Target{{"books", "copy"}}})
			require.Len(t, w.contents(t, "copy"), len(want))
		})
	}
}

// A node may die between the submission of the children and the beat that keeps a checkpoint, and another snapshot be
// completed before the next run: that must plan the same children.
func TestAnotherSnapshotDoesNotChangeThePlan(t *testing.T) {
	t.Parallel()
	w := filled(t)
	var child task.ChildState
	asked := tasktest.Children(func(s task.Submission) *task.ChildState {
		if child.Status == 0 {
			return nil
		}
		child = *state(tasktest.Run(t.Context(), w.mux, s.Type, s.Params, tasktest.ID(s.ID), tasktest.AllocationID(100)))
		return &child
	})
	params := Params{Snapshot: "tuesday", Shards: []string{"books/0"}, Repository: true}
	first := tasktest.Run(t.Context(), w.mux, Type, params, tasktest.ID("snapshot-1"), asked)
	require.Equal(t, tasktest.Waiting, first.Outcome, "%v", first.Err)
	w.succeeds(t, Type, Params{Snapshot: "monday", Shards: both, Repository: true})
	child.Status = task.Unassigned // its turn
	second := first.Again(t.Context(), tasktest.Checkpoint(json.RawMessage(nil)))
	require.Equal(t, tasktest.Success, second.Outcome, "%v", second.Err)
	var result Result
	require.NoError(t, second.ReadResult(&result))
	require.Zero(t, result.Copied, "monday brought all")
}

// begin runs a parent up to where it waits.
func begin(t *testing.T, w *world, id string, params Params) {
	t.Helper()
	waits := tasktest.Children(func(task.Submission) *task.ChildState { return nil })
	r := tasktest.Run(t.Context(), w.mux, Type, params, tasktest.ID(id), waits)
	require.Equal(t, tasktest.Waiting, r.Outcome, "%v", r.Err)
}

// complete runs a parent whose child has ended.
func complete(t *testing.T, w *world, id string, params Params, child tasktest.Result) {
	t.Helper()
	ended := tasktest.Children(func(task.Submission) *task.ChildState { return state(child) })
	r := tasktest.Run(t.Context(), w.mux, Type, params, tasktest.ID(id), ended)
	require.Equal(t, tasktest.Waiting, r.Outcome, "%v", r.Err)
	r = r.Again(t.Context())
	require.Equal(t, tasktest.Success, r.Outcome, "%v", r.Err)
}
