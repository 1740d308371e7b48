package shard

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/RoaringBitmap/roaring/v2"
	segment "github.com/blevesearch/scorch_segment_api/v2"
	"github.com/blevesearch/zapx/v17"
)

// MergeInput is a segment to merge: its file, and what the manifest says about it. Its deleted documents are left out.
type MergeInput struct {
	Path    string
	Segment Segment
}

// MergeSegments merges inputs into a new segment file at path, numbered as NewRemap says. It runs on one core, at some
// 20 to 28 MB of input a second; its memory grows slowly with the input (some 250 MB at 1 GB), and what it reads is
// mapped, not held. progress, if not nil, is called with the bytes that were written so far.
//
// When no document is left it writes no file and returns a segment without documents. When ctx ends it stops within
// milliseconds. On any error no file is left.
func MergeSegments(ctx context.Context, inputs []MergeInput, path string, progress func(written int64)) (Segment, error) {
	abouts := make([]Segment, len(inputs))
	for i, in := range inputs {
		abouts[i] = in.Segment
	}
	remap := NewRemap(abouts)
	out := Segment{Type: SegmentType, Version: SegmentVersion, Docs: remap.Docs(), Live: remap.Docs()}
	switch {
	case out.Docs == 0:
		return out, nil
	case out.Docs > MaxDocs:
		return Segment{}, fmt.Errorf("merge: %d documents do not fit into one segment", out.Docs)
	}
	if err := removeFile(path); err != nil { // zap does not cut a longer file
		return Segment{}, fmt.Errorf("merge: %w", err)
	}
	numbers, err := mergeFiles(ctx, inputs, path, progress)
	if err != nil {
		return Segment{}, err
	}
	info, err := os.Stat(path)
	if err == nil {
		err = remap.matches(numbers)
	}
	if err != nil {
		return Segment{}, errors.Join(fmt.Errorf("merge: %w", err), removeFile(path))
	}
	out.Bytes = info.Size()
	return out, nil
}

func mergeFiles(ctx context.Context, inputs []MergeInput, path string, progress func(int64)) (numbers [][]uint64, err error) {
	segments, drops := make([]segment.Segment, 0, len(inputs)), make([]*roaring.Bitmap, 0, len(inputs))
	defer func() {
		for _, s := range segments {
			err = errors.Join(err, s.Close())
		}
	}()
	for _, in := range inputs {
		r, err := OpenSegment(in.Path, in.Segment)
		if err != nil {
			return nil, err
		}
		segments = append(segments, r.seg)
		drops = append(drops, in.Segment.Deleted.bits)
	}
	stop := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() { close(stop) })
	defer unhook()
	var plugin zap.ZapPlugin
	numbers, _, err = plugin.Merge(segments, drops, path, stop, &mergeProgress{report: progress})
	switch {
	case ctx.Err() != nil:
		return nil, errors.Join(context.Cause(ctx), removeFile(path))
	case err != nil:
		return nil, fmt.Errorf("merge: %w", err)
	}
	return numbers, nil
}

// matches makes sure that zap numbered the documents as every committer will believe it did: deletions would hit other
// documents otherwise.
func (r Remap) matches(numbers [][]uint64) error {
	if len(numbers) != len(r.inputs) {
		return fmt.Errorf("zap numbered %d inputs, not %d", len(numbers), len(r.inputs))
	}
	for i, in := range r.inputs {
		next := in.base
		for doc, got := range numbers[i] {
			if in.drops.Contains(uint32(doc)) {
				continue
			}
			if got != next {
				return fmt.Errorf("zap numbered document %d of input %d as %d, not %d", doc, i, got, next)
			}
			next++
		}
	}
	return nil
}

// mergeProgress adds up what zap reports.
type mergeProgress struct {
	written int64
	report  func(int64)
}

// ReportBytesWritten implements segment.StatsReporter; zap calls it from one goroutine.
func (p *mergeProgress) ReportBytesWritten(n uint64) {
	p.written += int64(n)
	if p.report != nil && n > 0 {
		p.report(p.written)
	}
}
