package datanode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// base is a generation whose segments are open for finding documents by their IDs. It is what writes are resolved on.
type base struct {
	manifest shard.Manifest
	segments []*openSegment // those of the manifest, in its order
	uses     *uses
}

// openSegment is a segment file that bases share.
type openSegment struct {
	blob   shard.BlobName
	reader *shard.Reader
	uses   *uses
}

// openBase opens a generation. What old has open already is shared with it; old may be nil.
func openBase(ctx context.Context, cache *shard.Cache, s *shard.Shard, m shard.Manifest, old *base) (*base, error) {
	have := map[shard.BlobName]*openSegment{}
	if old != nil {
		for _, o := range old.segments {
			have[o.blob] = o
		}
	}
	b := &base{manifest: m, segments: make([]*openSegment, 0, len(m.Segments))}
	b.uses = newUses(b.close)
	var missing []shard.Segment
	for _, seg := range m.Segments {
		if have[seg.Blob] == nil {
			missing = append(missing, seg)
		}
	}
	files, err := cache.GetAll(ctx, s, missing)
	if err != nil {
		return nil, fmt.Errorf("open generation %d of %s: %w", m.Generation, m.Shard, err)
	}
	var errs []error
	for i, seg := range missing {
		o, err := openFile(files[i], seg)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		have[seg.Blob] = o
	}
	for _, seg := range m.Segments {
		if o := have[seg.Blob]; o != nil && o.uses.take() {
			b.segments = append(b.segments, o)
		}
	}
	for _, seg := range missing { // what was opened here now belongs to b alone
		if o := have[seg.Blob]; o != nil {
			errs = append(errs, o.uses.release())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(fmt.Errorf("open generation %d of %s: %w", m.Generation, m.Shard, err), b.uses.release())
	}
	return b, nil
}

func openFile(file *shard.File, seg shard.Segment) (*openSegment, error) {
	reader, err := shard.OpenSegment(file.Path, seg)
	if err != nil {
		file.Close()
		return nil, err
	}
	return &openSegment{seg.Blob, reader, newUses(func() error {
		defer file.Close()
		return reader.Close()
	})}, nil
}

func (b *base) close() error {
	var errs []error
	for _, o := range b.segments {
		errs = append(errs, o.uses.release())
	}
	return errors.Join(errs...)
}

// locate implements documents.
func (b *base) locate(ids []string) (map[string]place, error) {
	found := map[string]place{}
	for i, seg := range b.manifest.Segments {
		all, err := b.segments[i].reader.Find(ids)
		if err != nil {
			return nil, err
		}
		live := all.Minus(seg.Deleted)
		if live.IsZero() {
			continue
		}
		if err := b.locateIn(i, live.Count(), ids, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// locateIn finds which of the ids are the live documents of one segment.
func (b *base) locateIn(i int, live uint64, ids []string, found map[string]place) error {
	seg := b.manifest.Segments[i]
	one := make([]string, 1)
	for _, id := range ids {
		if live == 0 {
			return nil
		}
		if _, ok := found[id]; ok {
			continue // an ID is live in one segment only
		}
		one[0] = id
		docs, err := b.segments[i].reader.Find(one)
		if err != nil {
			return err
		}
		for doc := range docs.Minus(seg.Deleted).All() {
			found[id] = place{seg.ID, doc}
			live--
		}
	}
	return nil
}

// source implements documents.
func (b *base) source(at place) (json.RawMessage, error) {
	for i, seg := range b.manifest.Segments {
		if seg.ID == at.segment {
			d, err := b.segments[i].reader.Document(at.doc)
			return d.Source, err
		}
	}
	return nil, fmt.Errorf("segment %d is not in generation %d of %s", at.segment, b.manifest.Generation, b.manifest.Shard)
}

// uses counts who holds something, and ends it when the last one lets go.
type uses struct {
	mu  sync.Mutex
	n   int
	end func() error
}

func newUses(end func() error) *uses { return &uses{n: 1, end: end} }

// take holds it once more; false says that it has ended already.
func (u *uses) take() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n == 0 {
		return false
	}
	u.n++
	return true
}

// release lets go, and returns what ending it said if it was the last.
func (u *uses) release() error {
	u.mu.Lock()
	u.n--
	last := u.n == 0
	u.mu.Unlock()
	if last {
		return u.end()
	}
	return nil
}
