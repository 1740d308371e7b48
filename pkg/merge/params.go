package merge

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// Type is the name of the task type.
const Type = "merge"

// MaxInputs bounds the segments of one merge.
const MaxInputs = 1000

// Params are what a merge task is submitted with.
type Params struct {
	// Shard is the shard's name in the store.
	Shard string `json:"shard"`

	// Generation is the one that the plan was made on. The worker works on the newest, which must not be older.
	Generation uint64 `json:"generation"`

	// Inputs are the segments to replace. Their documents keep this order.
	Inputs []Input `json:"inputs"`
}

// Input names a segment.
type Input struct {
	ID   uint64         `json:"id"`
	Blob shard.BlobName `json:"blob"`
}

// Plan returns the task that merges segments of one generation, and its ID. The ID is a hash of the shard and the
// segments, so planning again finds the task that runs.
func Plan(m shard.Manifest, segments []shard.Segment) (id string, p Params) {
	p = Params{Shard: m.Shard, Generation: m.Generation}
	for _, s := range segments {
		p.Inputs = append(p.Inputs, Input{s.ID, s.Blob})
	}
	slices.SortFunc(p.Inputs, func(a, b Input) int { return cmp.Compare(a.ID, b.ID) })
	return p.TaskID(), p
}

// TaskID returns the ID of the task: "merge-" and a hash of the shard and the inputs in any order.
func (p Params) TaskID() string {
	lines := make([]string, 0, len(p.Inputs))
	for _, in := range p.Inputs {
		lines = append(lines, fmt.Sprintf("%d %s\n", in.ID, in.Blob))
	}
	slices.Sort(lines)
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", p.Shard)
	for _, line := range lines {
		fmt.Fprint(h, line)
	}
	return "merge-" + hex.EncodeToString(h.Sum(nil)[:16])
}

// Validate reports every mistake at once.
func (p Params) Validate() error {
	var errs []error
	if err := shard.CheckName(p.Shard); err != nil {
		errs = append(errs, err)
	}
	if p.Generation == 0 {
		errs = append(errs, errors.New("generation is missing"))
	}
	if len(p.Inputs) == 0 || len(p.Inputs) > MaxInputs {
		errs = append(errs, fmt.Errorf("%d inputs, allowed are 1 to %d", len(p.Inputs), MaxInputs))
	}
	seen := make(map[uint64]bool, len(p.Inputs))
	for _, in := range p.Inputs {
		if seen[in.ID] {
			errs = append(errs, fmt.Errorf("segment %d is an input twice", in.ID))
		}
		seen[in.ID] = true
		if err := in.Blob.Check(); err != nil {
			errs = append(errs, fmt.Errorf("segment %d: %w", in.ID, err))
		}
	}
	return errors.Join(errs...)
}

// Describe says in a line what the task does.
func (p Params) Describe() string {
	return fmt.Sprintf("merge %d segments of %s", len(p.Inputs), p.Shard)
}

// find returns the inputs as they are in a generation, with the documents deleted so far; ok is false when one is gone.
func (p Params) find(m shard.Manifest) (segments []shard.Segment, ok bool) {
	for _, in := range p.Inputs {
		s, ok := m.Segment(in.ID)
		if !ok || s.Blob != in.Blob {
			return nil, false
		}
		segments = append(segments, s)
	}
	return segments, true
}

// Result is what a merge leaves for listeners and for whoever asks for the task's state.
type Result struct {
	Shard string `json:"shard"`

	// Generation is the one that holds the merged segment; without effect, the newest that was seen.
	Generation uint64 `json:"generation"`

	// NoEffect says why nothing was committed: "already applied" or "inputs are gone". Empty when something was.
	NoEffect string `json:"no_effect,omitempty"`

	SegmentsIn  int    `json:"segments_in"`
	SegmentsOut int    `json:"segments_out"`      // 0 when no document was left
	Segment     uint64 `json:"segment,omitempty"` // ID of the merged one, where it is in the shard
	BytesIn     int64  `json:"bytes_in"`
	BytesOut    int64  `json:"bytes_out"`
	Docs        uint64 `json:"docs"`        // of the merged segment
	BytesMoved  int64  `json:"bytes_moved"` // between store and worker, in this run
}
