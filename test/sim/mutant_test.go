//go:build synctests

package sim

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/node"
	"github.com/offline-nodes/offline-nodes/pkg/shard"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// mutants are mistakes that the observer must notice, each with a short
// history that brings it to light and without it is right.
var mutants = []struct {
	name  string
	steps []Step
	Options
	guarded bool
	fault   Step // of the system, which only the mutant has
	want    []string
}{
	{
		name:  "superseded before owed",
		steps: []Step{submit(0, "minutes"), trapAll(1, "crash at", "detach.raised")},
		Options: lua(`    elseif order < s_order then
      if not published then return owed(state) end
`, `    elseif order < s_order then
`),
		want: []string{I7},
	},
	{
		name:  "settled before owed",
		steps: []Step{submit(5, "quick"), trapAll(1, "crash at", "settled")},
		Options: lua(`    elseif ended(status) then
      if not published then return owed(state) end
`, `    elseif ended(status) then
`),
		want: []string{I7},
	},
	{
		name:    "event before dead letter",
		steps:   []Step{submit(0, "permanent")},
		Options: Options{Publisher: func(p node.Publisher) node.Publisher { return lateLetters{p} }},
		want:    []string{I4},
	},
	{
		name:    "put back with a foreign token",
		steps:   []Step{submit(0, "short"), {At: 8 * time.Second, Do: "freeze runner", For: time.Minute}},
		Options: lua(`if not known and (s_id ~= ZERO or status ~= '1') then`, `if false then`),
		want:    []string{I2, I3, I5},
	},
	{
		name:    "watermark over an open offset",
		steps:   []Step{submit(0, "short")},
		Options: Options{Consumer: func(c node.Consumer) node.Consumer { return hasty{c} }},
		want:    []string{I7},
	},
	{
		name:  "late commit after a revoke",
		steps: []Step{submit(0, "quick"), submit(1, "quick"), submit(2, "quick"), submit(3, "quick")},
		fault: Step{At: 30 * time.Second, Do: "late commit"},
		want:  []string{I8},
	},
	{
		name:    "a lease is no obstacle",
		steps:   []Step{submit(0, "minutes"), submit(0, "minutes"), submit(1, "minutes"), submit(1, "minutes")}, // whose copies are not all the runner's
		Options: lua(`if sub(lease, 1, #who) ~= who then`, `if false then`),
		want:    []string{I2},
	},
	{
		name:  "no settlement is stale",
		steps: []Step{submit(5, "short"), trapAll(1, "freeze at", "settle")},
		Options: lua(`  if lease and lease ~= mine then return 'z' end
`, ``, `elseif s_id ~= ZERO or s_status ~= '1' then`, `elseif false then`),
		want: []string{I2, I3, I5},
	},
	{
		name:    "applied tasks are forgotten",
		steps:   []Step{submit(5, "effect"), trapAll(1, "crash at", "run.ended")},
		guarded: true,
		Options: Options{Change: func(cur shard.Manifest, c shard.Change) (shard.Manifest, error) {
			c.Writer.Task = ""
			return shard.Commit(cur, c)
		}},
		want: []string{I6},
	},
	{
		name:    "dead letters are changed",
		steps:   []Step{submit(0, "permanent")},
		Options: Options{Publisher: func(p node.Publisher) node.Publisher { return otherLetters{p} }},
		want:    []string{I9},
	},
	{
		name:    "a lease of a minute",
		steps:   []Step{submit(0, "minutes"), {At: 30 * time.Second, Do: "crash runner", For: 2 * time.Minute}},
		Options: Options{Claims: func(c *claims.Config) { c.Lease = time.Minute }},
		want:    []string{I12},
	},
	{
		name:    "events are not published",
		steps:   []Step{submit(0, "quick")},
		Options: Options{Publisher: func(p node.Publisher) node.Publisher { return silentEvents{p} }},
		want:    []string{I7},
	},
	{
		name:    "two outcomes",
		steps:   []Step{submit(0, "quick")},
		Options: Options{Publisher: func(p node.Publisher) node.Publisher { return twoEvents{p} }},
		want:    []string{I3},
	},
	{
		name:    "beats interrupt for no reason",
		steps:   []Step{submit(0, "short")},
		Options: lua(`return cancel == '1' and 'x' or 'k'`, `return 'l'`),
		want:    []string{I13, I2, I5},
	},
	{
		name: "a gap is not told",
		steps: []Step{
			submit(0, "quick"), submit(0, "quick"), submit(0, "quick"), submit(0, "quick"), submit(0, "quick"), submit(0, "quick"),
			{At: 20 * time.Second, Do: "freeze", N: 0, For: 20 * time.Second},
			{At: 20 * time.Second, Do: "freeze", N: 1, For: 20 * time.Second},
			submit(22, "quick"), submit(22, "quick"), submit(22, "quick"), submit(22, "quick"),
			{At: 25 * time.Second, Do: "retention", N: 0},
			{At: 25 * time.Second, Do: "retention", N: 1},
		},
		Options: Options{Deaf: true},
		want:    []string{I11},
	},
	{
		name:    "a node gives up",
		steps:   []Step{submit(0, "quick"), submit(10, "quick"), submit(20, "quick")},
		Options: Options{Consumer: firstBreaks()},
		want:    []string{I10},
	},
	{
		name:    "failures are told as successes",
		steps:   []Step{submit(0, "permanent")},
		Options: Options{Publisher: func(p node.Publisher) node.Publisher { return rosyEvents{p} }},
		want:    []string{I14},
	},
}

func TestTheObserverNoticesMutants(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			last := Step{At: 2 * time.Minute, Do: "wait"}
			s := Schedule{Nodes: 2, Guarded: m.guarded, Steps: append(slices.Clone(m.steps), last)}
			require.Empty(t, play(t, s, Options{}).Violations, "without the mutant")
			if m.fault.Do != "" {
				s.Steps = append(slices.Clone(m.steps), m.fault, last)
			}
			var found []Violation
			for range 3 { // a bubble does not repeat itself
				for _, v := range play(t, s, m.Options).Violations {
					found = append(found, v)
					if slices.Contains(m.want, v.Invariant) {
						return
					}
				}
			}
			require.Failf(t, "not noticed", "wanted one of %v, found %v", m.want, found)
		})
	}
}

func submit(second int, kind string) Step {
	return Step{At: time.Duration(second) * time.Second, Do: "submit", Name: kind}
}

// trapAll sets a trap for each node; the first one springs them all.
func trapAll(second int, do, point string) Step {
	return Step{At: time.Duration(second) * time.Second, Do: do + " any", Name: point, For: 40 * time.Second}
}

// lua replaces parts of the Lua: pairs of what is there and what is then.
func lua(pairs ...string) Options {
	return Options{Script: strings.NewReplacer(pairs...).Replace}
}

// lateLetters acknowledges dead letters before they are published.
type lateLetters struct{ node.Publisher }

func (p lateLetters) DeadLetter(d task.Delivery, l task.Letter, acked func(error)) {
	time.AfterFunc(5*time.Second, func() { p.Publisher.DeadLetter(d, l, func(error) {}) })
	go acked(nil)
}

// otherLetters changes what it publishes.
type otherLetters struct{ node.Publisher }

func (p otherLetters) DeadLetter(d task.Delivery, l task.Letter, acked func(error)) {
	d.Params = append([]byte(" "), d.Params...)
	p.Publisher.DeadLetter(d, l, acked)
}

// silentEvents publishes no event.
type silentEvents struct{ node.Publisher }

func (p silentEvents) Event(_ task.Event, acked func(error)) { go acked(nil) }

// twoEvents publishes each event twice, with two outcomes.
type twoEvents struct{ node.Publisher }

func (p twoEvents) Event(e task.Event, acked func(error)) {
	p.Publisher.Event(e, func(error) {})
	e.Status = task.Cancelled
	p.Publisher.Event(e, acked)
}

// rosyEvents calls every failure a success.
type rosyEvents struct{ node.Publisher }

func (p rosyEvents) Event(e task.Event, acked func(error)) {
	e.Status = task.Success
	p.Publisher.Event(e, acked)
}

// hasty finishes records when they are delivered.
type hasty struct{ node.Consumer }

func (c hasty) Poll(ctx context.Context) ([]task.Delivery, error) {
	deliveries, err := c.Consumer.Poll(ctx)
	for i := range deliveries {
		c.Finish(&deliveries[i])
	}
	return deliveries, err
}

// firstBreaks makes the first node's second poll fail for good.
func firstBreaks() func(node.Consumer) node.Consumer {
	var made atomic.Int32
	return func(c node.Consumer) node.Consumer {
		if made.Add(1) > 1 {
			return c
		}
		return &breaking{Consumer: c}
	}
}

type breaking struct {
	node.Consumer
	polls int
}

func (c *breaking) Poll(ctx context.Context) ([]task.Delivery, error) {
	if c.polls++; c.polls > 1 {
		return nil, errors.New("broken by a mutant")
	}
	return c.Consumer.Poll(ctx)
}
