package demo

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

// model is what the shard must hold: which documents, in which revision. It
// proposes writes and takes note of those that were acknowledged. It is not
// safe for concurrent use.
type model struct {
	documents []document
	places    []int // where a document's number is in open or gone
	open      []int // numbers of documents that may be updated and deleted
	gone      []int // of those that were deleted, to be written again
	frozen    int   // how many are never touched again
	next      int   // the first document that was never written
	freezing  bool  // a share of the new documents is frozen
	random    *rand.Rand

	written, updated, deleted int // acknowledged writes
}

// frozenShare is which part of the new documents is frozen: one in so many.
const frozenShare = 4

func newModel(documents []document) *model {
	return &model{
		documents: documents, places: make([]int, len(documents)), freezing: true,
		random: rand.New(rand.NewPCG(3, 4)),
	}
}

// action is what a write does.
type action uint8

const (
	put action = iota
	update
	remove
)

var actionNames = [...]string{"index", "update", "delete"}

func (a action) String() string { return actionNames[a] }

// write is one write of a bulk.
type write struct {
	action action
	seq    int
	rev    int
	fresh  bool // a put of a document that was never written
}

// mix is what a bulk is made of. Puts that find nothing left to write become
// updates.
type mix struct{ puts, updates, deletes int }

// propose makes the next bulk; no document is in it twice.
func (m *model) propose(of mix) []write {
	writes := make([]write, 0, of.puts+of.updates+of.deletes)
	taken := map[int]bool{}
	gone := len(m.gone)
	for range of.puts {
		fresh := m.next + len(taken)
		switch {
		case fresh < len(m.documents):
			writes = append(writes, write{put, fresh, 1, true})
			taken[fresh] = true
		case gone > 0:
			gone-- // the one that was deleted last
			seq := m.gone[gone]
			writes = append(writes, write{put, seq, m.documents[seq].Rev + 1, false})
			taken[seq] = true
		default:
			of.updates++
		}
	}
	for i := range of.updates + of.deletes {
		seq, ok := m.pick(taken)
		if !ok {
			break
		}
		a := update
		if i >= of.updates {
			a = remove
		}
		writes = append(writes, write{a, seq, m.documents[seq].Rev + 1, false})
		taken[seq] = true
	}
	return writes
}

// pick chooses a document that is there and not frozen.
func (m *model) pick(taken map[int]bool) (seq int, ok bool) {
	for range 20 {
		if len(m.open) == 0 {
			break
		}
		if seq := m.open[m.random.IntN(len(m.open))]; !taken[seq] {
			return seq, true
		}
	}
	return 0, false
}

// encode writes a bulk as the data node reads it.
func (m *model) encode(writes []write) ([]byte, error) {
	var body []byte
	add := func(v any) error {
		line, err := json.Marshal(v)
		body = append(append(body, line...), '\n')
		return err
	}
	for _, w := range writes {
		d := m.documents[w.seq]
		err := add(map[string]any{w.action.String(): map[string]string{"_id": d.ID}})
		switch {
		case err != nil:
		case w.action == put:
			d.Rev, d.Set = w.rev, m.set(w)
			err = add(d)
		case w.action == update:
			err = add(map[string]any{"doc": map[string]int{"rev": w.rev}})
		}
		if err != nil {
			return nil, fmt.Errorf("encode document %s: %w", d.ID, err)
		}
	}
	return body, nil
}

// set is where a written document belongs.
func (m *model) set(w write) string {
	if w.fresh && m.freezing && w.seq%frozenShare == 0 {
		return frozen
	}
	return open
}

// accept takes note of a bulk that was acknowledged.
func (m *model) accept(writes []write) {
	for _, w := range writes {
		m.documents[w.seq].Rev = w.rev
		switch w.action {
		case put:
			m.written++
			if !w.fresh {
				m.gone = m.take(m.gone, w.seq)
			} else {
				m.next++
			}
			m.documents[w.seq].Set = m.set(w)
			if m.documents[w.seq].Set == frozen {
				m.frozen++
				continue
			}
			m.open = m.put(m.open, w.seq)
		case update:
			m.updated++
		case remove:
			m.deleted++
			m.open = m.take(m.open, w.seq)
			m.gone = m.put(m.gone, w.seq)
		}
	}
}

func (m *model) put(list []int, seq int) []int {
	m.places[seq] = len(list)
	return append(list, seq)
}

// take removes a document; the last one of the list gets its place.
func (m *model) take(list []int, seq int) []int {
	last := list[len(list)-1]
	list[m.places[seq]] = last
	m.places[last] = m.places[seq]
	return list[:len(list)-1]
}

// live is how many documents must be found.
func (m *model) live() int { return m.frozen + len(m.open) }

// alive tells whether a document must be found.
func (m *model) alive(seq int) bool {
	if seq >= m.next {
		return false
	}
	at := m.places[seq]
	return m.documents[seq].Set == frozen || at < len(m.open) && m.open[at] == seq
}
