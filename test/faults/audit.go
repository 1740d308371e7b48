package faults

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Audit is a section of the report on what another program has found out.
type Audit interface {
	Report(w io.Writer) error
}

// ReadAudit reads what WriteAudit has written.
func ReadAudit(path string, a Audit) error {
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, a)
	}
	if err != nil {
		return fmt.Errorf("read an audit: %w", err)
	}
	return nil
}

// WriteAudit keeps an audit in a file.
func WriteAudit(path string, a Audit) error {
	text, err := json.MarshalIndent(a, "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write an audit: %w", err)
	}
	return nil
}

// Histories is the audit of random histories in fake time.
type Histories struct {
	Began  time.Time     `json:"began"`
	Took   time.Duration `json:"took_ns"`
	First  uint64        `json:"first_seed"`
	Played int           `json:"played"`
	Fake   time.Duration `json:"fake_ns"` // the time that passed in all of them
	Broken []string      `json:"broken,omitempty"`
	Sum    string        `json:"sum"` // what happened in them
}

// Report writes it in Markdown, as a section of a page.
func (h *Histories) Report(w io.Writer) error {
	verdict := "No invariant was broken."
	if len(h.Broken) > 0 {
		verdict = "**Invariants were broken**: " + strings.Join(h.Broken, "; ") + "."
	}
	_, err := fmt.Fprintf(w, "\n## Random histories\n\n%d histories of random faults (`make sim`, first seed %d), %s, %.1f hours of fake time in %s. %s\n\n%s\n",
		h.Played, h.First, h.Began.UTC().Format(time.DateOnly), h.Fake.Hours(), h.Took.Round(time.Second), verdict, h.Sum)
	return err
}
