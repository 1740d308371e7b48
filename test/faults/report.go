package faults

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Report writes what came of all rows, in Markdown. On names machine and servers.
func Report(w io.Writer, results []Result, on string) error {
	var b strings.Builder
	b.WriteString("# Faults\n\n" +
		"What becomes of the promises when something breaks: 36 faults, what was done, and what came of it. `make faults` writes this page;\n" +
		"`go doc ./test/faults` says how a row is made. A row says *passed* only if all its tests ran and passed.\n\n")
	fmt.Fprintf(&b, "Made on %s%s.\n\n", on, dates(results))
	b.WriteString("Recovery is the time from the fault to what the row bounds, over all runs on real servers. *Real* is our programs as processes on\n" +
		"real servers; *bubble* the real code on servers in memory in fake time; *model* an exhaustive search; *unit* a component alone, on\n" +
		"its real server if it has one.\n\n")
	b.WriteString("| # | fault | | runs | recovery: median, worst | bound |\n| ---: | --- | --- | ---: | --- | --- |\n")
	for _, row := range Rows {
		o := outcome(row, results)
		fmt.Fprintf(&b, "| [%d](#row-%d) | %s | %s | %s | %s | %s |\n", row.Number, row.Number, row.Fault, o.verdict, o.runs(), o.recovery(), bound(row))
	}
	for _, row := range Rows {
		section(&b, row, outcome(row, results))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func dates(results []Result) string {
	if len(results) == 0 {
		return ""
	}
	byTime := func(a, b Result) int { return a.When.Compare(b.When) }
	first, last := slices.MinFunc(results, byTime), slices.MaxFunc(results, byTime)
	text := ", " + first.When.UTC().Format(time.DateOnly)
	if first.Commit != last.Commit {
		return text + ", commits " + first.Commit + " to " + last.Commit
	}
	return text + ", commit " + last.Commit
}

// came is what came of a row.
type came struct {
	verdict  string
	tests    map[Proof]Result
	measured []Measured // of all real runs
}

func outcome(row Row, results []Result) came {
	o := came{verdict: "passed", tests: map[Proof]Result{}}
	worse := func(verdict string) {
		order := []string{"passed", "partly run", "not run", "FAILED"}
		if slices.Index(order, verdict) > slices.Index(order, o.verdict) {
			o.verdict = verdict
		}
	}
	ran := false
	for _, p := range row.Proofs {
		at := slices.IndexFunc(results, func(r Result) bool { return r.proves(p) })
		if at < 0 {
			worse("partly run")
			continue
		}
		r := results[at]
		o.tests[p] = r
		o.measured = append(o.measured, r.Measured...)
		switch {
		case r.Failed > 0:
			worse("FAILED")
			ran = true
		case r.Passed == 0:
			worse("partly run")
		default:
			ran = true
		}
	}
	if !ran {
		worse("not run")
	}
	return o
}

func (o came) runs() string {
	if len(o.measured) == 0 {
		return ""
	}
	return fmt.Sprint(len(o.measured))
}

func (o came) recovery() string { return times(o.measured) }

// times are the median and the worst of what was measured.
func times(measured []Measured) string {
	var all []time.Duration
	for _, m := range measured {
		if m.Recovery > 0 {
			all = append(all, m.Recovery)
		}
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	return short(all[len(all)/2]) + ", " + short(all[len(all)-1])
}

func short(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func bound(row Row) string {
	if row.Bound == 0 {
		return ""
	}
	return fmt.Sprintf("%g s", row.Bound.Seconds())
}

func section(b *strings.Builder, row Row, o came) {
	fmt.Fprintf(b, "\n## Row %d\n\n**%s.** Kept: %s.\n", row.Number, upper(row.Fault), strings.Join(kept(row), "; "))
	if row.Bound > 0 {
		fmt.Fprintf(b, "Bound: %s (%s).\n", bound(row), row.Why)
	}
	b.WriteString("\n")
	for _, p := range row.Proofs {
		r, found := o.tests[p]
		fmt.Fprintf(b, "- %s, `%s` %s: %s\n", p.How, p.Package, p.Test, said(r, found))
		if len(r.Measured) > 0 {
			tell(b, r)
		}
	}
	open := row.Open
	if len(row.Proofs) == 0 {
		open = "everything. " + open
	}
	if open != "" {
		fmt.Fprintf(b, "\nNot covered: %s.\n", strings.TrimSuffix(open, ". "))
	}
}

func kept(row Row) (all []string) {
	for _, number := range row.Invariants {
		all = append(all, Invariants[number])
	}
	return all
}

func said(r Result, found bool) string {
	runs := r.Passed + r.Failed
	switch {
	case !found:
		return "not run"
	case runs == 0:
		return "not run here: " + cmp.Or(r.Why, "it was left out")
	case r.Failed > 0:
		return fmt.Sprintf("**FAILED** %d of %d runs", r.Failed, runs)
	case runs > 1:
		return fmt.Sprintf("passed %d of %d runs", r.Passed, runs)
	}
	return "passed"
}

// tell writes what the runs of a test measured; what they checked is the last run's.
func tell(b *strings.Builder, r Result) {
	last := r.Measured[len(r.Measured)-1]
	fmt.Fprintf(b, "  - injected: %s\n", last.Fault)
	if len(last.Servers) > 0 {
		fmt.Fprintf(b, "  - on: %s\n", strings.Join(last.Servers, "; "))
	}
	if recovery := times(r.Measured); recovery != "" {
		fmt.Fprintf(b, "  - %s: %s\n", last.Recovered, recovery)
	}
	for _, what := range last.Checked {
		fmt.Fprintf(b, "  - checked: %s\n", what)
	}
}

func upper(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
