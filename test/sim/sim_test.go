//go:build synctests

package sim

import (
	"flag"
	"fmt"
	"testing"
	"time"
)

var (
	firstSeed = flag.Uint64("seed", 1, "the first seed")
	seeds     = flag.Uint64("seeds", 10, "how many random histories are played")
	verbose   = flag.Bool("story", false, "tell the story of every history")
)

// length is how long faults go on in a random history.
const length = 6 * time.Minute

func TestRandomHistories(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+*seeds; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			s := draw(seed, length, faults)
			began := time.Now()
			r := play(t, s, Options{})
			t.Logf("%s in %s: %+v", r.Fake.Round(time.Second), time.Since(began).Round(time.Millisecond), r.Stats)
			for _, v := range r.Violations {
				t.Error(v)
			}
			if len(r.Violations) > 0 || *verbose {
				for _, line := range r.Story {
					t.Log(line)
				}
			}
		})
	}
}
