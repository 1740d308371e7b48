package datanode

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/offline-nodes/offline-nodes/pkg/shard"
)

// place is where a live document is.
type place struct {
	segment uint64
	doc     uint32
}

// documents finds live documents of one generation.
type documents interface {
	// locate returns where those of the IDs are that exist.
	locate(ids []string) (map[string]place, error)
	// source reads a document.
	source(place) (json.RawMessage, error)
}

// effect is what a list of writes does to a generation.
type effect struct {
	items   []Item
	docs    []shard.Document // to be indexed
	ops     []int            // the op that wrote each of docs
	deleted map[uint64]shard.DocSet

	// overwritten are the ops whose documents later ones replaced or deleted: they are not indexed, but each must be one
	// that could be.
	overwritten map[int]shard.Document
}

// empty tells whether nothing is to be committed.
func (e *effect) empty() bool { return len(e.docs) == 0 && len(e.deleted) == 0 }

// resolve carries out ops, one after the other, on the documents of a generation. bad are the ops known to be refused.
func resolve(on documents, ops []Op, bad map[int]error) (*effect, error) {
	ids := make([]string, 0, len(ops))
	for _, op := range ops {
		ids = append(ids, op.ID)
	}
	found, err := on.locate(ids)
	if err != nil {
		return nil, err
	}
	r := resolver{on: on, found: found, pending: make(map[string]pending, len(ops)), effect: effect{items: make([]Item, len(ops)), overwritten: map[int]shard.Document{}}}
	for i, op := range ops {
		if why := bad[i]; why != nil {
			r.effect.items[i] = Item{Refused, why}
			continue
		}
		if r.effect.items[i], err = r.do(i, op); err != nil {
			return nil, err
		}
	}
	return r.finish(ops), nil
}

type resolver struct {
	on      documents
	found   map[string]place
	pending map[string]pending
	effect  effect
}

// pending is what the ops so far made of a document.
type pending struct {
	op     int
	source json.RawMessage // nil: deleted
}

func (r *resolver) do(i int, op Op) (Item, error) {
	exists := r.exists(op.ID)
	switch op.Kind {
	case Delete:
		if !exists {
			return Item{Outcome: NotFound}, nil
		}
		r.replace(op.ID, pending{op: i})
		return Item{Outcome: Deleted}, nil
	case Create:
		if exists {
			return Item{Outcome: Exists}, nil
		}
	case Update:
		return r.update(i, op, exists)
	case Index:
	default:
		return Item{Refused, fmt.Errorf("%w: unknown action %s", ErrInvalid, op.Kind)}, nil
	}
	return r.write(i, op.ID, op.Source, exists), nil
}

func (r *resolver) update(i int, op Op, exists bool) (Item, error) {
	if !exists {
		if op.Upsert {
			return r.write(i, op.ID, op.Source, false), nil
		}
		return Item{Outcome: NotFound}, nil
	}
	old, err := r.current(op.ID)
	if err != nil {
		return Item{}, err
	}
	source, err := overlay(old, op.Source)
	switch {
	case err != nil:
		return Item{Refused, fmt.Errorf("%w %q: %w", ErrDocument, op.ID, err)}, nil
	case bytes.Equal(source, old):
		return Item{Outcome: Noop}, nil
	}
	return r.write(i, op.ID, source, true), nil
}

func (r *resolver) write(i int, id string, source json.RawMessage, exists bool) Item {
	if source == nil {
		source = json.RawMessage("null") // refused by the mapping, with a reason
	}
	r.replace(id, pending{i, source})
	if exists {
		return Item{Outcome: Updated}
	}
	return Item{Outcome: Created}
}

func (r *resolver) replace(id string, by pending) {
	if old, ok := r.pending[id]; ok && old.source != nil {
		r.effect.overwritten[old.op] = shard.Document{ID: id, Source: old.source}
	}
	r.pending[id] = by
}

func (r *resolver) exists(id string) bool {
	if p, ok := r.pending[id]; ok {
		return p.source != nil
	}
	_, ok := r.found[id]
	return ok
}

func (r *resolver) current(id string) (json.RawMessage, error) {
	if p, ok := r.pending[id]; ok {
		return p.source, nil
	}
	return r.on.source(r.found[id])
}

// finish lists what is left to be written, in the order of the ops, and what it replaces.
func (r *resolver) finish(ops []Op) *effect {
	gone := map[uint64][]uint32{}
	for i, op := range ops {
		p, ok := r.pending[op.ID]
		if !ok || p.op != i {
			continue
		}
		if p.source != nil {
			r.effect.docs = append(r.effect.docs, shard.Document{ID: op.ID, Source: p.source})
			r.effect.ops = append(r.effect.ops, i)
		}
		if at, ok := r.found[op.ID]; ok {
			gone[at.segment] = append(gone[at.segment], at.doc)
		}
	}
	r.effect.deleted = make(map[uint64]shard.DocSet, len(gone))
	for segment, docs := range gone {
		r.effect.deleted[segment] = shard.NewDocSet(docs...)
	}
	return &r.effect
}

// overlay lays the object patch over the object doc: objects field by field, everything else replaced. A document that
// does not change is returned as it is.
func overlay(doc, patch json.RawMessage) (json.RawMessage, error) {
	var to, from map[string]any
	if err := decodeObject(patch, &from); err != nil {
		return nil, err
	}
	if err := decodeObject(doc, &to); err != nil {
		return nil, err
	}
	if !layOver(to, from) {
		return doc, nil
	}
	return json.Marshal(to)
}

// decodeObject keeps numbers as they are written.
func decodeObject(raw json.RawMessage, into *map[string]any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("it is not a JSON object: %w", err)
	}
	if d.More() {
		return errors.New("it is not one JSON object: there is something behind it")
	}
	if *into == nil {
		return errors.New("it is not a JSON object: it is null")
	}
	return nil
}

func layOver(to, from map[string]any) (changed bool) {
	for name, value := range from {
		old, had := to[name]
		oldObject, wasObject := old.(map[string]any)
		object, isObject := value.(map[string]any)
		switch {
		case wasObject && isObject:
			changed = layOver(oldObject, object) || changed
		case !had || !sameJSON(old, value):
			to[name], changed = value, true
		}
	}
	return changed
}

func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
