//go:build synctests

package sim

import (
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/test/faults"
)

var (
	firstSeed = flag.Uint64("seed", 1, "the first seed")
	seeds     = flag.Uint64("seeds", 10, "how many random histories are played")
	story     = flag.Bool("story", false, "tell the story of every history as it goes")
	patience  = flag.Duration("shrink", 30*time.Second, "how long a failing history is played again to make it smaller")
	audit     = flag.String("audit", "", "file to keep what all histories came to")
)

// length is how long faults go on in a random history.
const length = 6 * time.Minute

func TestRandomHistories(t *testing.T) {
	all := &sum{Histories: faults.Histories{Began: time.Now(), First: *firstSeed}}
	t.Cleanup(func() {
		all.Took, all.Sum = time.Since(all.Began), all.stats.String()
		t.Logf("%d histories in %s, %s of fake time: %s", all.Played, all.Took.Round(time.Second), all.Fake.Round(time.Second), all.stats)
		if t.Failed() && len(all.Broken) == 0 {
			all.Broken = []string{"a test failed: see its output"}
		}
		if *audit != "" {
			require.NoError(t, faults.WriteAudit(*audit, all))
		}
	})
	for seed := *firstSeed; seed < *firstSeed+*seeds; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			s := draw(seed, length, anyFault)
			began := time.Now()
			r := play(t, s, Options{})
			t.Logf("%s in %s: %s", r.Fake.Round(time.Second), time.Since(began).Round(time.Millisecond), r.Stats)
			all.add(seed, r)
			if len(r.Violations) > 0 {
				report(t, s, r)
			}
		})
	}
}

// sum is what all histories came to.
type sum struct {
	mu sync.Mutex
	faults.Histories
	stats Stats
}

func (s *sum) add(seed uint64, r Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Played++
	s.Fake += r.Fake
	s.stats = s.stats.plus(r.Stats)
	if len(r.Violations) > 0 {
		s.Broken = append(s.Broken, fmt.Sprintf("seed %d: %s", seed, r.Violations[0].Invariant))
	}
}

// report says what was broken, how often that happens, and in how small a history.
func report(t *testing.T, s Schedule, r Result) {
	t.Helper()
	for _, v := range r.Violations {
		t.Error(v)
	}
	if !*story {
		r.tell(t)
	}
	const plays = 5
	again := 0
	for range plays {
		if breaks(t, s, r.Violations[0].Invariant) {
			again++
		}
	}
	t.Logf("played %d times more, the same schedule breaks %s %d times", plays, r.Violations[0].Invariant, again)
	small := shrink(s, *patience, func(s Schedule) bool {
		for range 2 {
			if breaks(t, s, r.Violations[0].Invariant) {
				return true
			}
		}
		return false
	})
	t.Logf("as a test:\n\nfunc TestFoundBySeed%d(t *testing.T) {\n\trequire.Empty(t, play(t, %#v, Options{}).Violations)\n}", s.Seed, small)
}

func breaks(t *testing.T, s Schedule, invariant string) bool {
	t.Helper()
	for _, v := range play(t, s, Options{}).Violations {
		if v.Invariant == invariant {
			return true
		}
	}
	return false
}

func (r Result) tell(t *testing.T) {
	t.Helper()
	for _, line := range r.Story {
		t.Log(line)
	}
}
