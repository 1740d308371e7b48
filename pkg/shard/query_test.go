package shard

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAQueryFindsTheDocumentsOfASegment(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var all []Document
	for i := range 2000 {
		all = append(all, Document{ID: fmt.Sprint("d", i), Source: fmt.Appendf(nil, `{"kind":"k%d","n":%d}`, i%4, i)})
	}
	m := f.write(t, all)
	m = f.write(t, nil, "d1", "d2", "d5", m.Shard)
	seg := m.Segments[0]
	file, err := f.cache.Get(t.Context(), f.shard, seg)
	require.NoError(t, err)
	defer file.Close()
	for query, want := range map[string]int{"kind:k1": 498, "+kind:k2 +n:<10": 1, "kind:k9": 0, "kind:*": 1997, "-kind:k1": 1499} {
		require.NoError(t, CheckQuery(query))
		docs, err := MatchSegment(t.Context(), file.Path, seg, m.Mapping, query)
		require.NoError(t, err, query)
		require.EqualValues(t, want, docs.Count(), query)
		r, err := OpenSegment(file.Path, seg)
		require.NoError(t, err)
		for n := range docs.All() {
			require.False(t, seg.Deleted.Contains(n), query)
			d, err := r.Document(n)
			require.NoError(t, err)
			id, err := r.ID(n)
			require.NoError(t, err)
			require.Equal(t, d.ID, id)
			if query == "kind:k1" {
				require.Contains(t, string(d.Source), `"k1"`)
			}
		}
		_, err = r.ID(2000)
		require.Error(t, err)
		require.NoError(t, r.Close())
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file.Path), "match-*"))
	require.NoError(t, err)
	require.Empty(t, left)

	require.Error(t, CheckQuery(`kind:"open`))
	_, err = MatchSegment(t.Context(), file.Path, seg, m.Mapping, `n:>`)
	require.Error(t, err)
	seg.Version--
	_, err = MatchSegment(t.Context(), file.Path, seg, m.Mapping, `*`)
	require.ErrorIs(t, err, ErrFormat)
	_, err = os.Stat(file.Path)
	require.NoError(t, err)
}
