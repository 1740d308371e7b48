package shard

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestScratchIsSweptWhenItsOwnerIsGone(t *testing.T) {
	t.Parallel()
	parent := filepath.Join(t.TempDir(), "scratch")
	removed, err := SweepScratch(parent)
	require.NoError(t, err)
	require.Zero(t, removed)

	alive, err := NewScratch(parent)
	require.NoError(t, err)
	dead, err := NewScratch(parent)
	require.NoError(t, err)
	require.NoError(t, dead.lock.Close()) // as the system does when a process dies
	require.NoError(t, os.WriteFile(dead.Path("half"), []byte("x"), 0o600))
	others := filepath.Join(parent, "others")
	require.NoError(t, os.Mkdir(others, 0o700))
	fresh, old := filepath.Join(parent, scratchPrefix+"fresh"), filepath.Join(parent, scratchPrefix+"old")
	require.NoError(t, os.Mkdir(fresh, 0o700))
	require.NoError(t, os.Mkdir(old, 0o700))
	require.NoError(t, os.Chtimes(old, time.Time{}, time.Now().Add(-2*scratchGrace)))

	removed, err = SweepScratch(parent)
	require.NoError(t, err)
	require.Equal(t, 2, removed)
	require.NoDirExists(t, dead.dir)
	require.NoDirExists(t, old)
	require.DirExists(t, alive.dir)
	require.DirExists(t, fresh, "its owner is about to lock it")
	require.DirExists(t, others, "it is none of ours")

	require.NoError(t, alive.Close())
	require.NoDirExists(t, alive.dir)
}
