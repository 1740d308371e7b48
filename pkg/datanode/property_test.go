package datanode_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/blevesearch/bleve/v2"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/remotestore"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// history is a shard with everything that may happen to it, and what it must hold.
type history struct {
	t      testing.TB
	store  remotestore.Store
	queue  *queue
	worker *worker
	plan   bool // merges begin by themselves

	node  started
	shard *datanode.Shard
	model map[string]string
	fresh int
}

func (h *history) restart() {
	if h.node.Node != nil {
		h.node.stop()
	}
	cfg := datanode.Config{
		Store: h.store, Queue: h.queue, Offline: always(), Refresh: time.Hour, Poll: 20 * time.Millisecond, Retry: time.Millisecond,
	}
	if h.plan {
		cfg.Plan, cfg.Offline = eager(), auto()
		cfg.Offline.MinBytes = 4000 // some here, some there
	}
	h.node = start(h.t, cfg)
	h.shard = create(h.t, h.node, "books/0")
}

var words = []string{"blue", "red", "moon", "sun", "sea", "deep", "sky", "stone"}

// write carries out a random bulk, and says what must come of it.
func (h *history) write(r *rapid.T) {
	ops := rapid.SliceOfN(rapid.Custom(randomOp), 1, 12).Draw(r, "ops")
	var want []string
	for _, op := range ops {
		want = append(want, h.apply(op))
	}
	require.Equal(h.t, want, outcomes(write(h.t, h.shard, ops...)))
}

func randomOp(r *rapid.T) datanode.Op {
	op := datanode.Op{
		Kind: rapid.SampledFrom([]datanode.Kind{datanode.Index, datanode.Index, datanode.Create, datanode.Update, datanode.Delete, datanode.Delete}).Draw(r, "kind"),
		ID:   fmt.Sprint(rapid.IntRange(0, 25).Draw(r, "id")),
	}
	text := rapid.SliceOfN(rapid.SampledFrom(words), 1, 4).Draw(r, "words")
	source, _ := json.Marshal(map[string]any{
		"body": fmt.Sprint(text), "kind": text[0], "n": rapid.IntRange(0, 9).Draw(r, "n"), "at": fmt.Sprintf("20%02d-01-02T00:00:00Z", 10+len(text)),
	})
	switch op.Kind {
	case datanode.Update:
		op.Source = json.RawMessage(fmt.Sprintf(`{"n":%d,"extra":true}`, rapid.IntRange(10, 19).Draw(r, "n")))
		op.Upsert = rapid.Bool().Draw(r, "upsert")
	case datanode.Delete:
	default:
		op.Source = source
		if rapid.IntRange(0, 15).Draw(r, "bad") == 0 {
			op.Source = json.RawMessage(`["not an object"]`)
		}
	}
	return op
}

// apply is the slow obvious version of a write.
func (h *history) apply(op datanode.Op) string {
	old, exists := h.model[op.ID]
	switch {
	case op.Kind == datanode.Delete && !exists, op.Kind == datanode.Update && !exists && !op.Upsert:
		return "not_found"
	case op.Kind == datanode.Delete:
		delete(h.model, op.ID)
		return "deleted"
	case op.Kind == datanode.Create && exists:
		return "exists"
	case op.Source[0] != '{':
		return "refused"
	case op.Kind == datanode.Update && exists:
		var doc, patch map[string]any
		require.NoError(h.t, json.Unmarshal([]byte(old), &doc))
		require.NoError(h.t, json.Unmarshal(op.Source, &patch))
		before := maps.Clone(doc)
		maps.Copy(doc, patch)
		if fmt.Sprint(before) == fmt.Sprint(doc) {
			return "noop"
		}
		merged, err := json.Marshal(doc)
		require.NoError(h.t, err)
		h.model[op.ID] = string(merged)
		return "updated"
	}
	h.model[op.ID] = string(op.Source)
	if exists {
		return "updated"
	}
	return "created"
}

// check compares every document, and what queries find with what they find in a new shard of the same documents.
func (h *history) check() {
	for i := range 26 {
		got, err := h.shard.Get(h.t.Context(), fmt.Sprint(i))
		if want, ok := h.model[fmt.Sprint(i)]; ok {
			require.NoError(h.t, err)
			require.JSONEq(h.t, want, string(got.Source))
		} else {
			require.ErrorIs(h.t, err, datanode.ErrNotFound)
		}
	}
	require.EqualValues(h.t, len(h.model), h.shard.Stats().Docs)
	name := fmt.Sprint("fresh/", h.fresh)
	h.fresh++
	fresh := create(h.t, h.node, name)
	defer func() { require.NoError(h.t, h.node.Drop(h.t.Context(), name, true)) }()
	var ops []datanode.Op
	for _, id := range slices.Sorted(maps.Keys(h.model)) {
		ops = append(ops, put(id, h.model[id]))
	}
	if len(ops) > 0 {
		write(h.t, fresh, ops...)
	}
	for _, sh := range []*datanode.Shard{h.shard, fresh} {
		_, err := sh.Refresh(h.t.Context())
		require.NoError(h.t, err)
	}
	for _, q := range battery() {
		q.Size = 100
		want, err := fresh.Search(h.t.Context(), q)
		require.NoError(h.t, err)
		got, err := h.shard.Search(h.t.Context(), q)
		require.NoError(h.t, err)
		require.Equal(h.t, essence(h.t, want), essence(h.t, got), "%+v", q)
	}
}

// battery are queries of every kind. They are sorted: scores count documents that are deleted but not yet merged away.
func battery() []datanode.Query {
	byID := []string{"_id"}
	all := []datanode.Query{
		{Sort: byID, Facets: bleve.FacetsRequest{"kind": bleve.NewFacetRequest("kind", 20), "n": bleve.NewFacetRequest("n", 20)}},
		{Sort: []string{"-n", "_id"}},
		{Sort: []string{"at", "-kind", "_id"}},
		{Text: `body:"blue moon"`, Sort: byID, Highlight: []string{"*"}},
		{Text: "+red -sun n:>3", Sort: byID},
		{Text: "n:>=10", Sort: byID},
		{Match: map[string]string{"*": "sea sky"}, Sort: byID},
		{Text: "extra:true", Sort: byID},
	}
	for _, raw := range []string{
		`{"prefix":"s","field":"body"}`, `{"fuzzy":"mon","field":"body","fuzziness":1}`, `{"wildcard":"s*n*","field":"body"}`,
		`{"min":2,"max":5,"field":"n"}`, `{"start":"2012-01-01T00:00:00Z","end":"2013-06-01T00:00:00Z","field":"at"}`,
		`{"conjuncts":[{"match":"deep","field":"body"},{"match":"stone","field":"body"}]}`, `{"ids":["1","5","9","77"]}`,
	} {
		all = append(all, datanode.Query{Raw: json.RawMessage(raw), Sort: byID})
	}
	for _, w := range words {
		all = append(all, datanode.Query{Raw: json.RawMessage(fmt.Sprintf(`{"term":%q,"field":"body"}`, w)), Sort: byID, Highlight: []string{"body"}})
	}
	return all
}

// essence is what must not depend on how documents came into a shard.
func essence(t testing.TB, f *datanode.Found) string {
	t.Helper()
	hits := slices.Clone(f.Hits)
	for i := range hits {
		hits[i].Score = 0
		var source any
		require.NoError(t, json.Unmarshal(hits[i].Source, &source))
		text, err := json.Marshal(source)
		require.NoError(t, err)
		hits[i].Source = text
	}
	text, err := json.Marshal(map[string]any{"total": f.Total, "hits": hits, "facets": f.Facets})
	require.NoError(t, err)
	return string(text)
}

func TestAnyHistoryLeavesWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		q, store := newQueue(), remotestore.NewMemory()
		h := &history{t: t, store: store, queue: q, worker: newWorker(t, q, store), model: map[string]string{}}
		h.plan = rapid.Bool().Draw(r, "merges begin by themselves")
		h.restart()
		defer func() { h.node.stop() }()
		var ids []string
		collect := func() {
			for {
				select {
				case id := <-q.submitted:
					ids = append(ids, id)
				default:
					return
				}
			}
		}
		one := func(r *rapid.T) string {
			collect()
			if len(ids) == 0 {
				return ""
			}
			return rapid.SampledFrom(ids).Draw(r, "task")
		}
		r.Repeat(map[string]func(*rapid.T){
			"":      func(*rapid.T) {},
			"write": h.write,
			"more":  h.write,
			"force": func(r *rapid.T) {
				_, err := h.shard.ForceMerge(t.Context(), rapid.IntRange(1, 3).Draw(r, "segments"))
				require.NoError(t, err)
			},
			"expunge": func(*rapid.T) {
				_, err := h.shard.Expunge(t.Context())
				require.NoError(t, err)
			},
			"offline node runs one": func(r *rapid.T) { h.worker.run(t, one(r)) },
			"a dead one wakes up": func(r *rapid.T) {
				if id := one(r); id != "" {
					h.worker.again(t, id)
				}
			},
			"one fails":     func(r *rapid.T) { q.end(t.Context(), one(r), task.Failed, "broken") },
			"one cancelled": func(r *rapid.T) { q.end(t.Context(), one(r), task.Cancelled, "on request") },
			"events are lost": func(r *rapid.T) {
				q.set(func(q *queue) { q.lose = !q.lose })
			},
			"merge here": func(*rapid.T) {
				o := h.node.Offline()
				o.Merge = datanode.Off
				require.NoError(t, h.node.SetOffline(o))
			},
			"restart": func(*rapid.T) { h.restart() },
			"check":   func(*rapid.T) { h.check() },
		})
		h.check()
	})
}

// again runs a task whatever its status: a node that was thought dead.
func (w *worker) again(t testing.TB, id string) {
	t.Helper()
	w.queue.mu.Lock()
	x := task.NewExecution(task.Envelope{ID: id, Type: "merge", Attempt: 1}, w.queue.tasks[id].params, 1, nil, nil)
	w.queue.mu.Unlock()
	_ = w.merger.Do(t.Context(), x) // it is refused, or it was the first: both are fine
}
