package remotestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
	"time"
)

// List implements [Store]. It reads one folder at a time and skips those that cannot hold an answer. Objects that
// come or go meanwhile may be in it or not.
func (s *Filesystem) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		if err := checkPrefix(prefix); err != nil {
			yield(Object{}, err)
			return
		}
		l := lister{s, prefix, after, yield}
		dir, _ := path.Split(prefix) // nothing outside the prefix's own folder can match
		if err := l.walk(ctx, dir); err != nil && !errors.Is(err, errStop) {
			yield(Object{}, fmt.Errorf("list %q: %w", prefix, err))
		}
	}
}

var errStop = errors.New("the caller has seen enough")

type lister struct {
	store         *Filesystem
	prefix, after string
	yield         func(Object, error) bool
}

// walk visits the folder dir, which is empty or ends with a slash.
func (l lister) walk(ctx context.Context, dir string) error {
	names, err := l.names(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		key := dir + name
		switch {
		case strings.HasSuffix(key, "/"):
			err = l.folder(ctx, key)
		case strings.HasPrefix(key, l.prefix) && key > l.after:
			err = l.file(key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// names returns what is in a folder in the order of the keys below it: a folder "a" counts as "a/", which comes after
// a file "a-b".
func (l lister) names(dir string) ([]string, error) {
	d, err := l.store.root.Open(path.Clean("./" + dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries, err := d.ReadDir(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case e.IsDir():
			names = append(names, e.Name()+"/")
		case e.Type().IsRegular():
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

func (l lister) folder(ctx context.Context, dir string) error {
	if !strings.HasPrefix(dir, l.prefix) && !strings.HasPrefix(l.prefix, dir) {
		return nil
	}
	if dir < l.after && !strings.HasPrefix(l.after, dir) { // all keys in it come before the one named
		return nil
	}
	return l.walk(ctx, dir)
}

func (l lister) file(key string) error {
	info, err := l.store.root.Lstat(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !l.yield(Object{key, info.Size(), info.ModTime()}, nil) {
		return errStop
	}
	return nil
}

// Unfinished implements [Sweeper]: temporary files of writers that have not ended, or crashed.
func (s *Filesystem) Unfinished(ctx context.Context) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		err := fs.WalkDir(s.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err := errors.Join(err, ctx.Err()); err != nil {
				return err
			}
			if !strings.HasPrefix(d.Name(), tempPrefix) {
				return nil
			}
			info, err := s.root.Lstat(name)
			if err != nil {
				return nil //nolint:nilerr // gone: its writer is done
			}
			if !yield(Object{name, info.Size(), info.ModTime()}, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(Object{}, fmt.Errorf("list temporary files: %w", err))
		}
	}
}

// Sweep implements [Sweeper]: it removes the temporary files of writers that began more than age ago.
func (s *Filesystem) Sweep(ctx context.Context, age time.Duration) (removed int, err error) {
	for o, err := range s.Unfinished(ctx) {
		if err != nil {
			return removed, err
		}
		if time.Since(o.Modified) < age {
			continue
		}
		if err := s.root.Remove(o.Key); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, fmt.Errorf("sweep temporary files: %w", err)
		}
		removed++
	}
	return removed, nil
}
