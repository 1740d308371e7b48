package shard

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// version is one document of the model: an ID, and which write made it.
type version struct {
	id    string
	write int
}

// world runs commits on a manifest without any file, beside the slow and obvious truth: a map of documents.
type world struct {
	manifest Manifest
	files    map[BlobName][]version // what is in a segment, by document number
	truth    map[string]int         // ID → the write that made it
	merges   []Change               // begun and not committed yet
	done     []Change               // committed, to be tried again by zombies
	clock    int
}

func newWorld() *world {
	return &world{
		manifest: Manifest{
			Shard: "s", Generation: 1, NextSegment: 1, AppliedFor: time.Hour, Mapping: []byte("{}"), Nonce: "n", StoredAt: time.Unix(0, 0),
		},
		files: make(map[BlobName][]version),
		truth: make(map[string]int),
	}
}

func (w *world) segment(docs []version) Segment {
	name := fakeBlob()
	w.files[name] = docs
	n := uint64(len(docs))
	return Segment{Blob: name, Bytes: 1, Type: SegmentType, Version: SegmentVersion, Docs: n, Live: n}
}

func fakeBlob() BlobName { return BlobName(strings.Repeat("0", 64) + "-" + uuid.NewString()) }

// find looks through every document.
func (w *world) find(ids []string) map[uint64]DocSet {
	found := make(map[uint64]DocSet)
	for _, s := range w.manifest.Segments {
		for n, v := range w.files[s.Blob] {
			if slices.Contains(ids, v.id) {
				found[s.ID] = found[s.ID].Union(NewDocSet(uint32(n)))
			}
		}
	}
	return found
}

// write replaces or adds some documents and deletes others, in one commit.
func (w *world) write(t require.TestingT, put, gone []string) {
	w.clock++
	var docs []version
	for _, id := range put {
		docs = append(docs, version{id, w.clock})
	}
	c := Change{Writer: Writer{Node: "data"}, Deleted: w.find(append(slices.Clone(put), gone...))}
	if len(docs) > 0 {
		c.Outputs = []Segment{w.segment(docs)}
	}
	require.NoError(t, w.commit(c))
	for _, id := range gone {
		delete(w.truth, id)
	}
	for _, id := range put {
		w.truth[id] = w.clock
	}
}

// begin copies what is left of some segments, as a worker does.
func (w *world) begin(inputs []Segment) {
	var docs []version
	for _, s := range inputs {
		for n, v := range w.files[s.Blob] {
			if !s.Deleted.Contains(uint32(n)) {
				docs = append(docs, v)
			}
		}
	}
	c := Change{Writer: Writer{Task: fmt.Sprint("merge-", len(w.merges)+len(w.done)), AllocationID: 5}, Inputs: inputs}
	if len(docs) > 0 {
		c.Outputs = []Segment{w.segment(docs)}
	}
	w.merges = append(w.merges, c)
}

func (w *world) commit(c Change) error {
	before := w.manifest.Clone()
	next, err := Commit(w.manifest, c)
	if !equalManifests(before, w.manifest) {
		return errors.New("Commit changed what it was given")
	}
	if err == nil {
		next.StoredAt = w.manifest.StoredAt.Add(time.Second)
		w.manifest = next
	}
	return err
}

func equalManifests(a, b Manifest) bool {
	return a.Generation == b.Generation && a.NextSegment == b.NextSegment && slices.Equal(a.Applied, b.Applied) &&
		slices.EqualFunc(a.Segments, b.Segments, func(a, b Segment) bool {
			return a.ID == b.ID && a.Blob == b.Blob && a.Live == b.Live && a.Deleted.Equal(b.Deleted)
		})
}

// check compares all that can be found with the truth.
func (w *world) check(t require.TestingT) {
	found := make(map[string]int)
	for _, s := range w.manifest.Segments {
		for n, v := range w.files[s.Blob] {
			if s.Deleted.Contains(uint32(n)) {
				continue
			}
			_, twice := found[v.id]
			require.False(t, twice, "document %s is there twice", v.id)
			found[v.id] = v.write
		}
	}
	require.Equal(t, w.truth, found)
	require.EqualValues(t, len(w.truth), w.manifest.Docs())
	require.NoError(t, w.manifest.Validate())
}

// TestCommitKeepsEveryDocument lets writes, merges that overlap, and zombies that commit again come in any order.
func TestCommitKeepsEveryDocument(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		ids := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) string {
			return fmt.Sprint(rapid.IntRange(0, 20).Draw(t, "id"))
		}), 0, 6, rapid.ID)
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				put, gone := ids.Draw(t, "put"), ids.Draw(t, "gone")
				gone = slices.DeleteFunc(gone, func(id string) bool { return slices.Contains(put, id) })
				w.write(t, put, gone)
			},
			"begin merge": func(t *rapid.T) {
				inputs := slices.Clone(w.manifest.Segments)
				inputs = slices.DeleteFunc(inputs, func(Segment) bool { return rapid.Bool().Draw(t, "leave") })
				if len(inputs) > 0 {
					w.begin(rapid.Permutation(inputs).Draw(t, "order"))
				}
			},
			"commit merge": func(t *rapid.T) {
				if len(w.merges) == 0 {
					t.Skip("no merge is under way")
				}
				i := rapid.IntRange(0, len(w.merges)-1).Draw(t, "which")
				c := w.merges[i]
				w.merges = slices.Delete(w.merges, i, i+1)
				w.done = append(w.done, c)
				if err := w.commit(c); err != nil {
					require.ErrorIs(t, err, ErrInputsGone)
				}
			},
			"commit again": func(t *rapid.T) {
				if len(w.done) == 0 {
					t.Skip("nothing is done")
				}
				c := w.done[rapid.IntRange(0, len(w.done)-1).Draw(t, "which")]
				require.ErrorIs(t, w.commit(c), ErrNoEffect)
				c.Writer.AllocationID--
				require.Error(t, w.commit(c))
			},
			"": func(t *rapid.T) { w.check(t) },
		})
	})
}

// TestRemapCountsLikeALoop compares with counting the survivors one by one.
func TestRemapCountsLikeALoop(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		inputs := rapid.SliceOfN(rapid.Custom(anySegment), 0, 4).Draw(t, "inputs")
		remap := NewRemap(inputs)
		var next uint32
		for i, in := range inputs {
			all := make([]uint32, 0, in.Docs)
			want := make(map[uint32]bool)
			for doc := range uint32(in.Docs) {
				all = append(all, doc)
				to, ok := remap.Doc(i, doc)
				require.Equal(t, !in.Deleted.Contains(doc), ok)
				if ok {
					require.Equal(t, next, to)
					want[next] = true
					next++
				}
			}
			got := emptyBits.Clone()
			remap.add(got, i, NewDocSet(all...))
			require.ElementsMatch(t, slices.Collect(maps.Keys(want)), got.ToArray())
		}
		require.EqualValues(t, next, remap.Docs())
	})
}

func anySegment(t *rapid.T) Segment {
	n := rapid.Uint32Range(1, 200).Draw(t, "docs")
	s := Segment{ID: 1, Blob: fakeBlob(), Bytes: 1, Type: SegmentType, Version: SegmentVersion, Docs: uint64(n), Live: uint64(n)}
	deleted := rapid.SliceOfN(rapid.Uint32Range(0, n-1), 0, int(n)).Draw(t, "deleted")
	return s.without(NewDocSet(deleted...))
}
