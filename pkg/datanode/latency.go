package datanode

import (
	"math"
	"sync/atomic"
	"time"
)

// latency counts how long calls took, in buckets that grow by a quarter of a power of two: a quantile is right to 19 %.
// The zero value is ready and safe for concurrent use.
type latency struct {
	buckets [latencyBuckets]atomic.Int64
	max     atomic.Int64
}

// The first bucket ends at a microsecond, the last one is open.
const latencyBuckets = 4 * 32

func (l *latency) add(d time.Duration) {
	l.buckets[bucketOf(d)].Add(1)
	for {
		old := l.max.Load()
		if int64(d) <= old || l.max.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

func bucketOf(d time.Duration) int {
	us := float64(d) / float64(time.Microsecond)
	if us <= 1 {
		return 0
	}
	return min(int(math.Ceil(4*math.Log2(us))), latencyBuckets-1)
}

// Latency is how long calls took since the shard was opened.
type Latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P95   float64 `json:"p95_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

func (l *latency) stats() Latency {
	var counts [latencyBuckets]int64
	var n int64
	for i := range l.buckets {
		counts[i] = l.buckets[i].Load()
		n += counts[i]
	}
	most := float64(l.max.Load()) / float64(time.Millisecond)
	quantile := func(q float64) float64 {
		left := int64(math.Ceil(q * float64(n)))
		for i, c := range counts {
			if left -= c; left <= 0 {
				return min(math.Exp2(float64(i)/4)/1000, most)
			}
		}
		return most
	}
	if n == 0 {
		return Latency{}
	}
	return Latency{n, quantile(0.5), quantile(0.95), quantile(0.99), most}
}
