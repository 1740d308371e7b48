package shard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBuildKeepsSourceAndOrder(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	in := []Document{
		{"b", json.RawMessage(`{ "title" : "spaces  stay", "n": 12345678901234567890, "nested": {"a": [1, "x", null]} }`)},
		{"a", json.RawMessage(`{}`)},
		{"ä/ö", json.RawMessage(`{"title":"first"}`)},
		{"b2", json.RawMessage(`{"title":"\u00e4"}`)},
		{"ä/ö", json.RawMessage(`{"title":"last"}`)},
	}
	seg := f.build(t, in...)
	require.EqualValues(t, 4, seg.Docs)
	f.read(t, seg, func(r *Reader) {
		for i, want := range []Document{in[0], in[1], in[3], in[4]} {
			got, err := r.Document(uint32(i))
			require.NoError(t, err)
			require.Equal(t, want.ID, got.ID)
			require.Equal(t, string(want.Source), string(got.Source))
		}
		_, err := r.Document(4)
		require.Error(t, err)
		found, err := r.Find([]string{"ä/ö", "none", "b", "zzz", ""})
		require.NoError(t, err)
		require.True(t, NewDocSet(0, 3).Equal(found))
	})
}

func TestDefaultMappingKeepsSegmentsSmall(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	size := func(mapping string) int64 {
		m, err := ParseMapping([]byte(mapping))
		require.NoError(t, err)
		seg, err := BuildSegment(t.Context(), filepath.Join(f.dir, "sized"), m, docs("a", 0, 500))
		require.NoError(t, err)
		return seg.Bytes
	}
	lean, fat := size(string(DefaultMapping())), size(`{}`)
	require.Less(t, 2*lean, fat)
	f.write(t, docs("a", 0, 10))
	m := f.write(t, docs("b", 0, 10))
	require.NotEmpty(t, f.search(t, m, "title:beta"))
	require.NotEmpty(t, f.search(t, m, `+n:>=3 +at:>="2026-01-01T00:00:00Z"`))
	require.Empty(t, f.search(t, m, "beta"), "there is no _all field")
}

func TestBuildRefusesBadDocuments(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, d := range map[string]Document{
		"no ID":             {"", json.RawMessage(`{}`)},
		"a long ID":         {strings.Repeat("x", MaxIDBytes+1), json.RawMessage(`{}`)},
		"cut JSON":          {"cut", json.RawMessage(`{"a":`)},
		"no JSON":           {"none", nil},
		"null":              {"null", json.RawMessage(`null`)},
		"a list":            {"list", json.RawMessage(`[1]`)},
		"two objects":       {"two", json.RawMessage(`{}{}`)},
		"a field of ours":   {"ours", json.RawMessage(`{"_source":1}`)},
		"another of ours":   {"ours", json.RawMessage(`{"_id":1}`)},
		"a bottomless hole": {"deep", json.RawMessage(strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000))},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(f.dir, "bad")
			require.ErrorIs(t, f.mapping.Check(d), ErrDocument)
			_, err := BuildSegment(t.Context(), path, f.mapping, append(docs("a", 0, 100), d))
			require.ErrorIs(t, err, ErrDocument)
			require.NoFileExists(t, path)
		})
	}
	_, err := BuildSegment(t.Context(), filepath.Join(f.dir, "none"), f.mapping, nil)
	require.Error(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = BuildSegment(ctx, filepath.Join(f.dir, "none"), f.mapping, docs("a", 0, 10))
	require.ErrorIs(t, err, context.Canceled)
}

func TestBuildRefusesNestedMappings(t *testing.T) {
	t.Parallel()
	m, err := ParseMapping([]byte(`{"default_mapping":{"enabled":true,"dynamic":true,"properties":{"parts":{"enabled":true,"dynamic":true,"nested":true}}}}`))
	require.NoError(t, err)
	d := Document{"a", json.RawMessage(`{"parts":[{"x":1},{"x":2}]}`)}
	_, err = BuildSegment(t.Context(), filepath.Join(t.TempDir(), "nested"), m, []Document{d})
	require.ErrorContains(t, err, "nested mappings are not supported")
}

// TestDiskFull runs each local write on a file system that is full.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	full := filepath.Join(t.TempDir(), "full")
	require.NoError(t, os.Mkdir(full, 0o700))
	if err := syscall.Mount("tmpfs", full, "tmpfs", 0, "size=256k"); errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Skip("mounting a small file system needs privileges")
	} else {
		require.NoError(t, err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(full, syscall.MNT_DETACH)) })
	f := newFixture(t)
	segs := []Segment{f.build(t, docs("a", 0, 9000)...), f.build(t, docs("b", 0, 9000)...)}
	require.Greater(t, segs[0].Bytes, int64(300<<10))
	left := func() []string {
		names, err := filepath.Glob(full + "/*")
		require.NoError(t, err)
		return names
	}

	_, err := BuildSegment(t.Context(), filepath.Join(full, "built"), f.mapping, docs("a", 0, 9000))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Empty(t, left())

	require.ErrorIs(t, f.shard.Download(t.Context(), segs[0], filepath.Join(full, "download")), syscall.ENOSPC)
	require.Empty(t, left())

	var inputs []MergeInput
	files, err := f.cache.GetAll(t.Context(), f.shard, segs)
	require.NoError(t, err)
	defer closeFiles(files)
	for i, seg := range segs {
		inputs = append(inputs, MergeInput{files[i].Path, seg})
	}
	_, err = MergeSegments(t.Context(), inputs, filepath.Join(full, "merged"), nil)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Empty(t, left())

	c := openCache(t, filepath.Join(full, "cache"), 1<<30)
	_, err = c.Get(t.Context(), f.shard, segs[0])
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Zero(t, c.Bytes(), "a failed download takes no room")
	require.Empty(t, fmt.Sprint(readDir(t, filepath.Join(full, "cache", filesDir))...))
}

func readDir(t *testing.T, dir string) (names []any) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
