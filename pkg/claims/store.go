package claims

import (
	"context"
	"errors"
)

// Errors that callers branch on.
var (
	// ErrUnreachable: no server answered when the store was opened.
	ErrUnreachable = errors.New("redis is unreachable")
	// ErrEvicting: the server may evict keys, and an evicted state looks like
	// none. Set maxmemory-policy to noeviction.
	ErrEvicting = errors.New("redis may evict keys: set maxmemory-policy to noeviction")
	// ErrCold: Redis may have forgotten this task: ask again once its bucket
	// is warm.
	ErrCold = errors.New("redis may have forgotten this task")
	// ErrInvalid: an argument that no script would take; asking again cannot help.
	ErrInvalid = errors.New("invalid argument")
)

// Store is the connection to Redis. It is safe for concurrent use.
type Store struct {
	cfg Config
}

// Open connects, refuses a server that may evict keys ([ErrEvicting]), and
// loads the scripts. A server that does not answer is [ErrUnreachable].
func Open(ctx context.Context, cfg Config) (*Store, error) {
	return nil, errors.New("not yet")
}

// Close ends the connections. Calls under way fail.
func (s *Store) Close() error { return nil }

// Config is the configuration with its defaults filled in.
func (s *Store) Config() Config { return s.cfg }
