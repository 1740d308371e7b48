package config

import (
	"slices"
	"time"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// Apply changes the definitions in mux as the types section says, and refuses
// names in it or in node.types that mux does not have. Call it before a node
// gets the mux.
func (s *Settings) Apply(mux *task.Mux) error {
	var problems []Problem
	for _, name := range s.Node.Types {
		if mux.Lookup(name) == nil {
			problems = append(problems, s.problem("node.types", "", noType(name, mux)))
		}
	}
	for name, t := range s.Types {
		d := mux.Lookup(name)
		if d == nil {
			problems = append(problems, s.problem("types."+name, "", noType(name, mux)))
			continue
		}
		t.apply(d)
		if err := d.Retry.Validate(); err != nil {
			problems = append(problems, s.problem("types."+name+".retry", "", err.Error()))
		}
	}
	slices.SortFunc(problems, func(a, b Problem) int { return len(a.Key) - len(b.Key) })
	return asError(problems)
}

// Served lists the types that the node runs: those of node.types, or all in mux.
func (s *Settings) Served(mux *task.Mux) []string {
	if len(s.Node.Types) > 0 {
		return slices.Clone(s.Node.Types)
	}
	return mux.Types()
}

func (t Type) apply(d *task.Definition) {
	set(&d.Slots, t.Slots)
	set(&d.Stall, t.Stall)
	set(&d.Retry.MaxAttempts, t.Retry.MaxAttempts)
	set(&d.Retry.Initial, t.Retry.Initial)
	set(&d.Retry.Max, t.Retry.Max)
	set(&d.Retry.Factor, t.Retry.Factor)
	set(&d.Retry.Jitter, t.Retry.Jitter)
}

func set[T int | float64 | time.Duration](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func noType(name string, mux *task.Mux) string {
	if near := nearest(name, mux.Types()); near != "" {
		return "no worker runs the type " + name + ": did you mean " + near + "?"
	}
	return "no worker runs the type " + name
}
