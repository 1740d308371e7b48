package remotestore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
)

// Filesystem is a store in a folder. Writes are synced to the disk before they return. Several processes may use one
// folder, also over a network file system whose link(2) and rename(2) are atomic (NFS and most others; SelfTest tells).
//
// Nothing outside the folder can be reached by a key, not even through symbolic links.
type Filesystem struct {
	root *os.Root
}

// NewFilesystem opens the folder dir and makes it if it is missing.
func NewFilesystem(dir string) (*Filesystem, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open store in %s: %w", dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open store in %s: %w", dir, err)
	}
	return &Filesystem{root}, nil
}

// Close lets go of the folder. No method may be called after it.
func (s *Filesystem) Close() error { return s.root.Close() }

// PutFile implements [Store].
func (s *Filesystem) PutFile(ctx context.Context, key, local string) error {
	if err := check(ctx, "put", key); err != nil {
		return err
	}
	in, err := os.Open(local)
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	defer in.Close()
	return s.replace(ctx, key, in)
}

// GetFile implements [Store].
func (s *Filesystem) GetFile(ctx context.Context, key, local string) error {
	in, _, err := s.open(ctx, key)
	if err != nil {
		return err
	}
	defer in.Close()
	err = writeLocal(local, func(f *os.File) error {
		_, err := io.Copy(f, meteredReader{ctx, in, countRead})
		return err
	})
	if err != nil {
		return fmt.Errorf("get %s: %w", key, err)
	}
	return nil
}

// Get implements [Store].
func (s *Filesystem) Get(ctx context.Context, key string, r Range) ([]byte, error) {
	in, size, err := s.open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	offset, n := r.clip(size)
	if n > MaxGetBytes {
		return nil, fmt.Errorf("get %s: %w: %d bytes", key, ErrTooLarge, n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(in, offset, n), body); err != nil && n > 0 {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	countRead(ctx, n)
	return body, nil
}

// Put implements [Store].
func (s *Filesystem) Put(ctx context.Context, key string, body []byte) error {
	if err := checkBody(ctx, "put", key, body); err != nil {
		return err
	}
	return s.replace(ctx, key, bytes.NewReader(body))
}

// Create implements [Store]. The object is linked to its name when it is complete: link(2) fails when the name is
// taken, in all processes alike.
func (s *Filesystem) Create(ctx context.Context, key string, body []byte) error {
	if err := checkBody(ctx, "create", key, body); err != nil {
		return err
	}
	temp, err := s.writeTemp(ctx, key, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("create %s: %w", key, err)
	}
	defer func() { _ = s.root.Remove(temp) }() // a leftover is hidden and swept
	err = s.root.Link(temp, key)
	if errors.Is(err, fs.ErrExist) {
		return s.resolve(ctx, key, body)
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", key, err)
	}
	if err := s.syncDir(path.Dir(key)); err != nil { // the name is there but may not outlive a power cut
		return fmt.Errorf("create %s: %w: %w", key, ErrUnknown, err)
	}
	return nil
}

// Delete implements [Store].
func (s *Filesystem) Delete(ctx context.Context, key string) error {
	if err := check(ctx, "delete", key); err != nil {
		return err
	}
	if err := s.root.Remove(key); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

func (s *Filesystem) open(ctx context.Context, key string) (*os.File, int64, error) {
	if err := check(ctx, "get", key); err != nil {
		return nil, 0, err
	}
	f, err := s.root.Open(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("get %s: %w", key, ErrNotFound)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("get %s: %w", key, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("get %s: %w", key, ErrNotFound) // a folder: keys below it exist
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

func (s *Filesystem) replace(ctx context.Context, key string, body io.Reader) error {
	temp, err := s.writeTemp(ctx, key, body)
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	if err := s.root.Rename(temp, key); err != nil {
		return fmt.Errorf("put %s: %w", key, errors.Join(err, s.root.Remove(temp)))
	}
	if err := s.syncDir(path.Dir(key)); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

// resolve tells whether the object that is in the way is ours.
func (s *Filesystem) resolve(ctx context.Context, key string, body []byte) error {
	held, err := s.Get(ctx, key, Range{Bytes: int64(len(body)) + 1})
	if err == nil && bytes.Equal(held, body) {
		return nil
	}
	return fmt.Errorf("create %s: %w", key, ErrExists)
}

// tempPrefix marks files that are not objects: no part of a key starts with a dot.
const tempPrefix = ".tmp-"

// writeTemp makes a complete and synced file beside where key will be, and returns its name.
func (s *Filesystem) writeTemp(ctx context.Context, key string, body io.Reader) (string, error) {
	dir := path.Dir(key)
	if err := s.makeDir(dir); err != nil {
		return "", err
	}
	name := path.Join(dir, tempPrefix+rand.Text())
	f, err := s.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, meteredReader{ctx, body, countWritten})
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, s.root.Remove(name))
	}
	return name, nil
}

// makeDir makes a folder that outlives a power cut: each parent is synced after its child was made.
func (s *Filesystem) makeDir(dir string) error {
	if _, err := s.root.Stat(dir); err == nil {
		return nil
	}
	if err := s.root.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for dir != "." {
		dir = path.Dir(dir)
		if err := s.syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func (s *Filesystem) syncDir(dir string) error {
	d, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
