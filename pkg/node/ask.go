package node

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/offline-nodes/offline-nodes/internal/mutant"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// batch is one claim call and its answers.
type batch struct {
	records []*record
	asks    []claims.Ask    // one for each record that can run, in order
	burials []claims.Burial // one for each that cannot
	answers []claims.Answer
	asked   time.Time // when the call that was answered was sent
}

// ask claims what there are slots for, and looks at what may be settled
// already. One call is under way at a time; the next one takes what gathered.
func (l *lane) ask(ctx context.Context, now time.Time) {
	if l.asking || l.draining || now.Before(l.coldUntil) || !l.svc.mayClaim() {
		return
	}
	b := l.lateTwins(now)
	for n := min(l.wanted(), maxBatch-len(b.records)); n > 0; n-- {
		r := l.next((*waiting).pop)
		if r == nil {
			break
		}
		l.include(&b, r, false)
	}
	if len(b.records) == 0 && !now.Before(l.lookAt) && !mutant.On("nothing is looked at") {
		l.lookAt = now.Add(lookPause)
		for range maxBatch {
			r := l.next(func(w *waiting) *record { return w.unlooked.pop() })
			if r == nil {
				break
			}
			l.include(&b, r, true)
		}
	}
	if len(b.records) == 0 {
		return
	}
	l.asking = true
	l.svc.calls.Go(func() { l.claim(ctx, b) })
}

// lateTwins looks at records that have waited for long for a run of their task here: they are superseded, or held, and hop
// as those do whose task runs elsewhere. The run's own record goes first, or its copy would be the older one, and then one
// at a time: two that hop at once may get the same number, and neither supersedes the other. A record that cannot be read
// waits on: its burial would end the run's task if the lease had lapsed.
func (l *lane) lateTwins(now time.Time) (b batch) {
	if now.Before(l.twinsAt) || mutant.On("twins wait for as long as it takes") {
		return b
	}
	l.twinsAt = now.Add(time.Second)
	for id, twins := range l.twins {
		a := l.active[id]
		if a == nil || a.run == nil || l.queue.Owned(&a.Delivery) && !a.detached.Load() {
			continue
		}
		i := slices.IndexFunc(twins, func(r *record) bool { return r.Err == nil && !r.leased.Add(l.svc.cfg.DetachAfter).After(now) })
		if i >= 0 && len(b.records) < maxBatch {
			l.include(&b, twins[i], true)
			l.twins[id] = slices.Delete(twins, i, i+1)
		}
	}
	return b
}

// wanted is how many tasks to claim now: one per free slot, and up to two batches
// ahead where a run is shorter than a claim: one is claimed while the other runs. These are
// claimed by the whole batch, or each would cost a call of its own.
func (l *lane) wanted() int {
	if l.svc.full() {
		return 0
	}
	slots := l.def.Slots - l.stuck
	if l.mean >= shortRun {
		return min(slots-l.inHand, maxBatch)
	}
	room := slots + claimAhead - l.inHand
	if room < maxBatch && l.inHand >= slots {
		return 0
	}
	return min(room, maxBatch)
}

// next takes a record that may be asked for: what is due before what is fresh,
// and never one whose id is active here.
func (l *lane) next(pop func(*waiting) *record) *record {
	for _, w := range [...]*waiting{&l.due, &l.fresh} {
		for r := pop(w); r != nil; r = pop(w) {
			switch {
			case l.active[r.ID] != nil:
				l.twin(r)
			case r.Copied && !l.svc.rebuild.covers(later(r.SubmittedAt, r.NotBefore)):
				l.park(r, coldPause) // so old that Redis may have let its outcome go
			default:
				l.active[r.ID] = r
				return r
			}
		}
	}
	return nil
}

func (l *lane) include(b *batch, r *record, look bool) {
	b.records = append(b.records, r)
	if r.Err != nil { // cannot run: it is settled as failed where a claim would be granted
		b.burials = append(b.burials, claims.Burial{
			ID: r.ID, Replay: r.Replay, Attempt: r.Attempt, Hop: r.Hop, ParamsHash: r.hash,
			NotBefore: r.NotBefore, Reason: r.Reason, Info: l.svc.buryInfo(&r.Delivery, r.Err).Encode(),
		})
		return
	}
	b.asks = append(b.asks, claims.Ask{
		ID: r.ID, Replay: r.Replay, Attempt: r.Attempt, Hop: r.Hop, ParamsHash: r.hash,
		NotBefore: r.NotBefore, Deadline: r.Deadline, Look: look,
		Info: l.svc.firstInfo(&r.Delivery).Encode(),
	})
}

// claim repeats the call, under one nonce, until Redis answers.
func (l *lane) claim(ctx context.Context, b batch) {
	nonce := uuid.NewString()
	err := retry(ctx, func(ctx context.Context) error {
		err := b.call(ctx, l.svc, nonce)
		if err != nil && ctx.Err() == nil {
			l.log.Warn("claim failed: it is repeated until Redis answers", "error", err, "tasks", len(b.records))
			l.svc.metrics.claimFailures.Add(ctx, 1)
		}
		return err
	})
	if err != nil {
		b.answers = nil
	}
	l.answers <- b
}

// call asks once, and puts the answers into the order of the records.
func (b *batch) call(ctx context.Context, svc *Service, nonce string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, svc.claims.Config().Trust/2)
	defer cancel()
	b.asked = time.Now()
	var granted, buried []claims.Answer
	if len(b.asks) > 0 {
		if granted, err = svc.claims.Claim(ctx, svc.claimant, nonce, b.asks); err != nil {
			return err
		}
	}
	if len(b.burials) > 0 {
		if buried, err = svc.claims.Bury(ctx, nonce, b.burials); err != nil {
			return err
		}
	}
	b.answers = b.answers[:0]
	for _, r := range b.records {
		from := &granted
		if r.Err != nil {
			from = &buried
		}
		b.answers = append(b.answers, (*from)[0])
		*from = (*from)[1:]
	}
	return nil
}

// answered acts on each answer; the order of the cases is of no account.
func (l *lane) answered(b batch) {
	l.asking = false
	if b.answers == nil { // the process ends
		for _, r := range b.records {
			l.release(r)
		}
		return
	}
	warm := func(a claims.Answer) bool { return a.Verdict != claims.Cold }
	if !slices.ContainsFunc(b.answers, warm) {
		l.coldUntil = time.Now().Add(lookPause) // else the whole backlog would ask, one batch after the other
	}
	for i, r := range b.records {
		a := b.answers[i]
		l.metrics.claimed(a.Verdict)
		if a.Verdict == claims.Granted {
			l.grant(r, a, b.asked)
			continue
		}
		if a.Verdict == claims.Owed && mutant.On("what is owed is not published") {
			a.Verdict = claims.Settled
		}
		if a.Verdict == claims.Owed {
			l.publishOwed(r, a.State)
			continue
		}
		if a.Verdict == claims.Conflict {
			l.svc.effects.conflict(r)
			continue
		}
		l.release(r)
		l.wait(r, a)
	}
}

// grant hands a record to the workers. The channel has room: wanted says so.
func (l *lane) grant(r *record, a claims.Answer, asked time.Time) {
	l.svc.cfg.reach("claim.granted")
	l.begin(r, a, asked)
	l.inHand++
	l.running[r] = r.leased.Add(l.svc.cfg.DetachAfter)
	l.svc.beats.add(r)
	if l.draining { // too late: it goes back at once
		r.run.stop(task.ErrDraining, asked)
	}
	l.granted <- r
}

// wait does what answers ask for that leave the task with somebody else.
func (l *lane) wait(r *record, a claims.Answer) {
	switch a.Verdict {
	case claims.Settled, claims.Superseded:
		l.queue.Finish(&r.Delivery)
	case claims.Free:
		r.looked = true
		l.enqueue(r)
	case claims.Held:
		if mutant.On("skip what is held") {
			l.queue.Finish(&r.Delivery)
			return
		}
		l.held(r, a.Wait)
	case claims.Early:
		l.early(r, a.Wait)
	case claims.Cold:
		l.svc.rebuild.wanted()
		l.park(r, coldPause)
	default:
		l.log.Error("claim refused: it is asked again", "error", a.Err, "task_id", r.ID)
		l.park(r, time.Second)
	}
}

// early parks a record that is due soon, by Redis' clock or by this node's: the
// tiers would not hold it, and while the clocks differ it would go round and
// round.
func (l *lane) early(r *record, wait time.Duration) {
	now := time.Now()
	soon := wait < earlyPark || r.NotBefore.Sub(now) < earlyPark
	if soon && now.Sub(r.opened) < l.svc.cfg.HopAfter {
		l.park(r, min(wait, l.svc.cfg.DetachAfter))
		return
	}
	l.hop(r, r.NotBefore)
}

// held parks a record whose task somebody else has, until its lease ends or
// it is time to detach it.
func (l *lane) held(r *record, wait time.Duration) {
	now := time.Now()
	if r.leased.IsZero() {
		r.leased = now
	}
	left := r.leased.Add(l.svc.cfg.DetachAfter).Sub(now)
	if left <= 0 {
		l.hop(r, time.Time{})
		return
	}
	l.park(r, min(max(wait, time.Millisecond), left))
}

// publishOwed publishes what the state says and nobody is known to have
// published, then finishes the record; or, when the record is of a higher
// replay than what was owed, asks for it again.
func (l *lane) publishOwed(r *record, s *claims.State) {
	m := mark{allocation: s.AllocationID, needed: true, anew: r.Replay > s.Replay}
	if s.Status.Terminal() {
		l.svc.metrics.repeats.Add(l.svc.work, 1)
		l.svc.effects.terminal(r, owedEvent(&r.Delivery, s), s.Hop, owedLetter(s), m)
		return
	}
	l.svc.effects.hop(r, owedHop(r.Delivery, s), m)
}

// bury settles a record that cannot run as failed, and publishes its dead
// letter and its event. It may be called from any goroutine.
func (l *lane) bury(r *record, reason task.Reason, why error) {
	r.Err, r.Reason = why, reason
	l.askAgain(r, 0)
}
