package remotestore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// testContract is what every backend must pass. open returns an empty store.
func testContract(t *testing.T, open func(t *testing.T) Store) {
	t.Helper()

	t.Run("an object that is put is read back, whole and in part", func(t *testing.T) {
		store := open(t)
		require.NoError(t, store.Put(t.Context(), "a/b/c", []byte("0123456789")))
		require.Equal(t, "0123456789", get(t, store, "a/b/c", All))
		require.Equal(t, "345", get(t, store, "a/b/c", Range{3, 3}))
		require.Equal(t, "6789", get(t, store, "a/b/c", Range{6, 0}))
		require.Equal(t, "89", get(t, store, "a/b/c", Range{8, 100}))
		require.Empty(t, get(t, store, "a/b/c", Range{10, 5}))
		require.NoError(t, store.Put(t.Context(), "a/b/c", nil))
		require.Empty(t, get(t, store, "a/b/c", All))
	})

	t.Run("what is not there is not found, and may be deleted", func(t *testing.T) {
		store := open(t)
		_, err := store.Get(t.Context(), "none/such", All)
		require.ErrorIs(t, err, ErrNotFound)
		local := filepath.Join(t.TempDir(), "local")
		require.ErrorIs(t, store.GetFile(t.Context(), "none/such", local), ErrNotFound)
		require.NoFileExists(t, local)
		require.NoError(t, store.Delete(t.Context(), "none/such"))
	})

	t.Run("files of every size pass unchanged", func(t *testing.T) {
		for _, size := range []int{0, 1, partBytes, partBytes + 1, 2*partBytes + 77, 5*partBytes + 1} {
			store, dir := open(t), t.TempDir()
			body := make([]byte, size)
			_, _ = rand.Read(body)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "in"), body, 0o600))
			require.NoError(t, store.PutFile(t.Context(), "big", filepath.Join(dir, "in")))
			require.NoError(t, store.GetFile(t.Context(), "big", filepath.Join(dir, "out")))
			got, err := os.ReadFile(filepath.Join(dir, "out"))
			require.NoError(t, err)
			require.True(t, bytes.Equal(body, got), "size %d", size)
		}
	})

	t.Run("a create that lost says so and changes nothing", func(t *testing.T) {
		store := open(t)
		require.NoError(t, store.Create(t.Context(), "k", []byte("mine")))
		require.ErrorIs(t, store.Create(t.Context(), "k", []byte("yours")), ErrExists)
		require.Equal(t, "mine", get(t, store, "k", All))
		require.ErrorIs(t, store.Create(t.Context(), "k", []byte("mine and more")), ErrExists)
		require.ErrorIs(t, store.Create(t.Context(), "k", nil), ErrExists)
	})

	t.Run("a create that is repeated with its own body has won", func(t *testing.T) {
		store := open(t)
		for range 3 {
			require.NoError(t, store.Create(t.Context(), "k", []byte("nonce")))
		}
	})

	t.Run("of writers that race exactly one wins", func(t *testing.T) {
		store := open(t)
		for round := range 20 {
			raceCreate(t, store, fmt.Sprint("race/", round), 16)
		}
		raceCreate(t, store, "race/large", partBytes+1)
	})

	t.Run("a listing is in byte order, starts after a key and keeps to its prefix", func(t *testing.T) {
		store := open(t)
		for _, key := range []string{"a/b/2", "a/b/10", "a/b-c", "a/b/1/x", "a/c", "a/b.d", "b", "a/b0", "aa"} {
			require.NoError(t, store.Put(t.Context(), key, []byte(key)))
		}
		require.Equal(t, []string{"a/b-c", "a/b.d", "a/b/1/x", "a/b/10", "a/b/2", "a/b0", "a/c", "aa", "b"}, list(t, store, "", ""))
		require.Equal(t, []string{"a/b/1/x", "a/b/10", "a/b/2"}, list(t, store, "a/b/", ""))
		require.Equal(t, []string{"a/b-c", "a/b.d", "a/b/1/x", "a/b/10", "a/b/2", "a/b0"}, list(t, store, "a/b", ""))
		require.Equal(t, []string{"a/b/10", "a/b/2"}, list(t, store, "a/b/", "a/b/1/x"))
		require.Equal(t, []string{"a/b0", "a/c", "aa", "b"}, list(t, store, "", "a/b/2"))
		require.Empty(t, list(t, store, "a/b/", "a/b/~"))
		require.Empty(t, list(t, store, "none/", ""))
		for o, err := range store.List(t.Context(), "a/b/10", "") {
			require.NoError(t, err)
			require.EqualValues(t, 6, o.Bytes)
			require.False(t, o.Modified.IsZero())
		}
	})

	t.Run("folders are listed without what is in them", func(t *testing.T) {
		store := open(t)
		for _, key := range []string{"a/b/2", "a/b/10", "a/b-c", "a/c/1/x", "a/b.d/1", "b", "a/b0/x", "aa/x"} {
			require.NoError(t, store.Put(t.Context(), key, []byte(key)))
		}
		for _, s := range []Store{store, struct{ Store }{store}} {
			require.Equal(t, []string{"a/", "aa/"}, folders(t, s, ""))
			require.Equal(t, []string{"a/b.d/", "a/b/", "a/b0/", "a/c/"}, folders(t, s, "a/"))
			require.Empty(t, folders(t, s, "a/b/"))
			require.Empty(t, folders(t, s, "none/"))
			for _, err := range Folders(t.Context(), s, "a") {
				require.ErrorIs(t, err, ErrKey)
			}
		}
	})

	t.Run("a listing longer than a page is whole, and may be left early", func(t *testing.T) {
		store := open(t)
		var group sync.WaitGroup
		for w := range 8 {
			group.Go(func() {
				for i := w; i < 1100; i += 8 {
					if err := store.Put(t.Context(), fmt.Sprintf("page/%05d", i), nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		require.Len(t, list(t, store, "page/", ""), 1100)
		seen := 0
		for range store.List(t.Context(), "page/", "") {
			if seen++; seen == 3 {
				break
			}
		}
		require.Equal(t, 3, seen)
	})

	t.Run("bad keys are refused by every verb", func(t *testing.T) {
		store, local := open(t), filepath.Join(t.TempDir(), "local")
		require.NoError(t, os.WriteFile(local, []byte("x"), 0o600))
		bad := []string{
			"", "/a", "a/", "a//b", "..", "../a", "a/../../b", "./a", ".tmp-x", "a\x00b", "a\\b", "a b", "ä",
			strings.Repeat("a", 201), strings.Repeat("a/", 600) + "a",
		}
		for _, key := range bad {
			require.ErrorIs(t, store.Put(t.Context(), key, nil), ErrKey, "%q", key)
			require.ErrorIs(t, store.Create(t.Context(), key, nil), ErrKey, "%q", key)
			require.ErrorIs(t, store.Delete(t.Context(), key), ErrKey, "%q", key)
			require.ErrorIs(t, store.PutFile(t.Context(), key, local), ErrKey, "%q", key)
			require.ErrorIs(t, store.GetFile(t.Context(), key, local), ErrKey, "%q", key)
			_, err := store.Get(t.Context(), key, All)
			require.ErrorIs(t, err, ErrKey, "%q", key)
		}
		for _, err := range store.List(t.Context(), "../", "") {
			require.ErrorIs(t, err, ErrKey)
		}
	})

	t.Run("a cancelled context ends every verb", func(t *testing.T) {
		store, local := open(t), filepath.Join(t.TempDir(), "local")
		require.NoError(t, os.WriteFile(local, []byte("x"), 0o600))
		require.NoError(t, store.Put(t.Context(), "k", []byte("x")))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, store.Put(ctx, "k", nil), context.Canceled)
		require.ErrorIs(t, store.Create(ctx, "new", nil), context.Canceled)
		require.ErrorIs(t, store.PutFile(ctx, "k", local), context.Canceled)
		require.ErrorIs(t, store.GetFile(ctx, "k", local), context.Canceled)
		require.ErrorIs(t, store.Delete(ctx, "k"), context.Canceled)
		_, err := store.Get(ctx, "k", All)
		require.ErrorIs(t, err, context.Canceled)
		for _, err := range store.List(ctx, "", "") {
			require.ErrorIs(t, err, context.Canceled)
		}
	})

	t.Run("a meter counts what moves, and so does the one below it", func(t *testing.T) {
		store, local := open(t), filepath.Join(t.TempDir(), "local")
		require.NoError(t, os.WriteFile(local, make([]byte, partBytes+5), 0o600))
		var outer, inner Meter
		ctx := WithMeter(t.Context(), &outer)
		require.NoError(t, store.Put(ctx, "small", make([]byte, 100)))
		ctx = WithMeter(ctx, &inner)
		require.NoError(t, store.PutFile(ctx, "large", local))
		require.NoError(t, store.GetFile(ctx, "large", local))
		_, err := store.Get(ctx, "small", Range{0, 10})
		require.NoError(t, err)
		require.EqualValues(t, partBytes+15, inner.Read())
		require.EqualValues(t, partBytes+5, inner.Written())
		require.Equal(t, inner.Moved()+100, outer.Moved())
	})

	t.Run("the self-test finds it fit and leaves nothing behind", func(t *testing.T) {
		store := open(t)
		require.NoError(t, SelfTest(t.Context(), store))
		require.Empty(t, list(t, store, "", ""))
	})
}

func raceCreate(t *testing.T, store Store, key string, size int) {
	t.Helper()
	var won atomic.Int32
	var winner atomic.Value
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			body := bytes.Repeat([]byte(rand.Text()), size/26+1)
			switch err := store.Create(t.Context(), key, body); {
			case err == nil:
				won.Add(1)
				winner.Store(body)
			case !errors.Is(err, ErrExists):
				t.Error(err)
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 1, won.Load(), key)
	require.Equal(t, string(winner.Load().([]byte)), get(t, store, key, All))
}

func get(t *testing.T, store Store, key string, r Range) string {
	t.Helper()
	body, err := store.Get(t.Context(), key, r)
	require.NoError(t, err)
	return string(body)
}

func folders(t *testing.T, store Store, prefix string) (names []string) {
	t.Helper()
	for name, err := range Folders(t.Context(), store, prefix) {
		require.NoError(t, err)
		names = append(names, name)
	}
	return names
}

func list(t *testing.T, store Store, prefix, after string) (keys []string) {
	t.Helper()
	for o, err := range store.List(t.Context(), prefix, after) {
		require.NoError(t, err)
		keys = append(keys, o.Key)
	}
	return keys
}
