// Package stats has the few figures that the report is made of. An empty list has the value NaN everywhere, which a
// report shows as a dash.
package stats

import (
	"math"
	"slices"
)

// Median is the middle of the values, or the mean of the two in the middle.
func Median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// Percentile is the smallest value that at least p percent of the values do not exceed (nearest rank).
func Percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Spread is how far apart the values are, as a share of their median: (max - min) / median.
func Spread(values []float64) float64 {
	m := Median(values)
	if len(values) == 0 || m == 0 {
		return math.NaN()
	}
	return (slices.Max(values) - slices.Min(values)) / math.Abs(m)
}
