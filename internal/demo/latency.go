package demo

import (
	"slices"
	"time"
)

// latencies are how long requests took.
type latencies []time.Duration

// percentile is the time within which that many of 100 were answered; 0 when
// there were none.
func (l latencies) percentile(p float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(l))
	rank := int(p / 100 * float64(len(sorted)))
	if float64(rank) < p/100*float64(len(sorted)) {
		rank++ // the nearest rank is the next whole one
	}
	return sorted[min(max(rank, 1), len(sorted))-1]
}
