package datanode

import (
	"context"
	"fmt"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/merge"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// Merges returns the merges of the shard, the newest first: those that have not ended, then the last hundred that have.
func (sh *Shard) Merges() []Merge { return sh.merges.list() }

// PlanMerges plans merges now, as the node does by itself after every change, and returns those that it has begun.
func (sh *Shard) PlanMerges(ctx context.Context) ([]Merge, error) {
	return sh.planNow(ctx, "", func(free []shard.Segment) ([][]shard.Segment, error) {
		return planMerges(free, sh.node.cfg.Plan)
	})
}

// ForceMerge begins to merge the shard down to at most segments. Those that are being merged already are left out: call
// it again when they are done.
func (sh *Shard) ForceMerge(ctx context.Context, segments int) ([]Merge, error) {
	return sh.planNow(ctx, "asked for by force merge; ", func(free []shard.Segment) ([][]shard.Segment, error) {
		return planForce(free, segments)
	})
}

// Expunge begins to rewrite every segment that holds deleted documents.
func (sh *Shard) Expunge(ctx context.Context) ([]Merge, error) {
	return sh.planNow(ctx, "asked for to expunge deletes; ", func(free []shard.Segment) ([][]shard.Segment, error) {
		return planExpunge(free), nil
	})
}

func (sh *Shard) planNow(ctx context.Context, why string, planner func([]shard.Segment) ([][]shard.Segment, error)) ([]Merge, error) {
	if err := sh.follow(ctx); err != nil {
		return nil, fmt.Errorf("plan merges of shard %s: %w", sh.name, err)
	}
	begun, err := sh.plan(ctx, planner, why, false)
	if err != nil {
		return nil, fmt.Errorf("plan merges of shard %s: %w", sh.name, err)
	}
	poke(sh.replan)
	return begun, nil
}

// plan begins the merges that planner asks for among the segments that are free. Bounded, it leaves those out for which
// there are too many under way: they are planned later, on what the segments are then.
func (sh *Shard) plan(ctx context.Context, planner func([]shard.Segment) ([][]shard.Segment, error), why string, bounded bool) ([]Merge, error) {
	sh.merges.planning.Lock()
	defer sh.merges.planning.Unlock()
	m, err := sh.plannable()
	if err != nil {
		return nil, err
	}
	plans, err := planner(sh.merges.free(m.Segments))
	if err != nil || len(plans) == 0 {
		return nil, err
	}
	now := situation{offline: sh.node.Offline(), hasQueue: sh.node.cfg.Queue != nil}
	if now.hasQueue && now.offline.Merge == Auto {
		now.fleet, now.fleetErr = sh.node.fleet(ctx)
	}
	var begun []Merge
	for _, inputs := range plans {
		var local, remote int
		local, remote, now.waiting = sh.merges.load()
		now.bytes = 0
		for _, s := range inputs {
			now.bytes += s.Bytes
		}
		d := decide(now)
		if bounded && (d.where == Local && local >= localMerges || d.where == Remote && remote >= sh.node.cfg.Limits.OfflineMerges) {
			continue
		}
		d.reason = why + d.reason
		if merge, ok := sh.track(m, inputs, d); ok {
			begun = append(begun, merge)
		}
	}
	return begun, nil
}

// plannable returns the generation to plan on: only who writes a shard plans its merges.
func (sh *Shard) plannable() (shard.Manifest, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	switch {
	case sh.newest == nil:
		return shard.Manifest{}, ErrClosed
	case sh.successor != "":
		return shard.Manifest{}, sh.notWriter()
	}
	return sh.newest.manifest, nil
}

// track begins a merge; false if it has begun already.
func (sh *Shard) track(m shard.Manifest, inputs []shard.Segment, d decision) (Merge, bool) {
	id, params := merge.Plan(m, inputs)
	t := &tracked{inputs: inputs, params: params, Merge: Merge{
		ID: id, Where: d.where, Reason: d.reason, Status: Waiting, PlannedAt: time.Now().UTC(),
		Inputs: make([]uint64, len(inputs)),
	}}
	if d.where == Local {
		t.Node = sh.node.cfg.Name
	}
	for i, s := range inputs {
		t.Inputs[i] = s.ID
		t.Docs += s.Live
		t.Bytes += s.Bytes
	}
	begun := t.Merge // from add on, others change t
	if !sh.merges.add(t) {
		return begun, false
	}
	sh.log.Info("merge planned", "merge", id, "where", string(d.where), "reason", d.reason, "segments", len(inputs), "bytes", begun.Bytes)
	return begun, true
}
