package remotestore

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// ignorant accepts conditions and ignores them, as some servers do.
type ignorant struct{ Store }

func (s ignorant) Create(ctx context.Context, key string, body []byte) error {
	return s.Put(ctx, key, body)
}

// ignorantOfParts honours the condition of small objects only.
type ignorantOfParts struct{ Store }

func (s ignorantOfParts) Create(ctx context.Context, key string, body []byte) error {
	if len(body) > partBytes {
		return s.Put(ctx, key, body)
	}
	return s.Store.Create(ctx, key, body)
}

// stale answers reads from a cache that is never renewed.
type stale struct {
	Store
	seen map[string][]byte
}

func (s stale) Get(ctx context.Context, key string, r Range) ([]byte, error) {
	if body, ok := s.seen[key]; ok {
		return body, nil
	}
	body, err := s.Store.Get(ctx, key, r)
	s.seen[key] = body
	return body, err
}

type unordered struct{ Store }

func (s unordered) List(ctx context.Context, prefix, after string) iter.Seq2[Object, error] {
	var all []Object
	for o, err := range s.Store.List(ctx, prefix, after) {
		if err != nil {
			return s.Store.List(ctx, prefix, after)
		}
		all = append(all, o)
	}
	slices.Reverse(all)
	return func(yield func(Object, error) bool) {
		for _, o := range all {
			if !yield(o, nil) {
				return
			}
		}
	}
}

type away struct{ Store }

var errAway = errors.New("no route to host")

func (away) Create(context.Context, string, []byte) error { return errAway }

func TestSelfTestRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		store Store
		says  string
	}{
		"a store that ignores conditions":           {ignorant{NewMemory()}, "ignores If-None-Match"},
		"a store that ignores conditions of parts":  {ignorantOfParts{NewMemory()}, "ignores If-None-Match"},
		"a store that serves what was there before": {stale{NewMemory(), map[string][]byte{}}, "Turn off caches"},
		"a store whose listings are in any order":   {unordered{NewMemory()}, "listings are ordered"},
	} {
		t.Run(name, func(t *testing.T) {
			err := SelfTest(t.Context(), c.store)
			require.ErrorIs(t, err, ErrUnfit)
			require.ErrorContains(t, err, c.says)
			require.Empty(t, list(t, c.store, "", ""))
		})
	}
	err := SelfTest(t.Context(), away{NewMemory()})
	require.ErrorIs(t, err, errAway)
	require.NotErrorIs(t, err, ErrUnfit, "a store that is away may be fit")
}
