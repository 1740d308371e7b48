//go:build synctests

package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shrink leaves steps out of a schedule for as long as it fails without them:
// half of them at a time, then less. It gives up after a while.
func shrink(s Schedule, patience time.Duration, fails func(Schedule) bool) Schedule {
	deadline := time.Now().Add(patience)
	for size := max(len(s.Steps)/2, 1); ; size = max(size/2, 1) {
		smaller := false
		for from := 0; from < len(s.Steps); {
			if time.Now().After(deadline) {
				return s
			}
			without := s
			without.Steps = slices.Delete(slices.Clone(s.Steps), from, min(from+size, len(s.Steps)))
			if fails(without) {
				s, smaller = without, true
			} else {
				from += size
			}
		}
		if size == 1 && !smaller {
			return s
		}
	}
}

func TestShrinkFindsTheStepsThatMatter(t *testing.T) {
	var s Schedule
	for n := range 100 {
		s.Steps = append(s.Steps, Step{N: n})
	}
	small := shrink(s, time.Minute, func(s Schedule) bool {
		return slices.Contains(s.Steps, Step{N: 17}) && slices.Contains(s.Steps, Step{N: 71})
	})
	require.Equal(t, []Step{{N: 17}, {N: 71}}, small.Steps)
}
