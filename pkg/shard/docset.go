package shard

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"iter"

	"github.com/RoaringBitmap/roaring/v2"
)

// DocSet is a set of document numbers of one segment. It is a value: no method changes it, and it may be shared by
// goroutines. The zero value is empty. As JSON it is the base64 text of a roaring bitmap in the portable format.
type DocSet struct {
	bits *roaring.Bitmap // nil when empty
}

// NewDocSet returns a set of document numbers.
func NewDocSet(docs ...uint32) DocSet {
	return docSetOf(roaring.BitmapOf(docs...))
}

// docSetOf takes bits over; nobody may change it any more.
func docSetOf(bits *roaring.Bitmap) DocSet {
	if bits == nil || bits.IsEmpty() {
		return DocSet{}
	}
	return DocSet{bits}
}

// Count returns how many documents are in the set.
func (s DocSet) Count() uint64 {
	if s.bits == nil {
		return 0
	}
	return s.bits.GetCardinality()
}

// IsZero tells whether the set is empty.
func (s DocSet) IsZero() bool { return s.bits == nil }

// Contains tells whether doc is in the set.
func (s DocSet) Contains(doc uint32) bool { return s.bits != nil && s.bits.Contains(doc) }

// All yields the documents in ascending order.
func (s DocSet) All() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		if s.bits != nil {
			s.bits.Iterate(yield)
		}
	}
}

// Union returns the documents that are in either set.
func (s DocSet) Union(o DocSet) DocSet {
	switch {
	case s.bits == nil:
		return o
	case o.bits == nil:
		return s
	}
	return DocSet{roaring.Or(s.bits, o.bits)}
}

// Minus returns the documents of s that are not in o.
func (s DocSet) Minus(o DocSet) DocSet {
	if s.bits == nil || o.bits == nil {
		return s
	}
	return docSetOf(roaring.AndNot(s.bits, o.bits))
}

// Equal tells whether both sets hold the same documents.
func (s DocSet) Equal(o DocSet) bool {
	if s.bits == nil || o.bits == nil {
		return s.bits == o.bits
	}
	return s.bits.Equals(o.bits)
}

// below tells whether all documents are less than docs.
func (s DocSet) below(docs uint64) bool {
	return s.bits == nil || uint64(s.bits.Maximum()) < docs
}

// bytes returns the set in roaring's portable format.
func (s DocSet) bytes() ([]byte, error) {
	if s.bits == nil {
		return nil, nil
	}
	packed := s.bits.Clone()
	packed.RunOptimize()
	return packed.ToBytes()
}

// MarshalText implements [encoding.TextMarshaler].
func (s DocSet) MarshalText() ([]byte, error) {
	packed, err := s.bytes()
	return base64.StdEncoding.AppendEncode(nil, packed), err
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *DocSet) UnmarshalText(text []byte) error {
	packed, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return fmt.Errorf("document set: %w", err)
	}
	bits := roaring.New()
	rest := bytes.NewReader(packed)
	if len(packed) > 0 {
		if _, err := bits.ReadFrom(rest); err != nil {
			return fmt.Errorf("document set: %w", err)
		}
		if err := bits.Validate(); err != nil && !bits.IsEmpty() {
			return fmt.Errorf("document set: %w", err)
		}
	}
	if rest.Len() > 0 {
		return fmt.Errorf("document set: %w: %d bytes after its end", io.ErrUnexpectedEOF, rest.Len())
	}
	*s = docSetOf(bits)
	return nil
}
