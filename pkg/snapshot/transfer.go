package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// parallelCopies bounds the blobs that one task moves at a time.
const parallelCopies = 4

// ownName is the name under which a task copies a blob. Each run of the task computes the same, so it finds what an earlier
// one has copied; no other task ever does, so nobody else can be about to delete it.
func ownName(id string, blob shard.BlobName) shard.BlobName {
	return shard.BlobName(blob.SHA256() + "-" + uuid.NewSHA1(uuid.NameSpaceOID, []byte(id+" "+string(blob))).String())
}

// transfer brings the blobs of a manifest from one place to another.
type transfer struct {
	x        *task.Execution
	from, to *shard.Shard
	segments []shard.Segment  // as they are in from
	names    []shard.BlobName // in to; those that are not the task's own are there and whole
	scratch  string
	progress *progress

	mu sync.Mutex
	at checkpoint
}

// checkpoint is how far a transfer is.
type checkpoint struct {
	// Part is the one that the blobs are copied for; none in a restore.
	Part int64 `json:"part,omitempty"`

	// Verified are the positions of segments whose copies were read back. A copy that is there and not among them
	// is read once more, and copied again if it is not whole.
	Verified shard.DocSet `json:"verified,omitzero"`
}

// run copies what is not there and compares every copy with the hash in its name.
func (t *transfer) run(ctx context.Context) error {
	there, err := blobsOf(ctx, t.to)
	if err != nil {
		return err
	}
	var todo []int
	whole := make([]bool, len(t.segments))
	for i, seg := range t.segments {
		bytes, ok := there[t.names[i]]
		whole[i] = ok && bytes == seg.Bytes
		switch {
		case t.names[i] != ownName(t.x.ID, seg.Blob), whole[i] && t.at.Verified.Contains(uint32(i)):
		case whole[i]:
			t.progress.expect(seg.Bytes) // it is read
			todo = append(todo, i)
		default:
			t.progress.expect(3 * seg.Bytes) // it is read, written, and read
			todo = append(todo, i)
		}
	}
	if len(todo) == 0 {
		return nil
	}
	scratch, err := shard.NewScratch(t.scratch)
	if err != nil {
		return err
	}
	err = each(ctx, todo, func(ctx context.Context, i int) error {
		return t.one(ctx, i, whole[i], scratch.Path(fmt.Sprint("segment-", i)))
	})
	return errors.Join(err, scratch.Close())
}

// verify compares the blobs with the hashes in their names, where they are.
func (t *transfer) verify(ctx context.Context) error {
	todo := make([]int, len(t.segments))
	for i, seg := range t.segments {
		t.progress.expect(seg.Bytes)
		todo[i] = i
	}
	return each(ctx, todo, func(ctx context.Context, i int) error { return t.from.Verify(ctx, t.segments[i]) })
}

// each calls do for some segments, a few at a time.
func each(ctx context.Context, todo []int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelCopies)
	for _, i := range todo {
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return do(ctx, i)
		})
	}
	return group.Wait()
}

// one copies a blob unless it is there, and reads it back.
func (t *transfer) one(ctx context.Context, i int, there bool, path string) error {
	seg := t.segments[i]
	as := seg
	as.Blob = t.names[i]
	err := shard.ErrCorrupt
	if there {
		err = t.to.Verify(ctx, as)
	}
	if errors.Is(err, shard.ErrCorrupt) { // not there, or not whole
		if err = t.copy(ctx, seg, as, path); err == nil {
			err = t.to.Verify(ctx, as)
		}
	}
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at.Verified = t.at.Verified.Union(shard.NewDocSet(uint32(i)))
	return t.x.Checkpoint(t.at)
}

func (t *transfer) copy(ctx context.Context, seg, as shard.Segment, path string) error {
	if err := t.from.Download(ctx, seg, path); err != nil {
		return err
	}
	return errors.Join(t.to.Upload(ctx, shard.Blob{Name: as.Blob, Bytes: as.Bytes}, path), os.Remove(path))
}

// checkBlobs looks whether all blobs are where they should be, in their full size.
func checkBlobs(ctx context.Context, s *shard.Shard, segments []shard.Segment) error {
	there, err := blobsOf(ctx, s)
	if err != nil {
		return err
	}
	var errs []error
	for _, seg := range segments {
		bytes, ok := there[seg.Blob]
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("blob %s of segment %d of shard %s: %w", seg.Blob, seg.ID, s.Name(), shard.ErrNotFound))
		case bytes != seg.Bytes:
			errs = append(errs, fmt.Errorf("blob %s of segment %d of shard %s: %w: it has %d bytes, not %d",
				seg.Blob, seg.ID, s.Name(), shard.ErrCorrupt, bytes, seg.Bytes))
		}
	}
	return errors.Join(errs...)
}
