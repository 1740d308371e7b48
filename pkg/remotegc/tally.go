package remotegc

import "fmt"

// Reason says what an object is and why it stays or goes.
type Reason string

// Every reason.
const (
	// Live: a blob that a kept generation names.
	Live Reason = "live"
	// Pinned: a blob that only snapshots need.
	Pinned Reason = "pinned"
	// Reserved: a blob that a task is about to commit.
	Reserved Reason = "reserved"
	// Waiting: a blob that nobody needs and that is not known as such for long enough.
	Waiting Reason = "waiting"
	// Garbage: a blob that nobody needed when two runs looked, with the grace between them.
	Garbage Reason = "garbage"

	// Generation: a manifest that is the newest, was replaced not long ago, or that no earlier run has seen.
	Generation Reason = "generation"
	// OldGeneration: a manifest that was replaced long ago.
	OldGeneration Reason = "old_generation"

	// OldReservation: a reservation whose task must have died, or did not end it after its commit.
	OldReservation Reason = "old_reservation"
	// Unfinished: an upload that its writer will not end any more.
	Unfinished Reason = "unfinished_upload"
	// Leftover: an object in the folder of a task that did not end well, long ago.
	Leftover Reason = "leftover"
)

// Reasons are all of them, in the order in which they are shown.
var Reasons = []Reason{Live, Pinned, Reserved, Generation, Waiting, Garbage, OldGeneration, OldReservation, Unfinished, Leftover}

// Verdict is what comes of an object.
type Verdict string

// Every verdict.
const (
	Kept    Verdict = "kept"
	Marked  Verdict = "marked" // for deletion, by a later run
	Deleted Verdict = "deleted"
)

// Verdict of everything that is found for this reason.
func (r Reason) Verdict() Verdict {
	switch r {
	case Waiting:
		return Marked
	case Garbage, OldGeneration, OldReservation, Unfinished, Leftover:
		return Deleted
	default:
		return Kept
	}
}

// Count is a number of objects and their size.
type Count struct {
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

// Tally is what was found, by reason.
type Tally map[Reason]Count

func (t Tally) add(r Reason, objects int, bytes int64) {
	c := t[r]
	t[r] = Count{c.Objects + objects, c.Bytes + bytes}
}

// Add counts in what another collection has found.
func (t Tally) Add(other Tally) {
	for r, c := range other {
		t.add(r, c.Objects, c.Bytes)
	}
}

// Of sums up a verdict.
func (t Tally) Of(v Verdict) (sum Count) {
	for r, c := range t {
		if r.Verdict() == v {
			sum = Count{sum.Objects + c.Objects, sum.Bytes + c.Bytes}
		}
	}
	return sum
}

// String is one line for people.
func (t Tally) String() string {
	kept, marked, deleted := t.Of(Kept), t.Of(Marked), t.Of(Deleted)
	return fmt.Sprintf("%d kept (%d MB), %d marked (%d MB), %d deleted (%d MB)",
		kept.Objects, kept.Bytes/1e6, marked.Objects, marked.Bytes/1e6, deleted.Objects, deleted.Bytes/1e6)
}
