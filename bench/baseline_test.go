package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/bench/internal/report"
	"github.com/offline-nodes/offline-nodes/bench/internal/scenario"
)

func quickRun(ours, theirs []float64) []*report.Result {
	r := &report.Result{Scenario: 1}
	for turn := range ours {
		r.Samples = append(
			r.Samples,
			report.Sample{System: "offline-nodes, best", Metric: "burn-down", Turn: turn, Value: ours[turn]},
			report.Sample{System: "asynq, best", Metric: "burn-down", Turn: turn, Value: theirs[turn]},
		)
	}
	return []*report.Result{r}
}

func TestOnlyWhatIsBeyondTheNoiseHasChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baseline.json")
	o := options{baseline: path, keepAs: path}
	require.NoError(t, o.compare(quickRun([]float64{300, 310, 290}, []float64{100, 100, 100})))
	then, err := loadBaseline(path)
	require.NoError(t, err)
	require.InDelta(t, 3, then.Ratios["1  burn-down: ours to asynq, best"].Value, 1e-9)

	same := differences(then, ratios(quickRun([]float64{330, 340, 320}, []float64{100, 100, 100})))
	require.Len(t, same, 1)
	require.Contains(t, same[0], "1 ratios are within the noise")

	slower := differences(then, ratios(quickRun([]float64{200, 200, 200}, []float64{100, 100, 100})))
	require.Contains(t, slower[0], "CHANGED: 1  burn-down: ours to asynq, best was 3.00 and is 2.00 (-33 %")

	noisy := differences(then, ratios(quickRun([]float64{200, 300, 100}, []float64{100, 100, 100})))
	require.Len(t, noisy, 1, "turns that far apart say nothing")
}

func TestWithoutABaselineThatIsSaid(t *testing.T) {
	lines := differences(baseline{}, ratios(quickRun([]float64{1}, []float64{1})))
	require.Contains(t, strings.Join(lines, "\n"), "no baseline")
}

func TestScenariosHaveNumbersAndNamesOfTheirOwn(t *testing.T) {
	numbers, names := map[int]bool{}, map[string]bool{}
	for _, s := range scenario.All() {
		require.False(t, numbers[s.Number] || names[s.Name], "%d-%s", s.Number, s.Name)
		numbers[s.Number], names[s.Name] = true, true
		require.NotEmpty(t, s.Metrics, s.Name)
		require.Positive(t, s.Turns, s.Name)
	}
}
