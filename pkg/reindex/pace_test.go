package reindex

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rate atomic.Int64
		p := &pace{rate: func() float64 { return float64(rate.Load()) }}
		waits := 0
		take := func(n int) time.Duration {
			began := time.Now()
			for range n {
				require.NoError(t, p.take(t.Context(), func() { waits++ }))
			}
			return time.Since(began)
		}
		require.Zero(t, take(100_000), "no limit")
		rate.Store(1000)
		require.InDelta(t, 10, take(10_000).Seconds(), 0.1)
		rate.Store(2)
		require.InDelta(t, 5, take(10).Seconds(), 0.6)
		require.Positive(t, waits)

		rate.Store(1) // one document in a second, and then the limit goes
		took := make(chan time.Duration)
		go func() { took <- take(100) }()
		time.Sleep(3 * time.Second)
		rate.Store(0)
		require.InDelta(t, 3, (<-took).Seconds(), 0.3)

		rate.Store(1)
		take(2)
		ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errors.New("told to stop"))
		defer cancel()
		require.EqualError(t, p.take(ctx, func() {}), "told to stop")
	})
}

func TestSlicesAreStableAndEven(t *testing.T) {
	require.Equal(t, 5, sliceOf("doc-1", 7), "it must not change: a reindex that runs would lose documents")
	counts := make([]int, 8)
	for i := range 8000 {
		counts[sliceOf(string(rune('a'+i%26))+time.Duration(i).String(), 8)]++
	}
	for _, n := range counts {
		require.InDelta(t, 1000, n, 150)
	}
	require.Zero(t, sliceOf("doc-1", 1))
}
