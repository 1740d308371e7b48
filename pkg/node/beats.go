package node

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/mutant"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// beats renews the leases of everything this node has claimed, in one call for
// all that are due, and ends the runs that have lost theirs.
//
// A run is due one beat after its lease was last confirmed, and once early,
// when its worker has first reported: so a task shorter than that costs no
// beat at all.
type beats struct {
	svc *Service

	mu   sync.Mutex
	runs map[*record]*run

	failing bool      // the last call failed: the node claims nothing
	advance time.Time // when the loop last came round, for the watchdog
}

func newBeats(svc *Service) *beats {
	return &beats{svc: svc, runs: map[*record]*run{}, advance: time.Now()}
}

func (b *beats) add(r *record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.runs[r] = r.run
}

func (b *beats) remove(r *record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.runs, r)
}

// healthy tells whether the last beat came through.
func (b *beats) healthy() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.failing
}

// heard tells that Redis answers: with nothing left to beat for, no beat would.
func (b *beats) heard() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.runs) == 0 {
		b.failing = false
	}
}

func (b *beats) lastAdvance() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.advance
}

// run beats until ctx ends. A call that hangs ends with the trust window: what
// it was to confirm is stopped by then anyway.
func (b *beats) run(ctx context.Context) error {
	every := b.svc.claims.Config().Beat / 10
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		b.svc.cfg.reach("beat.loop")
		b.supervise(time.Now())
		b.beat(ctx)
	}
}

// beat renews what is due.
func (b *beats) beat(ctx context.Context) {
	asked := time.Now()
	due, calls := b.due(asked)
	failing := false
	if len(due) > 0 {
		cfg := b.svc.claims.Config()
		call, cancel := context.WithTimeout(ctx, cfg.Trust-cfg.Beat)
		answers, err := b.svc.claims.Beat(call, calls)
		cancel()
		failing = err != nil
		if failing {
			b.svc.log.Warn("beat failed: the leases are unconfirmed, nothing is claimed meanwhile", "error", err, "tasks", len(due))
			b.svc.metrics.beatFailures.Add(ctx, 1)
		}
		for i, r := range due {
			if err == nil {
				b.answered(r, answers[i], asked)
			}
			b.quiet(r)
		}
	}
	b.mu.Lock()
	if len(due) > 0 {
		b.failing = failing
	}
	b.advance = time.Now()
	b.mu.Unlock()
}

// due lists the runs whose lease wants renewal, and marks them as beating.
func (b *beats) due(now time.Time) (due []*record, calls []claims.Beat) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for r, run := range b.runs {
		if report, ok := run.due(now, b.svc.claims.Config().Beat); ok {
			due = append(due, r)
			calls = append(calls, b.of(r, report))
		}
	}
	return due, calls
}

func (b *beats) of(r *record, report task.Report) claims.Beat {
	run := r.run
	return claims.Beat{
		ID: r.ID, Lease: run.lease, Replay: r.Replay, Attempt: r.Attempt, Hop: int(r.hop.Load()),
		ParamsHash: r.hash, NotBefore: r.NotBefore, Active: report.Active,
		Reset: run.advanced(report), Info: b.svc.info(r, report).Encode(),
	}
}

// save beats at once for a run whose newest checkpoint no beat has carried,
// and returns when it is kept. It is called by the run's worker.
func (b *beats) save(ctx context.Context, r *record) error {
	for {
		held, unsaved := r.run.hold()
		if held {
			break
		}
		if !unsaved {
			return nil
		}
		select { // another beat is under way
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
	defer b.quiet(r)
	asked := time.Now()
	answers, err := b.svc.claims.Beat(ctx, []claims.Beat{b.of(r, r.run.execution.Report())})
	if err != nil {
		return fmt.Errorf("keep the checkpoint: %w", err)
	}
	b.answered(r, answers[0], asked)
	switch answers[0].Verdict {
	case claims.Lost:
		return task.ErrLeaseLost
	case claims.Unknown:
		return fmt.Errorf("keep the checkpoint: %w", answers[0].Err)
	case claims.Kept, claims.KeptCancel:
	}
	return nil
}

func (b *beats) answered(r *record, a claims.BeatAnswer, asked time.Time) {
	run := r.run
	switch a.Verdict {
	case claims.Unknown:
		b.svc.log.Warn("beat not judged: the lease is unconfirmed", "error", a.Err, "task_id", r.ID)
	case claims.Lost:
		if mutant.On("a lost lease stops nothing") {
			return
		}
		run.stop(task.ErrLeaseLost, asked)
		b.svc.log.Warn("lease lost: the run is stopped", "task_id", r.ID, "allocation_id", run.allocation)
	case claims.Kept:
		run.kept(asked)
	case claims.KeptCancel:
		run.kept(asked)
		if !r.lane.def.Uncancellable {
			run.stop(task.ErrCancelled, asked)
		}
	}
}

// quiet lets a settlement that waited for the beat go on.
func (b *beats) quiet(r *record) {
	run := r.run
	run.mu.Lock()
	run.beating = false
	resume := run.resume
	run.resume = nil
	run.mu.Unlock()
	if resume != nil {
		resume()
	}
}

// supervise stops runs that may no longer trust their lease or have stalled,
// and reports those that were told to stop and have not.
func (b *beats) supervise(now time.Time) {
	b.mu.Lock()
	runs := maps.Clone(b.runs) // a run that is settled meanwhile is a record's no more
	b.mu.Unlock()
	trust := b.svc.claims.Config().Trust
	for r, run := range runs {
		def := r.lane.def
		run.mu.Lock()
		started, asked, stopAt, ended, ignored := run.started, run.asked, run.stopAt, run.ended, run.ignored
		run.ignored = ignored || !stopAt.IsZero() && !ended && now.Sub(stopAt) > b.svc.cfg.StuckAfter
		newlyIgnored := run.ignored && !ignored
		run.mu.Unlock()
		reported := run.execution.Report().ReportedAt
		switch {
		case ended:
		case newlyIgnored:
			b.svc.log.Error("worker ignores its cancelled context: its slot is lost until it returns", "task_id", r.ID, "type", def.Type)
			b.svc.metrics.stuck.Add(b.svc.work, 1)
			r.lane.note(note{kind: workerStuck, record: r})
		case !stopAt.IsZero():
		case !def.Guarded && now.Sub(asked) > trust && !mutant.On("no trust window"):
			run.stop(task.ErrLeaseUnknown, now)
		case def.Stall > 0 && !started.IsZero() && now.Sub(later(reported, started)) > def.Stall:
			run.stop(task.ErrStalled, now)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// stopAll tells every run to stop.
func (b *beats) stopAll(cause error) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, run := range b.runs {
		run.stop(cause, now)
	}
}

// count is how many tasks of each type the node has claimed.
func (b *beats) count() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := map[string]int{}
	for r := range b.runs {
		n[r.Type]++
	}
	return n
}
