package shard

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	scratchPrefix = "run-"
	scratchLock   = "lock"

	// scratchGrace is how old a folder without a lock must be to be nobody's: its owner makes the lock right after it.
	scratchGrace = time.Hour
)

// Scratch is a folder for what one run of a task needs on disk. It is locked, so that a sweep of this or another
// process tells it from one whose owner has died.
type Scratch struct {
	dir  string
	lock *bolt.DB
}

// NewScratch makes a folder inside parent, which it makes if it is missing.
func NewScratch(parent string) (*Scratch, error) {
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, fmt.Errorf("make scratch folder: %w", err)
	}
	dir, err := os.MkdirTemp(parent, scratchPrefix)
	if err != nil {
		return nil, fmt.Errorf("make scratch folder: %w", err)
	}
	lock, err := lockFile(filepath.Join(dir, scratchLock), lockTimeout)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock scratch folder: %w", err), os.RemoveAll(dir))
	}
	return &Scratch{dir, lock}, nil
}

// Path returns the path of a file in the folder.
func (s *Scratch) Path(name string) string { return filepath.Join(s.dir, name) }

// Close removes the folder with all that is in it.
func (s *Scratch) Close() error { return errors.Join(os.RemoveAll(s.dir), s.lock.Close()) }

// SweepScratch removes the scratch folders inside parent whose owners have died, and returns how many there were. It
// is safe to run while others work there.
func SweepScratch(parent string) (removed int, err error) {
	entries, err := os.ReadDir(parent)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("sweep scratch folders: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), scratchPrefix) {
			continue
		}
		swept, err := sweepOne(filepath.Join(parent, e.Name()))
		if err != nil {
			return removed, fmt.Errorf("sweep scratch folder %s: %w", e.Name(), err)
		}
		if swept {
			removed++
		}
	}
	return removed, nil
}

func sweepOne(dir string) (swept bool, err error) {
	path := filepath.Join(dir, scratchLock)
	if _, err := os.Stat(path); err != nil {
		info, err := os.Stat(dir)
		if err != nil || time.Since(info.ModTime()) < scratchGrace {
			return false, nil //nolint:nilerr // it was just made or just removed
		}
		return true, os.RemoveAll(dir)
	}
	lock, err := lockFile(path, time.Millisecond)
	if err != nil {
		return false, nil //nolint:nilerr // its owner lives, or has just removed it
	}
	return true, errors.Join(os.RemoveAll(dir), lock.Close())
}

// lockFile locks a file against other processes and other users in this one, on every system: an empty bolt file does.
func lockFile(path string, timeout time.Duration) (*bolt.DB, error) {
	return bolt.Open(path, 0o600, &bolt.Options{Timeout: timeout, NoSync: true})
}
