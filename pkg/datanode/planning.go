package datanode

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/merge"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Merges returns the merges of the shard, the newest first: those that have not ended, then the last hundred that have.
func (sh *Shard) Merges() []Merge { return sh.merges.list() }

// RunLocally decides whether a merge of so many bytes would run here now, and why. It is what every merge that is
// planned is asked.
func (sh *Shard) RunLocally(ctx context.Context, bytes int64) (local bool, reason string) {
	now := sh.situation(ctx)
	d := sh.runLocally(&now, bytes)
	return d.where == Local, d.reason
}

// runLocally decides where one merge runs, among those that are under way already.
func (sh *Shard) runLocally(now *situation, bytes int64) decision {
	now.bytes = bytes
	_, _, now.waiting = sh.merges.load()
	return decide(*now)
}

// situation is what decisions look at, but for the merge itself.
func (sh *Shard) situation(ctx context.Context) situation {
	now := situation{offline: sh.node.Offline(), hasQueue: sh.node.cfg.Queue != nil}
	if now.hasQueue && now.offline.Merge == Auto {
		now.fleet, now.fleetErr = sh.node.fleet(ctx)
	}
	return now
}

// PlanMerges plans merges now, as the node does by itself after every change, and returns those that it has begun.
func (sh *Shard) PlanMerges(ctx context.Context) ([]Merge, error) {
	return sh.planNow(ctx, planning{planner: sh.byPolicy})
}

// byPolicy plans as the merge policy says.
func (sh *Shard) byPolicy(free []shard.Segment) ([][]shard.Segment, error) {
	return planMerges(free, sh.node.cfg.Plan)
}

// ForceMerge begins to merge the shard down to at most segments, of those that it has now. Offline, what takes several
// merges is one task that looks after all of them. Those that are being merged already are left out: call it again when
// they are done.
func (sh *Shard) ForceMerge(ctx context.Context, segments int) ([]Merge, error) {
	if segments < 1 {
		return nil, fmt.Errorf("%w: at least 1 segment must stay, not %d", ErrInvalid, segments)
	}
	return sh.planNow(ctx, forcing(merge.ForceParams{Shard: sh.name, MaxSegments: segments}))
}

// Expunge begins to rewrite every segment that holds deleted documents.
func (sh *Shard) Expunge(ctx context.Context) ([]Merge, error) {
	return sh.planNow(ctx, forcing(merge.ForceParams{Shard: sh.name, Expunge: true}))
}

// planning is what a plan is asked for.
type planning struct {
	planner func(free []shard.Segment) ([][]shard.Segment, error)
	why     string             // stands before the reasons of decisions
	bounded bool               // leave out those for which there are too many under way
	force   *merge.ForceParams // what the planner stands for, when a task can do all of it
	local   string             // why all of it runs here; "": each merge is decided on
}

// forcing plans what a force merge would.
func forcing(p merge.ForceParams) planning {
	planner := func(free []shard.Segment) ([][]shard.Segment, error) {
		if p.MaxSegments > 0 {
			return merge.PlanForce(free, p.MaxSegments, merge.MaxInputs), nil
		}
		return merge.PlanExpunge(free), nil
	}
	why := "asked for by force merge; "
	if p.MaxSegments == 0 {
		why = "asked for to expunge deletes; "
	}
	return planning{planner: planner, why: why, force: &p}
}

func (sh *Shard) planNow(ctx context.Context, p planning) ([]Merge, error) {
	if err := sh.follow(ctx); err != nil {
		return nil, fmt.Errorf("plan merges of shard %s: %w", sh.name, err)
	}
	begun, err := sh.plan(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("plan merges of shard %s: %w", sh.name, err)
	}
	poke(sh.replan)
	return begun, nil
}

// plan begins the merges that the planner asks for among the segments that are free. Those that are left out because
// there are too many under way are planned later, on what the segments are then.
func (sh *Shard) plan(ctx context.Context, p planning) ([]Merge, error) {
	sh.merges.planning.Lock()
	defer sh.merges.planning.Unlock()
	m, err := sh.plannable()
	if err != nil {
		return nil, err
	}
	free := sh.merges.free(m.Segments)
	plans, err := p.planner(free)
	if err != nil || len(plans) == 0 {
		return nil, err
	}
	now := sh.situation(ctx)
	if p.force != nil && p.local == "" {
		if begun, ok := sh.trackForce(*p.force, free, plans, &now, p.why); ok {
			return begun, nil
		}
	}
	var begun []Merge
	for _, inputs := range plans {
		d := decision{Local, p.local}
		if p.local == "" {
			d = sh.runLocally(&now, bytesOf(inputs))
		}
		if p.bounded && sh.enough(d.where) {
			continue
		}
		d.reason = p.why + d.reason
		id, params := merge.Plan(m, inputs)
		t := &tracked{inputs: inputs, params: params, Merge: Merge{ID: id, Type: merge.Type}}
		if merge, ok := sh.track(t, d); ok {
			begun = append(begun, merge)
		}
	}
	return begun, nil
}

// enough tells whether so many merges are under way in a place that no more are planned ahead.
func (sh *Shard) enough(where Where) bool {
	local, remote, _ := sh.merges.load()
	if where == Local {
		return local >= max(localMerges, sh.node.LocalMerges().AtOnce)
	}
	return remote >= sh.node.cfg.Limits.OfflineMerges
}

// trackForce begins a force merge as one task; ok is false when it runs here, or is but one merge.
func (sh *Shard) trackForce(p merge.ForceParams, free []shard.Segment, plans [][]shard.Segment, now *situation, why string) (begun []Merge, ok bool) {
	if len(plans) == 1 && len(plans[0]) <= merge.DefaultAtOnce {
		return nil, false
	}
	d := sh.runLocally(now, bytesOf(plans...))
	if d.where == Local {
		return nil, false
	}
	for _, s := range free {
		p.Segments = append(p.Segments, s.ID)
	}
	d.reason = why + d.reason
	t := &tracked{inputs: free, force: &p, Merge: Merge{ID: forceID(p), Type: merge.ForceType}}
	if merge, ok := sh.track(t, d); ok {
		begun = append(begun, merge)
	}
	return begun, true
}

// forceID stands for a force merge, so that asking for the same once more finds the task that runs.
func forceID(p merge.ForceParams) string {
	raw, err := task.Encode(p)
	if err != nil {
		panic(err) // numbers and a name
	}
	sum := sha256.Sum256(raw)
	return merge.ForceType + "-" + hex.EncodeToString(sum[:16])
}

func bytesOf(plans ...[]shard.Segment) (sum int64) {
	for _, inputs := range plans {
		for _, s := range inputs {
			sum += s.Bytes
		}
	}
	return sum
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
func (sh *Shard) track(t *tracked, d decision) (Merge, bool) {
	t.Where, t.Reason, t.Status, t.PlannedAt = d.where, d.reason, Waiting, time.Now().UTC()
	t.Inputs = make([]uint64, len(t.inputs))
	if d.where == Local {
		t.Node = sh.node.cfg.Name
	}
	for i, s := range t.inputs {
		t.Inputs[i] = s.ID
		t.Docs += s.Live
		t.Bytes += s.Bytes
	}
	begun := t.Merge // from add on, others change t
	if !sh.merges.add(t) {
		return begun, false
	}
	sh.log.Info("merge planned", "merge", begun.ID, "where", string(d.where), "reason", d.reason, "segments", len(begun.Inputs), "bytes", begun.Bytes)
	return begun, true
}

// planByPolicy plans what the policy asks for. While a force merge has the shard, its segments and those that it makes are
// left to it, unless writes would soon have to wait.
func (sh *Shard) planByPolicy(ctx context.Context) {
	if m, err := sh.newestManifest(); err == nil && sh.merges.forcing() && len(m.Segments) < sh.node.cfg.Limits.Segments/2 {
		return
	}
	_, err := sh.plan(ctx, planning{planner: sh.byPolicy, bounded: true})
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrNotWriter) {
		sh.log.Error("merges not planned", "error", err)
	}
}
