package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/offline-nodes/offline-nodes/internal/mutant"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// rebuilder reads outcomes back from the results topic when Redis may have
// forgotten them: it was emptied, restarted, failed over or moved, or a
// partition starts from records older than Redis keeps outcomes for. Until
// that is done nothing is claimed there, so no settled task runs again.
type rebuilder struct {
	svc   *Service
	nudge chan struct{}

	mu      sync.Mutex
	working bool
	since   time.Time // outcomes since then have been read by this process, or need not be
	back    time.Time // wanted: outcomes since then; zero when none are
}

func newRebuilder(svc *Service) *rebuilder {
	return &rebuilder{svc: svc, nudge: make(chan struct{}, 1)}
}

// wanted says that a claim was answered cold.
func (b *rebuilder) wanted() {
	select {
	case b.nudge <- struct{}{}:
	default:
	}
}

// errRebuildLost: another process reads the outcomes back now.
var errRebuildLost = errors.New("the rebuild was taken over")

// covers tells whether the outcome of a task that may have ended at or after t is in
// Redis if there is one. If not, it sees to it.
func (b *rebuilder) covers(t time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !t.Before(b.since) {
		return true
	}
	if b.back.IsZero() || t.Before(b.back) {
		b.back = t
	}
	b.wanted()
	return false
}

func (b *rebuilder) busy() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.working
}

// first is the check before the node joins its groups: on a first start, when
// Kafka shows no other member, there is no lease to wait for.
func (b *rebuilder) first(ctx context.Context) error {
	b.since = time.Now().Add(-b.svc.claims.Config().Retention / 2)
	cold, err := b.svc.claims.Cold(ctx)
	if err != nil {
		return fmt.Errorf("check what Redis remembers: %w", err)
	}
	if len(cold.Buckets) == 0 {
		return nil
	}
	alone, err := b.svc.admin.Alone(ctx, b.svc.cfg.Types)
	if err != nil {
		b.svc.log.Warn("not known whether other nodes run: waiting as if they did", "error", err)
	}
	if alone {
		err := b.rebuild(ctx, cold, 0)
		if err == nil || ctx.Err() != nil {
			return err
		}
		b.svc.log.Warn("states could not be read back: it is tried again", "error", err)
	}
	b.wanted()
	return nil
}

// run rebuilds whenever that is wanted, until ctx ends.
func (b *rebuilder) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.nudge:
		}
		if err := b.work(ctx); err != nil && ctx.Err() == nil {
			b.svc.log.Warn("states could not be read back: it is tried again", "error", err)
			b.wanted()
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
}

func (b *rebuilder) work(ctx context.Context) error {
	b.mu.Lock()
	back := b.back
	b.mu.Unlock()
	if !back.IsZero() {
		if err := b.restore(ctx, back); err != nil {
			return err
		}
		b.mu.Lock()
		b.since, b.back = back, time.Time{}
		b.mu.Unlock()
	}
	cold, err := b.svc.claims.Cold(ctx)
	if err != nil || len(cold.Buckets) == 0 {
		return err
	}
	return b.rebuild(ctx, cold, b.svc.claims.Config().Lease)
}

// rebuild warms the cold buckets: mark them as this rebuild's, wait so that
// beats can put their leases back, read the outcomes, and warm what nobody
// else has marked meanwhile.
func (b *rebuilder) rebuild(ctx context.Context, cold claims.Coldness, wait time.Duration) error {
	lock, err := b.svc.claims.Lock(claims.RebuildLock, b.svc.claimant)
	if err != nil {
		return err
	}
	if ours, err := lock.Take(ctx); err != nil {
		return err
	} else if !ours { // another node does it
		return b.sleep(ctx, coldPause, nil)
	}
	defer func() { _ = lock.Release(context.WithoutCancel(ctx)) }()
	b.setWorking(true)
	defer b.setWorking(false)
	since := cold.Since
	if since.IsZero() {
		since = time.Now().Add(-b.svc.claims.Config().Retention)
	}
	b.svc.log.Info("Redis may have forgotten: reading outcomes back", "buckets", len(cold.Buckets), "since", since)
	nonce := uuid.NewString()
	if err := b.svc.claims.MarkCold(ctx, nonce, cold.Buckets); err != nil {
		return err
	}
	b.svc.cfg.reach("rebuild.marked")
	if mutant.On("a rebuild waits for no beat") {
		wait = 0
	}
	if err := b.sleep(ctx, wait, lock); err != nil {
		return err
	}
	if err := b.restore(ctx, since); err != nil {
		return err
	}
	b.svc.cfg.reach("rebuild.read")
	warmed, err := b.svc.claims.Warm(ctx, nonce, cold.Buckets)
	if err != nil {
		return err
	}
	b.svc.log.Info("outcomes are back: claims go on", "buckets", warmed)
	if warmed < len(cold.Buckets) {
		b.wanted()
	}
	return nil
}

func (b *rebuilder) setWorking(on bool) {
	b.mu.Lock()
	b.working = on
	b.mu.Unlock()
}

// sleep waits, and keeps the lock meanwhile.
func (b *rebuilder) sleep(ctx context.Context, wait time.Duration, lock *claims.Lock) error {
	beat := b.svc.claims.Config().Beat
	for wait > 0 {
		step := min(wait, beat)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(step):
		}
		wait -= step
		if lock != nil {
			if ours, err := lock.Renew(ctx); err != nil || !ours {
				return errors.Join(err, errRebuildLost)
			}
		}
	}
	return nil
}

// restore writes every outcome since a time into Redis.
func (b *rebuilder) restore(ctx context.Context, since time.Time) error {
	if mutant.On("nothing is read back") {
		return nil
	}
	var outcomes []claims.Outcome
	flush := func() error {
		if len(outcomes) == 0 {
			return nil
		}
		err := b.svc.claims.Restore(ctx, outcomes)
		outcomes = outcomes[:0]
		return err
	}
	err := kafkaqueue.ReadResults(ctx, b.svc.cfg.Kafka, since, func(e task.Event) error {
		outcomes = append(outcomes, outcomeOf(e))
		if len(outcomes) == maxBatch {
			return flush()
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the results topic: %w", err)
	}
	return flush()
}

// outcomeOf is the state that an event tells of.
func outcomeOf(e task.Event) claims.Outcome {
	info := claims.Info{
		Type: e.Type, Node: e.Node, SubmittedAt: e.SubmittedAt, StartedAt: e.StartedAt, CompletedAt: e.CompletedAt,
		Result: e.Result, Error: e.Error, BytesMoved: e.BytesMoved, OpaqueID: e.OpaqueID,
	}
	return claims.Outcome{
		ID: e.TaskID, Replay: e.Replay, Attempt: e.Attempt, Status: e.Status, AllocationID: e.AllocationID,
		Reason: e.Reason, At: e.CompletedAt, Info: info.Encode(),
	}
}
