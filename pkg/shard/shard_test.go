package shard

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWriteSearchMerge(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	empty, err := f.shard.Newest(t.Context())
	require.NoError(t, err)
	require.Empty(t, f.search(t, empty, "*"))

	f.write(t, docs("a", 0, 100))
	f.write(t, docs("b", 0, 50), "a3", "a7", "none")
	before := f.write(t, docs("a", 10, 20)) // replaces ten
	require.EqualValues(t, 148, before.Docs())
	require.Len(t, before.Segments, 3)
	require.Len(t, f.search(t, before, "*"), 148)

	outputs := f.merge(t, before.Segments)
	f.write(t, nil, "b1", "a10", "a50") // arrives during the merge
	after, err := f.shard.Commit(t.Context(), func(cur Manifest) (Manifest, error) {
		return Commit(cur, Change{Writer: Writer{Task: "m1", AllocationID: 7}, Inputs: before.Segments, Outputs: outputs})
	})
	require.NoError(t, err)
	require.Len(t, after.Segments, 1)
	require.EqualValues(t, 145, after.Docs())

	want := f.contents(t, before)
	delete(want, "b1")
	delete(want, "a10")
	delete(want, "a50")
	require.Equal(t, want, f.contents(t, after))
	require.Len(t, f.search(t, after, "*"), 145)
	require.NotContains(t, f.search(t, after, "title:alpha"), "a10")
	require.Contains(t, f.search(t, after, "+n:>11 +n:<13"), "a12")
}
