package kafkaqueue

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// slowPick is the longest delay that a record may be in without being late by more than a tick, by looking at all of them.
func slowPick(delays []time.Duration, rest, tick time.Duration) time.Duration {
	var best time.Duration
	for _, d := range delays {
		if rest > 0 && d <= rest+tick {
			best = max(best, d)
		}
	}
	return best
}

// TestAWayThroughTheTiers lets a record go from tier to tier as routers do, until it goes to its target. Routers are
// late, and the clocks of the processes that send it on differ.
func TestAWayThroughTheTiers(t *testing.T) {
	duration := func(least, most time.Duration) *rapid.Generator[time.Duration] {
		return rapid.Map(rapid.Int64Range(int64(least), int64(most)), func(n int64) time.Duration { return time.Duration(n) })
	}
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{Tick: duration(time.Millisecond, time.Second).Draw(t, "tick")}
		if rapid.Bool().Draw(t, "delays of its own") {
			cfg.Delays = []time.Duration{duration(100*time.Millisecond, 10*time.Second).Draw(t, "shortest")}
			for _, ratio := range rapid.SliceOfN(rapid.Float64Range(1.1, 10), 0, 4).Draw(t, "ratios") {
				cfg.Delays = append(cfg.Delays, time.Duration(ratio*float64(cfg.Delays[len(cfg.Delays)-1])))
			}
		}
		cfg.Brokers = []string{"localhost:9092"}
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		cfg = cfg.withDefaults()
		tiers := newTiers(cfg)
		shortest, longest := cfg.Delays[0], cfg.Delays[len(cfg.Delays)-1]
		asked := rapid.OneOf(duration(-time.Minute, 0), duration(0, 2*shortest), duration(0, 3*longest)).Draw(t, "asked for")
		now := time.Unix(1_000_000, 0)
		notBefore := now.Add(asked)
		punctual := rapid.Bool().Draw(t, "routers are in time and clocks agree")

		last, went := longest, false
		for range 200 { // a tenfold delay is ten of the next, and by a clock that jumps back some more
			rest := notBefore.Sub(now)
			topic, waits := tiers.pick(notBefore, now)
			delay := tiers.delay(topic)
			if want := slowPick(cfg.Delays, rest, cfg.Tick); delay != want || waits != (want > 0) {
				t.Fatalf("%s before its time it waits %s in %q, want %s", rest, delay, topic, want)
			}
			if !waits {
				if rest > 0 && rest+cfg.Tick >= shortest {
					t.Fatalf("at its target %s before its time", rest)
				}
				if went && punctual && -rest > cfg.Tick {
					t.Fatalf("at its target %s after its time", -rest)
				}
				return
			}
			went = true
			if punctual && delay > last {
				t.Fatalf("from the tier of %s into that of %s", last, delay)
			}
			last = delay
			now = now.Add(delay)
			if !punctual {
				now = now.Add(rapid.OneOf(duration(0, cfg.Tick), duration(-delay/2, delay)).Draw(t, "late, or by another clock"))
			}
		}
		t.Fatal("it goes round and round")
	})
}
