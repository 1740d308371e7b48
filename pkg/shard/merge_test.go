package shard

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blevesearch/bleve/v2"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestMergedShardAnswersAsBefore compares every kind of query before a merge, after it, and on a shard that was built
// from what is left. Scores are compared with the last one: an unmerged shard still counts the words of deleted
// documents.
func TestMergedShardAnswersAsBefore(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	random := rand.New(rand.NewPCG(1, 2))
	truth := make(map[string]Document)
	for range 6 {
		var written []Document
		for range 80 {
			d := randomDocument(random)
			written = append(written, d)
			truth[d.ID] = d
		}
		gone := fmt.Sprint("doc-", random.IntN(400))
		delete(truth, gone)
		f.write(t, lastOfEach(remove(written, gone)), gone)
	}
	before, err := f.shard.Newest(t.Context())
	require.NoError(t, err)
	outputs := f.merge(t, before.Segments)
	for i := range 40 { // arrives during the merge
		id := fmt.Sprint("doc-", i*10)
		delete(truth, id)
		f.write(t, nil, id)
	}
	late, err := f.shard.Newest(t.Context())
	require.NoError(t, err)
	after, err := f.shard.Commit(t.Context(), func(cur Manifest) (Manifest, error) {
		return Commit(cur, Change{Inputs: before.Segments, Outputs: outputs})
	})
	require.NoError(t, err)
	require.Len(t, after.Segments, 1)
	require.EqualValues(t, len(truth), after.Docs())

	again, err := f.shard.Commit(t.Context(), func(cur Manifest) (Manifest, error) { // expunges what was deleted late
		return Commit(cur, Change{Inputs: after.Segments, Outputs: f.merge(t, after.Segments)})
	})
	require.NoError(t, err)
	fresh := newFixture(t)
	var all []Document
	for _, d := range truth {
		all = append(all, d)
	}
	rebuilt := fresh.write(t, all)

	for _, q := range queries() {
		text, _ := json.Marshal(q.Query)
		want := f.answer(t, late, q, false)
		require.Equal(t, want, f.answer(t, after, q, false), "%s", text)
		require.Equal(t, want, f.answer(t, again, q, false), "%s", text)
		require.Equal(t, fresh.answer(t, rebuilt, q, true), f.answer(t, again, q, true), "%s", text)
	}
}

func remove(docs []Document, id string) (kept []Document) {
	for _, d := range docs {
		if d.ID != id {
			kept = append(kept, d)
		}
	}
	return kept
}

func randomDocument(r *rand.Rand) Document {
	words := make([]string, 5+r.IntN(30))
	for i := range words {
		words[i] = fmt.Sprintf("w%d", int(r.ExpFloat64()*20))
	}
	source, _ := json.Marshal(map[string]any{
		"body": strings.Join(words, " "), "n": r.IntN(1000), "tag": fmt.Sprint("t", r.IntN(9)), "flag": r.IntN(2) == 0,
		"at": fmt.Sprintf("2026-%02d-%02dT00:00:00Z", 1+r.IntN(12), 1+r.IntN(28)),
	})
	return Document{fmt.Sprint("doc-", r.IntN(400)), source}
}

func queries() (all []*bleve.SearchRequest) {
	for _, text := range []string{
		"body:w1", "body:w7", "body:w40", `body:"w1 w2"`, "+body:w3 -body:w4", "body:w1*", "body:w2~1", "n:>500", "+n:>=100 +n:<200",
		`at:>"2026-06-01T00:00:00Z"`, "tag:t3", "+tag:t4 body:w5", "flag:true", `_id:doc-17`,
	} {
		all = append(all, bleve.NewSearchRequestOptions(bleve.NewQueryStringQuery(text), 1000, 0, false))
	}
	facets := bleve.NewSearchRequestOptions(bleve.NewMatchAllQuery(), 1000, 0, false)
	facets.AddFacet("tags", bleve.NewFacetRequest("tag", 20))
	return append(all, facets)
}

// answer gives what a search found, as text: IDs in order, facets, and scores if they are asked for.
func (f *fixture) answer(t *testing.T, m Manifest, q *bleve.SearchRequest, scores bool) string {
	t.Helper()
	x, err := f.cache.OpenIndex(t.Context(), f.shard, m)
	require.NoError(t, err)
	defer x.Close()
	q.SortBy([]string{"_id"})
	q.Explain = false
	result, err := x.Search(q)
	require.NoError(t, err)
	var out strings.Builder
	facets, _ := json.Marshal(result.Facets)
	fmt.Fprintf(&out, "%d %s\n", result.Total, facets)
	for _, hit := range result.Hits {
		fmt.Fprint(&out, hit.ID)
		if scores {
			fmt.Fprintf(&out, " %.9f", hit.Score)
		}
		out.WriteByte('\n')
	}
	return out.String()
}

func TestMergeNumbersAsRemapSays(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var segs []Segment
	for i := range 4 {
		segs = append(segs, f.build(t, docs(fmt.Sprint("p", i, "-"), 0, 5+i*20)...))
	}
	files, err := f.cache.GetAll(t.Context(), f.shard, segs)
	require.NoError(t, err)
	t.Cleanup(func() { closeFiles(files) })
	rapid.Check(t, func(t *rapid.T) {
		var inputs []MergeInput
		var abouts []Segment
		for i, s := range segs {
			if rapid.Bool().Draw(t, "leave") {
				continue
			}
			deleted := rapid.SliceOf(rapid.Uint32Range(0, uint32(s.Docs)-1)).Draw(t, "deleted")
			s = s.without(NewDocSet(deleted...))
			inputs, abouts = append(inputs, MergeInput{files[i].Path, s}), append(abouts, s)
		}
		out, err := MergeSegments(context.Background(), inputs, filepath.Join(f.dir, "out"), nil)
		require.NoError(t, err) // it compares zap's numbers with the remap itself
		require.Equal(t, NewRemap(abouts).Docs(), out.Docs)
	})
}

func TestMatchesNoticesOtherNumbers(t *testing.T) {
	t.Parallel()
	s := Segment{Docs: 3, Live: 3}
	remap := NewRemap([]Segment{s.without(NewDocSet(1)), s})
	const dropped = 1<<64 - 1
	require.NoError(t, remap.matches([][]uint64{{0, dropped, 1}, {2, 3, 4}}))
	require.Error(t, remap.matches([][]uint64{{0, dropped, 1}, {2, 4, 3}}))
	require.Error(t, remap.matches([][]uint64{{0, dropped, 2}, {1, 3, 4}}))
	require.Error(t, remap.matches([][]uint64{{0, dropped, 1}}))
}

func TestMergeStopsAndReports(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	segs := []Segment{f.build(t, docs("a", 0, 5000)...), f.build(t, docs("b", 0, 5000)...)}
	files, err := f.cache.GetAll(t.Context(), f.shard, segs)
	require.NoError(t, err)
	defer closeFiles(files)
	inputs := []MergeInput{{files[0].Path, segs[0]}, {files[1].Path, segs[1]}}
	path := filepath.Join(f.dir, "merged")

	var last int64
	out, err := MergeSegments(t.Context(), inputs, path, func(written int64) {
		require.Greater(t, written, last)
		last = written
	})
	require.NoError(t, err)
	require.Positive(t, last)
	require.LessOrEqual(t, last, out.Bytes)

	ctx, cancel := context.WithCancelCause(t.Context())
	_, err = MergeSegments(ctx, inputs, path, func(int64) { cancel(errEnough) })
	require.ErrorIs(t, err, errEnough)
	require.NoFileExists(t, path)

	all := make([]uint32, 5000)
	for i := range all {
		all[i] = uint32(i)
	}
	inputs[0].Segment = segs[0].without(NewDocSet(all...))
	out, err = MergeSegments(t.Context(), inputs[:1], path, nil)
	require.NoError(t, err)
	require.Zero(t, out.Docs)
	require.NoFileExists(t, path)
}

var errEnough = fmt.Errorf("enough")
