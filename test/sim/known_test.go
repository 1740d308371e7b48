//go:build synctests

package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A hole that is known: a dead letter that is redriven before the event of its
// failure is acknowledged, on a Redis that then forgets everything, is only
// heard of again by its replay's event. The failure itself is not lost: its
// letter is there.
func TestKnownARedriveBeforeTheEventAndAFlush(t *testing.T) {
	r := play(t, Schedule{Nodes: 2, Steps: []Step{
		{At: time.Second, Do: "results refused", For: 30 * time.Second},
		submit(2, "permanent"),
		{At: 10 * time.Second, Do: "redrive"},
		{At: 12 * time.Second, Do: "crash", N: 0, For: time.Second},
		{At: 12 * time.Second, Do: "crash", N: 0, For: time.Second},
		{At: 13 * time.Second, Do: "flush"},
		{At: time.Minute, Do: "wait"},
	}}, Options{})
	for _, v := range r.Violations {
		require.Equal(t, I1, v.Invariant)
		require.Contains(t, v.What, "pe-0 (permanent) has no event")
	}
	require.NotZero(t, r.Stats.Letters)
}
