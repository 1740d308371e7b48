package shard

import (
	"github.com/RoaringBitmap/roaring/v2"
)

// Remap tells where documents go when segments are merged: those not deleted keep their order, segment by segment, and
// are numbered from 0. It is a pure function of the inputs, so it need not travel with the merged segment: whoever
// commits computes it again.
type Remap struct {
	inputs []remapInput
	docs   uint64
}

type remapInput struct {
	base  uint64 // the number of its first surviving document
	drops DocSet
}

// NewRemap returns the numbering of a merge of inputs, without the documents that they list as deleted.
func NewRemap(inputs []Segment) Remap {
	r := Remap{inputs: make([]remapInput, len(inputs))}
	for i, s := range inputs {
		r.inputs[i] = remapInput{r.docs, s.Deleted}
		r.docs += s.Docs - s.Deleted.Count()
	}
	return r
}

// Docs returns how many documents the merged segment has.
func (r Remap) Docs() uint64 { return r.docs }

// Doc returns the new number of a document of an input, counted from 0; ok is false if it was left out.
func (r Remap) Doc(input int, doc uint32) (to uint32, ok bool) {
	in := r.inputs[input]
	if in.drops.Contains(doc) {
		return 0, false
	}
	var dropped uint64
	if in.drops.bits != nil {
		dropped = in.drops.bits.Rank(doc)
	}
	return uint32(in.base + uint64(doc) - dropped), true
}

// add puts the new numbers of docs into out. Those that were left out have none.
func (r Remap) add(out *roaring.Bitmap, input int, docs DocSet) {
	in := r.inputs[input]
	drops := emptyBits.Iterator()
	if in.drops.bits != nil {
		drops = in.drops.bits.Iterator()
	}
	var dropped uint64
	for doc := range docs.Minus(in.drops).All() {
		for drops.HasNext() && drops.PeekNext() < doc {
			drops.Next()
			dropped++
		}
		out.Add(uint32(in.base + uint64(doc) - dropped))
	}
}

var emptyBits = roaring.New()
