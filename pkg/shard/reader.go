package shard

import (
	"bytes"
	"encoding/json"
	"fmt"

	segment "github.com/blevesearch/scorch_segment_api/v2"
	"github.com/blevesearch/zapx/v17"
)

// Reader reads one segment file. It is safe for concurrent use until it is closed. The file is mapped into memory, so
// its pages are cache that the system may take back.
type Reader struct {
	seg   segment.Segment
	about Segment
}

// OpenSegment opens the file of a segment. It returns ErrFormat for what this build cannot read, and ErrCorrupt for a
// file that does not hold the segment. It does not compare the hash: Download and Cache do.
func OpenSegment(path string, about Segment) (*Reader, error) {
	if err := about.Readable(); err != nil {
		return nil, err
	}
	var plugin zap.ZapPlugin
	seg, err := plugin.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open segment %d: %w", about.ID, err)
	}
	return newReader(seg, about)
}

// newReader closes a segment that is not what it should be.
func newReader(seg segment.Segment, about Segment) (*Reader, error) {
	if seg.Count() != about.Docs {
		_ = seg.Close() // it was only read
		return nil, fmt.Errorf("segment %d: %w: the file has %d documents, not %d", about.ID, ErrCorrupt, seg.Count(), about.Docs)
	}
	return &Reader{seg, about}, nil
}

// Segment returns what the reader was opened with.
func (r *Reader) Segment() Segment { return r.about }

// Find returns the numbers of the documents that have one of the IDs, deleted ones included.
func (r *Reader) Find(ids []string) (DocSet, error) {
	bits, err := r.seg.DocNumbers(ids)
	if err != nil {
		return DocSet{}, fmt.Errorf("find documents in segment %d: %w", r.about.ID, err)
	}
	// zap's bitmap may still point into the mapped file, which is gone once the reader is closed.
	return NewDocSet(bits.ToArray()...), nil
}

// ID returns the ID of a document by its number. It costs far less than the document.
func (r *Reader) ID(doc uint32) (string, error) {
	if uint64(doc) >= r.about.Docs {
		return "", fmt.Errorf("segment %d has no document %d", r.about.ID, doc)
	}
	id, err := r.seg.DocID(uint64(doc))
	if err != nil {
		return "", fmt.Errorf("read the ID of document %d of segment %d: %w", doc, r.about.ID, err)
	}
	return string(id), nil
}

// Document returns a document by its number. The source is nil in segments that were not built by BuildSegment.
func (r *Reader) Document(doc uint32) (Document, error) {
	if uint64(doc) >= r.about.Docs {
		return Document{}, fmt.Errorf("segment %d has no document %d", r.about.ID, doc)
	}
	var d Document
	err := r.seg.VisitStoredFields(uint64(doc), func(field string, _ byte, value []byte, _ []uint64) bool {
		switch field { // value is only valid inside this call
		case "_id":
			d.ID = string(value)
		case SourceField:
			d.Source = json.RawMessage(bytes.Clone(value))
		}
		return true // zap returns its buffer twice, to two readers, when a visitor stops at the ID
	})
	if err != nil {
		return Document{}, fmt.Errorf("read document %d of segment %d: %w", doc, r.about.ID, err)
	}
	return d, nil
}

// Close unmaps the file. Nothing may read any more.
func (r *Reader) Close() error { return r.seg.Close() }
