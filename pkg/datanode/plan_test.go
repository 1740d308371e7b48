package datanode

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// segments have so many live documents each, and IDs from 1; a negative number has as many deleted ones beside one live.
func segmentsOf(live ...int) (all []shard.Segment) {
	for i, n := range live {
		s := shard.Segment{ID: uint64(i + 1), Docs: uint64(n), Live: uint64(n), Bytes: int64(n) * 100}
		if n < 0 {
			s.Docs, s.Live, s.Bytes = uint64(1-n), 1, int64(1-n)*100
		}
		all = append(all, s)
	}
	return all
}

func idsOf(merges [][]shard.Segment) (all [][]uint64) {
	for _, inputs := range merges {
		var ids []uint64
		for _, s := range inputs {
			ids = append(ids, s.ID)
		}
		all = append(all, ids)
	}
	return all
}

func TestPlans(t *testing.T) {
	policy := DefaultPlan()
	merges, err := planMerges(segmentsOf(1, 1, 1, 1, 1, 1, 1, 1, 1, 1), &policy)
	require.NoError(t, err)
	require.Empty(t, merges, "up to ten segments are left alone, however small")
	merges, err = planMerges(segmentsOf(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1), &policy)
	require.NoError(t, err)
	require.Len(t, merges, 1)
	require.IsIncreasing(t, idsOf(merges)[0])

	empty := segmentsOf(5, 5, 5)
	empty[1].Live = 0
	merges, err = planMerges(empty, &policy)
	require.NoError(t, err)
	require.Equal(t, [][]uint64{{2}}, idsOf(merges), "a segment without a live document goes")
}

func TestWritesOfManySegmentsSettleAtALogarithm(t *testing.T) {
	policy := DefaultPlan()
	var segments []shard.Segment
	next, written, moved := uint64(1), 0, uint64(0)
	for range 3000 {
		segments = append(segments, shard.Segment{ID: next, Docs: 100, Live: 100})
		next++
		written += 100
		merges, err := planMerges(segments, &policy)
		require.NoError(t, err)
		for _, inputs := range merges {
			gone := map[uint64]bool{}
			var sum uint64
			for _, s := range inputs {
				gone[s.ID] = true
				sum += s.Live
			}
			var left []shard.Segment
			for _, s := range segments {
				if !gone[s.ID] {
					left = append(left, s)
				}
			}
			segments = append(left, shard.Segment{ID: next, Docs: sum, Live: sum})
			next++
			moved += sum
		}
		require.Less(t, len(segments), 40)
	}
	require.Less(t, float64(moved)/float64(written), 5.0, "each document is merged a few times")
}

func TestLatency(t *testing.T) {
	var l latency
	require.Zero(t, l.stats())
	for i := range 1000 {
		l.add(msOf(i + 1))
	}
	s := l.stats()
	require.EqualValues(t, 1000, s.Count)
	require.InEpsilon(t, 500, s.P50, 0.2)
	require.InEpsilon(t, 990, s.P99, 0.2)
	require.InDelta(t, 1000, s.Max, 0.001)
}

func msOf(n int) time.Duration { return time.Duration(n) * time.Millisecond }
