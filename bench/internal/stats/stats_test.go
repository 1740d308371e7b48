package stats_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/bench/internal/stats"
)

func TestMedianIsTheMiddle(t *testing.T) {
	require.InDelta(t, 2, stats.Median([]float64{9, 1, 2}), 0)
	require.InDelta(t, 2.5, stats.Median([]float64{9, 1, 2, 3}), 0)
	require.True(t, math.IsNaN(stats.Median(nil)))
}

func TestPercentileIsAValueThatWasMeasured(t *testing.T) {
	values := []float64{50, 10, 40, 20, 30}
	for p, want := range map[float64]float64{0: 10, 1: 10, 20: 10, 21: 20, 50: 30, 99: 50, 100: 50} {
		require.InDelta(t, want, stats.Percentile(values, p), 0, "p%v", p)
	}
	require.InDelta(t, 50, values[0], 0, "the caller's values stay in their order")
	require.True(t, math.IsNaN(stats.Percentile(nil, 50)))
}

func TestSpreadIsAShareOfTheMedian(t *testing.T) {
	require.InDelta(t, 0.2, stats.Spread([]float64{100, 90, 110}), 1e-9)
	require.Zero(t, stats.Spread([]float64{5}))
	require.True(t, math.IsNaN(stats.Spread(nil)))
	require.True(t, math.IsNaN(stats.Spread([]float64{0, 0})))
}
