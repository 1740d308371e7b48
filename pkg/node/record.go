package node

import (
	"sync/atomic"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// record is one open record of a lane. Its fields belong to the lane's loop,
// but for those of a run, which its worker and then the settler own until
// they hand the record back.
type record struct {
	task.Delivery
	lane *lane
	hash uint64

	opened time.Time // when it was delivered
	begun  time.Time // when the first of the runs began that this one goes on with, after it waited for children
	leased time.Time // when it was first parked, granted or made to wait for its twin: the detach clock; zero before
	wakeAt time.Time // parked: when to ask again
	index  int       // in the lane's heap of parked records; -1 outside

	looked  bool // fresh, or a look has said that nothing is owed
	parent  bool // it has waited for children: they are done before what is fresh begins
	planned bool // its checkpoint says more than the record in Kafka does
	run     *run // set from grant to settlement

	detached atomic.Bool  // its copy is on the return topic, or on the way there
	hop      atomic.Int64 // the highest number that Kafka has acked: naming a higher one could supersede the only record
}

// startedAt is when the task began to run, for a run that did then: a parent that waited for children runs again, but
// began before.
func (r *record) startedAt(run time.Time) time.Time {
	if r.begun.IsZero() {
		return run
	}
	return r.begun
}

// copiesAround tells whether another node may hold a record of the task: then
// a settlement must wake it, and be marked as published. (What lies unfinished in the
// log when its partition moves, or a node dies, was dropped by the last owner.)
func (r *record) copiesAround() bool {
	return r.Hop > 0 || r.detached.Load() || !r.lane.queue.Owned(&r.Delivery)
}

// parkedHeap orders parked records by when they want to be asked again.
type parkedHeap []*record //nolint:recvcheck // as container/heap wants it

func (h parkedHeap) Len() int           { return len(h) }
func (h parkedHeap) Less(i, j int) bool { return h[i].wakeAt.Before(h[j].wakeAt) }
func (h parkedHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *parkedHeap) Push(x any) {
	r := x.(*record)
	r.index = len(*h)
	*h = append(*h, r)
}

func (h *parkedHeap) Pop() any {
	old := *h
	r := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	r.index = -1
	return r
}

// fifo is a queue of records that gives room back as it empties.
type fifo struct {
	items []*record
	head  int
}

func (q *fifo) len() int { return len(q.items) - q.head }

func (q *fifo) push(r *record) {
	if q.head > 1024 && q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, r)
}

// peek returns the oldest record and leaves it there, or nil.
func (q *fifo) peek() *record {
	if q.head == len(q.items) {
		return nil
	}
	return q.items[q.head]
}

// pop returns the oldest record, or nil.
func (q *fifo) pop() *record {
	if q.head == len(q.items) {
		return nil
	}
	r := q.items[q.head]
	q.items[q.head] = nil
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return r
}

// keep drops the records for which ok is false.
func (q *fifo) keep(ok func(*record) bool) {
	kept := q.items[:0]
	for _, r := range q.items[q.head:] {
		if ok(r) {
			kept = append(kept, r)
		}
	}
	clear(q.items[len(kept):])
	q.items, q.head = kept, 0
}

// waiting holds the records that wait for a slot. What a copy may have settled
// already is unlooked until a look has said that it is free.
type waiting struct{ looked, unlooked fifo }

func (w *waiting) len() int { return w.looked.len() + w.unlooked.len() }

func (w *waiting) push(r *record) {
	if r.looked {
		w.looked.push(r)
	} else {
		w.unlooked.push(r)
	}
}

func (w *waiting) pop() *record {
	if r := w.looked.pop(); r != nil {
		return r
	}
	return w.unlooked.pop()
}

func (w *waiting) keep(ok func(*record) bool) {
	w.looked.keep(ok)
	w.unlooked.keep(ok)
}
