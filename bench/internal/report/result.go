package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/offline-nodes/offline-nodes/bench/internal/rig"
	"github.com/offline-nodes/offline-nodes/bench/internal/stats"
)

// Sample is one figure of one turn.
type Sample struct {
	Case   string  `json:"case,omitempty"`
	System string  `json:"system"`
	Metric string  `json:"metric"`
	Turn   int     `json:"turn"`
	Value  float64 `json:"value"`
}

// Result is what one run of a scenario has shown.
type Result struct {
	Scenario int         `json:"scenario"`
	Name     string      `json:"name"`
	At       time.Time   `json:"at"`
	Took     string      `json:"took"`
	Turns    int         `json:"turns"`
	Quick    bool        `json:"quick,omitempty"`
	Machine  rig.Machine `json:"machine"`
	Servers  []string    `json:"servers"`
	// Order of the systems; those that are not in it come as they were measured.
	Order []string `json:"order,omitempty"`
	// Settings of each system.
	Settings map[string][]string `json:"settings"`
	// Load is the load average of the last minute at the start of each turn.
	Load []float64 `json:"load"`
	// Others is how many cores other programs used during each turn, the kernel's own work included.
	Others []float64 `json:"others"`
	// Notes are what figures do not say.
	Notes   []string `json:"notes,omitempty"`
	Samples []Sample `json:"samples"`
}

// Values are those of all turns; a case of "" stands for those without one.
func (r *Result) Values(kase, system, metric string) []float64 {
	var values []float64
	for _, s := range r.Samples {
		if s.Case == kase && s.System == system && s.Metric == metric {
			values = append(values, s.Value)
		}
	}
	return values
}

// Median is that of all turns.
func (r *Result) Median(kase, system, metric string) float64 {
	return stats.Median(r.Values(kase, system, metric))
}

// Ratio is how a case's figure compares with another's of the same turn, the median of all turns: it leaves out how the
// machine's speed changes from turn to turn.
func (r *Result) Ratio(kase, over, system, metric string) float64 {
	base := map[int]float64{}
	for _, s := range r.Samples {
		if s.Case == over && s.System == system && s.Metric == metric {
			base[s.Turn] = s.Value
		}
	}
	var ratios []float64
	for _, s := range r.Samples {
		if b, ok := base[s.Turn]; ok && s.Case == kase && s.System == system && s.Metric == metric {
			ratios = append(ratios, s.Value/b)
		}
	}
	return stats.Median(ratios)
}

// Cases are in the order in which they were measured first.
func (r *Result) Cases() []string {
	return distinct(r.Samples, func(s Sample) string { return s.Case })
}

// Systems that were measured, in their order.
func (r *Result) Systems() []string {
	found := distinct(r.Samples, func(s Sample) string { return s.System })
	place := func(name string) int {
		if i := slices.Index(r.Order, name); i >= 0 {
			return i
		}
		return len(r.Order)
	}
	slices.SortStableFunc(found, func(a, b string) int { return place(a) - place(b) })
	return found
}

func distinct(samples []Sample, of func(Sample) string) []string {
	var found []string
	for _, s := range samples {
		if v := of(s); !slices.Contains(found, v) {
			found = append(found, v)
		}
	}
	return found
}

// File is where a scenario's result is kept.
func File(dir string, number int, name string) string {
	return filepath.Join(dir, fmt.Sprintf("%d-%s.json", number, name))
}

// Save keeps a result in its file.
func (r *Result) Save(dir string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // for all to read
		return err
	}
	return os.WriteFile(File(dir, r.Scenario, r.Name), append(text, '\n'), 0o644) //nolint:gosec // for all to read
}

// Load reads the result of a scenario; nil if it was not measured yet.
func Load(dir string, number int, name string) (*Result, error) {
	text, err := os.ReadFile(File(dir, number, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &Result{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", File(dir, number, name), err)
	}
	return r, nil
}
