package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/mutant"
	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

const (
	familyPause   = 200 * time.Millisecond // from a child's end until its parent looks at all of them
	familyTimeout = 30 * time.Second       // for Kafka to accept children
)

// family is a run's way to its children.
type family struct {
	svc *Service
	of  *record
}

func (f family) States(ctx context.Context, ids []string) ([]*task.ChildState, error) {
	known, err := f.svc.claims.States(ctx, ids)
	if err != nil {
		return nil, err
	}
	states := make([]*task.ChildState, len(ids))
	for i, s := range known {
		if s != nil {
			states[i] = &task.ChildState{
				ID: s.ID, Type: s.Type, Status: s.Status, Fraction: s.Fraction, Result: s.Result, Error: owedError(s),
				Reason: s.Reason, Replay: s.Replay, BytesMoved: s.BytesMoved, ParamsHash: s.ParamsHash,
			}
		}
	}
	return states, nil
}

// Submit keeps the checkpoint first, if the worker has set one: children of a
// plan that is forgotten would stand in the way of the next one. Then it publishes the
// children and creates their states, as a client does: Kafka has them, so an error of
// Redis is none.
func (f family) Submit(ctx context.Context, children []task.Submission) error {
	ctx, cancel := context.WithTimeout(ctx, familyTimeout)
	defer cancel()
	if !mutant.On("a plan is not kept before its children") {
		if err := f.svc.beats.save(ctx, f.of); err != nil {
			return err
		}
	}
	deliveries := make([]task.Delivery, len(children))
	for i, c := range children {
		deliveries[i] = task.Delivery{Envelope: c.Envelope, Params: c.Params}
		deliveries[i].TraceParent, deliveries[i].TraceState = f.of.run.traceParent, f.of.run.traceState
	}
	if err := errors.Join(f.svc.queue.Submit(ctx, deliveries)...); errors.Is(err, kafkaqueue.ErrRefused) {
		return fmt.Errorf("the topics of a child's type are made by the first node that runs it: %w", err)
	} else if err != nil {
		return err
	}
	f.svc.cfg.reach("children.submitted")
	notes := make([]claims.Submission, len(deliveries))
	for i := range deliveries {
		d := &deliveries[i]
		info := f.svc.firstInfo(d)
		info.Explanation = "waits for a node"
		notes[i] = claims.Submission{ID: d.ID, Replay: d.Replay, ParamsHash: task.Hash(d.Params), NotBefore: d.NotBefore, Info: info.Encode()}
	}
	if _, err := f.svc.claims.Submit(ctx, notes); err != nil {
		f.svc.log.Debug("states of children not created: their first claims will", "error", err, "tasks", len(notes))
	}
	return nil
}

// await lets a parent wait for its children: parked like a record whose task
// somebody else runs, it holds no slot. A child's end wakes it, and the beat
// is the fallback; its progress is as old as that. When it has been here for
// long it goes round by the return topic, so that its offset can be committed;
// at once when its run left a checkpoint, for a plan that only Redis
// has is forgotten with it, and another one would find the first one's children.
func (l *lane) await(r *record) {
	if r.run = nil; l.draining || !l.queue.Owned(&r.Delivery) {
		return
	}
	r.parent = true
	if left := time.Until(r.leased.Add(l.svc.cfg.DetachAfter)); left > 0 && (!r.planned || mutant.On("a plan that only Redis has")) {
		wait := min(left, l.svc.claims.Config().Beat)
		if mutant.On("parents wait for wake-ups alone") {
			wait = left
		}
		l.park(r, wait)
		return
	}
	l.hop(r, time.Time{})
}
