package reindex

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestPaceKeepsItsRate asks for documents at any time, at rates that change and by a clock that jumps.
func TestPaceKeepsItsRate(t *testing.T) {
	rates := rapid.OneOf(rapid.SampledFrom([]float64{0, 0.1, 1, 1000}), rapid.Float64Range(0.01, 1e6))
	rapid.Check(t, func(t *rapid.T) {
		rate := rates.Draw(t, "rate")
		p := &pace{rate: func() float64 { return rate }}
		now := time.Unix(1_000_000, 0)
		var passed time.Duration // as far as the clock went forward
		var went []time.Duration // when each document did, since the rate is what it is
		forward := func(d time.Duration) { now, passed = now.Add(d), passed+d }

		// try wants no window of time in which more went than the rate, and what may be ahead, allow.
		try := func(t *rapid.T) time.Duration {
			wait := p.try(now)
			switch {
			case wait < 0:
				t.Fatalf("to wait for %s", wait)
			case wait > 0 && rate == 0:
				t.Fatalf("without a limit it waits for %s", wait)
			case wait > 0:
				return wait
			}
			if rate == 0 {
				return 0
			}
			went = append(went, passed)
			for i, from := range slices.Backward(went) {
				n := float64(len(went) - i)
				allowed := rate*(passed-from).Seconds() + rate*paceAhead.Seconds() + 1
				if n > allowed*(1+1e-9)+1e-6 {
					t.Fatalf("%v documents in %s at %g a second", n, passed-from, rate)
				}
			}
			return 0
		}
		t.Repeat(map[string]func(*rapid.T){
			"one": func(t *rapid.T) { try(t) },
			"many at once": func(t *rapid.T) {
				for range rapid.IntRange(1, 100).Draw(t, "documents") {
					try(t)
				}
			},
			"as told to wait": func(t *rapid.T) {
				for range rapid.IntRange(1, 10).Draw(t, "documents") {
					wait := try(t)
					if limit := time.Duration(float64(time.Second)/rate) + 1; rate > 0 && wait > limit && wait != time.Hour {
						t.Fatalf("waits %s at %g a second", wait, rate)
					}
					if wait == 0 || wait >= time.Hour {
						continue
					}
					forward(wait)
					if again := try(t); again > time.Microsecond {
						t.Fatalf("waited %s as told, and has to wait %s", wait, again)
					}
				}
			},
			"time passes": func(*rapid.T) {
				forward(time.Duration(rapid.OneOf(rapid.Int64Range(0, int64(time.Second)), rapid.Int64Range(0, int64(24*time.Hour))).Draw(t, "time")))
			},
			"the clock jumps back": func(t *rapid.T) {
				now = now.Add(-time.Duration(rapid.Int64Range(0, int64(24*time.Hour)).Draw(t, "back")))
			},
			"the rate changes": func(t *rapid.T) {
				rate, went = rates.Draw(t, "rate"), nil
			},
		})
	})
}
