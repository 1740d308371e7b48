package node

import (
	"context"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/mutant"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// hop re-publishes a record that waits here: by a tier when notBefore is
// ahead, else by the return topic. The number is raised in Redis first, so the
// copy that is older than another is superseded; the record stays open until
// the next one is acked.
func (l *lane) hop(r *record, notBefore time.Time) {
	if l.active[r.ID] == nil { // else its task runs here
		l.active[r.ID] = r
	}
	l.svc.calls.Go(func() { l.raise(l.svc.work, r, notBefore) })
}

func (l *lane) raise(ctx context.Context, r *record, notBefore time.Time) {
	a, err := l.raiseHop(ctx, r, "")
	l.svc.cfg.reach("hop.raised")
	switch {
	case err != nil: // no hops while Redis is away
		l.askAgain(r, time.Second)
	case a.Superseded: // a pause: a claim says that it is held while the task runs and the newer copy is not known to be published
		l.askAgain(r, time.Second)
	default:
		l.svc.effects.hop(r, nextHop(r, a, notBefore), mark{allocation: a.AllocationID, needed: true})
	}
}

func (l *lane) raiseHop(ctx context.Context, r *record, lease string) (claims.HopAnswer, error) {
	call, cancel := context.WithTimeout(ctx, l.svc.claims.Config().Beat)
	defer cancel()
	info := l.svc.firstInfo(&r.Delivery)
	answers, err := l.svc.claims.RaiseHop(call, []claims.HopAsk{{
		ID: r.ID, Replay: r.Replay, Attempt: r.Attempt, Hop: r.Hop, Lease: lease,
		ParamsHash: r.hash, NotBefore: r.NotBefore, Info: info.Encode(),
	}})
	if err != nil {
		return claims.HopAnswer{}, err
	}
	return answers[0], answers[0].Err
}

func nextHop(r *record, a claims.HopAnswer, notBefore time.Time) task.Delivery {
	next := r.Delivery
	next.Hop, next.NotBefore = a.Hop, notBefore
	if a.Checkpoint != nil {
		next.Checkpoint = a.Checkpoint
	}
	return next
}

// hopStale hops what has waited here for very long, whatever it waits for: so
// no offset stays open until retention takes its record.
func (l *lane) hopStale(now time.Time) {
	oldest := now.Add(-l.svc.cfg.HopAfter)
	for _, w := range [...]*waiting{&l.due, &l.fresh} {
		for _, q := range [...]*fifo{&w.looked, &w.unlooked} {
			for r := q.peek(); r != nil && r.opened.Before(oldest); r = q.peek() {
				q.pop()
				if l.active[r.ID] != nil {
					l.twin(r)
					continue
				}
				l.hop(r, time.Time{})
			}
		}
	}
}

// detachRuns hops the records whose tasks have been running here for long: the
// node keeps the bytes and goes on, the offset can be committed, and when the
// node dies somebody is already waiting for the lease to end.
func (l *lane) detachRuns(ctx context.Context, now time.Time) {
	if now.Before(l.detachAt) {
		return
	}
	l.detachAt = now.Add(time.Second)
	for r, at := range l.running {
		if now.Before(at) {
			continue
		}
		delete(l.running, r)
		if l.queue.Owned(&r.Delivery) && !r.detached.Load() && !mutant.On("nothing is detached") {
			lease := r.run.lease
			l.svc.calls.Go(func() { l.detach(ctx, r, lease) })
		}
	}
}

func (l *lane) detach(ctx context.Context, r *record, lease string) {
	a, err := l.raiseHop(ctx, r, lease)
	l.svc.cfg.reach("detach.raised")
	if err != nil || a.Superseded {
		l.note(note{kind: detachLater, record: r})
		return
	}
	r.detached.Store(true)
	if mutant.On("beats name a copy that is not published") {
		r.hop.Store(int64(a.Hop))
	}
	l.svc.queue.Hop(nextHop(r, a, r.NotBefore), func(err error) {
		if err != nil {
			l.log.Error("detach refused: the record stays open while its task runs", "error", err, "task_id", r.ID)
			return
		}
		l.svc.cfg.reach("detach.acked")
		r.hop.Store(int64(a.Hop))
		l.queue.Finish(&r.Delivery)
		l.svc.settler.mark(claims.Mark{ID: r.ID, Replay: r.Replay, Attempt: r.Attempt, Hop: a.Hop, AllocationID: a.AllocationID, Status: task.Unassigned}, nil)
	})
}
