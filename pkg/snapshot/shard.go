package snapshot

import (
	"context"
	"errors"
	"fmt"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

var (
	// errCollected says that garbage collection was faster than the pin.
	errCollected = errors.New("it was collected before it was pinned")

	// errBaseGone says that a snapshot whose blobs were to be taken over was deleted meanwhile.
	errBaseGone = errors.New("it was deleted before its blobs were pinned")
)

// snapshotShard makes one part of a snapshot.
func (w *worker) snapshotShard(ctx context.Context, x *task.Run[ShardParams]) error {
	home, err := w.home(x.Params.Repository)
	if err != nil {
		return err
	}
	d, err := Get(ctx, home, x.Params.Snapshot)
	if err != nil {
		return permanent(err)
	}
	if d.Task != task.Parent(x.ID) {
		return task.Permanent(fmt.Errorf("%w: %s is of task %s", ErrExists, d.Snapshot, d.Task))
	}
	if part, ok := d.Part(x.Params.Shard); ok && d.Complete() { // a run that comes late
		return x.SetResult(part)
	}
	s, err := shard.Open(w.Store, x.Params.Shard)
	if err != nil {
		return task.Permanent(err)
	}
	var part Part
	if x.Params.Repository {
		part, err = w.copyShard(ctx, x, s)
	} else {
		part, _, err = w.pin(ctx, x, s, x.Params.Snapshot)
	}
	if err != nil {
		return permanent(fmt.Errorf("snapshot %s of shard %s: %w", x.Params.Snapshot, x.Params.Shard, err))
	}
	return x.SetResult(part)
}

// pin keeps the newest generation of a shard from now on, in the store and under a snapshot's name. See [Pins] for why it looks
// twice.
func (w *worker) pin(ctx context.Context, x *task.Run[ShardParams], s *shard.Shard, name string) (Part, shard.Manifest, error) {
	m, err := s.Newest(ctx)
	if err != nil {
		return Part{}, m, err
	}
	sum, err := writePart(ctx, w.Store, name, x.AllocationID, m)
	if err != nil {
		return Part{}, m, err
	}
	_, err = s.At(ctx, m.Generation)
	if errors.Is(err, shard.ErrNotFound) {
		err = fmt.Errorf("generation %d: %w", m.Generation, errCollected)
	}
	if err != nil {
		return Part{}, m, err
	}
	return partOf(m, x.AllocationID, sum), m, checkBlobs(ctx, s, m.Segments)
}

func partOf(m shard.Manifest, part int64, sum string) Part {
	return Part{
		Shard: m.Shard, Part: part, SHA256: sum,
		Generation: m.Generation, Segments: len(m.Segments), Docs: m.Docs(), Bytes: m.Bytes(),
	}
}

// copyShard copies the newest generation of a shard to the repository. What it copies is pinned in the store, what it has
// copied in the repository, both before the first byte moves.
func (w *worker) copyShard(ctx context.Context, x *task.Run[ShardParams], s *shard.Shard) (Part, error) {
	to, err := shard.Open(w.Repository, x.Params.Shard)
	if err != nil {
		return Part{}, err
	}
	progress, ctx, stop := watch(ctx, x.Execution, "copy")
	defer stop()
	c := copying{worker: w, x: x, from: s, to: to}
	if err := c.resume(ctx); err != nil {
		return Part{}, err
	}
	if c.at.Part == 0 {
		if err := c.plan(ctx); err != nil {
			return Part{}, err
		}
		if err := x.Checkpoint(c.at); err != nil {
			return Part{}, err
		}
	}
	t := transfer{
		x: x.Execution, from: s, to: to, segments: c.source.Segments, names: blobNames(c.part.Segments), at: c.at,
		scratch: w.Scratch, progress: progress,
	}
	if err := t.run(ctx); err != nil {
		return Part{}, err
	}
	part := partOf(c.part, c.at.Part, c.sum)
	for i, seg := range c.source.Segments {
		if t.names[i] == ownName(x.ID, seg.Blob) {
			part.Copied += seg.Bytes
		}
	}
	return part, nil
}

func blobNames(segments []shard.Segment) []shard.BlobName {
	names := make([]shard.BlobName, len(segments))
	for i, s := range segments {
		names[i] = s.Blob
	}
	return names
}

// copying is one run of a copy.
type copying struct {
	worker   *worker
	x        *task.Run[ShardParams]
	from, to *shard.Shard

	at     checkpoint
	source shard.Manifest // what is copied
	part   shard.Manifest // the same, with the names of the copies
	sum    string         // of part as it is stored
}

// pins is the snapshot in the store that pins what is copied.
func (c *copying) pins() string { return c.x.Params.Snapshot + copySuffix }

// resume finds what an earlier run has begun; at is empty when there is nothing that can be gone on with.
func (c *copying) resume(ctx context.Context) error {
	c.x.Resume(&c.at)
	if c.at.Part == 0 {
		return nil
	}
	var err error
	c.source, _, err = readPart(ctx, c.worker.Store, partKey(c.pins(), c.x.Params.Shard, c.at.Part))
	if err == nil {
		c.part, c.sum, err = readPart(ctx, c.worker.Repository, partKey(c.x.Params.Snapshot, c.x.Params.Shard, c.at.Part))
	}
	if errors.Is(err, shard.ErrNotFound) || err == nil && len(c.part.Segments) != len(c.source.Segments) {
		c.at = checkpoint{}
		return nil
	}
	return err
}

// plan pins what is to be copied, here and there.
func (c *copying) plan(ctx context.Context) (err error) {
	if _, c.source, err = c.worker.pin(ctx, c.x, c.from, c.pins()); err != nil {
		return err
	}
	base, err := c.readBase(ctx)
	if err != nil {
		return err
	}
	c.part = c.source.Clone()
	used := map[string]string{}
	for i := range c.part.Segments {
		seg := &c.part.Segments[i]
		found, ok := base[seg.Blob.SHA256()]
		if !ok {
			seg.Blob = ownName(c.x.ID, seg.Blob)
			continue
		}
		delete(base, seg.Blob.SHA256()) // no manifest has a blob twice
		seg.Blob, used[found.snapshot] = found.blob, found.task
	}
	if c.sum, err = writePart(ctx, c.worker.Repository, c.x.Params.Snapshot, c.x.AllocationID, c.part); err != nil {
		return err
	}
	for name, by := range used {
		d, err := Get(ctx, c.worker.Repository, name)
		if errors.Is(err, shard.ErrNotFound) || err == nil && (d.Task != by || !d.Complete()) {
			err = fmt.Errorf("snapshot %s: %w", name, errBaseGone)
		}
		if err != nil {
			return err
		}
	}
	c.at = checkpoint{Part: c.x.AllocationID}
	return nil
}

// held is a blob in the repository that a complete snapshot needs, so that it was read back once.
type held struct {
	blob           shard.BlobName
	snapshot, task string
}

// readBase returns what earlier snapshots have of the shard, by SHA-256. What cannot be read is not used.
func (c *copying) readBase(ctx context.Context) (map[string]held, error) {
	there, err := blobsOf(ctx, c.to)
	if err != nil {
		return nil, err
	}
	names, err := c.worker.base(ctx)
	if err != nil {
		return nil, err
	}
	base := map[string]held{}
	for _, name := range names {
		m, by, err := c.basePart(ctx, name)
		if err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			c.x.Log.Warn("earlier snapshot cannot be read: what it has is copied again", "snapshot", name, "error", err)
			continue
		}
		for _, seg := range m.Segments {
			sum := seg.Blob.SHA256()
			if _, known := base[sum]; !known && there[seg.Blob] == seg.Bytes {
				base[sum] = held{seg.Blob, name, by}
			}
		}
	}
	return base, nil
}

// basePart returns the shard in an earlier snapshot and the task that made it; nothing if it is not in there.
func (c *copying) basePart(ctx context.Context, name string) (shard.Manifest, string, error) {
	d, err := Get(ctx, c.worker.Repository, name)
	if err != nil {
		return shard.Manifest{}, "", err
	}
	p, ok := d.Part(c.x.Params.Shard)
	if !ok || !d.Complete() {
		return shard.Manifest{}, "", nil
	}
	m, err := readPartOf(ctx, c.worker.Repository, name, p)
	return m, d.Task, err
}
