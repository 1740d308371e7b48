package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/cli"
)

// Report is the table at the end.
type Report struct {
	Before Phase `json:"before"` // merges on the data node itself
	During Phase `json:"during"` // merges on offline nodes, one of which was killed
	After  Phase `json:"after"`  // the merges are done

	Merges    Merges    `json:"merges"`
	Searches  Searches  `json:"searches"`
	Hits      Hits      `json:"hits"`
	Documents Documents `json:"documents"`
	Recovery  Recovery  `json:"recovery"`

	Seconds  float64  `json:"seconds"`  // the whole demo
	Problems []string `json:"problems"` // what did not hold
	OK       bool     `json:"ok"`
}

// Phase is what was measured while the same writes and searches went on.
type Phase struct {
	Seconds            float64 `json:"seconds"`
	Segments           int     `json:"segments"` // at its end
	Bytes              int64   `json:"bytes"`
	Documents          int     `json:"documents"`            // written, updated and deleted
	DocumentsPerSecond float64 `json:"documents_per_second"` // while a bulk was being written
	Searches           int     `json:"searches"`
	FailedSearches     int     `json:"failed_searches"`
	SearchP50          float64 `json:"search_p50_ms"`
	SearchP99          float64 `json:"search_p99_ms"`
}

func newPhase(w window, s stats) Phase {
	return Phase{
		Seconds: round(w.seconds(), 1), Segments: s.Segments, Bytes: s.Bytes,
		Documents: w.documents, DocumentsPerSecond: round(w.rate(), 1),
		Searches: len(w.searches) + w.failed, FailedSearches: w.failed,
		SearchP50: millis(w.searches.percentile(50)), SearchP99: millis(w.searches.percentile(99)),
	}
}

// Merges are those of the whole demo.
type Merges struct {
	Local      int            `json:"local"`
	Offline    int            `json:"offline"`
	ByNode     map[string]int `json:"by_node"`     // offline ones
	BytesIn    int64          `json:"bytes_in"`    // of the segments that offline nodes merged
	BytesMoved int64          `json:"bytes_moved"` // between the store and offline nodes
}

// Searches are those of the whole demo, also between the phases.
type Searches struct {
	Answered int `json:"answered"`
	Failed   int `json:"failed"`
	Wrong    int `json:"wrong"` // with other hits than before
}

// Hits compares the queries for documents that nobody changes.
type Hits struct {
	Queries int      `json:"queries"`
	Equal   bool     `json:"equal"`
	Differ  []string `json:"differ"`
}

// Documents compares the shard with what was acknowledged.
type Documents struct {
	Written  int `json:"written"`
	Updated  int `json:"updated"`
	Deleted  int `json:"deleted"`
	Live     int `json:"live"` // that must be found
	Lost     int `json:"lost"`
	CameBack int `json:"came_back"` // deleted ones that are found
	Outdated int `json:"outdated"`  // found without their last update
}

// Recovery is how a killed node's task went on. Times are since the kill.
type Recovery struct {
	Killed    string  `json:"killed"`
	Progress  float64 `json:"progress"` // of its task when it was last heard of, 0 to 1
	Task      string  `json:"task"`
	TakenBy   string  `json:"taken_by"`
	Claimed   float64 `json:"claimed_s"`   // claimed again
	Committed float64 `json:"committed_s"` // its result in the shard
	Limit     float64 `json:"limit_s"`     // promised for claimed
}

// judge lists what does not hold.
func (r *Report) judge() {
	r.Problems = []string{}
	problem := func(bad bool, format string, args ...any) {
		if bad {
			r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
		}
	}
	problem(r.Searches.Failed > 0, "%d searches failed", r.Searches.Failed)
	problem(r.Searches.Wrong > 0, "%d searches had other hits than before", r.Searches.Wrong)
	problem(!r.Hits.Equal, "%d of %d queries have other hits than before: %s", len(r.Hits.Differ), r.Hits.Queries, strings.Join(r.Hits.Differ, "; "))
	problem(r.Documents.Lost > 0, "%s lost", cli.Count(r.Documents.Lost, "document"))
	problem(r.Documents.CameBack > 0, "%s came back", cli.Count(r.Documents.CameBack, "deleted document"))
	problem(r.Documents.Outdated > 0, "%s without the last update", cli.Count(r.Documents.Outdated, "document"))
	problem(r.Recovery.Claimed > r.Recovery.Limit, "the killed node's task was claimed again after %.1f s, promised are %.0f s", r.Recovery.Claimed, r.Recovery.Limit)
	r.OK = len(r.Problems) == 0
}

// table is the report for people.
func (r *Report) table() string {
	var b strings.Builder
	row := func(name string, cells ...any) {
		fmt.Fprintf(&b, "  %-22s", name)
		for _, c := range cells {
			fmt.Fprintf(&b, "%16v", c)
		}
		b.WriteByte('\n')
	}
	each := func(name string, cell func(Phase) string) {
		row(name, cell(r.Before), cell(r.During), cell(r.After))
	}
	b.WriteByte('\n')
	row("", "before", "during", "after")
	row("merges run on", "the data node", "offline nodes", "offline nodes")
	each("segments", func(p Phase) string { return cli.Thousands(p.Segments) })
	each("bytes", func(p Phase) string { return cli.Size(p.Bytes) })
	each("documents/s", func(p Phase) string { return cli.Thousands(int(p.DocumentsPerSecond)) })
	each("search p50", func(p Phase) string { return fmt.Sprintf("%.1f ms", p.SearchP50) })
	each("search p99", func(p Phase) string { return fmt.Sprintf("%.1f ms", p.SearchP99) })
	each("searches", func(p Phase) string { return cli.Thousands(p.Searches) })
	each("failed searches", func(p Phase) string { return cli.Thousands(p.FailedSearches) })
	each("measured for", func(p Phase) string { return fmt.Sprintf("%.0f s", p.Seconds) })
	b.WriteByte('\n')
	fact := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-22s  %s\n", name, fmt.Sprintf(format, args...))
	}
	b.WriteString("  documents/s are those of the time in which bulks were written: the writer rests in between\n\n")
	fact("hits of queries", "%s", r.hits())
	fact("documents", "%s must be there: %d lost, %d deleted ones came back, %d outdated",
		cli.Thousands(r.Documents.Live), r.Documents.Lost, r.Documents.CameBack, r.Documents.Outdated)
	fact("bytes moved", "%s between the store and offline nodes", cli.Size(r.Merges.BytesMoved))
	fact("merges", "%d on the data node, %d on offline nodes%s", r.Merges.Local, r.Merges.Offline, r.byNode())
	fact("recovery", "claimed again after %.1f s (promised: %.0f s), committed after %.1f s",
		r.Recovery.Claimed, r.Recovery.Limit, r.Recovery.Committed)
	fact("searches in all", "%s answered, %d failed, %d with other hits than before",
		cli.Thousands(r.Searches.Answered), r.Searches.Failed, r.Searches.Wrong)
	fact("the whole demo", "%.0f s", r.Seconds)
	b.WriteByte('\n')
	if r.OK {
		b.WriteString("  Everything holds: nothing lost, nothing repeated, no search failed.\n")
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "  DOES NOT HOLD: %s\n", p)
	}
	return b.String()
}

func (r *Report) hits() string {
	if r.Hits.Equal {
		return fmt.Sprintf("equal before and after in all %d", r.Hits.Queries)
	}
	return fmt.Sprintf("DIFFERENT in %d of %d", len(r.Hits.Differ), r.Hits.Queries)
}

func (r *Report) byNode() string {
	var parts []string
	for _, node := range slices.Sorted(maps.Keys(r.Merges.ByNode)) {
		parts = append(parts, fmt.Sprintf("%s: %d", node, r.Merges.ByNode[node]))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// millis is a time in milliseconds, to a hundredth.
func millis(d time.Duration) float64 { return round(float64(d)/float64(time.Millisecond), 2) }

func round(value float64, digits int) float64 {
	scale := 1.0
	for range digits {
		scale *= 10
	}
	return float64(int64(value*scale+0.5)) / scale
}
