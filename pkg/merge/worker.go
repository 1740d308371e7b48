package merge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// stallTimeout ends a run that neither moves nor writes a byte for so long.
const stallTimeout = 15 * time.Minute

// Config is what a worker works with.
type Config struct {
	// Store holds the shards.
	Store remotestore.Store

	// Scratch is a folder for inputs and output; it needs room for the largest merge, both at once. It may be shared
	// with other processes. With a cache it holds outputs only.
	Scratch string

	// Cache, if not nil, is where inputs are looked for and kept. A data node that merges has them already.
	Cache *shard.Cache

	// Node is written into manifests, for people.
	Node string

	// Throttle, if not nil, is called with the bytes that merges have just written to the disk, and holds them back by
	// blocking until they may go on or ctx ends.
	Throttle func(ctx context.Context, bytes int64)
}

// Register adds both types to a mux; the options are for merges alone. It removes what dead processes have left in the
// scratch folder.
func Register(mux *task.Mux, cfg Config, options ...task.Option) error {
	if _, err := shard.SweepScratch(cfg.Scratch); err != nil {
		return fmt.Errorf("register merges: %w", err)
	}
	w := &worker{cfg}
	defaults := []task.Option{task.Guarded(), task.Stall(stallTimeout)}
	task.Handle(mux, Type, w.work, append(defaults, options...)...)
	task.Handle(mux, ForceType, w.force, task.Guarded())
	return nil
}

type worker struct{ Config }

// checkpoint is kept once the output is uploaded. The drops that it was made with are not in it, they may be large:
// the generation that they come from tells.
type checkpoint struct {
	Generation uint64          `json:"generation"`
	Output     []shard.Segment `json:"output"` // one, or none when no document was left
}

// run is one run of a task.
type run struct {
	*task.Run[Params]

	worker   *worker
	shard    *shard.Shard
	progress *progress
	result   Result
}

func (w *worker) work(ctx context.Context, x *task.Run[Params]) (err error) {
	s, err := shard.Open(w.Store, x.Params.Shard)
	if err != nil {
		return task.Permanent(err)
	}
	r := &run{Run: x, worker: w, shard: s, progress: newProgress(x.Execution)}
	r.result = Result{Shard: x.Params.Shard, SegmentsIn: len(x.Params.Inputs)}
	ctx, stop := r.progress.run(ctx)
	err = r.merge(ctx)
	stop()
	if errors.Is(err, shard.ErrNoEffect) {
		r.result.NoEffect = "inputs are gone"
		if errors.Is(err, shard.ErrApplied) {
			r.result.NoEffect = "already applied"
		}
		r.result.SegmentsOut, r.result.BytesOut, r.result.Docs = 0, 0, 0
		err = nil
	}
	if err != nil {
		return err
	}
	r.result.BytesMoved = r.progress.meter.Moved()
	return x.SetResult(r.result)
}

func (r *run) merge(ctx context.Context) error {
	newest, err := r.newest(ctx)
	if err != nil {
		return err
	}
	inputs, ok := r.Params.find(newest)
	r.result.BytesIn = sum(inputs)
	done, resumed, err := r.resume(ctx)
	switch {
	case err != nil:
		return err
	case resumed:
		return r.commit(ctx, done)
	case !ok:
		return r.gone(newest)
	}
	output, err := r.build(ctx, inputs)
	if err != nil {
		return r.judge(ctx, err)
	}
	done = built{inputs, output}
	if err := r.Checkpoint(checkpoint{newest.Generation, output}); err != nil {
		return err
	}
	return r.commit(ctx, done)
}

// built is a merge of which only the commit is left.
type built struct {
	inputs []shard.Segment // with the deletions that the output leaves out
	output []shard.Segment
}

func (r *run) newest(ctx context.Context) (shard.Manifest, error) {
	m, err := r.shard.Newest(ctx)
	if err != nil {
		return m, err
	}
	r.result.Generation = m.Generation
	if m.Generation < r.Params.Generation {
		return m, fmt.Errorf("the newest generation of %s is %d, but the merge was planned on %d: it is another store, or an older copy",
			m.Shard, m.Generation, r.Params.Generation)
	}
	return m, nil
}

// resume returns what an earlier run has uploaded. What cannot be used any more counts as none.
func (r *run) resume(ctx context.Context) (done built, ok bool, err error) {
	var c checkpoint
	if !r.Resume(&c) {
		return built{}, false, nil
	}
	for _, out := range c.Output {
		has, err := r.shard.HasBlob(ctx, shard.Blob{Name: out.Blob, Bytes: out.Bytes})
		if err != nil || !has {
			return built{}, false, err
		}
	}
	m, err := r.shard.At(ctx, c.Generation)
	if errors.Is(err, shard.ErrNotFound) {
		return built{}, false, nil
	}
	if err != nil {
		return built{}, false, err
	}
	done.inputs, ok = r.Params.find(m)
	done.output = c.Output
	return done, ok, nil
}

// judge looks at what may have happened to the inputs when a run failed: if they are gone, there is nothing to do any
// more, and their files may be collected already.
func (r *run) judge(ctx context.Context, failure error) error {
	if !errors.Is(failure, shard.ErrNotFound) {
		return failure
	}
	newest, err := r.newest(ctx)
	if err != nil {
		return errors.Join(failure, err)
	}
	if _, ok := r.Params.find(newest); !ok {
		return r.gone(newest)
	}
	return failure
}

// gone says why inputs are not there any more.
func (r *run) gone(newest shard.Manifest) error {
	if _, ok := newest.AppliedAs(r.ID); ok {
		return shard.ErrApplied
	}
	return shard.ErrInputsGone
}

func (r *run) commit(ctx context.Context, done built) error {
	r.progress.enter(committing, 0)
	change := shard.Change{
		Writer: shard.Writer{Node: r.worker.Node, Task: r.ID, AllocationID: r.AllocationID, At: time.Now().UTC()},
		Inputs: done.inputs, Outputs: done.output,
	}
	m, err := r.shard.Commit(ctx, func(cur shard.Manifest) (shard.Manifest, error) { return shard.Commit(cur, change) })
	r.result.Generation = max(r.result.Generation, m.Generation)
	for _, out := range done.output {
		r.result.SegmentsOut, r.result.BytesOut, r.result.Docs = 1, out.Bytes, out.Docs
		if i := slices.IndexFunc(m.Segments, func(s shard.Segment) bool { return s.Blob == out.Blob }); i >= 0 {
			r.result.Segment = m.Segments[i].ID
		}
		if err == nil || errors.Is(err, shard.ErrNoEffect) {
			r.unreserve(ctx, out.Blob)
		}
	}
	return err
}

// unreserve is best effort: a reservation that is left is collected by its age.
func (r *run) unreserve(ctx context.Context, blob shard.BlobName) {
	if err := r.shard.Unreserve(ctx, blob); err != nil {
		r.Log.Warn("reservation of a committed blob is left", "blob", string(blob), "error", err)
	}
}

func sum(segments []shard.Segment) (bytes int64) {
	for _, s := range segments {
		bytes += s.Bytes
	}
	return bytes
}
