package shard

import (
	"errors"
	"fmt"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/offline-nodes/offline-nodes/internal/mutant"
)

// Change is what one commit does to a shard. A merge replaces inputs by an output; a write adds outputs and deletes
// documents of segments that stay.
type Change struct {
	Writer Writer

	// Inputs are replaced by the output. Each must be as it was when the work began: its Deleted are the documents
	// that the output leaves out. Segments are compared by ID and blob.
	Inputs []Segment

	// Outputs are added under new IDs. With inputs there is one at most, whose documents are those of the inputs in
	// the order of NewRemap; none says that nothing was left of them.
	Outputs []Segment

	// Deleted are documents to delete from segments that stay, by segment ID.
	Deleted map[uint64]DocSet
}

// Commit returns the generation that follows cur: cur with the change applied. It is a pure function; nothing of cur is
// changed. What was deleted from the inputs since the work began is deleted from the output too.
//
// It returns ErrApplied or ErrInputsGone, both ErrNoEffect, when there is nothing to do any more; and ErrStale when a
// newer claim of the task has committed.
func Commit(cur Manifest, c Change) (Manifest, error) {
	replaced, err := findInputs(cur, c.Inputs)
	if err := checkApplied(cur, c, err); err != nil {
		return Manifest{}, err
	}
	remap := NewRemap(c.Inputs)
	if err := checkOutputs(c, remap); err != nil {
		return Manifest{}, err
	}
	next := cur.Clone()
	next.Generation++
	next.Writer = c.Writer
	next.Applied = applied(cur, c.Writer)
	next.Segments = next.Segments[:0]
	late := roaring.New() // deleted from the inputs since the work began, in the numbers of the output
	for _, s := range cur.Segments {
		if input, ok := replaced[s.ID]; ok {
			if !mutant.On("late deletes are lost") {
				remap.add(late, input, s.Deleted)
			}
			continue
		}
		next.Segments = append(next.Segments, s)
	}
	if err := deleteDocs(next.Segments, c.Deleted); err != nil {
		return Manifest{}, err
	}
	for _, out := range c.Outputs {
		if out = out.without(docSetOf(late)); out.Live == 0 {
			continue
		}
		out.ID = next.NextSegment
		next.NextSegment++
		if mutant.On("segment IDs are used again") {
			out.ID = uint64(len(next.Segments)) + 1
		}
		next.Segments = append(next.Segments, out)
	}
	return next, nil
}

// checkApplied tells whether the change is in cur already; inputs is what findInputs returned. A merge whose inputs are
// all there is not in the shard, whatever was applied: a restore has undone it.
func checkApplied(cur Manifest, c Change, inputs error) error {
	a, known := cur.AppliedAs(c.Writer.Task)
	switch {
	case known && c.Writer.AllocationID < a.AllocationID && !mutant.On("no fence"):
		return fmt.Errorf("task %s: %w: %d, committed was %d", a.Task, ErrStale, c.Writer.AllocationID, a.AllocationID)
	case known && !mutant.On("no applied set") && (len(c.Inputs) == 0 || errors.Is(inputs, ErrInputsGone) || mutant.On("a restore undoes no merge")):
		return fmt.Errorf("task %s: %w", a.Task, ErrApplied)
	case inputs != nil:
		return inputs
	}
	for _, out := range c.Outputs {
		if slices.ContainsFunc(cur.Segments, func(s Segment) bool { return s.Blob == out.Blob }) {
			return fmt.Errorf("blob %s: %w", out.Blob, ErrApplied)
		}
	}
	return nil
}

// findInputs returns the position of each input by its ID.
func findInputs(cur Manifest, inputs []Segment) (map[uint64]int, error) {
	found := make(map[uint64]int, len(inputs))
	for i, in := range inputs {
		now, ok := cur.Segment(in.ID)
		if _, twice := found[in.ID]; twice {
			return nil, fmt.Errorf("segment %d is an input twice", in.ID)
		}
		// Deletions that the output leaves out but the shard does not know were undone by a restore: the output
		// would lose documents.
		restored := !in.Deleted.Minus(now.Deleted).IsZero() && !mutant.On("a merge loses what a restore brought back")
		if !ok || now.Blob != in.Blob && !mutant.On("a segment is its ID") || restored {
			if mutant.On("inputs may be gone") {
				continue
			}
			return nil, fmt.Errorf("segment %d: %w", in.ID, ErrInputsGone)
		}
		if in.Docs != now.Docs {
			return nil, fmt.Errorf("segment %d has %d documents, not %d", in.ID, now.Docs, in.Docs)
		}
		found[in.ID] = i
	}
	return found, nil
}

func checkOutputs(c Change, remap Remap) error {
	if len(c.Inputs) == 0 {
		return nil
	}
	var docs uint64
	for _, out := range c.Outputs {
		docs += out.Docs
		if !out.Deleted.IsZero() {
			return fmt.Errorf("merged blob %s lists deleted documents", out.Blob)
		}
	}
	if len(c.Outputs) > 1 || docs != remap.Docs() {
		return fmt.Errorf("%d outputs with %d documents cannot replace inputs with %d", len(c.Outputs), docs, remap.Docs())
	}
	for id := range c.Deleted {
		if slices.ContainsFunc(c.Inputs, func(in Segment) bool { return in.ID == id }) {
			return fmt.Errorf("segment %d is replaced and has documents deleted in one change", id)
		}
	}
	return nil
}

func deleteDocs(segments []Segment, deleted map[uint64]DocSet) error {
	for id, docs := range deleted {
		i := slices.IndexFunc(segments, func(s Segment) bool { return s.ID == id })
		if i < 0 {
			return fmt.Errorf("documents are deleted from segment %d, which is not there", id)
		}
		if !docs.below(segments[i].Docs) {
			return fmt.Errorf("a document is deleted from segment %d that it does not have", id)
		}
		segments[i] = segments[i].without(docs)
	}
	return nil
}

// applied returns the applied tasks of the next generation. Only the store's clock is used: a writer whose clock runs
// ahead must not make the shard forget. The store dates a generation when it is stored, so the one after it writes the
// date down.
func applied(cur Manifest, w Writer) []Applied {
	var kept []Applied
	for _, a := range cur.Applied {
		if a.At.IsZero() {
			a.At = cur.StoredAt
		}
		if mutant.On("the applied set lives by the writer's clock") {
			cur.StoredAt = w.At
		}
		if cur.StoredAt.Sub(a.At) <= cur.AppliedFor && a.Task != w.Task {
			kept = append(kept, a)
		}
	}
	if w.Task == "" {
		return kept
	}
	return append(kept, Applied{Task: w.Task, AllocationID: w.AllocationID})
}
