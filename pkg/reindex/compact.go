package reindex

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// crowded is how many segments a slice may have built before it merges the smaller half of them: a target of very many
// would make a data node's writes wait for merges.
func (s *slice) crowded() int { return max(s.worker.Segments/s.plan.Slices, 2) }

// compact merges the smaller half of what the slice has built, in a commit of the stage that leaves its mark alone.
func (s *slice) compact(ctx context.Context) error {
	inputs := slices.Clone(s.staged.Segments)
	slices.SortFunc(inputs, func(a, b shard.Segment) int { return cmp.Compare(a.Bytes, b.Bytes) })
	inputs = inputs[:len(inputs)/2+1]
	files := make([]shard.MergeInput, len(inputs))
	for i, seg := range inputs {
		_, path, err := s.built.open(ctx, seg)
		if err != nil {
			return err
		}
		files[i] = shard.MergeInput{Path: path, Segment: seg}
	}
	path := s.scratch.Path("merged-" + uuid.NewString())
	seg, err := shard.MergeSegments(ctx, files, path, func(int64) { s.progress.pulse.Add(1) })
	if err != nil {
		return fmt.Errorf("merge what was built: %w", err)
	}
	change := shard.Change{Writer: shard.Writer{Node: s.worker.Node, At: time.Now().UTC()}, Inputs: inputs}
	if seg.Docs > 0 {
		if seg, err = s.worker.upload(ctx, s.desk, seg, path); err != nil {
			return err
		}
		change.Outputs = []shard.Segment{seg}
	}
	m, err := s.stage.Commit(ctx, func(cur shard.Manifest) (shard.Manifest, error) {
		if cur.Generation != s.staged.Generation {
			return cur, errAhead
		}
		next, err := shard.Commit(cur, change)
		next.Applied = cur.Applied
		return next, err
	})
	if err != nil {
		return err
	}
	s.staged = m
	for _, in := range inputs {
		s.built.drop(in)
		if err := s.target.Unreserve(ctx, in.Blob); err != nil {
			return err
		}
	}
	return nil
}
