package reindex

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// part is some documents of one segment.
type part struct {
	segment shard.Segment
	some    shard.DocSet // empty: all that are not deleted
}

func (p part) has(doc uint32) bool {
	if p.some.IsZero() {
		return !p.segment.Deleted.Contains(doc)
	}
	return p.some.Contains(doc)
}

func (p part) count() uint64 {
	if p.some.IsZero() {
		return p.segment.Live
	}
	return p.some.Count()
}

// difference is what happened between two generations: documents that can be found in the newer one alone, and those in
// the older one alone. A merge moves documents, so they are in both lists, unchanged.
type difference struct{ fresh, stale []part }

func between(older, newer shard.Manifest) (d difference) {
	was, is := byBlob(older), byBlob(newer)
	for _, s := range newer.Segments {
		before, ok := was[s.Blob]
		if !ok {
			d.fresh = appendPart(d.fresh, part{segment: s})
		} else if back := before.Deleted.Minus(s.Deleted); !back.IsZero() { // a restore brought them back
			d.fresh = appendPart(d.fresh, part{s, back})
		}
	}
	for _, s := range older.Segments {
		now, ok := is[s.Blob]
		if !ok {
			d.stale = appendPart(d.stale, part{segment: s})
		} else if gone := now.Deleted.Minus(s.Deleted); !gone.IsZero() {
			d.stale = appendPart(d.stale, part{s, gone})
		}
	}
	return d
}

func byBlob(m shard.Manifest) map[shard.BlobName]shard.Segment {
	all := make(map[shard.BlobName]shard.Segment, len(m.Segments))
	for _, s := range m.Segments {
		all[s.Blob] = s
	}
	return all
}

func appendPart(parts []part, p part) []part {
	if p.count() == 0 {
		return parts
	}
	return append(parts, p)
}

// docs is how many documents there are to look at.
func (d difference) docs() (n uint64) {
	for _, p := range d.fresh {
		n += p.count()
	}
	for _, p := range d.stale {
		n += p.count()
	}
	return n
}

// position is a place on the way through a difference: the next document to look at.
type position struct {
	Phase int // 0: fresh ones, 1: stale ones
	Part  int
	Doc   uint32
}

// item is a document on its way to the target.
type item struct {
	doc     shard.Document
	gone    bool // it is not to be in the target: deleted, or not found by the query
	deleted bool // gone, because the source has lost it
	behind  position
}

// walker goes through those documents of a difference that belong to one slice.
type walker struct {
	difference

	files     *library
	slice, of int
	mapping   json.RawMessage // of the source
	query     string
	transform Transform
	looked    func() // is called for each document that is looked at
}

// walk calls do with every document that has changed, from a position on. The order depends on the difference alone.
func (w *walker) walk(ctx context.Context, from position, do func(item) error) error {
	if from.Phase == 0 {
		for i := from.Part; i < len(w.fresh); i++ {
			if err := w.walkFresh(ctx, i, from.start(i), do); err != nil {
				return err
			}
		}
		from = position{Phase: 1}
	}
	for i := from.Part; i < len(w.stale); i++ {
		if err := w.walkStale(ctx, i, from.start(i), do); err != nil {
			return err
		}
	}
	return nil
}

// start is the first document to look at in a part.
func (p position) start(part int) uint32 {
	if part == p.Part {
		return p.Doc
	}
	return 0
}

func (w *walker) walkFresh(ctx context.Context, i int, start uint32, do func(item) error) error {
	p := w.fresh[i]
	r, path, err := w.files.open(ctx, p.segment)
	if err != nil {
		return err
	}
	if len(w.stale) == 0 { // nobody comes back to it
		defer w.files.drop(p.segment)
	}
	var found shard.DocSet
	if w.query != "" {
		if found, err = shard.MatchSegment(ctx, path, p.segment, w.mapping, w.query); err != nil {
			return err
		}
	}
	return w.each(ctx, r, p, start, func(doc uint32, id string) error {
		behind := position{0, i, doc + 1}
		if w.query != "" && !found.Contains(doc) {
			return do(item{doc: shard.Document{ID: id}, gone: true, behind: behind})
		}
		d, err := r.Document(doc)
		if err != nil {
			return err
		}
		if d.Source == nil {
			return fmt.Errorf("%w %q: segment %d does not have its source", shard.ErrDocument, id, p.segment.ID)
		}
		if same, err := w.unchanged(ctx, d); err != nil || same {
			return err
		}
		if d.Source, err = w.transform.Apply(d.Source); err != nil {
			return fmt.Errorf("transform: %w %q: %w", shard.ErrDocument, id, err)
		}
		return do(item{doc: d, behind: behind})
	})
}

func (w *walker) walkStale(ctx context.Context, i int, start uint32, do func(item) error) error {
	p := w.stale[i]
	r, _, err := w.files.open(ctx, p.segment)
	if err != nil {
		return err
	}
	return w.each(ctx, r, p, start, func(doc uint32, id string) error {
		_, ok, err := w.find(ctx, w.fresh, id)
		if err != nil || ok {
			return err // it has a newer version, or has moved
		}
		return do(item{doc: shard.Document{ID: id}, gone: true, deleted: true, behind: position{1, i, doc + 1}})
	})
}

// each calls do with the documents of a part that belong to the slice.
func (w *walker) each(ctx context.Context, r *shard.Reader, p part, start uint32, do func(doc uint32, id string) error) error {
	for doc := start; uint64(doc) < p.segment.Docs; doc++ {
		if doc%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		w.looked()
		if !p.has(doc) {
			continue
		}
		id, err := r.ID(doc)
		if err != nil {
			return err
		}
		if sliceOf(id, w.of) != w.slice {
			continue
		}
		if err := do(doc, id); err != nil {
			return err
		}
	}
	return nil
}

// unchanged tells whether a fresh document was there before with the same source.
func (w *walker) unchanged(ctx context.Context, d shard.Document) (bool, error) {
	before, ok, err := w.find(ctx, w.stale, d.ID)
	return ok && bytes.Equal(before.Source, d.Source), err
}

// find returns the document of an ID among parts, where there is one at most.
func (w *walker) find(ctx context.Context, parts []part, id string) (shard.Document, bool, error) {
	for _, p := range parts {
		r, _, err := w.files.open(ctx, p.segment)
		if err != nil {
			return shard.Document{}, false, err
		}
		docs, err := r.Find([]string{id})
		if err != nil {
			return shard.Document{}, false, err
		}
		for doc := range docs.All() {
			if p.has(doc) {
				d, err := r.Document(doc)
				return d, true, err
			}
		}
	}
	return shard.Document{}, false, nil
}

// sliceOf is the slice that a document belongs to, whatever segment it is in.
func sliceOf(id string, of int) int {
	if of <= 1 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // it never fails
	sum := h.Sum64()
	return int((sum ^ sum>>32) % uint64(of))
}

// library is segment files of one shard that are open. Close it.
type library struct {
	shard   *shard.Shard
	cache   *shard.Cache // nil: files are fetched into the scratch folder
	scratch *shard.Scratch
	books   map[shard.BlobName]*book
}

type book struct {
	reader *shard.Reader
	path   string
	close  func() error
}

func newLibrary(s *shard.Shard, cache *shard.Cache, scratch *shard.Scratch) *library {
	return &library{s, cache, scratch, map[shard.BlobName]*book{}}
}

// open returns the reader of a segment, and its file.
func (l *library) open(ctx context.Context, seg shard.Segment) (*shard.Reader, string, error) {
	if b := l.books[seg.Blob]; b != nil {
		return b.reader, b.path, nil
	}
	path, done, err := l.fetch(ctx, seg)
	if err != nil {
		return nil, "", err
	}
	r, err := shard.OpenToRead(path, seg)
	if err != nil {
		return nil, "", errors.Join(err, done())
	}
	l.books[seg.Blob] = &book{r, path, func() error { return errors.Join(r.Close(), done()) }}
	return r, path, nil
}

func (l *library) fetch(ctx context.Context, seg shard.Segment) (path string, done func() error, err error) {
	if l.cache != nil {
		f, err := l.cache.Get(ctx, l.shard, seg)
		if err != nil {
			return "", nil, err
		}
		return f.Path, func() error { f.Close(); return nil }, nil
	}
	if err := seg.Blob.Check(); err != nil {
		return "", nil, err
	}
	path = l.scratch.Path(string(seg.Blob))
	if err := l.shard.Download(ctx, seg, path); err != nil {
		return "", nil, err
	}
	return path, func() error { return removeFile(path) }, nil
}

// drop closes a segment that is not needed any more.
func (l *library) drop(seg shard.Segment) {
	if b := l.books[seg.Blob]; b != nil {
		delete(l.books, seg.Blob)
		_ = b.close() // it was only read; the file goes with its folder
	}
}

func (l *library) close() error {
	var errs []error
	for _, b := range l.books {
		errs = append(errs, b.close())
	}
	clear(l.books)
	return errors.Join(errs...)
}

// locate returns where the live documents of IDs are, for each of segments. Without IDs nothing is fetched.
func (l *library) locate(ctx context.Context, segments []shard.Segment, ids []string) ([]shard.DocSet, error) {
	found := make([]shard.DocSet, len(segments))
	if len(ids) == 0 {
		return found, nil
	}
	for i, seg := range segments {
		r, _, err := l.open(ctx, seg)
		if err != nil {
			return nil, err
		}
		docs, err := r.Find(ids)
		if err != nil {
			return nil, err
		}
		found[i] = docs.Minus(seg.Deleted)
	}
	return found, nil
}
