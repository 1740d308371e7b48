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
	require.NoError(t, WriteAudit(path, &written))
	var read Soaked
	require.NoError(t, ReadAudit(path, &read))
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

	require.Error(t, ReadAudit(path+"-none", &read))
}

func TestAnAuditSaysWhatHistoriesHaveFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "histories.json")
	written := Histories{
		Began: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Took: 13 * time.Minute, First: 7, Played: 1000, Fake: 125 * time.Hour, Sum: "6000 faults",
	}
	require.NoError(t, WriteAudit(path, &written))
	var read Histories
	require.NoError(t, ReadAudit(path, &read))
	require.Equal(t, written, read)

	var page strings.Builder
	require.NoError(t, read.Report(&page))
	require.Contains(t, page.String(), "1000 histories of random faults (`make sim`, first seed 7), 2026-01-02, 125.0 hours of fake time in 13m0s. No invariant was broken.\n\n6000 faults\n")
	read.Broken = []string{"seed 9: I1", "seed 12: I2"}
	require.NoError(t, read.Report(&page))
	require.Contains(t, page.String(), "**Invariants were broken**: seed 9: I1; seed 12: I2.")
}
