package node

import (
	"container/heap"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

const (
	maxBatch   = 256                    // tasks per claim call
	claimAhead = 2 * maxBatch           // tasks claimed beyond the slots, for very short runs
	shortRun   = time.Millisecond       // mean below which a lane claims ahead
	lookPause  = 100 * time.Millisecond // between looks while no slot is free
	earlyPark  = 5 * time.Second        // what is due sooner waits here, not in a tier
	coldPause  = 500 * time.Millisecond

	detachPause = 5 * time.Second // until a detach that failed is tried again
)

// lane carries the tasks of one type through this node: polled, waiting,
// claimed, run, settled, finished. One goroutine, the loop, owns everything
// below; workers, settler and producer hand records back by notes.
type lane struct {
	svc   *Service
	def   *task.Definition
	queue consumer
	log   *slog.Logger

	metrics *laneMetrics

	polled  chan []task.Delivery
	answers chan batch
	granted chan *record // to the workers
	inbox   inbox

	due       waiting // parents, and what comes from the return topic: before what is fresh
	fresh     waiting
	parked    parkedHeap
	active    map[string]*record    // by id: asked for, running, or being settled
	twins     map[string][]*record  // records of an active id; they wait for it
	parkedID  map[string]*record    // the last parked record of an id
	running   map[*record]time.Time // when to detach what runs here
	inHand    int                   // granted and not yet ended: never more than wanted allows
	asking    bool                  // one claim call at a time
	lookAt    time.Time
	twinsAt   time.Time
	coldUntil time.Time // nothing is asked before: all that was asked last was cold
	detachAt  time.Time
	mean      time.Duration // of a run, moving
	stuck     int           // slots lost to workers that ignore cancellation
	draining  bool
	advance   time.Time // when the loop last came round, for the watchdog; guarded by inbox.mu
}

// noteKind says what a note tells the loop.
type noteKind uint8

const (
	slotFreed   noteKind = iota // the worker has returned
	recordDone                  // finished, or nobody's business any more
	reask                       // back to the claim loop after a pause
	awaits                      // its children have not ended: it waits for them without a slot
	detachLater                 // a running record could not be detached yet
	revoked                     // some partitions went: drop what waits of them
	woken                       // a parked id may be free
	workerStuck                 // a worker ignores its cancelled context
)

type note struct {
	kind   noteKind
	record *record
	id     string
	took   time.Duration
	pause  time.Duration
}

// inbox gathers notes without blocking whoever sends them.
type inbox struct {
	mu    sync.Mutex
	notes []note
	nudge chan struct{}
}

func newLane(svc *Service, def *task.Definition) *lane {
	return &lane{
		svc: svc, def: def, log: svc.log.With("type", def.Type), metrics: svc.metrics.lane(def.Type),
		polled: make(chan []task.Delivery), answers: make(chan batch, 1),
		granted: make(chan *record, def.Slots+claimAhead),
		inbox:   inbox{nudge: make(chan struct{}, 1)},
		active:  map[string]*record{}, twins: map[string][]*record{}, parkedID: map[string]*record{}, running: map[*record]time.Time{},
		mean: time.Second, advance: time.Now(),
	}
}

func (l *lane) note(n note) {
	l.inbox.mu.Lock()
	l.inbox.notes = append(l.inbox.notes, n)
	l.inbox.mu.Unlock()
	select {
	case l.inbox.nudge <- struct{}{}:
	default:
	}
}

// finish commits the record, in time, and forgets it.
func (l *lane) finish(r *record) {
	l.svc.cfg.reach("finish")
	l.queue.Finish(&r.Delivery)
	l.note(note{kind: recordDone, record: r})
}

// askAgain sends a record back to the claim loop after a pause. It may be
// called from any goroutine, as finish and note may.
func (l *lane) askAgain(r *record, pause time.Duration) {
	l.note(note{kind: reask, record: r, pause: pause})
}

// poll hands deliveries to the loop until ctx ends.
func (l *lane) poll(ctx context.Context) error {
	for {
		deliveries, err := l.queue.Poll(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // the intake is closed: an orderly stop
			}
			return err
		}
		select {
		case l.polled <- deliveries:
		case <-ctx.Done():
			return nil
		}
	}
}

// loop runs until every run has ended after intake was closed, or ctx ends.
func (l *lane) loop(ctx context.Context, intake <-chan struct{}) error {
	tick := time.NewTicker(lookPause)
	defer tick.Stop()
	for {
		l.svc.cfg.reach("lane.loop")
		select {
		case <-ctx.Done():
			return nil
		case <-intake:
			intake = nil
			l.drain()
		case deliveries := <-l.polled:
			l.deliver(deliveries)
		case b := <-l.answers:
			l.answered(b) //nolint:contextcheck // counting has no context, a hop outlives the loop's
		case <-l.inbox.nudge:
			l.read()
		case <-tick.C:
		}
		now := time.Now()
		l.unpark(now)
		l.hopStale(now)
		l.detachRuns(ctx, now)
		l.ask(ctx, now)
		l.advanced(now)
		switch {
		case l.stuck > 0 && (l.stuck == l.def.Slots || l.draining && len(l.active) == l.stuck):
			return fmt.Errorf("%s: %w", l.def.Type, ErrStuck)
		case l.draining && len(l.active) == 0 && !l.asking:
			return nil
		}
	}
}

// drain takes nothing more: what waits is left to others, what was claimed
// ahead goes back, and what runs goes on.
func (l *lane) drain() {
	l.draining = true
	l.dropWaiting(func(*record) bool { return true })
	now := time.Now()
	for _, r := range l.active {
		if r.run != nil && !r.run.hasStarted() {
			r.run.stop(task.ErrDraining, now)
		}
	}
}

func (l *lane) advanced(now time.Time) {
	l.inbox.mu.Lock()
	l.advance = now
	l.inbox.mu.Unlock()
}

func (l *lane) lastAdvance() time.Time {
	l.inbox.mu.Lock()
	defer l.inbox.mu.Unlock()
	return l.advance
}

// deliver takes polled records in.
func (l *lane) deliver(deliveries []task.Delivery) {
	now := time.Now()
	for i := range deliveries {
		r := &record{Delivery: deliveries[i], lane: l, opened: now, index: -1}
		r.hash = task.Hash(r.Params)
		r.hop.Store(int64(r.Hop))
		r.looked = !r.Copied && r.Err == nil
		l.enqueue(r)
	}
}

// enqueue lets a record wait for a slot, or for the run of its twin.
func (l *lane) enqueue(r *record) {
	switch {
	case l.active[r.ID] != nil:
		l.twin(r)
	case r.parent || r.fromReturnTopic():
		l.due.push(r)
	default:
		l.fresh.push(r)
	}
}

// twin lets a record wait until the one of its id that is active has had its turn.
func (l *lane) twin(r *record) {
	if r.leased.IsZero() {
		r.leased = time.Now()
	}
	l.twins[r.ID] = append(l.twins[r.ID], r)
}

func (r *record) fromReturnTopic() bool { return strings.HasSuffix(r.Origin.Topic, ".again") }

// read takes the notes that have gathered.
func (l *lane) read() {
	l.inbox.mu.Lock()
	notes := l.inbox.notes
	l.inbox.notes = nil
	l.inbox.mu.Unlock()
	for i := range notes {
		n := &notes[i]
		switch n.kind {
		case slotFreed:
			l.inHand--
			l.mean += (n.took - l.mean) / 16
			if n.record.run.wasIgnored() {
				l.stuck--
			}
		case workerStuck:
			l.stuck++
		case recordDone:
			l.release(n.record)
		case reask:
			l.release(n.record)
			l.requeue(n.record, n.pause)
		case awaits:
			l.release(n.record)
			l.await(n.record)
		case detachLater:
			if n.record.run != nil {
				l.running[n.record] = time.Now().Add(detachPause)
			}
		case woken:
			l.wake(n.id)
		case revoked:
			l.dropWaiting(func(r *record) bool { return !l.queue.Owned(&r.Delivery) })
		}
	}
}

// release ends a record's turn: its twins may have theirs.
func (l *lane) release(r *record) {
	if l.active[r.ID] != r {
		return
	}
	delete(l.active, r.ID)
	delete(l.running, r)
	twins := l.twins[r.ID]
	delete(l.twins, r.ID)
	for _, t := range twins {
		l.enqueue(t)
	}
}

// requeue asks for a record again, unless its partition has gone: then whoever
// has it now asks.
func (l *lane) requeue(r *record, pause time.Duration) {
	r.run = nil
	switch {
	case l.draining || !l.queue.Owned(&r.Delivery):
	case pause > 0:
		l.park(r, pause)
	default:
		l.enqueue(r)
	}
}

// park keeps a record that cannot run now and asks again later: after wait,
// or when it is time to detach it.
func (l *lane) park(r *record, wait time.Duration) {
	now := time.Now()
	if r.leased.IsZero() {
		r.leased = now
	}
	r.wakeAt = now.Add(wait)
	heap.Push(&l.parked, r)
	l.parkedID[r.ID] = r
}

// unpark lets records whose time has come ask again.
func (l *lane) unpark(now time.Time) {
	for len(l.parked) > 0 && !l.parked[0].wakeAt.After(now) {
		r := heap.Pop(&l.parked).(*record)
		l.unparked(r)
		r.looked = false // somebody else had it: it may be settled
		l.enqueue(r)
	}
}

// wake lets a parked id ask at once, and its parent soon: of a thousand
// children that end together the first wakes it.
func (l *lane) wake(id string) {
	l.wakeAt(id, time.Time{})
	l.wakeAt(task.Parent(id), time.Now().Add(familyPause))
}

func (l *lane) wakeAt(id string, at time.Time) {
	if r := l.parkedID[id]; r != nil && at.Before(r.wakeAt) {
		r.wakeAt = at
		heap.Fix(&l.parked, r.index)
	}
}

func (l *lane) unparked(r *record) {
	if l.parkedID[r.ID] == r {
		delete(l.parkedID, r.ID)
	}
}

// dropWaiting forgets the records that wait here and for which gone holds. They
// are not finished: Kafka delivers them to whoever has the partition now.
func (l *lane) dropWaiting(gone func(*record) bool) {
	keep := func(r *record) bool { return !gone(r) }
	l.due.keep(keep)
	l.fresh.keep(keep)
	kept := l.parked[:0]
	for _, r := range l.parked {
		if keep(r) {
			kept = append(kept, r)
		} else {
			l.unparked(r)
		}
	}
	clear(l.parked[len(kept):])
	l.parked = kept
	for i, r := range l.parked {
		r.index = i
	}
	heap.Init(&l.parked)
	for id, twins := range l.twins {
		l.twins[id] = keepRecords(twins, keep)
	}
}

func keepRecords(records []*record, keep func(*record) bool) []*record {
	kept := records[:0]
	for _, r := range records {
		if keep(r) {
			kept = append(kept, r)
		}
	}
	clear(records[len(kept):])
	return kept
}
