package report

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/offline-nodes/offline-nodes/bench/internal/chart"
	"github.com/offline-nodes/offline-nodes/bench/internal/stats"
)

// Metric is a column of a scenario's table.
type Metric struct {
	Name string
	// Unit is shown in the head of the column.
	Unit string
}

// Picture shows one metric of all systems and cases.
type Picture struct {
	Title  string
	Metric string
	Unit   string
	// Lines draws a line per system over the cases, which are then numbers; else there is a bar for each.
	Lines bool
	// Log draws on a logarithmic scale.
	Log bool
}

// Target is what we want to reach.
type Target struct {
	Text string
	// Reached tells the figure and whether it is good enough. A figure of NaN was not measured.
	Reached func(r *Result) (figure float64, ok bool)
	// Unit follows the figure.
	Unit string
	// Aside is told beside the targets without being one.
	Aside bool
	// Missed says, if the target is missed, what is in the way and what would lift it.
	Missed string
}

// verdict is the figure and what it means for the target.
func (t *Target) verdict(r *Result) (figure float64, verdict string) {
	figure, ok := t.Reached(r)
	switch {
	case math.IsNaN(figure):
		return figure, "not measured"
	case t.Aside:
		return figure, "–"
	case ok:
		return figure, "reached"
	}
	return figure, missed
}

const missed = "**missed**"

// Scenario is how a result is shown.
type Scenario struct {
	Number  int
	Name    string // of its files
	Title   string
	About   string
	Metrics []Metric
	Picture Picture
	Targets []Target
}

// Write makes the page at path, and its pictures in a folder of the same name beside it.
func Write(path, results string, scenarios []Scenario) error {
	var b strings.Builder
	b.WriteString(head)
	var measured []*Result
	for _, s := range scenarios {
		r, err := Load(results, s.Number, s.Name)
		if err != nil {
			return err
		}
		measured = append(measured, r)
	}
	writeTargets(&b, scenarios, measured)
	pictures := strings.TrimSuffix(path, filepath.Ext(path))
	for i, s := range scenarios {
		fmt.Fprintf(&b, "\n## %d. %s\n\n%s\n\n", s.Number, s.Title, s.About)
		if measured[i] == nil {
			b.WriteString("Not measured yet.\n")
			continue
		}
		file := fmt.Sprintf("%d-%s.svg", s.Number, s.Name)
		if err := savePicture(filepath.Join(pictures, file), s.Picture, measured[i]); err != nil {
			return err
		}
		fmt.Fprintf(&b, "![%s](%s/%s)\n\n", s.Picture.Title, filepath.Base(pictures), file)
		b.WriteString(Table(s, measured[i]))
		writeConditions(&b, measured[i])
	}
	return os.WriteFile(path, []byte(b.String()), 0o644) //nolint:gosec // for all to read
}

const head = `# Benchmarks

What our users would pick instead, side by side on one machine. Written by ` + "`make bench`" + `, which repeats everything;
` + "`make bench SCENARIO=n`" + ` repeats one scenario. Figures depend on the machine: compare those of one table.

Each peer runs with the settings that its documentation or its own benchmark recommends for speed (*best*), and with those that
it has when nobody sets any (*default*). A worker is a process of its own; handlers and payloads (400 bytes) are the same for all. Systems
take turns, so that a busy moment of the machine meets all of them; figures are medians over the turns, with the lowest
and the highest in brackets. Before the first turn Kafka has a minute of ours at 1,000 tasks/s, as a broker that has just started
is busy with compiling itself. Kafka acknowledges when it has a record in memory and Redis writes its log once a second, so a crash of the
machine can cost both a second of work; PostgreSQL waits for its disk, except where *relaxed* says otherwise.
`

// Table is a scenario's table in Markdown.
func Table(s Scenario, r *Result) string {
	var b strings.Builder
	cases := r.Cases()
	withCases := len(cases) > 1 || cases[0] != ""
	var columns []string
	if withCases {
		columns = append(columns, "case")
	}
	columns = append(columns, "system")
	for _, m := range s.Metrics {
		columns = append(columns, strings.TrimSpace(m.Name+" "+m.Unit))
	}
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat(" --- |", len(columns)))
	for _, kase := range cases {
		for _, system := range r.Systems() {
			row, found := cells(s, r, kase, system)
			if !found {
				continue
			}
			if withCases {
				row = append([]string{kase}, row...)
			}
			fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		}
	}
	return b.String()
}

func cells(s Scenario, r *Result, kase, system string) (row []string, found bool) {
	row = []string{system}
	for _, m := range s.Metrics {
		values := r.Values(kase, system, m.Name)
		found = found || len(values) > 0
		row = append(row, show(values))
	}
	return row, found
}

// show is a median with the range around it.
func show(values []float64) string {
	if len(values) == 0 {
		return "–"
	}
	low, high := slices.Min(values), slices.Max(values)
	if low == high {
		return Number(low)
	}
	return fmt.Sprintf("%s (%s–%s)", Number(stats.Median(values)), Number(low), Number(high))
}

// Number writes a figure with three digits that count.
func Number(v float64) string {
	abs := math.Abs(v)
	switch {
	case math.IsNaN(v):
		return "–"
	case abs >= 10_000:
		text := fmt.Sprintf("%.0f", v)
		for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
			text = text[:i] + "," + text[i:]
		}
		return text
	case abs >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case abs >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

func writeTargets(b *strings.Builder, scenarios []Scenario, measured []*Result) {
	b.WriteString("\n## Targets\n\n| scenario | target | measured | |\n| --- | --- | --- | --- |\n")
	for i, s := range scenarios {
		for _, line := range Targets(s, measured[i]) {
			fmt.Fprintf(b, "| %d. %s | %s |\n", s.Number, s.Title, line)
		}
	}
	for i, s := range scenarios {
		for _, t := range s.Targets {
			if measured[i] == nil || t.Missed == "" {
				continue
			}
			if _, verdict := t.verdict(measured[i]); verdict == missed {
				fmt.Fprintf(b, "\n**%d. %s**, missed: %s\n", s.Number, t.Text, t.Missed)
			}
		}
	}
}

// Targets are a scenario's targets as cells of a table: the target, the figure, and whether it was reached.
func Targets(s Scenario, r *Result) []string {
	var lines []string
	for _, t := range s.Targets {
		if r == nil {
			lines = append(lines, t.Text+" | – | not measured yet")
			continue
		}
		figure, verdict := t.verdict(r)
		lines = append(lines, fmt.Sprintf("%s | %s%s | %s", t.Text, Number(figure), t.Unit, verdict))
	}
	return lines
}

// Disturbing is how many cores others may use before a turn is taken again, and before the page warns of it; the
// kernel's own work for us is in it.
const Disturbing = 0.25

func writeConditions(b *strings.Builder, r *Result) {
	b.WriteByte('\n')
	if busy := stats.Median(r.Others); busy > Disturbing {
		fmt.Fprintf(b, "**Other programs used %.1f of %d cores meanwhile: ratios and processor times say more here than rates and delays.**\n\n", busy, r.Machine.Cores)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(b, "%s\n\n", note)
	}
	b.WriteString("<details><summary>Settings and conditions</summary>\n\n")
	for _, system := range slices.Sorted(maps.Keys(r.Settings)) {
		fmt.Fprintf(b, "- %s: %s\n", system, strings.Join(r.Settings[system], "; "))
	}
	for _, server := range r.Servers {
		fmt.Fprintf(b, "- %s\n", server)
	}
	m := r.Machine
	var versions []string
	for _, name := range slices.Sorted(maps.Keys(m.Versions)) {
		versions = append(versions, name+" "+m.Versions[name])
	}
	fmt.Fprintf(b, "- %s; %d cores, %d GB, Linux %s; %s\n", m.CPU, m.Cores, m.MemoryGB, m.Kernel, strings.Join(versions, ", "))
	load := make([]string, len(r.Load))
	for i, l := range r.Load {
		load[i] = fmt.Sprintf("%.1f", l)
	}
	others := make([]string, len(r.Others))
	for i, o := range r.Others {
		others[i] = fmt.Sprintf("%.2f", o)
	}
	fmt.Fprintf(b, "- %s, %d turn(s), in %s; load average at the start of each measurement: %s\n", r.At.UTC().Format("2006-01-02 15:04 MST"), r.Turns, r.Took, strings.Join(load, " "))
	fmt.Fprintf(b, "- cores that other programs and the kernel used during each: %s\n", strings.Join(others, " "))
	if r.Quick {
		b.WriteString("- **a quick run: with fewer tasks than the text says**\n")
	}
	b.WriteString("\n</details>\n")
}

func savePicture(path string, p Picture, r *Result) error {
	c := chart.Chart{Title: p.Title, Unit: p.Unit, Log: p.Log}
	cases := r.Cases()
	for _, system := range r.Systems() {
		series := chart.Series{Name: system}
		for _, kase := range cases {
			if v := r.Median(kase, system, p.Metric); !math.IsNaN(v) || (!p.Lines && len(cases) == 1) {
				series.Points = append(series.Points, chart.Point{Label: kase, Value: v})
			}
		}
		if len(series.Points) > 0 {
			c.Series = append(c.Series, series)
		}
	}
	draw := c.Bars
	if p.Lines {
		draw = c.Lines
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // for all to read
		return err
	}
	return os.WriteFile(path, []byte(draw()), 0o644) //nolint:gosec // for all to read
}
