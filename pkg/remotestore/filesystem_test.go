package remotestore

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFilesystem(t *testing.T) {
	t.Parallel()
	testContract(t, func(t *testing.T) Store { t.Helper(); return openFilesystem(t, t.TempDir()) })
}

func TestFilesystemKeepsInside(t *testing.T) {
	t.Parallel()
	outside, dir := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "way-out")))
	store := openFilesystem(t, dir)

	_, err := store.Get(t.Context(), "way-out/secret", All)
	require.Error(t, err)
	require.Error(t, store.Put(t.Context(), "way-out/new", nil))
	require.NoFileExists(t, filepath.Join(outside, "new"))
	require.Empty(t, list(t, store, "", ""))
}

func TestFilesystemSweep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store := openFilesystem(t, dir)
	require.NoError(t, store.Put(t.Context(), "a/object", []byte("x")))
	left := filepath.Join(dir, "a", tempPrefix+"left")
	require.NoError(t, os.WriteFile(left, []byte("half"), 0o600))

	removed, err := store.Sweep(t.Context(), time.Hour)
	require.NoError(t, err)
	require.Zero(t, removed, "its writer may be alive")
	require.Equal(t, []string{"a/object"}, list(t, store, "", ""))

	require.NoError(t, os.Chtimes(left, time.Time{}, time.Now().Add(-2*time.Hour)))
	removed, err = store.Sweep(t.Context(), time.Hour)
	require.NoError(t, err)
	require.Equal(t, 1, removed)
	require.NoFileExists(t, left)
	require.Equal(t, "x", get(t, store, "a/object", All))
}

func openFilesystem(t *testing.T, dir string) *Filesystem {
	t.Helper()
	store, err := NewFilesystem(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}
