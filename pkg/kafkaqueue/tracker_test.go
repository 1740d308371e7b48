package kafkaqueue

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// slowTracker is the tracker as one would write it on a blackboard.
type slowTracker struct {
	start     int64 // first offset expected, -1 unknown
	delivered []int64
	open      map[int64]int
	size      map[int64]int
	revoked   bool
	skipped   int64 // the log starts here
}

func (s *slowTracker) position() int64 {
	p := s.start
	if len(s.delivered) > 0 {
		p = s.delivered[len(s.delivered)-1] + 1
	}
	if p >= 0 {
		p = max(p, s.skipped)
	}
	return p
}

func (s *slowTracker) watermark() int64 {
	low := s.position()
	for o := range s.open {
		low = min(low, o)
	}
	return low
}

func (s *slowTracker) window() (records int, bytes int64) {
	for _, o := range s.delivered {
		if o >= s.watermark() {
			records++
			bytes += int64(s.size[o])
		}
	}
	return records, bytes
}

func TestTrackerAgreesWithTheSlowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Int64Range(-1, 5).Draw(t, "start")
		tr := newTracker(start)
		slow := &slowTracker{start: start, open: map[int64]int{}, size: map[int64]int{}}
		now := time.Unix(1000, 0)
		last := start
		finish := func(o int64) {
			_, isOpen := slow.open[o]
			want := isOpen && !slow.revoked
			if want {
				delete(slow.open, o)
			}
			if got := tr.finish(o); got != want {
				t.Fatalf("finish %d: %v, want %v", o, got, want)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				low, _, due := tr.due()
				if want := slow.watermark(); low != want {
					t.Fatalf("watermark %d, want %d", low, want)
				}
				if low < last {
					t.Fatalf("watermark went back from %d to %d", last, low)
				}
				last = low
				if due != (low > tr.sent) {
					t.Fatalf("due %v at %d with %d sent", due, low, tr.sent)
				}
				records, bytes := slow.window()
				if tr.count != records || tr.bytes != bytes || tr.open != len(slow.open) {
					t.Fatalf("window of %d records, %d bytes, %d open; want %d, %d, %d", tr.count, tr.bytes, tr.open, records, bytes, len(slow.open))
				}
			},
			"deliver": func(t *rapid.T) {
				if slow.revoked {
					t.Skip("revoked")
				}
				position := slow.position()
				jump := rapid.SampledFrom([]int64{0, 0, 0, 1, 7, 1 << 40}).Draw(t, "jump")
				o := max(position, 0) + jump
				size := rapid.IntRange(1, 1000).Draw(t, "size")
				now = now.Add(time.Second)
				hole := tr.add(o, 1, size, now)
				want := span{}
				if position >= 0 && o > position {
					want = span{position, o}
				}
				if hole != want {
					t.Fatalf("hole %v, want %v", hole, want)
				}
				slow.delivered = append(slow.delivered, o)
				slow.open[o], slow.size[o] = size, size
				if last < 0 {
					last = o
				}
			},
			"finish": func(t *rapid.T) {
				if len(slow.delivered) == 0 {
					t.Skip("nothing there")
				}
				finish(rapid.SampledFrom(slow.delivered).Draw(t, "offset"))
			},
			"finish an offset that was never delivered": func(t *rapid.T) {
				o := rapid.Int64Range(-1, 100).Draw(t, "offset")
				if slices.Contains(slow.delivered, o) {
					t.Skip("it was")
				}
				finish(o)
			},
			"commit": func(*rapid.T) {
				if low, _, due := tr.due(); due {
					tr.committed(low)
				}
			},
			"revoke": func(*rapid.T) {
				tr.revoked = true
				slow.revoked = true
			},
			"retention": func(t *rapid.T) {
				logStart := slow.watermark() + rapid.Int64Range(-3, 10).Draw(t, "log start")
				from := max(slow.watermark(), slow.skipped)
				gone, held := tr.logStarts(logStart)
				if slow.position() < 0 || logStart <= from {
					if gone != (span{}) {
						t.Fatalf("reported %v for a log that starts at %d", gone, logStart)
					}
					return
				}
				want := 0
				for o := range slow.open {
					if o >= from && o < logStart {
						want++
					}
				}
				if gone != (span{from, logStart}) || held != want {
					t.Fatalf("gone %v held %d, want %v held %d", gone, held, span{from, logStart}, want)
				}
				slow.skipped = logStart
			},
		})
	})
}

func TestTrackerSaysHowLongItsOldestRecordIsOpen(t *testing.T) {
	tr, now := newTracker(0), time.Unix(1000, 0)
	require.Zero(t, tr.age(now))
	tr.add(0, 0, 1, now)
	tr.add(1, 0, 1, now.Add(time.Minute))
	require.Equal(t, 2*time.Minute, tr.age(now.Add(2*time.Minute)))
	tr.finish(1)
	require.Equal(t, 2*time.Minute, tr.age(now.Add(2*time.Minute)), "the older one is open")
	tr.finish(0)
	require.Zero(t, tr.age(now.Add(2*time.Minute)))
	tr.add(2, 0, 1, now.Add(3*time.Minute))
	tr.add(3, 0, 1, now.Add(4*time.Minute))
	tr.finish(2)
	require.Equal(t, time.Minute, tr.age(now.Add(5*time.Minute)))
}

func TestTrackerCommitsTheEpochBelowTheWatermark(t *testing.T) {
	tr := newTracker(10)
	tr.add(10, 3, 1, time.Time{})
	tr.add(11, 4, 1, time.Time{})
	tr.finish(10)
	offset, epoch, due := tr.due()
	require.True(t, due)
	require.EqualValues(t, 11, offset)
	require.EqualValues(t, 3, epoch)
}

func BenchmarkTracker(b *testing.B) {
	tr, now := newTracker(0), time.Unix(1000, 0)
	b.ReportAllocs()
	var o int64
	for b.Loop() {
		tr.add(o, 0, 500, now)
		if o >= 4000 {
			tr.finish(o - 4000)
		}
		o++
	}
}
