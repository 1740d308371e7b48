package dataapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/offline-nodes/offline-nodes/pkg/datanode"
)

// bulkItem is the answer to one action of a bulk.
type bulkItem struct {
	ID     string   `json:"_id,omitempty"`
	Status int      `json:"status"`
	Result string   `json:"result,omitempty"`
	Error  *problem `json:"error,omitempty"`
	Line   int      `json:"line,omitempty"` // of the action, where it is wrong
}

type bulkAnswer struct {
	Took         int64                 `json:"took"` // ms
	Errors       bool                  `json:"errors"`
	Generation   uint64                `json:"generation"`
	Items        []map[string]bulkItem `json:"items"`
	RefreshError string                `json:"refresh_error,omitempty"` // it is written all the same
}

func (s *server) bulk(r *http.Request, sh *datanode.Shard) (int, any, error) {
	began := time.Now()
	visible, err := refreshOf(r)
	if err != nil {
		return 0, nil, err
	}
	actions, err := s.readBulk(r, sh.Name())
	if err != nil {
		return 0, nil, err
	}
	var ops []datanode.Op
	for _, a := range actions {
		if a.err == nil {
			ops = append(ops, a.op)
		}
	}
	var written datanode.Written
	if len(ops) > 0 {
		if written, err = sh.Bulk(r.Context(), ops); err != nil {
			return 0, nil, err
		}
	}
	done := bulkAnswer{Generation: written.Generation, Items: make([]map[string]bulkItem, 0, len(actions))}
	items := written.Items
	for _, a := range actions {
		if a.err == nil {
			a.item, items = items[0], items[1:]
		}
		name, item := a.answer()
		done.Errors = done.Errors || item.Error != nil
		done.Items = append(done.Items, map[string]bulkItem{name: item})
	}
	if len(ops) > 0 {
		if err := visible(r, sh, written.Generation); err != nil {
			done.RefreshError = err.Error()
		}
	}
	done.Took = time.Since(began).Milliseconds()
	return http.StatusOK, done, nil
}

// readBulk reads the actions. Only so many bodies are held at a time.
func (s *server) readBulk(r *http.Request, shard string) ([]action, error) {
	select {
	case s.reading <- struct{}{}:
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	}
	defer func() { <-s.reading }()
	raw, err := body(r, MaxBulkBytes)
	if err != nil {
		return nil, err
	}
	actions := parseBulk(raw, shard)
	if len(actions) == 0 {
		return nil, fmt.Errorf("%w: a bulk without a single action: it is lines of JSON, an action and then its source", datanode.ErrInvalid)
	}
	return actions, nil
}

// action is one action of a bulk: an op, or what is wrong with it.
type action struct {
	line int
	op   datanode.Op
	err  error
	item datanode.Item
}

// answer returns the name of the action and what became of it.
func (a *action) answer() (name string, item bulkItem) {
	if a.err != nil {
		name = "invalid"
		if a.op.Kind != 0 {
			name = a.op.Kind.String()
		}
		return name, bulkItem{ID: a.op.ID, Status: http.StatusBadRequest, Error: &problem{"bad_request", a.err.Error()}, Line: a.line}
	}
	item = bulkItem{ID: a.op.ID, Status: statusOf(a.item), Result: a.item.Outcome.String()}
	switch {
	case a.item.Err != nil:
		item.Error, item.Result = &problem{"bad_request", a.item.Err.Error()}, ""
	case a.item.Outcome == datanode.Exists:
		item.Error, item.Result = &problem{"conflict", "a document has this ID already"}, ""
	case a.item.Outcome == datanode.NotFound && a.op.Kind == datanode.Update:
		item.Error, item.Result = &problem{"not_found", "no document has this ID"}, ""
	}
	if item.Error != nil {
		item.Line = a.line
	}
	return a.op.Kind.String(), item
}

// parseBulk reads lines: an action, and its source unless it is a delete. Behind a line that is no action, lines are
// skipped up to the next one that is.
func parseBulk(raw []byte, shard string) []action {
	p := bulkParser{rest: raw, shard: shard}
	var actions []action
	skipping := false
	for {
		line, ok := p.next()
		if !ok {
			return actions
		}
		a := p.action(line)
		if a.op.Kind == 0 && skipping {
			continue
		}
		skipping = a.op.Kind == 0
		actions = append(actions, a)
	}
}

type bulkParser struct {
	rest  []byte
	line  int
	shard string
}

// next returns the next line that is not empty.
func (p *bulkParser) next() ([]byte, bool) {
	for len(p.rest) > 0 {
		line, rest, _ := bytes.Cut(p.rest, []byte("\n"))
		p.rest = rest
		p.line++
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, true
		}
	}
	return nil, false
}

// action reads an action and, if it is one, its source.
func (p *bulkParser) action(line []byte) action {
	a := action{line: p.line}
	var about struct {
		ID    *string `json:"_id"`
		Index *string `json:"_index"`
	}
	a.op.Kind, a.err = parseAction(line, &about)
	if a.op.Kind == 0 {
		return a
	}
	if a.op.Kind != datanode.Delete {
		source, ok := p.next()
		if !ok {
			a.err = fmt.Errorf("%w: line %d: the source line of the action is missing", datanode.ErrInvalid, a.line)
			return a
		}
		a.op.Source = source
	}
	switch {
	case a.err != nil:
	case about.Index != nil && *about.Index != p.shard:
		a.err = fmt.Errorf("%w: line %d: _index is %q, but this is %q", datanode.ErrInvalid, a.line, *about.Index, p.shard)
	case about.ID != nil:
		a.op.ID = *about.ID
	case a.op.Kind == datanode.Index, a.op.Kind == datanode.Create:
		a.op.ID = uuid.NewString()
	default:
		a.err = fmt.Errorf("%w: line %d: _id is missing", datanode.ErrInvalid, a.line)
	}
	if a.err == nil && a.op.Kind == datanode.Update {
		a.err = p.patch(&a)
	}
	return a
}

// parseAction reads {"kind": {…}}. The kind is returned when it is one, also if the rest of the line is wrong.
func parseAction(line []byte, about any) (datanode.Kind, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(line, &object); err != nil {
		return 0, fmt.Errorf("%w: the line is not an action: %w", datanode.ErrInvalid, err)
	}
	if len(object) != 1 {
		return 0, fmt.Errorf("%w: an action is an object with one name, not %d", datanode.ErrInvalid, len(object))
	}
	for name, value := range object {
		kind, err := datanode.ParseKind(name)
		if err != nil {
			return 0, err
		}
		if err := json.Unmarshal(value, about); err != nil {
			return kind, fmt.Errorf("%w: action %s: %w", datanode.ErrInvalid, kind, err)
		}
		return kind, nil
	}
	return 0, nil
}

// patch reads the source line of an update.
func (p *bulkParser) patch(a *action) error {
	var patch struct {
		Doc      json.RawMessage `json:"doc"`
		AsUpsert bool            `json:"doc_as_upsert"`
	}
	d := json.NewDecoder(bytes.NewReader(a.op.Source))
	d.DisallowUnknownFields() // a script or an upsert must not be passed over
	err := d.Decode(&patch)
	if err == nil && d.More() {
		err = errors.New("there is something behind it")
	}
	if err != nil {
		return fmt.Errorf("%w: line %d: an update has doc and doc_as_upsert: %w", datanode.ErrInvalid, p.line, err)
	}
	if len(patch.Doc) == 0 {
		return fmt.Errorf("%w: line %d: the update has no doc", datanode.ErrInvalid, p.line)
	}
	a.op.Source, a.op.Upsert = patch.Doc, patch.AsUpsert
	return nil
}
