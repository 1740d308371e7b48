package datanode

import (
	"github.com/blevesearch/bleve/v2/index/scorch/mergeplan"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// candidate is a segment as bleve's merge policy sees it.
type candidate struct{ shard.Segment }

// Id implements mergeplan.Segment.
func (c candidate) Id() uint64 { return c.ID } //nolint:staticcheck,revive // the interface's name

// FullSize is in documents, as LiveSize.
func (c candidate) FullSize() int64 { return int64(c.Docs) }

// LiveSize is without deleted documents.
func (c candidate) LiveSize() int64 { return int64(c.Live) }

// HasVector implements mergeplan.Segment: mappings with vectors are not built in.
func (c candidate) HasVector() bool { return false }

// FileSize is in bytes.
func (c candidate) FileSize() int64 { return c.Bytes }

// LiveFileSize is the share of the file that live documents have.
func (c candidate) LiveFileSize() int64 {
	if c.Docs == 0 {
		return 0
	}
	return int64(float64(c.Bytes) * float64(c.Live) / float64(c.Docs))
}

// planMerges says which of the segments are to be merged together. It is a pure function.
func planMerges(segments []shard.Segment, policy *mergeplan.MergePlanOptions) ([][]shard.Segment, error) {
	candidates := make([]mergeplan.Segment, 0, len(segments))
	for _, s := range segments {
		candidates = append(candidates, candidate{s})
	}
	plan, err := mergeplan.Plan(candidates, policy)
	if err != nil || plan == nil {
		return nil, err
	}
	var merges [][]shard.Segment
	for _, t := range plan.Tasks {
		if inputs := inOrder(segments, t); worthwhile(inputs) {
			merges = append(merges, inputs)
		}
	}
	return merges, nil
}

// inOrder lists a task's segments in the order of the manifest, so that the same segments are the same merge.
func inOrder(segments []shard.Segment, t *mergeplan.MergeTask) []shard.Segment {
	chosen := make(map[uint64]bool, len(t.Segments))
	for _, s := range t.Segments {
		chosen[s.Id()] = true
	}
	inputs := make([]shard.Segment, 0, len(chosen))
	for _, s := range segments {
		if chosen[s.ID] {
			inputs = append(inputs, s)
		}
	}
	return inputs
}

// worthwhile is false for a single segment without deletions: merging it would change nothing, again and again.
func worthwhile(inputs []shard.Segment) bool {
	return len(inputs) > 1 || len(inputs) == 1 && inputs[0].Live < inputs[0].Docs
}
