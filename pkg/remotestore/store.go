package remotestore

import (
	"context"
	"errors"
	"iter"
	"time"
)

var (
	// ErrExists is returned by Create when the key holds an object with another body.
	ErrExists = errors.New("object exists")

	// ErrNotFound is returned by reads of a key that holds no object.
	ErrNotFound = errors.New("object not found")

	// ErrUnknown is returned by Create when the request may or may not have been applied, now or later. Asking again
	// with the same body is safe and finds out.
	ErrUnknown = errors.New("outcome unknown")

	// ErrTooLarge is returned by Get when more than MaxGetBytes were to be held in memory.
	ErrTooLarge = errors.New("object too large to be read into memory")

	// ErrKey is returned for a key that breaks the rules of the package documentation.
	ErrKey = errors.New("bad object key")
)

// MaxGetBytes bounds what one Get returns and what Put and Create take; larger objects travel as files.
const MaxGetBytes = 128 << 20

// Store is an object store. All methods are safe for concurrent use, and those that take a context return soon after
// it has ended. Local errors keep their cause: errors.Is(err, syscall.ENOSPC) tells a full disk.
type Store interface {
	// PutFile uploads the local file at path, replacing what the key held. It is safe to repeat.
	PutFile(ctx context.Context, key, path string) error

	// GetFile downloads an object into a new or truncated local file at path, and removes the file when it fails.
	// It checks that all bytes came, not what they are: the caller compares a hash.
	GetFile(ctx context.Context, key, path string) error

	// Get returns an object or a range of it.
	Get(ctx context.Context, key string, r Range) ([]byte, error)

	// Put writes a small object, replacing what the key held. It is safe to repeat. Of two Puts that race, either may
	// stay.
	Put(ctx context.Context, key string, body []byte) error

	// Create writes an object only if the key is free, and returns ErrExists if it is not. When the answer of the
	// store is lost, Create reads back and compares: the object counts as ours if its body equals ours. So a body
	// must hold something unique to this caller, such as a nonce, or two callers may both believe that they won.
	Create(ctx context.Context, key string, body []byte) error

	// List yields the objects whose key starts with prefix and is greater than after, in byte order of the keys. It
	// stops at the first error.
	List(ctx context.Context, prefix, after string) iter.Seq2[Object, error]

	// Delete removes an object. It is no error if there is none.
	Delete(ctx context.Context, key string) error
}

// Sweeper is a store in which writers that crash leave something behind that no listing shows: S3 and Filesystem.
type Sweeper interface {
	// Unfinished yields what writers have begun and not ended, also those that are at it now. Modified is when they
	// began, and a key may come more than once.
	Unfinished(ctx context.Context) iter.Seq2[Object, error]

	// Sweep removes what was begun more than age ago and returns how many there were. It never touches an object. It
	// breaks the uploads of writers that are older: age is to be longer than any upload takes.
	Sweep(ctx context.Context, age time.Duration) (removed int, err error)
}

var _, _ Sweeper = (*S3)(nil), (*Filesystem)(nil)

// Object is what a listing tells about an object.
type Object struct {
	Key      string
	Bytes    int64
	Modified time.Time // by the store's clock
}

// Range names a part of an object; the zero value is all of it.
type Range struct {
	Offset int64
	Bytes  int64 // 0 means up to the end
}

// All is the range of a whole object.
var All = Range{}

// clip returns the part of r that lies inside an object of the given size.
func (r Range) clip(size int64) (offset, n int64) {
	offset = min(max(r.Offset, 0), size)
	n = size - offset
	if r.Bytes > 0 {
		n = min(n, r.Bytes)
	}
	return offset, n
}
