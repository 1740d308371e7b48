//go:build synctests

package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rules are short histories that go well because of one rule of a node: test/mutants breaks it and wants them to fail.
var rules = []struct {
	name  string
	steps []Step
}{
	{"what is held is waited for", []Step{
		submit(0, "minutes"), submit(0, "minutes"), submit(1, "minutes"), submit(1, "minutes"), // their copies wait elsewhere after a minute
		{At: 80 * time.Second, Do: "crash runner", For: 5 * time.Second},
		{At: 100 * time.Second, Do: "crash runner", For: 5 * time.Second},
	}},
	{"what is owed is published", []Step{submit(5, "quick"), trapAll(1, "crash at", "settled")}},
	{"a dead letter comes before its event", []Step{submit(5, "permanent"), trapAll(1, "crash at", "event.acked")}},
	{"a record is finished when the next one is acknowledged", []Step{
		submit(5, "flaky"), submit(5, "flaky"),
		{At: 5700 * time.Millisecond, Do: "produce refused", For: 20 * time.Second},
	}},
	{"nobody hears of a stale settlement", []Step{
		submit(5, "short"), trapAll(1, "freeze at", "settle"),
		{At: 30 * time.Second, Do: "cancel"},
	}},
	{"a beat names no copy that is not published", []Step{
		submit(0, "minutes"),
		{At: 58 * time.Second, Do: "produce refused", For: 50 * time.Second},
		{At: 65 * time.Second, Do: "flush"},
		{At: 75 * time.Second, Do: "crash runner", For: 5 * time.Second},
	}},
}

func TestRules(t *testing.T) {
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			s := Schedule{Nodes: 2, Steps: append(r.steps, Step{At: 2 * time.Minute, Do: "wait"})}
			result := play(t, s, Options{})
			if len(result.Violations) > 0 {
				result.tell(t)
			}
			require.Empty(t, result.Violations)
		})
	}
}
