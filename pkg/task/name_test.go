package task_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func TestIDs(t *testing.T) {
	for _, id := range []string{
		"a", "A-1", "snap-7/3/1", "a.b_c:d-e", "-", "...", task.NewID(), strings.Repeat("x", task.MaxIDBytes),
	} {
		require.NoError(t, task.ValidateID(id), id)
	}
	for _, id := range []string{
		"", "/", "a/", "/a", "a//b", "a b", "ä", "a\x00", "a\n", "{a}", "a*", ".", "..", "a/..", "../a", "a/./b",
		strings.Repeat("x", task.MaxIDBytes+1),
	} {
		require.ErrorIs(t, task.ValidateID(id), task.ErrInvalid, id)
	}
}

func TestNewIDsAreValidUniqueAndOrderedByTime(t *testing.T) {
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = task.NewID()
		require.NoError(t, task.ValidateID(ids[i]))
	}
	require.True(t, slices.IsSorted(ids))
	require.Len(t, slices.Compact(ids), 1000)
}

func TestTypes(t *testing.T) {
	for _, name := range []string{"merge", "image.resize", "a_b-c", "0", "retry", "again", "results.a", strings.Repeat("x", task.MaxTypeBytes)} {
		require.NoError(t, task.ValidateType(name), name)
	}
	for _, name := range []string{
		"", "A", "a/b", "a b", "ä", ".a", "_a", "-a", "a:b", "results", "settings", "dead-letter", "retry.5s", "merge.again",
		strings.Repeat("x", task.MaxTypeBytes+1),
	} {
		require.ErrorIs(t, task.ValidateType(name), task.ErrInvalid, name)
	}
}

func TestRootAndParent(t *testing.T) {
	for id, want := range map[string][2]string{
		"a": {"a", ""}, "a/b": {"a", "a"}, "a/b/c": {"a", "a/b"},
	} {
		require.Equal(t, want[0], task.Root(id))
		require.Equal(t, want[1], task.Parent(id))
	}
}

func TestEveryAncestorOfAValidIDIsValidAndHasTheSameRoot(t *testing.T) {
	part := rapid.StringMatching(`[a-zA-Z0-9._:-]{1,8}`).Filter(func(s string) bool { return s != "." && s != ".." })
	rapid.Check(t, func(t *rapid.T) {
		id := strings.Join(rapid.SliceOfN(part, 1, 6).Draw(t, "parts"), "/")
		require.NoError(t, task.ValidateID(id))
		root := task.Root(id)
		for parent := task.Parent(id); parent != ""; parent = task.Parent(parent) {
			require.NoError(t, task.ValidateID(parent))
			require.Equal(t, root, task.Root(parent))
			require.True(t, strings.HasPrefix(id, parent+"/"))
		}
	})
}
