package faults

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAnAuditSaysWhatASoakHasFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "soak.json")
	written := Soaked{
		Began: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Took: 5 * time.Minute, Servers: []string{"kafka", "redis"}, Kept: true,
		Faults: map[string]int{"kill -9 of a node": 7, "FLUSHALL of Redis": 1}, Accepted: 10, Settled: 10, Repeated: 3, Worst: 8400 * time.Millisecond,
		Shards: []SoakedShard{{Name: "books", Documents: 5, Queries: 50, Writes: 9, Generations: 4, Merges: 2}},
	}
	require.NoError(t, written.Write(path))
	read, err := ReadSoaked(path)
	require.NoError(t, err)
	require.Equal(t, written, read)

	var page strings.Builder
	require.NoError(t, read.Report(&page))
	for _, says := range []string{
		"5m0s of random faults under load, 2026-01-02, on kafka; redis. Every promise was kept.",
		"10 tasks accepted, 10 settled, 0 lost; 3 events came again", "the slowest short task took 8.4s",
		"shard books: 9 writes, 5 documents", "| FLUSHALL of Redis | 1 |\n| kill -9 of a node | 7 |\n",
	} {
		require.Contains(t, page.String(), says)
	}

	read.Kept, read.Failure = false, "no outcome of t1"
	page.Reset()
	require.NoError(t, read.Report(&page))
	require.Contains(t, page.String(), "**A promise was broken**: no outcome of t1.")

	_, err = ReadSoaked(path + "-none")
	require.Error(t, err)
}
