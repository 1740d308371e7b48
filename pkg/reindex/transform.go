package reindex

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Transform changes a document, step by step. Without steps its JSON stays as it is, byte for byte.
type Transform []Step

// Step is one change of a document. A dot in the name of a field leads into an object. What is not there is passed over by
// rename, copy and remove; rename, copy, set and default make the objects on the way to the field that they write, and a
// document where something else is in their way is an error.
type Step struct {
	// Op is rename, copy, remove, set, or default: set where the field is missing or null.
	Op    string          `json:"op"`
	Field string          `json:"field"`
	To    string          `json:"to,omitempty"`    // of rename and copy
	Value json.RawMessage `json:"value,omitempty"` // of set and default
}

// Validate reports every mistake at once.
func (t Transform) Validate() error {
	var errs []error
	for i, s := range t {
		if err := s.validate(); err != nil {
			errs = append(errs, fmt.Errorf("transform, step %d: %w", i+1, err))
		}
	}
	return errors.Join(errs...)
}

func (s Step) validate() error {
	errs := []error{checkField(s.Field)}
	moves, sets := s.Op == "rename" || s.Op == "copy", s.Op == "set" || s.Op == "default"
	if !moves && !sets && s.Op != "remove" {
		return fmt.Errorf("op is %q: use rename, copy, remove, set or default", s.Op)
	}
	switch {
	case moves:
		errs = append(errs, checkField(s.To))
		if inside(s.Field, s.To) || inside(s.To, s.Field) {
			errs = append(errs, fmt.Errorf("%s of %q to %q: one is inside the other", s.Op, s.Field, s.To))
		}
	case s.To != "":
		errs = append(errs, fmt.Errorf("%s has no \"to\"", s.Op))
	}
	switch {
	case sets && !json.Valid(s.Value):
		errs = append(errs, fmt.Errorf("%s needs a value, as JSON", s.Op))
	case !sets && s.Value != nil:
		errs = append(errs, fmt.Errorf("%s has no value", s.Op))
	}
	return errors.Join(errs...)
}

func checkField(name string) error {
	if slices.Contains(strings.Split(name, "."), "") || strings.HasPrefix(name, "_") {
		return fmt.Errorf("field %q: a name has no empty part and does not begin with _", name)
	}
	return nil
}

// inside tells whether a field is another one or in it.
func inside(name, outer string) bool { return name == outer || strings.HasPrefix(name, outer+".") }

// Apply returns the document as it is after all steps.
func (t Transform) Apply(source json.RawMessage) (json.RawMessage, error) {
	if len(t) == 0 {
		return source, nil
	}
	var doc map[string]any
	if err := decode(source, &doc); err != nil || doc == nil {
		return nil, fmt.Errorf("it is not a JSON object: %w", errors.Join(err))
	}
	for _, s := range t {
		if err := s.apply(doc); err != nil {
			return nil, err
		}
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(doc); err != nil {
		return nil, err
	}
	return bytes.TrimRight(out.Bytes(), "\n"), nil
}

// decode keeps numbers as they are written.
func decode(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d.Decode(into)
}

func (s Step) apply(doc map[string]any) error {
	parent, name := lookup(doc, s.Field)
	value, there := parent[name]
	switch s.Op {
	case "set", "default":
		if s.Op == "default" && there && value != nil {
			return nil
		}
		var given any
		if err := decode(s.Value, &given); err != nil {
			return err
		}
		return put(doc, s.Field, given)
	}
	if !there {
		return nil
	}
	switch s.Op {
	case "copy":
		return put(doc, s.To, clone(value))
	case "rename":
		if err := put(doc, s.To, value); err != nil {
			return err
		}
	}
	delete(parent, name)
	return nil
}

// lookup returns the object that a field is in, nil if there is none, and the field's name there.
func lookup(doc map[string]any, field string) (parent map[string]any, name string) {
	for {
		outer, rest, inner := strings.Cut(field, ".")
		if !inner {
			return doc, field
		}
		doc, _ = doc[outer].(map[string]any)
		field = rest
	}
}

// put writes a field, and makes the objects on the way to it.
func put(doc map[string]any, field string, value any) error {
	outer, rest, inner := strings.Cut(field, ".")
	if !inner {
		doc[field] = value
		return nil
	}
	next, isObject := doc[outer].(map[string]any)
	if !isObject {
		if doc[outer] != nil {
			return fmt.Errorf("field %q is no object: %q cannot be in it", outer, rest)
		}
		next = map[string]any{}
		doc[outer] = next
	}
	return put(next, rest, value)
}

func clone(value any) any {
	switch v := value.(type) {
	case map[string]any:
		v = maps.Clone(v)
		for name := range v {
			v[name] = clone(v[name])
		}
		return v
	case []any:
		v = slices.Clone(v)
		for i := range v {
			v[i] = clone(v[i])
		}
		return v
	}
	return value
}
