package shard

import (
	"context"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
)

// listed counts the objects that listings have yielded.
type listed struct {
	remotestore.Store
	objects int
}

func (l *listed) List(ctx context.Context, prefix, after string) iter.Seq2[remotestore.Object, error] {
	return func(yield func(remotestore.Object, error) bool) {
		for o, err := range l.Store.List(ctx, prefix, after) {
			l.objects++
			if !yield(o, err) {
				return
			}
		}
	}
}

func TestNamesFindsEveryShard(t *testing.T) {
	t.Parallel()
	folder, err := remotestore.NewFilesystem(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, folder.Close()) })
	for _, store := range []remotestore.Store{remotestore.NewMemory(), folder} {
		for _, name := range []string{"books/0", "books/10", "books", "films", "a/b/c"} {
			s, err := Open(store, name)
			require.NoError(t, err)
			_, err = s.Create(t.Context(), Settings{})
			require.NoError(t, err)
			_, err = s.Commit(t.Context(), func(cur Manifest) (Manifest, error) { return Commit(cur, Change{}) })
			require.NoError(t, err)
			require.NoError(t, store.Put(t.Context(), name+"/gc/clock", nil))
		}
		require.NoError(t, store.Put(t.Context(), "other/files/x", nil))
		require.NoError(t, store.Put(t.Context(), "_snapshot/blob/part/x", nil))
		require.NoError(t, store.Put(t.Context(), "_snapshot/blob/begun.json", nil))
		require.Equal(t, []string{"a/b/c", "books", "books/0", "books/10", "films"}, allNames(t, store, ""))
		require.Equal(t, []string{"books", "books/0", "books/10"}, allNames(t, store, "books/"))
		require.Empty(t, allNames(t, store, "none/"))
		for name := range Names(t.Context(), store, "") {
			require.Equal(t, "a/b/c", name)
			break
		}
	}
}

func TestNamesDoesNotCountGenerations(t *testing.T) {
	t.Parallel()
	store := &listed{Store: remotestore.NewMemory()}
	s, err := Open(store, "books")
	require.NoError(t, err)
	_, err = s.Create(t.Context(), Settings{})
	require.NoError(t, err)
	allNames(t, store, "")
	few := store.objects
	for range 50 {
		_, err := s.Commit(t.Context(), func(cur Manifest) (Manifest, error) { return Commit(cur, Change{}) })
		require.NoError(t, err)
	}
	store.objects = 0
	allNames(t, store, "")
	require.Equal(t, few, store.objects)
}

func allNames(t *testing.T, store remotestore.Store, prefix string) (names []string) {
	t.Helper()
	for name, err := range Names(t.Context(), store, prefix) {
		require.NoError(t, err)
		names = append(names, name)
	}
	return names
}
