package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/offline-nodes/offline-nodes/internal/cli"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// spec is a task as flags and lines describe it.
type spec struct {
	Type         string          `json:"type"`
	Params       json.RawMessage `json:"params"`
	ParamsBase64 []byte          `json:"params_base64"`
	ID           string          `json:"id"`
	Unique       string          `json:"unique"`
	UniqueFor    string          `json:"unique_for"`
	Again        bool            `json:"again"`
	In           string          `json:"in"`
	RunAt        string          `json:"run_at"`
	Deadline     string          `json:"deadline"`
	MaxAttempts  int             `json:"max_attempts"`
	OpaqueID     string          `json:"opaque_id"`
	ContentType  string          `json:"content_type"`
}

// single tells whether anything is said that is about one task alone.
func (s *spec) single() bool {
	return s.ID != "" || s.Unique != "" || s.UniqueFor != "" || s.Again || s.In != "" || s.RunAt != "" ||
		s.Deadline != "" || s.MaxAttempts != 0 || s.OpaqueID != "" || s.ContentType != ""
}

// parse reads a line of JSON.
func parse(line []byte) (spec, error) {
	var s spec
	decoder := json.NewDecoder(strings.NewReader(string(line)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return s, unreadable(err)
	}
	if decoder.More() {
		return s, errors.New("something follows the object: one task per line")
	}
	return s, nil
}

// unreadable words what the JSON decoder says.
func unreadable(err error) error {
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if kind.Field == "" {
			return fmt.Errorf("%s, not an object such as {\"type\": …, \"params\": …}", withArticle(kind.Value))
		}
		return fmt.Errorf("%s is %s, not %s", kind.Field, withArticle(kind.Value), kindOf(kind.Type.String()))
	}
	if name, found := strings.CutPrefix(err.Error(), "json: unknown field "); found {
		return fmt.Errorf("unknown key %s: there are type, params, params_base64, id, unique, unique_for, again, in, run_at, deadline, max_attempts, opaque_id, content_type", name)
	}
	return fmt.Errorf("no JSON: %w", err)
}

// withArticle names what the JSON decoder calls array, object, string, bool,
// number or "number 1.5".
func withArticle(kind string) string {
	if kind == "array" || kind == "object" {
		return "an " + kind
	}
	return "a " + kind
}

func kindOf(goType string) string {
	switch goType {
	case "int":
		return "a whole number"
	case "bool":
		return "true or false"
	case "[]uint8":
		return "base64 text"
	}
	return "a string"
}

// submission checks what is said. Its mistakes are all told at once.
func (s *spec) submission(params []byte, now time.Time) (task.Submission, error) {
	var options []task.SubmitOption
	var errs []error
	use := func(given bool, option func() (task.SubmitOption, error)) {
		if !given {
			return
		}
		o, err := option()
		if err != nil {
			errs = append(errs, err)
			return
		}
		options = append(options, o)
	}
	is := func(o task.SubmitOption) func() (task.SubmitOption, error) {
		return func() (task.SubmitOption, error) { return o, nil }
	}
	errs = append(errs, s.contradictions()...)
	use(s.ID != "", is(task.ID(s.ID)))
	use(s.Unique != "", s.uniqueness)
	use(s.Again, is(task.Again()))
	use(s.In != "", func() (task.SubmitOption, error) {
		d, err := cli.ParseDuration(s.In)
		return task.In(d), wrong("in", err)
	})
	use(s.RunAt != "", func() (task.SubmitOption, error) {
		t, err := time.Parse(time.RFC3339, s.RunAt)
		if err != nil {
			err = fmt.Errorf("%q is no time: write 2026-05-01T12:00:00Z", s.RunAt)
		}
		return task.At(t), wrong("run-at", err)
	})
	use(s.Deadline != "", func() (task.SubmitOption, error) {
		t, err := cli.ParseAhead(s.Deadline, now)
		return task.Deadline(t), wrong("deadline", err)
	})
	use(s.MaxAttempts != 0, is(task.MaxAttempts(s.MaxAttempts)))
	use(s.OpaqueID != "", is(task.OpaqueID(s.OpaqueID)))
	use(s.ContentType != "", is(task.ContentType(s.ContentType)))
	if len(errs) > 0 {
		return task.Submission{}, oneLine(errs)
	}
	submission, err := task.NewSubmission(s.Type, params, options...)
	if err != nil {
		return submission, errors.New(strings.TrimPrefix(strings.TrimPrefix(err.Error(), "submit "+s.Type+": "), task.ErrInvalid.Error()+": "))
	}
	return submission, nil
}

// oneLine joins mistakes.
func oneLine(errs []error) error {
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return errors.New(strings.Join(texts, "; "))
}

func (s *spec) contradictions() (errs []error) {
	if s.Type == "" {
		errs = append(errs, errors.New("no task type"))
	}
	if s.ID != "" && s.Unique != "" {
		errs = append(errs, errors.New("both id and unique: a unique key makes the id"))
	}
	if s.In != "" && s.RunAt != "" {
		errs = append(errs, errors.New("both in and a time to run at: one of them"))
	}
	if s.Unique == "" && (s.UniqueFor != "" || s.Again) {
		errs = append(errs, errors.New("unique-for and again need a unique key"))
	}
	return errs
}

func (s *spec) uniqueness() (task.SubmitOption, error) {
	if s.UniqueFor == "" {
		return task.Unique(s.Unique), nil
	}
	period, err := cli.ParseDuration(s.UniqueFor)
	if err == nil && period <= 0 {
		err = errors.New("must be more than 0")
	}
	return task.UniqueFor(s.Unique, period), wrong("unique-for", err)
}

func wrong(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
