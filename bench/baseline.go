package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"
	"time"

	"github.com/offline-nodes/offline-nodes/bench/internal/report"
	"github.com/offline-nodes/offline-nodes/bench/internal/stats"
	"github.com/offline-nodes/offline-nodes/bench/internal/system"
)

// baseline has ratios of ours to the peers' and of ours to itself: figures that a faster machine hardly changes.
type baseline struct {
	At     time.Time        `json:"at"`
	Ratios map[string]ratio `json:"ratios"`
}

// ratio is a figure and its noise: how far the turns were apart, as a share of the median.
type ratio struct {
	Value float64 `json:"value"`
	Noise float64 `json:"noise"`
}

// leastNoise is what a ratio of a metric may always differ by: few turns say little about how far the next one will be off,
// and the slowest task of a hundred is hardly ever the same twice.
func leastNoise(metric string) float64 {
	switch metric {
	case "p50":
		return 0.3
	case "p99":
		return 0.6
	default:
		return 0.2
	}
}

// ratios are those of a quick run.
func ratios(results []*report.Result) map[string]ratio {
	found := map[string]ratio{}
	add := func(name, metric string, over, under []float64) {
		r := ratio{Value: stats.Median(over) / stats.Median(under), Noise: max(leastNoise(metric), spread(over), spread(under))}
		if !math.IsNaN(r.Value) && !math.IsInf(r.Value, 0) {
			found[name] = r
		}
	}
	us := system.Spec{System: system.Ours, Variant: system.Best}.String()
	for _, r := range results {
		for _, kase := range r.Cases() {
			for _, peer := range r.Systems() {
				if peer == us {
					continue
				}
				for _, metric := range compared[r.Scenario] {
					add(fmt.Sprintf("%d %s %s: ours to %s", r.Scenario, kase, metric, peer), metric, r.Values(kase, us, metric), r.Values(kase, peer, metric))
				}
			}
		}
	}
	return found
}

// compared are the metrics of each scenario whose ratios are kept.
var compared = map[int][]string{1: {"burn-down", "while working", "worker", "servers"}, 2: {"p50", "p99"}, 5: {"p99"}}

// spread is 0 where it cannot be told.
func spread(values []float64) float64 {
	if s := stats.Spread(values); !math.IsNaN(s) {
		return s
	}
	return 0
}

// compare prints what has changed since the baseline, and keeps these ratios if that was asked for.
func (o options) compare(results []*report.Result) error {
	now := ratios(results)
	if o.baseline != "" {
		then, err := loadBaseline(o.baseline)
		if err != nil {
			return err
		}
		for _, line := range differences(then, now) {
			fmt.Println(line)
		}
	}
	if o.keepAs == "" {
		return nil
	}
	text, err := json.MarshalIndent(baseline{At: time.Now().UTC().Truncate(time.Second), Ratios: now}, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.keepAs, append(text, '\n'), 0o644) //nolint:gosec // for all to read
}

func loadBaseline(path string) (baseline, error) {
	var b baseline
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return b, err
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return b, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// differences says of each ratio that is outside the noise of both runs how it has changed, and how many are not.
func differences(then baseline, now map[string]ratio) []string {
	if len(then.Ratios) == 0 {
		return []string{"There is no baseline to compare with: --keep-baseline makes one."}
	}
	var lines []string
	same := 0
	for _, name := range slices.Sorted(maps.Keys(now)) {
		old, known := then.Ratios[name]
		change := now[name].Value/old.Value - 1
		switch noise := max(old.Noise, now[name].Noise); {
		case !known:
			lines = append(lines, fmt.Sprintf("new: %s is %.2f", name, now[name].Value))
		case math.Abs(change) > noise:
			lines = append(lines, fmt.Sprintf("CHANGED: %s was %.2f and is %.2f (%+.0f %%; noise %.0f %%)", name, old.Value, now[name].Value, 100*change, 100*noise))
		default:
			same++
		}
	}
	return append(lines, fmt.Sprintf("%d ratios are within the noise of the baseline of %s.", same, then.At.Format(time.DateOnly)))
}
