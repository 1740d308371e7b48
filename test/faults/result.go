package faults

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"
)

// Result is what came of one test, in all its runs.
type Result struct {
	Package string `json:"package"`
	Test    string `json:"test"`
	Passed  int    `json:"passed"`
	Failed  int    `json:"failed"`
	// Skipped runs prove nothing; Why is what the test said.
	Skipped int    `json:"skipped,omitempty"`
	Why     string `json:"why,omitempty"`

	Measured []Measured `json:"measured,omitempty"`
	// When the last run ended, and on which commit.
	When   time.Time `json:"when"`
	Commit string    `json:"commit,omitempty"`
}

// proves says whether a result is of a proof.
func (r Result) proves(p Proof) bool { return r.Package == p.Package && r.Test == p.Test }

// ReadResults reads a file of results, a line each. No file is no result.
func ReadResults(path string) ([]Result, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var all []Result
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var r Result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		all = append(all, r)
	}
	return all, lines.Err()
}

// WriteResults writes them a line each.
func WriteResults(w io.Writer, all []Result) error {
	encoder := json.NewEncoder(w)
	for _, r := range all {
		if err := encoder.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// Replace puts newer results in the place of older ones of the same tests.
func Replace(old, newer []Result) []Result {
	all := slices.DeleteFunc(slices.Clone(old), func(o Result) bool {
		return slices.ContainsFunc(newer, func(n Result) bool { return n.Package == o.Package && n.Test == o.Test })
	})
	return append(all, newer...)
}
