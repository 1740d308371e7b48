package reindex_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/blevesearch/bleve/v2"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/offline-nodes/offline-nodes/pkg/reindex"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// keywords is a mapping that finds titles as a whole, not by their words.
func keywords(t check) json.RawMessage {
	t.Helper()
	m := bleve.NewIndexMapping()
	require.NoError(t, json.Unmarshal(shard.DefaultMapping(), m))
	field := bleve.NewKeywordFieldMapping()
	field.Store, field.IncludeInAll = false, false
	m.DefaultMapping.AddFieldMappingsAt("title", field)
	raw, err := json.Marshal(m)
	require.NoError(t, err)
	return raw
}

// life is one reindex of a random shard, in a random world.
type life struct {
	*rapid.T

	store   *remotestore.Memory
	cache   *shard.Cache
	dir     string
	source  *writer
	target  *writer // nil when the target is the source, or new
	fleet   *fleet
	params  reindex.Params
	budget  int // of disturbances
	version int
	late    int  // disturbances that come right before a switch
	zombie  bool // runs
	parents bool // more than one run of the parent at once: the other may leave something in the store
}

func TestTheTargetIsAPlainIndexOfTheSurvivors(t *testing.T) {
	root := t.TempDir()
	lives := 0
	rapid.Check(t, func(rt *rapid.T) {
		lives++
		dir := filepath.Join(root, fmt.Sprint(lives))
		require.NoError(rt, os.Mkdir(dir, 0o700))
		cache, err := shard.OpenCache(filepath.Join(dir, "cache"), 1<<30)
		require.NoError(rt, err)
		defer cache.Close()
		l := &life{T: rt, store: remotestore.NewMemory(), cache: cache, dir: dir, budget: 12, late: 3}
		l.begin()
		l.run()
		require.NoError(rt, os.RemoveAll(dir))
	})
}

func (l *life) chance(label string, percent int) bool {
	return rapid.IntRange(0, 99).Draw(l.T, label) < percent
}

func (l *life) begin() {
	l.source = newWriter(l, l.store, l.cache, l.dir, "books", nil)
	l.params = reindex.Params{Source: "books", Target: "books-2", Mapping: keywords(l), Slices: rapid.IntRange(0, 4).Draw(l.T, "slices")}
	switch rapid.SampledFrom([]string{"in place", "new", "new", "there"}).Draw(l.T, "target") {
	case "in place":
		l.params.Target = "books"
	case "there":
		l.target = newWriter(l, l.store, l.cache, l.dir, "books-2", l.params.Mapping)
		l.params.Mapping = nil
		l.params.Conflicts = rapid.SampledFrom([]reindex.Conflicts{reindex.Proceed, reindex.Overwrite}).Draw(l.T, "conflicts")
	}
	if l.params.Target != "books" {
		if l.chance("query", 40) {
			l.params.Query = "kind:x"
		}
		if l.chance("transform", 40) {
			l.params.Transform = reindex.Transform{{Op: "rename", Field: "n", To: "meta.n"}, {Op: "default", Field: "kind", Value: []byte(`"none"`)}}
		}
	}
	for range rapid.IntRange(0, 8).Draw(l.T, "writes before") {
		l.change()
	}
	l.fleet = newFleet(tempDir(l.dir), disturbed{l.store, l.disturb})
	l.fleet.cfg.BatchBytes = rapid.SampledFrom([]int{1, 300, 100_000}).Draw(l.T, "batch")
	l.fleet.cfg.Rest = rapid.SampledFrom([]uint64{1, 4, 10_000}).Draw(l.T, "rest")
	l.fleet.cfg.Segments = rapid.SampledFrom([]int{1, 10, 96}).Draw(l.T, "segments")
	kills := 20
	l.fleet.kill = func() (int, bool) {
		if kills == 0 || l.zombie || !l.chance("killed", 40) {
			return 0, false
		}
		kills--
		return rapid.IntRange(1, 60).Draw(l.T, "calls"), l.chance("with effect", 50)
	}
}

type tempDir string

func (d tempDir) TempDir() string { return string(d) }

// change writes something to the source, or to the target that is there.
func (l *life) change() {
	w := l.source
	if l.target != nil && l.chance("to the target", 30) {
		w = l.target
	}
	if l.chance("merge", 20) {
		w.merge()
		return
	}
	docs := map[string]string{}
	var gone []string
	for range rapid.IntRange(1, 6).Draw(l.T, "documents") {
		id := fmt.Sprint("doc-", rapid.IntRange(0, 20).Draw(l.T, "id"))
		if l.chance("delete", 25) && docs[id] == "" {
			gone = append(gone, id)
			continue
		}
		l.version++
		docs[id] = fmt.Sprintf(`{"title":"word%d word%d","kind":%q,"n":%d}`, l.version%3, l.version%4, "xy"[l.version%2:l.version%2+1], l.version)
		gone = slices.DeleteFunc(gone, func(other string) bool { return other == id })
	}
	w.write(docs, gone...)
}

// disturb is called between the calls of a run.
func (l *life) disturb(key string) {
	if !l.zombie && l.late > 0 && strings.HasPrefix(key, l.params.Target+"/manifest/") && l.chance("before the switch", 50) {
		l.late--
		l.change()
		return
	}
	if l.budget == 0 || l.zombie || !l.chance("disturbed", 15) {
		return
	}
	l.budget--
	if !l.chance("by another run", 20) {
		l.change()
		return
	}
	l.zombie = true // a run of a task that has been given to another node already
	defer func() { l.zombie = false }()
	if l.chance("of the parent", 25) {
		l.parents = true
		_ = l.fleet.run(l, l.fleet.tasks["again"]) // it waits, or is done
		return
	}
	l.fleet.step(l, "again")
}

func (l *life) run() {
	result, err := l.fleet.do(l, "again", l.params)
	require.NoError(l, err)
	if l.chance("written to afterwards", 30) {
		l.change()
	}
	is, m := contents(l, l.store, l.cache, l.params.Target)
	want := keywords(l)
	require.JSONEq(l, string(want), string(m.Mapping))
	switch {
	case l.params.Target == "books":
		require.Equal(l, l.source.model, is)
	case result.NoEffect == "":
		require.Equal(l, l.expected(result.SourceGeneration, l.switched()), is)
		require.LessOrEqual(l, result.Docs, result.Written)
	default: // killed after the switch: what it was on is not known any more
		possible := false
		for generation := range l.source.history {
			possible = possible || maps.Equal(l.expected(generation, l.switched()), is)
		}
		require.True(l, possible, "no generation of the source has these documents")
	}
	l.searches(is, m)
	if l.parents {
		return
	}
	for o, err := range l.store.List(context.Background(), "_reindex/", "") {
		require.NoError(l, err)
		require.Fail(l, "left in the store", o.Key)
	}
	for o, err := range l.store.List(context.Background(), "books", "") {
		require.NoError(l, err)
		require.NotContains(l, o.Key, "/pending/")
	}
	left, err := os.ReadDir(filepath.Join(l.dir, "scratch"))
	require.NoError(l, err)
	require.Empty(l, left)
}

// switched is the generation of the target that the reindex has committed.
func (l *life) switched() uint64 {
	s, err := shard.Open(l.store, l.params.Target)
	require.NoError(l, err)
	for g, err := range s.Generations(context.Background(), 0) {
		require.NoError(l, err)
		m, err := s.At(context.Background(), g.Generation)
		require.NoError(l, err)
		if m.Writer.Task == "again" {
			return g.Generation
		}
	}
	require.Fail(l, "no switch")
	return 0
}

// expected are the documents of another target than the source.
func (l *life) expected(source, switched uint64) map[string]string {
	all := map[string]string{}
	if l.target != nil {
		for _, o := range l.target.ops {
			if o.generation < switched {
				o.apply(all)
			}
		}
	}
	for id, doc := range l.source.history[source] {
		if l.params.Query != "" && !strings.Contains(doc, `"kind":"x"`) {
			continue
		}
		if _, there := all[id]; there && l.params.Conflicts == reindex.Proceed {
			continue
		}
		if l.params.Transform != nil {
			var d map[string]any
			require.NoError(l, json.Unmarshal([]byte(doc), &d))
			d["meta"] = map[string]any{"n": d["n"]}
			delete(d, "n")
			raw, err := json.Marshal(d)
			require.NoError(l, err)
			doc = string(raw)
		}
		all[id] = doc
	}
	if l.target != nil {
		for _, o := range l.target.ops {
			if o.generation > switched {
				o.apply(all)
			}
		}
	}
	return all
}

// searches compares with an index that was built from the documents in one go.
func (l *life) searches(docs map[string]string, m shard.Manifest) {
	plain := newWriter(l, l.store, l.cache, l.dir, "plain", m.Mapping)
	plain.write(docs)
	newest, err := plain.shard.Newest(context.Background())
	require.NoError(l, err)
	s, err := shard.Open(l.store, l.params.Target)
	require.NoError(l, err)
	for _, query := range []string{`title:"word1 word1"`, `title:word1`, "kind:y", "n:>5", "meta.n:>5"} {
		require.Equal(l, hits(l, l.cache, plain.shard, newest, query), hits(l, l.cache, s, m, query), query)
	}
}
