package report_test

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/bench/internal/report"
	"github.com/offline-nodes/offline-nodes/bench/internal/rig"
)

func example() (report.Scenario, *report.Result) {
	s := report.Scenario{
		Number: 3, Name: "example", Title: "An example", About: "About it.",
		Metrics: []report.Metric{{Name: "speed", Unit: "/s"}, {Name: "cost"}},
		Picture: report.Picture{Title: "Speed", Metric: "speed"},
		Targets: []report.Target{{Text: "fast", Reached: func(r *report.Result) (float64, bool) {
			v := r.Median("", "ours", "speed")
			return v, v >= 100
		}}},
	}
	r := &report.Result{
		Scenario: 3, Name: "example", At: time.Unix(1e9, 0), Turns: 3, Machine: rig.Machine{CPU: "some CPU", Cores: 2},
		Order: []string{"ours", "theirs"}, Settings: map[string][]string{"ours": {"x 1", "y 2"}}, Load: []float64{0.5},
	}
	for turn, v := range []float64{20_000, 90, 150} {
		r.Samples = append(r.Samples,
			report.Sample{System: "theirs", Metric: "speed", Turn: turn, Value: 7},
			report.Sample{System: "ours", Metric: "speed", Turn: turn, Value: v})
	}
	return s, r
}

func TestATableShowsMediansAndRanges(t *testing.T) {
	s, r := example()
	require.Equal(t, "| system | speed /s | cost |\n| --- | --- | --- |\n| ours | 150 (90–20,000) | – |\n| theirs | 7 | – |\n", report.Table(s, r))
}

func TestThePageIsMadeOfKeptResults(t *testing.T) {
	s, r := example()
	dir := t.TempDir()
	page, results := filepath.Join(dir, "page.md"), filepath.Join(dir, "results")
	later := report.Scenario{Number: 4, Name: "later", Title: "Later", Targets: []report.Target{{Text: "some day"}}}

	require.NoError(t, report.Write(page, results, []report.Scenario{s, later}))
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Contains(t, string(text), "| fast | – | not measured yet |")

	require.NoError(t, r.Save(results))
	require.NoError(t, report.Write(page, results, []report.Scenario{s, later}))
	text, err = os.ReadFile(page)
	require.NoError(t, err)
	require.Contains(t, string(text), "| fast | 150 | reached |")
	require.Contains(t, string(text), "| some day | – | not measured yet |")
	require.Contains(t, string(text), "- ours: x 1; y 2\n")
	require.FileExists(t, filepath.Join(dir, "page", "3-example.svg"))
}

func TestWhatIsMissedIsSaid(t *testing.T) {
	s, r := example()
	for i := range r.Samples {
		r.Samples[i].Value = 5
	}
	require.Equal(t, []string{"fast | 5 | **missed**"}, report.Targets(s, r))
	r.Samples = nil
	require.Equal(t, []string{"fast | – | not measured"}, report.Targets(s, r))
}

func TestARatioIsOfOneTurn(t *testing.T) {
	r := &report.Result{}
	for turn, v := range []float64{1, 10, 100} { // the machine gets slower
		r.Samples = append(r.Samples,
			report.Sample{Case: "small", System: "ours", Metric: "cost", Turn: turn, Value: v},
			report.Sample{Case: "large", System: "ours", Metric: "cost", Turn: turn, Value: 2 * v})
	}
	require.InDelta(t, 2, r.Ratio("large", "small", "ours", "cost"), 1e-9)
	require.True(t, math.IsNaN(r.Ratio("large", "none", "ours", "cost")))
}

func TestThePageSaysWhyATargetIsMissed(t *testing.T) {
	s, r := example()
	s.Targets[0].Missed = "the road is wet: wait for the sun"
	dir := t.TempDir()
	page, results := filepath.Join(dir, "page.md"), filepath.Join(dir, "results")
	for value, said := range map[float64]bool{5: true, 500: false} {
		for i := range r.Samples {
			r.Samples[i].Value = value
		}
		require.NoError(t, r.Save(results))
		require.NoError(t, report.Write(page, results, []report.Scenario{s}))
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		require.Equal(t, said, strings.Contains(string(text), "fast**, missed: the road is wet"))
	}
}

func TestNumbersHaveThreeDigitsThatCount(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.123: "0.12", 12.34: "12.3", 123.4: "123", 9999: "9999", 1234567: "1,234,567", -12345: "-12,345"} {
		require.Equal(t, want, report.Number(v))
	}
}
