package kafkaqueue

import (
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/internal/mutant"
)

// assignment is one partition for as long as this member owns it: a new one
// is made each time, so that a late finish meets the old, revoked one.
type assignment struct {
	topic     string
	partition int32
	again     bool // of a return topic

	// copiedBelow is the log's end when the first records came: what is below
	// may have been delivered to others before.
	copiedBelow int64

	mu     sync.Mutex
	t      tracker
	paused bool
}

func newAssignment(topic string, partition int32, committed int64) *assignment {
	return &assignment{topic: topic, partition: partition, copiedBelow: -1, t: *newTracker(committed)}
}

// register takes the records of a poll. It tells the holes in their offsets,
// and whether the window is now too full for another poll.
func (a *assignment) register(records []*kgo.Record, now time.Time, window limits) (holes []span, full bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range records {
		hole := a.t.add(r.Offset, r.LeaderEpoch, recordBytes(r), now)
		if r.Attrs.IsControl() || mutant.On("commit at poll") {
			a.t.finish(r.Offset)
		}
		if hole.to > hole.from {
			holes = append(holes, hole)
		}
	}
	full = a.t.count > window.records-maxPoll || a.t.bytes >= int64(window.bytes)
	full = full && !a.paused && !mutant.On("no window")
	a.paused = a.paused || full
	return holes, full
}

// stepOver enters a batch that was not read as one open record.
func (a *assignment) stepOver(large *kgo.ErrDecompressTooLarge, now time.Time) span {
	a.mu.Lock()
	defer a.mu.Unlock()
	skipped := span{max(large.Offset, a.t.next), max(large.NextOffset, a.t.next+1)}
	a.t.add(skipped.from, large.Epoch, 1, now)
	a.t.next = skipped.to
	return skipped
}

// rewound tells whether Kafka went back to an offset below the position:
// the log was cut, by a broker that lost data.
func (a *assignment) rewound(offset int64) (span, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return span{offset, a.t.next}, offset < a.t.next
}

// finish tells whether the partition may be fetched again, because half of
// its window is free.
func (a *assignment) finish(offset int64, window limits) (resume bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.t.finish(offset)
	if a.paused && !a.t.revoked && a.t.count <= window.records/2 && a.t.bytes <= int64(window.bytes/2) {
		a.paused = false
		return true
	}
	return false
}

func (a *assignment) owned() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.t.revoked
}

// revoke ends the assignment: from here on finishing changes nothing.
func (a *assignment) revoke() (paused bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.t.revoked = !mutant.On("commit after a revoke")
	return a.paused
}

func (a *assignment) due() (kgo.EpochOffset, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	offset, epoch, ok := a.t.due()
	return kgo.EpochOffset{Epoch: epoch, Offset: offset}, ok
}

func (a *assignment) committed(offset int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.t.committed(offset)
}

// unread tells whether nothing was ever read or committed here.
func (a *assignment) unread() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.t.next < 0
}

func (a *assignment) beginsAt(offset int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.t.beginsAt(offset)
}

func (a *assignment) logStarts(start int64) (gone span, held int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.t.logStarts(start)
}

// limits of a window.
type limits struct{ records, bytes int }

// recordBytes is what a record counts in its window.
func recordBytes(r *kgo.Record) int {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}
