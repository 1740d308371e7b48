package merge

import (
	"cmp"
	"slices"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// DefaultAtOnce is how many segments one merge of a force merge takes unless it is told. More at once save bytes; fewer
// leave more to do side by side.
const DefaultAtOnce = 30

// PlanForce returns the merges of the next round that brings segments down to at most n of them, of at most atOnce
// inputs each; none when there is nothing to do. The merges of a round have no segment in common, so they may run at
// the same time. The n-1 largest segments stay as they are. As long as one merge cannot take all the others, a round
// merges the smallest of them, and just as many as are too many, so that few bytes are moved twice. It is a pure
// function.
func PlanForce(segments []shard.Segment, n, atOnce int) [][]shard.Segment {
	if n < 1 || len(segments) <= n {
		return nil
	}
	bySize := slices.Clone(segments)
	slices.SortStableFunc(bySize, func(a, b shard.Segment) int { return cmp.Compare(liveBytes(a), liveBytes(b)) })
	rest := bySize[:len(bySize)-(n-1)]
	over := len(rest) - atOnce
	if over <= 0 {
		return [][]shard.Segment{inOrder(rest)}
	}
	count := (over + atOnce - 2) / (atOnce - 1) // a merge of k makes k-1 fewer
	rest = rest[:min(over+count, len(rest))]
	count = min(count, len(rest)/2)
	rest = rest[:min(len(rest), count*atOnce)] // an odd one is left for the next round
	merges := make([][]shard.Segment, 0, count)
	for ; count > 0; count-- {
		share := (len(rest) + count - 1) / count
		merges = append(merges, inOrder(rest[:share]))
		rest = rest[share:]
	}
	return merges
}

// PlanExpunge returns the merges that rewrite each segment which holds deleted documents. It is a pure function.
func PlanExpunge(segments []shard.Segment) (merges [][]shard.Segment) {
	for _, s := range segments {
		if s.Live < s.Docs {
			merges = append(merges, []shard.Segment{s})
		}
	}
	return merges
}

// inOrder sorts segments as they stand in a manifest.
func inOrder(segments []shard.Segment) []shard.Segment {
	sorted := slices.Clone(segments)
	slices.SortFunc(sorted, func(a, b shard.Segment) int { return cmp.Compare(a.ID, b.ID) })
	return sorted
}

// liveBytes is the share of a segment's bytes that live documents have.
func liveBytes(s shard.Segment) int64 {
	if s.Docs == 0 {
		return 0
	}
	return int64(float64(s.Bytes) * float64(s.Live) / float64(s.Docs))
}
