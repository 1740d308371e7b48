package shard

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAHoldChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	before := f.write(t, docs("a", 0, 5))
	var held Manifest
	for range 2 {
		var err error
		held, err = f.shard.Commit(t.Context(), func(cur Manifest) (Manifest, error) {
			return Hold(cur, Writer{Node: "n1", Task: "reindex-7", AllocationID: 3, At: time.Now()}), nil
		})
		require.NoError(t, err, "it may be repeated")
	}
	require.Equal(t, before.Generation+2, held.Generation)
	require.Equal(t, before.Segments, held.Segments)
	require.Empty(t, held.Applied)
	task, ok := HeldFor(held)
	require.True(t, ok)
	require.Equal(t, "reindex-7", task)
	_, ok = HeldFor(before)
	require.False(t, ok)

	m, err := f.shard.Commit(t.Context(), func(cur Manifest) (Manifest, error) {
		return Commit(cur, Change{Writer: Writer{Task: task, AllocationID: 3}})
	})
	require.NoError(t, err, "the task itself is not applied by it")
	require.Len(t, m.Applied, 1)
}

func TestWhatIsApartIsNoShard(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s, err := OpenApart(f.store, "_build/7")
	require.NoError(t, err)
	_, err = s.Create(t.Context(), Settings{})
	require.NoError(t, err)
	m, err := s.Newest(t.Context())
	require.NoError(t, err)
	require.Equal(t, "_build/7", m.Shard)
	for name, err := range Names(t.Context(), f.store, "") {
		require.NoError(t, err)
		require.NotContains(t, name, "_build")
	}
	_, err = Open(f.store, "_build/7")
	require.Error(t, err)
	for _, bad := range []string{"books", "_build/blob", "_/../x"} {
		_, err = OpenApart(f.store, bad)
		require.Error(t, err, bad)
	}
}

func TestReservedBy(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	blob := f.write(t, docs("a", 0, 5)).Segments[0].Blob
	by, err := f.shard.ReservedBy(t.Context(), blob)
	require.NoError(t, err)
	require.Empty(t, by)
	require.NoError(t, f.shard.Reserve(t.Context(), blob, "reindex-7"))
	by, err = f.shard.ReservedBy(t.Context(), blob)
	require.NoError(t, err)
	require.Equal(t, "reindex-7", by)
	_, err = f.shard.ReservedBy(t.Context(), "x")
	require.Error(t, err)
}
