package kafkaqueue

import (
	"time"

	"github.com/offline-nodes/offline-nodes/internal/mutant"
)

// tracker knows which offsets of one partition are delivered and not finished,
// for as long as one assignment lasts. It does no I/O, has no clock and no
// lock: an [assignment] wraps it.
//
// Invariants: the watermark is the lowest open offset, or the position when
// nothing is open; it never goes down; what is sent for commit is a watermark.
type tracker struct {
	// ring holds the window, watermark to position, in order of offsets. Those
	// finished above the watermark stay in it. Its length is a power of two.
	ring  []slot
	head  int
	count int
	open  int
	bytes int64

	next    int64 // the position: the offset expected next; -1: not known yet
	low     int64 // the watermark
	epoch   int32 // leader epoch of the record below the watermark
	sent    int64 // committed in this assignment, or found committed
	warned  int64 // gaps below are reported
	revoked bool

	// entered tells since when offsets from a given one on are here, one mark
	// per poll; the first is that of the watermark.
	entered []mark
}

type slot struct {
	offset int64
	epoch  int32
	bytes  int32 // negative: finished
}

type mark struct {
	offset int64
	at     time.Time
}

// span is a range of offsets, to excluded.
type span struct{ from, to int64 }

// newTracker starts at the committed offset, or at -1 when there is none: then
// the first record delivered is where it starts, and that is due for commit at
// once. Without a committed offset nobody could tell later what retention took.
func newTracker(committed int64) *tracker {
	return &tracker{next: committed, low: committed, sent: committed, warned: committed, epoch: -1}
}

// add takes the next record. It returns the hole before it, if there is one.
// The offset must not be below the position.
func (t *tracker) add(offset int64, epoch int32, size int, now time.Time) (hole span) {
	t.beginsAt(offset)
	if offset > t.next {
		hole = span{max(t.next, t.warned), offset}
		if t.count == 0 {
			t.low = offset
		}
	}
	if t.count == len(t.ring) {
		t.grow()
	}
	t.ring[(t.head+t.count)&(len(t.ring)-1)] = slot{offset, epoch, int32(min(max(size, 1), 1<<30))}
	t.count++
	t.open++
	t.bytes += int64(size)
	t.next = offset + 1
	if n := len(t.entered); n == 0 || now.After(t.entered[n-1].at) {
		t.entered = append(t.entered, mark{offset, now})
	}
	return hole
}

func (t *tracker) grow() {
	bigger := make([]slot, max(64, 2*len(t.ring)))
	for i := range t.count {
		bigger[i] = *t.at(i)
	}
	t.ring, t.head = bigger, 0
}

func (t *tracker) at(i int) *slot { return &t.ring[(t.head+i)&(len(t.ring)-1)] }

// finish marks an offset and moves the watermark over what is finished. It
// tells whether that changed anything: not for repeats, unknown offsets, or
// after the assignment ended.
func (t *tracker) finish(offset int64) bool {
	s := t.find(offset)
	if s == nil || s.bytes < 0 || t.revoked {
		return false
	}
	s.bytes = -s.bytes
	t.open--
	for t.count > 0 {
		first := t.at(0)
		if first.bytes > 0 {
			break
		}
		t.bytes += int64(first.bytes)
		t.epoch = first.epoch
		t.head = (t.head + 1) & (len(t.ring) - 1)
		t.count--
	}
	t.low = t.next
	if t.count > 0 {
		t.low = t.at(0).offset
	}
	if mutant.On("commit the highest offset") {
		t.low = max(t.low, offset+1)
	}
	for len(t.entered) > 1 && t.entered[1].offset <= t.low || len(t.entered) > 0 && t.count == 0 {
		t.entered = t.entered[1:]
	}
	return true
}

// find looks an offset up: without holes it is where the first one says, and
// with holes before that.
func (t *tracker) find(offset int64) *slot {
	if t.count == 0 || offset < t.at(0).offset {
		return nil
	}
	high := int(min(offset-t.at(0).offset, int64(t.count-1)))
	if s := t.at(high); s.offset == offset {
		return s
	}
	low := 0
	for low < high {
		middle := (low + high) / 2
		if t.at(middle).offset < offset {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if s := t.at(low); s.offset == offset {
		return s
	}
	return nil
}

// due is the watermark, when it is higher than what was committed.
func (t *tracker) due() (offset int64, epoch int32, ok bool) {
	return t.low, t.epoch, t.low > t.sent
}

// committed notes an acknowledged commit.
func (t *tracker) committed(offset int64) { t.sent = max(t.sent, offset) }

// beginsAt sets where a tracker without a position starts, which is due for commit.
func (t *tracker) beginsAt(offset int64) {
	if t.next >= 0 {
		return
	}
	t.next, t.low, t.warned = offset, offset, offset
	if mutant.On("a beginning is not committed") {
		t.sent = offset
	}
}

// logStarts compares with where the partition's log begins now. Offsets from
// the watermark on that are gone are returned once, with how many of them are
// still held here; what was never delivered is skipped, as Kafka will do.
func (t *tracker) logStarts(start int64) (gone span, held int) {
	from := max(t.low, t.warned)
	if t.next < 0 || start <= from {
		return span{}, 0
	}
	for i := 0; i < t.count && t.at(i).offset < start; i++ {
		if s := t.at(i); s.offset >= from && s.bytes > 0 {
			held++
		}
	}
	t.warned = start
	if t.next < start {
		t.next = start
		if t.count == 0 {
			t.low = start
		}
	}
	return span{from, start}, held
}

// age is how long the record at the watermark has been here.
func (t *tracker) age(now time.Time) time.Duration {
	if len(t.entered) == 0 {
		return 0
	}
	return now.Sub(t.entered[0].at)
}
