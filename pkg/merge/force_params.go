package merge

import (
	"errors"
	"fmt"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// ForceType is the name of the task type that merges a shard down to a number of segments.
const ForceType = "force-merge"

// maxScope bounds the segments that a force merge may name.
const maxScope = 10_000

// ForceParams are what a force merge is submitted with. It is about the segments that the shard has when the task
// starts, and what becomes of them: those that are written meanwhile are left alone.
type ForceParams struct {
	// Shard is the shard's name in the store.
	Shard string `json:"shard"`

	// MaxSegments is how many may be left; 0: as many as there are.
	MaxSegments int `json:"max_segments,omitempty"`

	// Expunge rewrites the segments that hold deleted documents, after the merges.
	Expunge bool `json:"expunge_deletes,omitempty"`

	// Segments are the IDs of those that it is about; none: all.
	Segments []uint64 `json:"segments,omitempty"`

	// AtOnce is how many segments one merge may take; 0: DefaultAtOnce.
	AtOnce int `json:"at_once,omitempty"`
}

// Validate reports every mistake at once.
func (p ForceParams) Validate() error {
	var errs []error
	if err := shard.CheckName(p.Shard); err != nil {
		errs = append(errs, err)
	}
	switch {
	case p.MaxSegments < 0:
		errs = append(errs, fmt.Errorf("max_segments is %d: at least 1 segment must stay", p.MaxSegments))
	case p.MaxSegments == 0 && !p.Expunge:
		errs = append(errs, errors.New("nothing to do: give max_segments, expunge_deletes, or both"))
	}
	if p.AtOnce != 0 && (p.AtOnce < 2 || p.AtOnce > MaxInputs) {
		errs = append(errs, fmt.Errorf("at_once is %d, allowed are 2 to %d", p.AtOnce, MaxInputs))
	}
	if len(p.Segments) > maxScope {
		errs = append(errs, fmt.Errorf("%d segments are named, at most %d", len(p.Segments), maxScope))
	}
	return errors.Join(errs...)
}

// Describe says in a line what the task does.
func (p ForceParams) Describe() string {
	switch {
	case p.MaxSegments == 0:
		return "expunge deletes of " + p.Shard
	case p.Expunge:
		return fmt.Sprintf("merge %s down to %d and expunge deletes", p.Shard, p.MaxSegments)
	}
	return fmt.Sprintf("merge %s down to %d", p.Shard, p.MaxSegments)
}

func (p ForceParams) atOnce() int {
	if p.AtOnce == 0 {
		return DefaultAtOnce
	}
	return p.AtOnce
}

// ForceResult is what a force merge leaves.
type ForceResult struct {
	Shard      string `json:"shard"`
	Generation uint64 `json:"generation"` // newest that was seen
	Rounds     int    `json:"rounds"`
	Merges     int    `json:"merges"`
	NoEffect   int    `json:"no_effect,omitempty"` // merges that others were faster than

	SegmentsBefore int    `json:"segments_before"`
	SegmentsAfter  int    `json:"segments_after"` // of those that it was about
	BytesIn        int64  `json:"bytes_in"`       // of the segments that were merged
	BytesMoved     int64  `json:"bytes_moved"`
	Docs           uint64 `json:"docs"` // live ones in the segments that it was about
}
