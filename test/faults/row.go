package faults

import (
	"fmt"
	"time"
)

// How says on what a test proves something.
type How string

// The ways, from the smallest to the largest.
const (
	Unit   How = "unit"   // logic alone, or one component on its real server
	Bubble How = "bubble" // the real code on servers in memory, in fake time
	Model  How = "model"  // every interleaving of an abstract model
	Real   How = "real"   // our programs as processes on real servers
)

// Proof is a test that proves a row, or a part of it.
type Proof struct {
	How How
	// Package is the folder of the test, as in test/faults.
	Package, Test string
}

// Row is one fault.
type Row struct {
	Number int
	Fault  string
	// Invariants are those that the row must keep, by number: see [Invariants].
	Invariants []int
	// Bound is how long recovery may take; zero: the row bounds no time. Why says what it is made of.
	Bound time.Duration
	Why   string
	// Proofs are all tests of the row. None: the row cannot be run here, and Open says why.
	Proofs []Proof
	// Open is what no proof covers.
	Open string
}

// Invariants are the promises in words that a test can check.
var Invariants = map[int]string{
	1:  "nothing accepted is lost",
	2:  "one unexpired lease per task",
	3:  "one outcome per task",
	4:  "an event at least once",
	5:  "no effect of a stale worker",
	6:  "one effect per task",
	7:  "no commit passes an unfinished task",
	8:  "no commit goes back within one ownership",
	9:  "a healthy task is not blocked by a bad one",
	10: "the process ends clean, with its exit code",
	11: "no silent gap",
}

// Of returns the row with a number.
func Of(number int) (Row, error) {
	for _, row := range Rows {
		if row.Number == number {
			return row, nil
		}
	}
	return Row{}, fmt.Errorf("there is no row %d", number)
}

// Key names the attribute of a test under which a run tells its [Measured].
const Key = "faults.row"

// Measured is what one run of a row on real servers tells.
type Measured struct {
	Row     int      `json:"row"`
	Test    string   `json:"test"`
	Fault   string   `json:"fault"`
	Servers []string `json:"servers"`
	// Recovery is the time from the fault to what Recovered names; nothing when the row bounds no time.
	Recovery  time.Duration `json:"recovery_ns,omitempty"`
	Recovered string        `json:"recovered,omitempty"`
	Checked   []string      `json:"checked"`
}
