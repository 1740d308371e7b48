//go:build synctests

package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Schedule is a history before it is lived: what is submitted and which fault
// comes when.
type Schedule struct {
	Seed    uint64 // that it was drawn from, if it was
	Nodes   int    // at the start
	Guarded bool   // the object store refuses stale effects, so runs outlive their trust window
	Steps   []Step // in order of At
}

// Step is one thing that happens.
type Step struct {
	At   time.Duration // after the start
	Do   string        // a key of actions
	N    int           // which node, task or count: each action reads it as it likes
	For  time.Duration // how long a fault lasts
	Name string        // of a named step of a node
}

// draw makes the schedule of a seed.
func draw(seed uint64, length time.Duration, pool []string) Schedule {
	r := rand.New(rand.NewPCG(seed, 0x0ff11e))
	s := Schedule{Seed: seed, Nodes: 2 + r.IntN(2), Guarded: r.IntN(2) == 0}
	between := func(low, high time.Duration) time.Duration { return low + time.Duration(r.Int64N(int64(high-low))) }
	tasks, faults := 12+r.IntN(20), 3+r.IntN(8)
	for range tasks {
		s.Steps = append(s.Steps, Step{At: between(0, length), Do: "submit", Name: loads[r.IntN(len(loads))].name})
	}
	for range faults {
		s.Steps = append(s.Steps, Step{
			At: between(0, length), Do: pool[r.IntN(len(pool))], N: r.IntN(1 << 10),
			For: between(500*time.Millisecond, 45*time.Second), Name: points[r.IntN(len(points))],
		})
	}
	slices.SortStableFunc(s.Steps, func(a, b Step) int { return int(a.At - b.At) })
	return s
}

// points are the named steps of a node.
var points = []string{
	"lane.loop", "claim.granted", "beat.loop", "run.ended", "settle", "settled", "event", "event.acked",
	"hop", "hop.acked", "hop.raised", "detach.raised", "detach.acked", "finish", "rebuild.marked", "rebuild.read",
}

// GoString is the schedule as a test can hold it.
func (s Schedule) GoString() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Schedule{Nodes: %d, Guarded: %v, Steps: []Step{\n", s.Nodes, s.Guarded)
	for _, x := range s.Steps {
		fmt.Fprintf(&b, "\t{At: %d * time.Millisecond, Do: %q", x.At.Milliseconds(), x.Do)
		if x.N != 0 {
			fmt.Fprintf(&b, ", N: %d", x.N)
		}
		if x.For != 0 {
			fmt.Fprintf(&b, ", For: %d * time.Millisecond", x.For.Milliseconds())
		}
		if x.Name != "" {
			fmt.Fprintf(&b, ", Name: %q", x.Name)
		}
		b.WriteString("},\n")
	}
	b.WriteString("}}")
	return b.String()
}
