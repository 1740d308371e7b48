package shard

import (
	"encoding/json"
	"fmt"
)

// Replacement is what a restore does to a shard: other content takes the place of all that is there.
type Replacement struct {
	Writer Writer

	// Segments get new IDs, in their order; whatever IDs they had elsewhere or before are not used again.
	Segments []Segment

	// Mapping is the bleve index mapping that the segments were made with.
	Mapping json.RawMessage
}

// Replace returns the generation that follows cur: cur with other content. It is a pure function; nothing of cur is
// changed. The tasks that cur has applied stay applied: a merge that began before finds its inputs gone.
//
// It returns ErrApplied, an ErrNoEffect, when the task has committed already, and ErrStale when a newer claim of it has.
func Replace(cur Manifest, r Replacement) (Manifest, error) {
	if a, known := cur.AppliedAs(r.Writer.Task); known {
		if r.Writer.AllocationID < a.AllocationID {
			return Manifest{}, fmt.Errorf("task %s: %w: %d, committed was %d", a.Task, ErrStale, r.Writer.AllocationID, a.AllocationID)
		}
		return Manifest{}, fmt.Errorf("task %s: %w", a.Task, ErrApplied)
	}
	next := cur.Clone()
	next.Generation++
	next.Writer = r.Writer
	next.Applied = applied(cur, r.Writer)
	next.Mapping = r.Mapping
	next.Segments = make([]Segment, 0, len(r.Segments))
	for _, s := range r.Segments {
		s.ID = next.NextSegment
		next.NextSegment++
		next.Segments = append(next.Segments, s)
	}
	return next, nil
}
