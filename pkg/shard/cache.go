package shard

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Cache keeps segment files on the local disk, for all shards and users of one process. A file is downloaded once,
// however many ask for it at the same time, and its hash is compared before its first use in this process, also when it
// was there before. The folder belongs to the cache: what earlier processes left half done is removed.
//
// A Cache is safe for concurrent use.
type Cache struct {
	dir      string
	maxBytes int64
	lock     *bolt.DB

	mu      sync.Mutex
	entries map[BlobName]*entry
	idle    *list.List // entries that nobody holds, the one used last in front
	bytes   int64      // of all entries that are on the disk
}

// entry is one file. It is in idle exactly when it is complete and holders is 0.
type entry struct {
	name    BlobName
	bytes   int64
	holders int
	ready   chan struct{} // closed when the download is over
	err     error         // valid once ready is closed
	element *list.Element
}

const (
	filesDir   = "blob"
	indexesDir = "open"
	cacheLock  = "lock"

	// lockTimeout is how long OpenCache waits for another process to let go of the folder.
	lockTimeout = 2 * time.Second
)

// OpenCache takes a folder, which it makes if it is missing. maxBytes bounds the files that nobody holds; what is held
// may exceed it. A folder that another process uses is refused.
func OpenCache(dir string, maxBytes int64) (*Cache, error) {
	c := &Cache{dir: dir, maxBytes: maxBytes, entries: make(map[BlobName]*entry), idle: list.New()}
	if err := c.open(); err != nil {
		return nil, fmt.Errorf("open segment cache %s: %w", dir, err)
	}
	return c, nil
}

func (c *Cache) open() error {
	if err := os.MkdirAll(filepath.Join(c.dir, filesDir), 0o700); err != nil {
		return err
	}
	lock, err := lockFile(filepath.Join(c.dir, cacheLock), lockTimeout)
	if errors.Is(err, bolterrors.ErrTimeout) {
		return errors.New("another process uses it")
	}
	if err != nil {
		return err
	}
	c.lock = lock
	err = errors.Join(os.RemoveAll(filepath.Join(c.dir, indexesDir)), os.Mkdir(filepath.Join(c.dir, indexesDir), 0o700), c.removeStrays())
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	return nil
}

// removeStrays removes half downloads, and old files beyond the bound.
func (c *Cache) removeStrays() error {
	files, err := os.ReadDir(filepath.Join(c.dir, filesDir))
	if err != nil {
		return err
	}
	for _, f := range files {
		name := BlobName(f.Name())
		info, err := f.Info()
		if err != nil {
			return err
		}
		if name.Check() != nil || c.bytes+info.Size() > c.maxBytes {
			if err := os.RemoveAll(c.path(name)); err != nil {
				return err
			}
			continue
		}
		// Not hashed yet: the first who asks for it does that.
		e := &entry{name: name, bytes: info.Size()}
		e.element = c.idle.PushBack(e)
		c.entries[name] = e
		c.bytes += e.bytes
	}
	return nil
}

// Close lets go of the folder. Whatever was got from the cache must be closed before.
func (c *Cache) Close() error { return c.lock.Close() }

// File is a segment file that stays on the disk until it is closed.
type File struct {
	Path    string
	release func()
}

// Close lets the cache remove the file when it needs room. It may be called more than once.
func (f *File) Close() { f.release() }

// Get returns the file of a segment, and downloads it if it is not there. Callers that wait for a download of another
// go on with their own if that one fails.
func (c *Cache) Get(ctx context.Context, s *Shard, seg Segment) (*File, error) {
	if err := seg.Blob.Check(); err != nil {
		return nil, err
	}
	for {
		e, mine := c.hold(seg)
		if mine {
			c.finish(e, c.fill(ctx, s, seg))
		}
		select {
		case <-ctx.Done():
			c.drop(e)
			return nil, context.Cause(ctx)
		case <-e.ready:
		}
		if e.err == nil {
			return &File{c.path(seg.Blob), sync.OnceFunc(func() { c.drop(e) })}, nil
		}
		err := e.err
		c.drop(e)
		if mine || ctx.Err() != nil || !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
	}
}

// Adopt moves a local file into the cache, under the name of the segment whose file it is. It saves the download of
// what was just uploaded.
func (c *Cache) Adopt(seg Segment, path string) error {
	if err := seg.Blob.Check(); err != nil {
		return err
	}
	e, mine := c.hold(seg)
	defer c.drop(e)
	if !mine {
		return removeFile(path)
	}
	err := verifyFile(path, seg)
	if err == nil {
		err = os.Rename(path, c.path(seg.Blob))
	}
	c.finish(e, err)
	if err != nil {
		return fmt.Errorf("adopt segment file: %w", err)
	}
	return nil
}

// Remove deletes the file of a blob if nobody holds it. It is no error if there is none.
func (c *Cache) Remove(name BlobName) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[name]
	if !ok || e.element == nil {
		return nil
	}
	return c.evict(e)
}

// Bytes returns the size of all files in the cache.
func (c *Cache) Bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// hold returns the entry of a blob, held once more; mine says that the caller must fill it.
func (c *Cache) hold(seg Segment) (e *entry, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[seg.Blob]
	if !ok {
		e = &entry{name: seg.Blob, bytes: seg.Bytes}
		c.entries[seg.Blob] = e
		c.bytes += e.bytes
	}
	if e.element != nil {
		c.idle.Remove(e.element)
		e.element = nil
	}
	e.holders++
	if e.ready == nil {
		e.ready = make(chan struct{})
		mine = true
	}
	return e, mine
}

// finish ends the filling of an entry. One that failed is forgotten, so that the next caller tries anew.
func (c *Cache) finish(e *entry, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.err = err
	close(e.ready)
	if err != nil {
		delete(c.entries, e.name)
		c.bytes -= e.bytes
	}
}

// drop gives an entry back, and makes room if the cache is too large.
func (c *Cache) drop(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.holders--; e.holders > 0 || c.entries[e.name] != e {
		return
	}
	e.element = c.idle.PushFront(e)
	for c.bytes > c.maxBytes && c.idle.Len() > 0 {
		if c.evict(c.idle.Back().Value.(*entry)) != nil {
			return // it is tried again with the next one
		}
	}
}

// evict removes an entry that nobody holds.
func (c *Cache) evict(e *entry) error {
	if err := removeFile(c.path(e.name)); err != nil {
		return err
	}
	c.idle.Remove(e.element)
	delete(c.entries, e.name)
	c.bytes -= e.bytes
	return nil
}

// fill makes sure that the file is there and right.
func (c *Cache) fill(ctx context.Context, s *Shard, seg Segment) error {
	path := c.path(seg.Blob)
	if verifyFile(path, seg) == nil {
		return nil
	}
	if err := removeFile(path); err != nil {
		return err
	}
	half := path + ".half"
	if err := s.Download(ctx, seg, half); err != nil {
		return err
	}
	return os.Rename(half, path)
}

func (c *Cache) path(name BlobName) string { return filepath.Join(c.dir, filesDir, string(name)) }
