package merge

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// parallelDownloads bounds the inputs that are fetched at once.
const parallelDownloads = 4

// build fetches the inputs, merges them and uploads the output, by way of a scratch folder that is removed whatever
// happens. It returns no segment when no document is left.
func (r *run) build(ctx context.Context, inputs []shard.Segment) (output []shard.Segment, err error) {
	if shard.NewRemap(inputs).Docs() == 0 {
		return nil, nil
	}
	scratch, err := shard.NewScratch(r.worker.Scratch)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, scratch.Close()) }()
	files, release, err := r.fetch(ctx, inputs, scratch)
	if err != nil {
		return nil, err
	}
	defer release()

	r.progress.enter(merging, expectedBytes(inputs))
	out, err := shard.MergeSegments(ctx, files, scratch.Path("output"), r.wrote(ctx))
	if err != nil {
		return nil, err
	}
	blob, err := shard.NameBlob(scratch.Path("output"))
	if err != nil {
		return nil, err
	}
	out.Blob = blob.Name

	r.progress.enter(uploading, blob.Bytes)
	if err := r.shard.Reserve(ctx, blob.Name, r.ID); err != nil {
		return nil, err
	}
	if err := r.shard.Upload(ctx, blob, scratch.Path("output")); err != nil {
		return nil, err
	}
	if r.worker.Cache != nil {
		if err := r.worker.Cache.Adopt(out, scratch.Path("output")); err != nil {
			r.Log.Warn("merged segment is not kept here, it will be downloaded", "error", err)
		}
	}
	return []shard.Segment{out}, nil
}

// wrote returns what is called while a merge writes its output.
func (r *run) wrote(ctx context.Context) func(written int64) {
	last := int64(0)
	return func(written int64) {
		r.progress.wrote(written)
		if r.worker.Throttle != nil {
			r.worker.Throttle(ctx, written-last)
		}
		last = written
	}
}

// fetch returns the files of the inputs. release must be called when they are not needed any more.
func (r *run) fetch(ctx context.Context, inputs []shard.Segment, scratch *shard.Scratch) (files []shard.MergeInput, release func(), err error) {
	r.progress.enter(downloading, sum(inputs))
	files = make([]shard.MergeInput, len(inputs))
	if r.worker.Cache != nil {
		held, err := r.worker.Cache.GetAll(ctx, r.shard, inputs)
		if err != nil {
			return nil, nil, err
		}
		for i, f := range held {
			files[i] = shard.MergeInput{Path: f.Path, Segment: inputs[i]}
		}
		return files, func() {
			for _, f := range held {
				f.Close()
			}
		}, nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelDownloads)
	for i, in := range inputs {
		path := scratch.Path(fmt.Sprint("input-", i))
		files[i] = shard.MergeInput{Path: path, Segment: in}
		group.Go(func() error { return r.shard.Download(ctx, in, path) })
	}
	return files, func() {}, group.Wait()
}

// expectedBytes is about what the merge will write: the share of the inputs that is not deleted.
func expectedBytes(inputs []shard.Segment) (bytes int64) {
	for _, s := range inputs {
		bytes += liveBytes(s)
	}
	return bytes
}
