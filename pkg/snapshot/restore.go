package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// parallelReservations bounds how many are made at a time.
const parallelReservations = 16

// errUnchanged says that the shard still is at the generation of the snapshot.
var errUnchanged = fmt.Errorf("%w: the shard has not changed since the snapshot", shard.ErrNoEffect)

// restore has the shards of a snapshot restored. They are independent of each other: when one is refused, others may have
// taken effect.
func (w *worker) restore(ctx context.Context, x *task.Run[RestoreParams]) error {
	home, err := w.home(x.Params.Repository)
	if err != nil {
		return err
	}
	d, err := Get(ctx, home, x.Params.Snapshot)
	if err == nil && !d.Complete() {
		err = fmt.Errorf("snapshot %s: %w", d.Snapshot, ErrIncomplete)
	}
	if err != nil {
		return permanent(err)
	}
	targets := x.Params.Shards
	if len(targets) == 0 {
		for _, p := range d.Shards {
			targets = append(targets, Target{Shard: p.Shard})
		}
	}
	children := make([]task.Child, 0, len(targets))
	for _, t := range targets {
		part, ok := d.Part(t.Shard)
		if !ok {
			return task.Permanent(fmt.Errorf("shard %s: %w: snapshot %s does not have it", t.Shard, shard.ErrNotFound, d.Snapshot))
		}
		children = append(children, task.Child{Name: slug(t.to()), Type: RestoreShardType, Params: RestoreShardParams{
			Snapshot: d.Snapshot, Task: d.Task, Repository: x.Params.Repository, Part: part, As: t.to(),
			Force: x.Params.Force, Trust: x.Params.Trust,
		}})
	}
	states, err := x.Await(ctx, children...)
	if err != nil {
		return err
	}
	result := Result{Snapshot: d.Snapshot}
	for _, s := range states {
		var r Restored
		if err := json.Unmarshal(s.Result, &r); err != nil {
			return fmt.Errorf("result of task %s: %w", s.ID, err)
		}
		result.add(r.Segments, r.Docs, r.Bytes, r.Copied)
	}
	return x.SetResult(result)
}

// restoring is one run of the restore of a shard.
type restoring struct {
	*task.Run[RestoreShardParams]

	worker *worker
	home   remotestore.Store // of the snapshot
	from   *shard.Shard      // where the blobs are
	to     *shard.Shard
	part   shard.Manifest
	result Restored
}

func (w *worker) restoreShard(ctx context.Context, x *task.Run[RestoreShardParams]) error {
	home, err := w.home(x.Params.Repository)
	if err != nil {
		return err
	}
	r := &restoring{Run: x, worker: w, home: home, result: Restored{Shard: x.Params.As}}
	var fromErr, toErr error
	r.from, fromErr = shard.Open(home, x.Params.Part.Shard)
	r.to, toErr = shard.Open(w.Store, x.Params.As)
	if err := errors.Join(fromErr, toErr); err != nil {
		return task.Permanent(err)
	}
	err = r.restore(ctx)
	switch {
	case errors.Is(err, shard.ErrApplied):
		r.result.NoEffect, err = "already applied", nil
	case errors.Is(err, errUnchanged):
		r.result.NoEffect, err = "unchanged", nil
	}
	if err != nil {
		return permanent(fmt.Errorf("restore shard %s of snapshot %s: %w", x.Params.Part.Shard, x.Params.Snapshot, err))
	}
	return x.SetResult(r.result)
}

// restore checks everything that can be checked before anything moves, brings the blobs to where they are needed, and
// commits.
func (r *restoring) restore(ctx context.Context) error {
	if err := r.read(ctx); err != nil {
		return err
	}
	segments := r.named()
	if err := r.allowed(ctx, segments); err != nil {
		return r.released(ctx, segments, err)
	}
	if err := checkBlobs(ctx, r.from, r.part.Segments); err != nil {
		return err
	}
	if err := r.bring(ctx, segments); err != nil {
		return err
	}
	if err := r.stillThere(ctx); err != nil {
		return err
	}
	settings := shard.Settings{Mapping: r.part.Mapping, AppliedFor: r.part.AppliedFor}
	m, err := r.to.CreateOrCommit(ctx, settings, func(cur shard.Manifest) (shard.Manifest, error) { return r.next(cur, segments) })
	r.result.Generation = max(r.result.Generation, m.Generation)
	return r.released(ctx, segments, err)
}

// allowed tells early what the commit would say.
func (r *restoring) allowed(ctx context.Context, segments []shard.Segment) error {
	cur, err := r.to.Newest(ctx)
	if errors.Is(err, shard.ErrNotFound) {
		return nil
	}
	if err == nil {
		_, err = r.next(cur, segments)
	}
	return err
}

// released ends the reservations if a generation names the blobs, and returns err.
func (r *restoring) released(ctx context.Context, segments []shard.Segment, err error) error {
	if err == nil || errors.Is(err, shard.ErrNoEffect) {
		r.unreserve(ctx, segments)
	}
	return err
}

// inPlace tells that the blobs are where they are needed.
func (r *restoring) inPlace() bool { return !r.Params.Repository && r.to.Name() == r.from.Name() }

// named returns the segments with the names that their blobs have, or will have, in the shard.
func (r *restoring) named() []shard.Segment {
	segments := r.part.Clone().Segments
	for i := range segments {
		if !r.inPlace() {
			segments[i].Blob = ownName(r.ID, segments[i].Blob)
		}
	}
	return segments
}

// read gets the manifest and checks that this build can use what it names.
func (r *restoring) read(ctx context.Context) error {
	if err := r.stillThere(ctx); err != nil {
		return err
	}
	var err error
	if r.part, err = readPartOf(ctx, r.home, r.Params.Snapshot, r.Params.Part); err != nil {
		return err
	}
	for _, seg := range r.part.Segments {
		if err := seg.Readable(); err != nil {
			return err
		}
	}
	if _, err := shard.ParseMapping(r.part.Mapping); err != nil {
		return task.Permanent(err)
	}
	r.result.Segments, r.result.Docs, r.result.Bytes = len(r.part.Segments), r.part.Docs(), r.part.Bytes()
	return nil
}

// stillThere looks whether the snapshot is the one that the restore was asked for.
func (r *restoring) stillThere(ctx context.Context) error {
	d, err := Get(ctx, r.home, r.Params.Snapshot)
	switch {
	case err != nil:
		return err
	case d.Task != r.Params.Task:
		return fmt.Errorf("snapshot %s: %w: it was deleted, this is another one of the same name", d.Snapshot, shard.ErrNotFound)
	case !d.Complete():
		return ErrIncomplete
	}
	return nil
}

// next is the generation that follows cur, unless that would lose what was written since the snapshot.
func (r *restoring) next(cur shard.Manifest, segments []shard.Segment) (shard.Manifest, error) {
	r.result.Generation = cur.Generation
	next, err := shard.Replace(cur, shard.Replacement{
		Writer:   shard.Writer{Node: r.worker.Node, Task: r.ID, AllocationID: r.AllocationID, At: time.Now().UTC()},
		Segments: segments, Mapping: r.part.Mapping,
	})
	switch {
	case err != nil:
		return shard.Manifest{}, err
	case cur.Shard == r.part.Shard && cur.Generation == r.part.Generation && cur.Nonce == r.part.Nonce:
		return shard.Manifest{}, errUnchanged
	case r.Params.Force || cur.NextSegment == 1: // nothing was ever written to it
		return next, nil
	case cur.Shard == r.part.Shard:
		return shard.Manifest{}, fmt.Errorf("%w: it is at generation %d, the snapshot has %d: restore it as another shard, or force it",
			ErrNewer, cur.Generation, r.part.Generation)
	}
	return shard.Manifest{}, fmt.Errorf("%w: shard %s is there, at generation %d: restore as a shard that is not, or force it",
		ErrNewer, cur.Shard, cur.Generation)
}

// bring sees to it that all blobs are in the shard, whole and reserved.
func (r *restoring) bring(ctx context.Context, segments []shard.Segment) error {
	progress, ctx, stop := watch(ctx, r.Execution, "restore")
	defer stop()
	if err := r.reserve(ctx, segments); err != nil {
		return err
	}
	t := transfer{
		x: r.Execution, from: r.from, to: r.to, segments: r.part.Segments, names: blobNames(segments),
		scratch: r.worker.Scratch, progress: progress,
	}
	if r.inPlace() {
		if r.Params.Trust {
			return nil
		}
		return t.verify(ctx)
	}
	r.Resume(&t.at)
	r.result.Copied = r.part.Bytes()
	return t.run(ctx)
}

// reserve keeps the collector from blobs until a generation names them.
func (r *restoring) reserve(ctx context.Context, segments []shard.Segment) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelReservations)
	for _, seg := range segments {
		group.Go(func() error { return r.to.Reserve(ctx, seg.Blob, r.ID) })
	}
	return group.Wait()
}

// unreserve is best effort: a reservation that is left is collected by its age.
func (r *restoring) unreserve(ctx context.Context, segments []shard.Segment) {
	group := errgroup.Group{}
	group.SetLimit(parallelReservations)
	for _, seg := range segments {
		group.Go(func() error { return r.to.Unreserve(ctx, seg.Blob) })
	}
	if err := group.Wait(); err != nil {
		r.Log.Warn("reservations of restored blobs are left", "error", err)
	}
}
