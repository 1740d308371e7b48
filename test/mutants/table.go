package main

import (
	"fmt"
	"strings"
	"time"
)

const head = `# Mutants

Each rule of the protocol is broken on purpose, and a named test must notice: it passes with the rule and fails without
it. ` + "`make mutants`" + ` does that and writes this page. A rule in *italics* is broken by the test itself (a model's own
variant, or a part that a simulation puts in), which passes when the broken rule was noticed. The seconds are those of
one failing run, on two cores that had other things to do.
`

// table is the page, by what the rules are about.
func table(results []result, took time.Duration) string {
	var b strings.Builder
	b.WriteString(head)
	about := ""
	for _, r := range results {
		if r.about != about {
			about = r.about
			fmt.Fprintf(&b, "\n## %s\n\n| broken rule | noticed by | in | s |\n| --- | --- | --- | ---: |\n", about)
		}
		rule, by := r.rule, strings.ReplaceAll(r.by, "_", " ")
		if r.own {
			rule = "*" + rule + "*"
		}
		if r.err != nil {
			by = "**nothing**"
		}
		fmt.Fprintf(&b, "| %s | `%s` | `%s` | %.1f |\n", rule, by, r.in, r.took.Seconds())
	}
	fmt.Fprintf(&b, "\n%d rules, %d noticed, in %s.\n", len(results), len(results)-missed(results), took.Round(time.Second))
	return b.String()
}
