package datanode

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// tank is a throttle as one would build it: what is written fills it, it runs dry at the rate, and nobody goes on before it
// is all but dry.
type tank struct {
	rate  int64
	bytes float64 // that the rate has not allowed yet
	doubt float64 // bytes: a throttle counts in whole nanoseconds, and what they are worth changes with the rate
}

func (k *tank) round() { k.doubt += 2e-9 * float64(k.rate) }

func (k *tank) wrote(bytes int64) {
	k.round()
	if k.rate > 0 {
		k.bytes += float64(bytes)
	}
}

func (k *tank) pass(d time.Duration) {
	k.round()
	if k.bytes -= float64(k.rate) * d.Seconds(); k.bytes < 0 {
		k.bytes, k.doubt = 0, 0 // time without writes is not saved up
	}
}

func (k *tank) set(rate int64) {
	k.round()
	k.rate = rate
	k.round()
	if rate == 0 {
		k.bytes, k.doubt = 0, 0
	}
}

// dry is how long until it is, and how exactly that is known.
func (k *tank) dry() (left, slack time.Duration) {
	if k.rate == 0 {
		return 0, time.Microsecond
	}
	left = time.Duration(k.bytes / float64(k.rate) * float64(time.Second))
	return left, time.Microsecond + left/1e6 + time.Duration(k.doubt/float64(k.rate)*float64(time.Second))
}

// TestAThrottleAgreesWithASlowOne lets writers write, rest and see the rate change while they are held back.
func TestAThrottleAgreesWithASlowOne(t *testing.T) {
	rates := rapid.OneOf(rapid.SampledFrom([]int64{0, 64 << 10, 20 << 20}), rapid.Int64Range(64<<10, 1<<34))
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_000_000, 0)
		slow := tank{rate: rates.Draw(t, "rate")}
		limit := newThrottle(slow.rate)
		limit.now = func() time.Time { return now }
		pass := func(d time.Duration) {
			now = now.Add(d)
			slow.pass(d)
		}
		// held counts what is written, if anything, and wants the pause to be until the tank is dry.
		held := func(t *rapid.T, bytes int64, first bool) time.Duration {
			if first {
				slow.wrote(bytes)
			}
			want, slack := slow.dry()
			pause, _ := limit.count(bytes, first)
			if pause < want-slack || pause > want+slack {
				t.Fatalf("held back for %s, want %s", pause, want)
			}
			return pause
		}
		// write is one writer, who goes on after its pause or before it: then others write.
		write := func(t *rapid.T) (bytes int64, pause time.Duration) {
			seconds := rapid.OneOf(rapid.Float64Range(0, 0.01), rapid.Float64Range(0, 10)).Draw(t, "seconds of the rate")
			bytes = int64(seconds * float64(slow.rate))
			return bytes, held(t, bytes, true)
		}
		t.Repeat(map[string]func(*rapid.T){
			"one writes, and waits": func(t *rapid.T) {
				_, pause := write(t)
				pass(pause)
			},
			"many write": func(t *rapid.T) {
				for range rapid.IntRange(1, 20).Draw(t, "times") {
					write(t)
				}
			},
			"the rate changes while one waits": func(t *rapid.T) {
				bytes, pause := write(t)
				pass(time.Duration(rapid.Float64Range(0, 1).Draw(t, "part") * float64(pause)))
				slow.set(rates.Draw(t, "rate"))
				limit.set(slow.rate)
				pass(held(t, bytes, false))
			},
			"rest": func(t *rapid.T) {
				pass(time.Duration(rapid.OneOf(rapid.Int64Range(0, int64(20*time.Millisecond)), rapid.Int64Range(0, int64(time.Hour))).Draw(t, "for")))
			},
		})
	})
}
