package merge

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/pkg/task/tasktest"
)

// fleet runs the merges of a force merge when they are asked for, each once.
type fleet struct {
	mux    *task.Mux
	ended  map[string]*task.ChildState
	before func(task.Submission) // each merge
}

func newFleet(t *testing.T, f *fixture) *fleet {
	t.Helper()
	mux := task.NewMux()
	require.NoError(t, Register(mux, Config{Store: f.store, Scratch: t.TempDir()}))
	return &fleet{mux: mux, ended: map[string]*task.ChildState{}, before: func(task.Submission) {}}
}

// child runs a merge to its end.
func (f *fleet) child(ctx context.Context) tasktest.Option {
	return tasktest.Children(func(child task.Submission) *task.ChildState {
		if f.ended[child.ID] == nil {
			f.before(child)
			r := tasktest.Run(ctx, f.mux, child.Type, child.Params, tasktest.ID(child.ID))
			state := &task.ChildState{Status: task.Success, Result: r.Report.Result, BytesMoved: r.Report.BytesMoved}
			if r.Outcome != tasktest.Success {
				state = &task.ChildState{Status: task.Failed, Error: fmt.Sprint(r.Err)}
			}
			f.ended[child.ID] = state
		}
		return f.ended[child.ID]
	})
}

// force runs a force merge to its end, and returns what it left.
func (f *fleet) force(t *testing.T, p ForceParams) (result ForceResult) {
	t.Helper()
	r := tasktest.Run(t.Context(), f.mux, ForceType, p, tasktest.ID("force"), f.child(t.Context()))
	last := 0.0
	for r.Outcome == tasktest.Waiting {
		require.GreaterOrEqual(t, r.Report.Fraction, last, "progress goes on over all rounds")
		last = r.Report.Fraction
		r = r.Again(t.Context())
	}
	require.Equal(t, tasktest.Success, r.Outcome, "%v", r.Err)
	require.NoError(t, r.ReadResult(&result))
	return result
}

// segmented has n segments of five documents each.
func segmented(t *testing.T, n int) *fixture {
	t.Helper()
	f := newFixture(t, remotestore.NewMemory())
	for i := range n {
		f.write(t, i*5, i*5+5)
	}
	return f
}

func TestTwentySegmentsBecomeOneInRounds(t *testing.T) {
	t.Parallel()
	f := segmented(t, 20)
	f.write(t, 0, 0, "doc-3", "doc-77")
	want, before := f.contents(t), f.newest(t)
	fleet := newFleet(t, f)
	r := fleet.force(t, ForceParams{Shard: "books/0", MaxSegments: 1, AtOnce: 5})
	require.Equal(t, want, f.contents(t))
	after := f.newest(t)
	require.Len(t, after.Segments, 1)
	require.EqualValues(t, 98, after.Segments[0].Docs)
	require.Greater(t, r.BytesIn, before.Bytes())
	require.Positive(t, r.BytesMoved)
	require.Equal(t, ForceResult{
		Shard: "books/0", Generation: after.Generation, Rounds: 2, Merges: 5, SegmentsBefore: 20, SegmentsAfter: 1, Docs: 98,
		BytesIn: r.BytesIn, BytesMoved: r.BytesMoved,
	}, r)

	fleet.ended = nil // no child may run any more
	again := fleet.force(t, ForceParams{Shard: "books/0", MaxSegments: 1})
	require.Zero(t, again.Merges)
	require.Equal(t, after.Generation, f.newest(t).Generation)
}

func TestWhatIsWrittenMeanwhileIsLeftAlone(t *testing.T) {
	t.Parallel()
	f := segmented(t, 8)
	fleet := newFleet(t, f)
	next := 100
	fleet.before = func(task.Submission) {
		f.write(t, next, next+3, fmt.Sprint("doc-", next-99)) // a segment, and a delete of what is being merged
		next += 3
	}
	r := fleet.force(t, ForceParams{Shard: "books/0", MaxSegments: 2, AtOnce: 3})
	require.Equal(t, 2, r.SegmentsAfter)
	require.Len(t, f.newest(t).Segments, 2+r.Merges)
	require.Len(t, f.contents(t), 40+2*r.Merges)
	require.Zero(t, r.NoEffect)
}

func TestAForceMergeThatLosesARaceGoesOn(t *testing.T) {
	t.Parallel()
	f := segmented(t, 9)
	want := f.contents(t)
	fleet := newFleet(t, f)
	raced := false
	fleet.before = func(child task.Submission) {
		if raced {
			return
		}
		raced = true
		m := f.newest(t)
		_, params := Plan(m, m.Segments[:4]) // a data node merges some of the same
		require.Equal(t, tasktest.Success, tasktest.Run(t.Context(), fleet.mux, Type, params, tasktest.ID("other")).Outcome)
	}
	r := fleet.force(t, ForceParams{Shard: "books/0", MaxSegments: 1, AtOnce: 4})
	require.Equal(t, want, f.contents(t))
	require.Len(t, f.newest(t).Segments, 1)
	require.Positive(t, r.NoEffect)
}

func TestExpungeRewritesWhatHasDeletes(t *testing.T) {
	t.Parallel()
	f := segmented(t, 4)
	f.write(t, 0, 0, "doc-1", "doc-2", "doc-11", "doc-15", "doc-16", "doc-17", "doc-18", "doc-19")
	want, before := f.contents(t), f.newest(t)
	r := newFleet(t, f).force(t, ForceParams{Shard: "books/0", Expunge: true})
	require.Equal(t, want, f.contents(t))
	after := f.newest(t)
	require.Len(t, after.Segments, 3, "nothing was left of the last")
	require.Equal(t, before.Segments[1], after.Segments[0], "it has no deletes")
	for _, s := range after.Segments {
		require.Equal(t, s.Docs, s.Live)
	}
	require.Equal(t, 3, r.Merges)
	require.Equal(t, 1, r.Rounds)
	require.Zero(t, r.NoEffect)
}

func TestOnlyTheSegmentsThatAreNamed(t *testing.T) {
	t.Parallel()
	f := segmented(t, 6)
	m := f.newest(t)
	newFleet(t, f).force(t, ForceParams{Shard: "books/0", MaxSegments: 1, Segments: []uint64{m.Segments[1].ID, m.Segments[4].ID}})
	require.Len(t, f.newest(t).Segments, 5)
}

// A node may die between two rounds, or before its checkpoint is stored.
func TestARepeatedRunPlansTheSameChildren(t *testing.T) {
	t.Parallel()
	f := segmented(t, 7)
	fleet := newFleet(t, f)
	p := ForceParams{Shard: "books/0", MaxSegments: 1, AtOnce: 4}
	var plans []string
	waits := tasktest.Children(func(child task.Submission) *task.ChildState {
		plans = append(plans, child.ID)
		return nil
	})
	first := tasktest.Run(t.Context(), fleet.mux, ForceType, p, tasktest.ID("force"), waits)
	require.Equal(t, tasktest.Waiting, first.Outcome)
	f.write(t, 100, 105) // others go on
	second := first.Again(t.Context())
	require.Equal(t, tasktest.Waiting, second.Outcome)
	require.Len(t, plans, 1, "the second run asked for the child of the first")
	require.Equal(t, first.Report.Checkpoint, second.Report.Checkpoint)

	lost := tasktest.Run(t.Context(), fleet.mux, ForceType, p, tasktest.ID("force"), fleet.child(t.Context()))
	for lost.Outcome == tasktest.Waiting {
		lost = lost.Again(t.Context())
	}
	require.Equal(t, tasktest.Success, lost.Outcome, "without its checkpoint it plans anew")
	require.Len(t, f.newest(t).Segments, 1)
	broken := tasktest.Run(t.Context(), fleet.mux, ForceType, p, tasktest.Checkpoint([]byte(`{"before":"x"}`)), fleet.child(t.Context()))
	require.Equal(t, tasktest.Success, broken.Outcome)
}

func TestAChildThatFailsFailsTheForceMerge(t *testing.T) {
	t.Parallel()
	f := segmented(t, 3)
	failing := tasktest.Children(func(task.Submission) *task.ChildState {
		return &task.ChildState{Status: task.Failed, Error: "no space left on device"}
	})
	r := tasktest.Run(t.Context(), newFleet(t, f).mux, ForceType, ForceParams{Shard: "books/0", MaxSegments: 1}, failing)
	for r.Outcome == tasktest.Waiting {
		r = r.Again(t.Context())
	}
	require.Equal(t, tasktest.DeadLetter, r.Outcome)
	require.ErrorContains(t, r.Err, "no space left on device")
}

func TestAGenerationThatIsCollectedIsPlannedAnew(t *testing.T) {
	t.Parallel()
	f := segmented(t, 5)
	fleet := newFleet(t, f)
	gone := force{Before: 6, Generation: 1_000, Merges: [][]uint64{{1, 2}}}
	r := tasktest.Run(t.Context(), fleet.mux, ForceType, ForceParams{Shard: "books/0", MaxSegments: 1}, tasktest.Checkpoint(gone), fleet.child(t.Context()))
	for r.Outcome == tasktest.Waiting {
		r = r.Again(t.Context())
	}
	require.Equal(t, tasktest.Success, r.Outcome)
	require.Len(t, f.newest(t).Segments, 1)
}

// A run seldom plans more than one round, so they are counted in the checkpoint.
func TestAForceMergeDoesNotGoOnForEver(t *testing.T) {
	t.Parallel()
	f := segmented(t, 5)
	late := force{Before: 6, Result: ForceResult{Rounds: maxRounds}}
	r := tasktest.Run(t.Context(), newFleet(t, f).mux, ForceType, ForceParams{Shard: "books/0", MaxSegments: 1}, tasktest.Checkpoint(late))
	require.Equal(t, tasktest.DeadLetter, r.Outcome)
	require.ErrorContains(t, r.Err, "after 100 rounds")
}

func TestACheckpointHasRoomForVeryManySegments(t *testing.T) {
	t.Parallel()
	for _, atOnce := range []int{DefaultAtOnce, MaxInputs} {
		m := shard.Manifest{Shard: "books/0", Generation: 7, NextSegment: 1_000_000_000}
		add := func() uint64 {
			m.Segments = append(m.Segments, shard.Segment{ID: m.NextSegment, Docs: 1, Live: 1, Bytes: 1})
			m.NextSegment++
			return m.NextSegment - 1
		}
		for range 8000 {
			add()
		}
		f, p := force{}, ForceParams{Shard: m.Shard, MaxSegments: 1, AtOnce: atOnce}
		for f.plan(m, p) {
			require.NoError(t, (&task.Execution{}).Checkpoint(f))
			require.LessOrEqual(t, f.Result.Rounds, 10)
			merged := map[uint64]bool{}
			for _, inputs := range f.Merges {
				for _, id := range inputs {
					merged[id] = true
				}
			}
			m.Segments = slices.DeleteFunc(m.Segments, func(s shard.Segment) bool { return merged[s.ID] })
			for range f.Merges {
				f.Own = append(f.Own, add())
			}
			f.Merges = nil
		}
		require.Len(t, m.Segments, 1)
	}
}

func TestForceParams(t *testing.T) {
	t.Parallel()
	require.NoError(t, ForceParams{Shard: "books/0", MaxSegments: 1}.Validate())
	for want, p := range map[string]ForceParams{
		"nothing to do":   {Shard: "books/0"},
		"must stay":       {Shard: "books/0", MaxSegments: -1},
		"2 to 1000":       {Shard: "books/0", MaxSegments: 1, AtOnce: 1},
		"at most 10000":   {Shard: "books/0", MaxSegments: 1, Segments: make([]uint64, 10_001)},
		"shard":           {MaxSegments: 1},
		"expunge_deletes": {Shard: "books/0"},
	} {
		require.ErrorContains(t, p.Validate(), want)
	}
	require.Equal(t, "merge books down to 2 and expunge deletes", ForceParams{Shard: "books", MaxSegments: 2, Expunge: true}.Describe())
	absent := tasktest.Run(t.Context(), newFleet(t, segmented(t, 1)).mux, ForceType, ForceParams{Shard: "nobody", MaxSegments: 1})
	require.Equal(t, tasktest.DeadLetter, absent.Outcome)
	require.ErrorIs(t, absent.Err, shard.ErrNotFound)
}

func TestForcePlans(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n, atOnce := rapid.IntRange(1, 5).Draw(t, "n"), rapid.IntRange(2, 12).Draw(t, "at once")
		var segments []shard.Segment
		for i, docs := range rapid.SliceOfN(rapid.Uint64Range(1, 1000), 0, 80).Draw(t, "segments") {
			segments = append(segments, shard.Segment{ID: uint64(i + 1), Docs: docs, Live: docs, Bytes: int64(docs)})
		}
		next := uint64(len(segments) + 1)
		total, docs := len(segments), sum(segments)
		for round := 0; ; round++ {
			merges := PlanForce(segments, n, atOnce)
			if len(merges) == 0 {
				break
			}
			require.Less(t, round, 10, "a round takes the shard a good part of the way")
			for _, inputs := range merges {
				require.GreaterOrEqual(t, len(inputs), 2)
				require.LessOrEqual(t, len(inputs), atOnce)
				merged := shard.Segment{ID: next}
				next++
				left := segments[:0:0]
				taken := map[uint64]bool{}
				for i, in := range inputs {
					require.True(t, i == 0 || inputs[i-1].ID < in.ID, "in the order of the manifest")
					taken[in.ID] = true
					merged.Docs, merged.Live, merged.Bytes = merged.Docs+in.Docs, merged.Live+in.Live, merged.Bytes+in.Bytes
				}
				for _, s := range segments {
					if !taken[s.ID] {
						left = append(left, s)
					}
				}
				require.Len(t, left, len(segments)-len(inputs), "each is there, and in one merge of the round only")
				segments = append(left, merged)
			}
		}
		require.Len(t, segments, min(total, n))
		require.Equal(t, docs, sum(segments))
	})
}
