package shard

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReplace(t *testing.T) {
	t.Parallel()
	w := worldOf(t)
	old := w.manifest
	w.write(t, []string{"new"}, []string{"a1"})
	w.begin(w.manifest.Segments[:2])
	cur := w.manifest
	cur.Applied = append(cur.Applied, Applied{Task: "merge-1", AllocationID: 3})

	r := Replacement{Writer: Writer{Task: "restore-1", AllocationID: 7}, Segments: old.Segments, Mapping: cur.Mapping}
	next, err := Replace(cur, r)
	require.NoError(t, err)
	require.Equal(t, cur.Generation+1, next.Generation)
	require.Len(t, next.Segments, 3)
	for i, s := range next.Segments {
		require.Equal(t, cur.NextSegment+uint64(i), s.ID, "IDs are not used again")
		require.Equal(t, old.Segments[i].Blob, s.Blob)
	}
	require.Equal(t, cur.NextSegment+3, next.NextSegment)
	require.Equal(t, Applied{Task: "restore-1", AllocationID: 7}, next.Applied[len(next.Applied)-1])
	_, known := next.AppliedAs("merge-1")
	require.True(t, known, "a task stays applied")
	require.Len(t, cur.Segments, 4, "the generation before is as it was")

	_, err = Replace(next, r)
	require.ErrorIs(t, err, ErrApplied)
	r.Writer.AllocationID = 6
	_, err = Replace(next, r)
	require.ErrorIs(t, err, ErrStale)

	w.manifest = next
	require.ErrorIs(t, w.commit(w.merges[0]), ErrInputsGone, "a merge that began before")
}
