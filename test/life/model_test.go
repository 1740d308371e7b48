package life

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
	"github.com/offline-nodes/offline-nodes/pkg/reindex"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/snapshot"
)

// ids is how many documents a shard can have.
const ids = 40

// content is what a generation must hold. It is never changed in place.
type content struct {
	docs    map[string]string
	mapping json.RawMessage
}

// model is what one shard must hold, by the commits in the store.
type model struct {
	name    string
	store   *shard.Shard
	open    *datanode.Shard // nil: its first documents are still on their way
	seen    uint64          // the newest generation that is taken into account
	held    string          // the task that writes wait for
	history []change
}

type change struct {
	generation uint64
	content
}

func (m *model) now() content { return m.history[len(m.history)-1].content }

// at is what a generation holds.
func (m *model) at(generation uint64) (c content) {
	for _, h := range m.history {
		if h.generation <= generation {
			c = h.content
		}
	}
	return c
}

func (m *model) set(generation uint64, c content) {
	m.history = append(m.history, change{generation, c})
}

// kept is a snapshot.
type kept struct {
	name       string
	repository bool
}

// follow takes the commits into account that others than the data node have made.
func (w *world) follow(m *model) {
	newest, err := m.store.Newest(w.t.Context())
	if errors.Is(err, shard.ErrNotFound) && m.seen == 0 {
		return
	}
	require.NoError(w.t, err)
	for m.seen < newest.Generation {
		next, err := m.store.At(w.t.Context(), m.seen+1)
		require.NoError(w.t, err)
		m.seen++
		w.apply(m, next)
	}
}

// apply is what a commit does to the documents.
func (w *world) apply(m *model, next shard.Manifest) {
	if held, ok := shard.HeldFor(next); ok {
		m.held = held
		return
	}
	by := next.Writer.Task
	if by == m.held {
		m.held = ""
	}
	w.fleet.mu.Lock()
	j := w.fleet.jobs[by]
	w.fleet.mu.Unlock()
	c := content{map[string]string{}, shard.DefaultMapping()}
	if len(m.history) > 0 {
		c = m.now()
	}
	switch {
	case j == nil:
	case j.Type == snapshot.RestoreShardType:
		var p snapshot.RestoreShardParams
		require.NoError(w.t, json.Unmarshal(j.Params, &p))
		c = w.taken[kept{p.Snapshot, p.Repository}][p.Part.Shard]
	case j.Type == reindex.Type:
		var p reindex.Params
		require.NoError(w.t, json.Unmarshal(j.Params, &p))
		w.switched[by] = true
		if c.mapping = p.Mapping; len(p.Mapping) == 0 { // then it is one that the shard had while the task was there
			c.mapping = next.Mapping
			require.True(w.t, slices.ContainsFunc(m.history, func(h change) bool { return string(h.mapping) == string(next.Mapping) }))
		}
	}
	m.set(next.Generation, c)
}

// write carries out a random bulk, and says what must come of it.
func (w *world) write(random *rand.Rand, m *model) {
	w.follow(m)
	ops := make([]datanode.Op, 1+random.IntN(8))
	for i := range ops {
		ops[i] = w.op(random)
	}
	written, err := m.open.Bulk(w.t.Context(), ops)
	require.NoError(w.t, err)
	docs, now := maps.Clone(m.now().docs), m.now()
	for i, op := range ops {
		require.Equal(w.t, effect(docs, op), written.Items[i].Outcome.String(), "%s, write %d: %s %s", m.name, i, op.Kind, op.ID)
	}
	if maps.Equal(docs, now.docs) && written.Generation <= m.seen {
		return
	}
	require.Equal(w.t, m.seen+1, written.Generation)
	m.seen++
	m.set(m.seen, content{docs, now.mapping})
}

func (w *world) op(random *rand.Rand) datanode.Op {
	kinds := []datanode.Kind{datanode.Index, datanode.Index, datanode.Create, datanode.Update, datanode.Delete, datanode.Delete}
	op := datanode.Op{Kind: kinds[random.IntN(len(kinds))], ID: fmt.Sprint(random.IntN(ids))}
	w.writes++
	switch op.Kind {
	case datanode.Delete:
	case datanode.Update:
		op.Source = fmt.Appendf(nil, `{"n":%d,"extra":true,"rev":%d}`, 10+random.IntN(10), w.writes)
		op.Upsert = random.IntN(2) == 0
	default:
		var body []byte
		for range 1 + random.IntN(5) {
			body = fmt.Append(body, words[random.IntN(len(words))], " ")
		}
		op.Source = fmt.Appendf(nil, `{"body":%q,"kind":%q,"n":%d,"at":"20%d-01-02T00:00:00Z","rev":%d}`,
			bytes.TrimSpace(body), words[random.IntN(len(words))], random.IntN(10), 10+random.IntN(5), w.writes)
		if random.IntN(20) == 0 {
			op.Source = []byte(`["not an object"]`)
		}
	}
	return op
}

// effect is the slow obvious version of a write. It returns its outcome.
func effect(docs map[string]string, op datanode.Op) string {
	old, exists := docs[op.ID]
	switch {
	case op.Kind == datanode.Delete && !exists, op.Kind == datanode.Update && !exists && !op.Upsert:
		return "not_found"
	case op.Kind == datanode.Delete:
		delete(docs, op.ID)
		return "deleted"
	case op.Kind == datanode.Create && exists:
		return "exists"
	case op.Source[0] != '{':
		return "refused"
	case op.Kind == datanode.Update && exists:
		var doc, patch map[string]json.RawMessage
		if err := errors.Join(json.Unmarshal([]byte(old), &doc), json.Unmarshal(op.Source, &patch)); err != nil {
			panic(err) // both are ours
		}
		maps.Copy(doc, patch) // rev makes it another one
		laid, err := json.Marshal(doc)
		if err != nil {
			panic(err)
		}
		docs[op.ID] = string(laid)
		return "updated"
	}
	docs[op.ID] = canonical(op.Source)
	if exists {
		return "updated"
	}
	return "created"
}
