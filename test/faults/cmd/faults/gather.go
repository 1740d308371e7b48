package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/offline-nodes/offline-nodes/test/faults"
)

// event is a line of go test -json.
type event struct {
	Action, Test, Output, Key, Value string
	Elapsed                          float64
}

// gathered is what go test said of the tests of a part.
type gathered struct {
	part  part
	tests map[string]*faults.Result
	words map[string]*strings.Builder // what each test that runs has written
}

// gather reads what go test says, and tells a person how it goes.
func gather(out io.Reader, p part, to io.Writer) *gathered {
	g := &gathered{part: p, tests: map[string]*faults.Result{}, words: map[string]*strings.Builder{}}
	for _, test := range p.tests {
		g.tests[test] = &faults.Result{Package: p.folder, Test: test}
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(to, lines.Text()) // the compiler's words
			continue
		}
		g.take(e, to)
	}
	return g
}

func (g *gathered) take(e event, to io.Writer) {
	test, _, _ := strings.Cut(e.Test, "/")
	r, found := g.tests[test]
	if !found {
		if e.Action == "output" && e.Test == "" && !strings.HasPrefix(e.Output, "PASS") {
			fmt.Fprint(to, e.Output)
		}
		return
	}
	if g.words[test] == nil {
		g.words[test] = &strings.Builder{}
	}
	switch {
	case e.Action == "output":
		g.words[test].WriteString(e.Output)
	case e.Action == "attr" && e.Key == faults.Key:
		var m faults.Measured
		if json.Unmarshal([]byte(e.Value), &m) == nil {
			r.Measured = append(r.Measured, m)
		}
	case e.Test != test: // a part of a test says nothing by itself
	case e.Action == "pass":
		r.Passed++
	case e.Action == "fail":
		r.Failed++
		fmt.Fprint(to, g.words[test].String())
	case e.Action == "skip":
		r.Skipped++
		r.Why = why(g.words[test].String())
	}
	if e.Test == test && slices.Contains([]string{"pass", "fail", "skip"}, e.Action) {
		fmt.Fprintf(to, "faults: %s %s in %.0f s\n", e.Action, test, e.Elapsed)
		g.words[test].Reset()
	}
}

var place = regexp.MustCompile(`^\s*\S+\.go:\d+: `)

// why is the last thing that a skipped test said in its own name.
func why(words string) (said string) {
	for line := range strings.Lines(words) {
		if place.MatchString(line) {
			said = strings.TrimSpace(place.ReplaceAllString(line, ""))
		}
	}
	return said
}

// results are those of all tests; one that go test was silent about did not run.
func (g *gathered) results(now time.Time, commit string) (all []faults.Result) {
	for _, test := range g.part.tests {
		r := *g.tests[test]
		r.When, r.Commit = now, commit
		all = append(all, r)
	}
	return all
}
