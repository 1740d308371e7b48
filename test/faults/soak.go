package faults

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Soaked is the audit of a soak: random faults over minutes or hours, under a load that goes on.
type Soaked struct {
	Began   time.Time     `json:"began"`
	Took    time.Duration `json:"took_ns"` // of the faults; settling and the audit come after it
	Servers []string      `json:"servers"`
	// Kept tells that every promise was kept; else Failure says something about it.
	Kept    bool   `json:"kept"`
	Failure string `json:"failure,omitempty"`

	Faults map[string]int `json:"faults"` // how often each came

	Accepted int `json:"accepted"`
	Refused  int `json:"refused"`
	Unknown  int `json:"unknown"` // answers that left open whether a task was accepted; it was submitted again
	Settled  int `json:"settled"`
	Lost     int `json:"lost"`
	Repeated int `json:"repeated"` // events that came again, which is allowed
	// Seconds are tasks that a second run has ended, too. Only a Redis that lost its last writes allows that; the first
	// event is the outcome.
	Seconds int           `json:"second_runs"`
	Worst   time.Duration `json:"worst_ns"` // from a submission to its outcome, of short tasks

	Shards []SoakedShard `json:"shards"`
}

// SoakedShard is the audit of one shard.
type SoakedShard struct {
	Name string `json:"name"`
	// Documents are there, each as it was acknowledged last, and Queries are answered as on an index that was built from
	// them in one go.
	Documents int `json:"documents"`
	Queries   int `json:"queries"`
	Writes    int `json:"writes"`
	Again     int `json:"bulks_sent_again"` // nobody knew what had become of them
	// Generations is how often the shard was committed to, Merges how many of those commits were merges.
	Generations int `json:"generations"`
	Merges      int `json:"merges"`
}

// Report writes it in Markdown, as a section of a page.
func (s *Soaked) Report(w io.Writer) error {
	var b strings.Builder
	verdict := "Every promise was kept."
	if !s.Kept {
		verdict = "**A promise was broken**: " + s.Failure + "."
	}
	fmt.Fprintf(&b, "\n## Soak\n\n%s of random faults under load, %s, on %s. %s\n\n",
		s.Took, s.Began.UTC().Format(time.DateOnly), strings.Join(s.Servers, "; "), verdict)
	fmt.Fprintf(&b, "- %d tasks accepted, %d settled, %d lost; %d events came again, %d tasks were ended by a second run, too\n",
		s.Accepted, s.Settled, s.Lost, s.Repeated, s.Seconds)
	fmt.Fprintf(&b, "- %d submissions were refused, %d had no answer and were made again; the slowest short task took %s\n", s.Refused, s.Unknown, s.Worst.Round(100*time.Millisecond))
	for _, shard := range s.Shards {
		fmt.Fprintf(&b, "- shard %s: %d writes, %d documents as they were acknowledged last, %d queries as on a plain index; %d commits, %d of them merges, none twice\n",
			shard.Name, shard.Writes, shard.Documents, shard.Queries, shard.Generations, shard.Merges)
	}
	b.WriteString("\n| fault | times |\n| --- | ---: |\n")
	for _, fault := range slices.Sorted(maps.Keys(s.Faults)) {
		fmt.Fprintf(&b, "| %s | %d |\n", fault, s.Faults[fault])
	}
	_, err := io.WriteString(w, b.String())
	return err
}
