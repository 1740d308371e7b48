package demo

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func good() *Report {
	phase := Phase{Seconds: 12, Segments: 1234, Bytes: 3 << 20, Documents: 100, DocumentsPerSecond: 1999.9, Searches: 480, SearchP50: 2.345, SearchP99: 12.5}
	return &Report{
		Before: phase, During: phase, After: phase,
		Merges:    Merges{Local: 4, Offline: 6, ByNode: map[string]int{"node-2": 5, "node-1": 1}, BytesMoved: 7 << 20},
		Searches:  Searches{Answered: 1440},
		Hits:      Hits{Queries: 26, Equal: true, Differ: []string{}},
		Documents: Documents{Live: 23000},
		Recovery:  Recovery{Killed: "node-1", TakenBy: "node-2", Claimed: 15.2, Committed: 24.6, Limit: 20},
	}
}

func TestReportOfAGoodDemo(t *testing.T) {
	t.Parallel()
	r := good()
	r.judge()
	require.True(t, r.OK)
	table := r.table()
	for _, want := range []string{
		"before          during           after", "1,234           1,234           1,234", "3.0 MiB", "1,999", "2.3 ms", "12.5 ms",
		"equal before and after in all 26", "23,000 must be there: 0 lost, 0 deleted ones came back", "7.0 MiB between the store",
		"4 on the data node, 6 on offline nodes (node-1: 1, node-2: 5)", "claimed again after 15.2 s (promised: 20 s), committed after 24.6 s",
		"Everything holds",
	} {
		require.Contains(t, table, want)
	}
	for line := range strings.SplitSeq(table, "\n") {
		require.LessOrEqual(t, len([]rune(line)), mostColumns)
	}
	text, err := json.Marshal(r)
	require.NoError(t, err)
	require.NotContains(t, string(text), "null")
	var back Report
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, r, &back)
}

func TestReportNamesWhatDoesNotHold(t *testing.T) {
	t.Parallel()
	for want, spoil := range map[string]func(*Report){
		"2 searches failed":                          func(r *Report) { r.Searches.Failed = 2 },
		"3 searches had other hits":                  func(r *Report) { r.Searches.Wrong = 3 },
		"1 of 26 queries have other hits":            func(r *Report) { r.Hits.Equal, r.Hits.Differ = false, []string{"query 1"} },
		"1 document lost":                            func(r *Report) { r.Documents.Lost = 1 },
		"5 deleted documents came back":              func(r *Report) { r.Documents.CameBack = 5 },
		"4 documents without the last update":        func(r *Report) { r.Documents.Outdated = 4 },
		"claimed again after 20.1 s, promised are 2": func(r *Report) { r.Recovery.Claimed = 20.1 },
	} {
		r := good()
		spoil(r)
		r.judge()
		require.False(t, r.OK)
		require.Len(t, r.Problems, 1)
		require.Contains(t, r.Problems[0], want)
		require.Contains(t, r.table(), "DOES NOT HOLD: "+r.Problems[0])
		require.NotContains(t, r.table(), "Everything holds")
	}
}

func TestPhaseIsWhatAWindowMeasured(t *testing.T) {
	t.Parallel()
	m := newMeter()
	m.wrote(5, time.Second, 0) // before the window
	m.begin()
	m.wrote(100, 2*time.Second, 0)
	m.wrote(300, 2*time.Second, time.Second)
	m.searched(2 * time.Millisecond)
	m.searched(4 * time.Millisecond)
	m.searchFailed(errSlowSearch)
	m.searchWrong(errSlowSearch)
	w := m.end()
	p := newPhase(w, stats{Segments: 3, Bytes: 99})
	p.Seconds = 0
	require.Equal(t, Phase{
		Segments: 3, Bytes: 99, Documents: 400, DocumentsPerSecond: 100, Searches: 3, FailedSearches: 1, SearchP50: 2, SearchP99: 4,
	}, p)
	m.searched(time.Millisecond) // after it
	sum := m.sum()
	require.Equal(t, 405, sum.documents)
	require.Len(t, sum.searches, 3)
	require.Equal(t, 1, sum.wrong)
}
