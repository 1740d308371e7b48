package shard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/blevesearch/bleve/v2"
	"golang.org/x/sync/errgroup"
)

// parallelGets bounds the segments that one call fetches at once.
const parallelGets = 4

// bleveIndex is another name for the embedded interface: one of its methods is called Index.
type bleveIndex = bleve.Index

// Index is one generation of a shard, opened for search: a bleve.Index. It never changes: a newer generation is another Index, which
// a bleve alias can be swapped to without a failed search.
type Index struct {
	bleveIndex

	Manifest Manifest

	dir   string
	files []*File
	close func() error
}

// OpenIndex opens a generation as a read-only bleve index: it fetches the segments that are missing, links them into a
// folder of their own, and describes them there as bleve would. With all segments at hand it takes milliseconds.
func (c *Cache) OpenIndex(ctx context.Context, s *Shard, m Manifest) (*Index, error) {
	for _, seg := range m.Segments {
		if err := seg.Readable(); err != nil {
			return nil, err
		}
	}
	files, err := c.GetAll(ctx, s, m.Segments)
	if err != nil {
		return nil, err
	}
	x := &Index{Manifest: m, files: files}
	x.close = sync.OnceValue(x.shut)
	if err := x.open(filepath.Join(c.dir, indexesDir)); err != nil {
		return nil, errors.Join(fmt.Errorf("open generation %d of %s: %w", m.Generation, m.Shard, err), x.Close())
	}
	return x, nil
}

// GetAll returns the files of segments, in their order, and fetches several at a time. On an error none stays held.
func (c *Cache) GetAll(ctx context.Context, s *Shard, segments []Segment) ([]*File, error) {
	files := make([]*File, len(segments))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelGets)
	for i, seg := range segments {
		group.Go(func() (err error) {
			files[i], err = c.Get(ctx, s, seg)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		closeFiles(files)
		return nil, err
	}
	return files, nil
}

func (x *Index) open(parent string) error {
	dir, err := os.MkdirTemp(parent, "index-")
	if err != nil {
		return err
	}
	x.dir = dir
	if err := writeIndex(dir, x.Manifest, x.files); err != nil {
		return err
	}
	x.bleveIndex, err = bleve.OpenUsing(dir, map[string]any{"read_only": true, "scorchMergePlanOptions": neverMerge})
	return err
}

// neverMerge keeps bleve's own merger from finding anything to do.
var neverMerge = map[string]any{"MaxSegmentSize": 1, "MaxSegmentsPerTier": 1 << 20, "SegmentsPerMergeTask": 1 << 20}

// Close waits for the searches that run, refuses new ones, and removes the folder. It may be called more than once.
func (x *Index) Close() error { return x.close() }

func (x *Index) shut() error {
	var err error
	if x.bleveIndex != nil {
		err = x.bleveIndex.Close()
	}
	if x.dir != "" {
		err = errors.Join(err, os.RemoveAll(x.dir))
	}
	closeFiles(x.files)
	return err
}

func closeFiles(files []*File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}
