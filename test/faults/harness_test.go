package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/fleet"
	"github.com/offline-nodes/offline-nodes/test/testkit"
)

// run is one run of a row.
type run struct {
	t   *testing.T
	row Row

	mu     sync.Mutex
	told   Measured
	struck time.Time
}

// begin starts a run, unless rows are left out. What it measured is told when the test ends well.
func begin(t *testing.T, number int) *run {
	t.Helper()
	if !asked() {
		t.Skip("a row on real servers: `make faults` runs it, or FAULTS=1")
	}
	row, err := Of(number)
	require.NoError(t, err)
	t.Parallel()
	r := &run{t: t, row: row, told: Measured{Row: number, Test: t.Name()}}
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		text, err := json.Marshal(r.told)
		require.NoError(t, err)
		t.Attr(Key, string(text))
	})
	return r
}

// fleet is one on servers of the row's own; what is left empty is shared.
func (r *run) fleet(on fleet.Servers) *fleet.Fleet {
	r.t.Helper()
	if on.Kafka == nil {
		on.Kafka = testkit.Kafka(r.t)
	}
	if on.Redis == nil {
		on.Redis = []string{testkit.Redis(r.t)}
	}
	return fleet.On(r.t, on)
}

// on tells what the run is made on: "3 brokers of Apache Kafka".
func (r *run) on(servers ...string) { r.told.Servers = append(r.told.Servers, servers...) }

// strike notes the fault and its moment. A fault that lasts is noted again when it ends, if recovery counts from there.
func (r *run) strike(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	what := fmt.Sprintf(format, args...)
	if r.told.Fault != "" {
		what = r.told.Fault + "; " + what
	}
	r.told.Fault, r.struck = what, time.Now()
	r.t.Logf("fault: %s", what)
}

// recovered measures from the last strike to now, and holds it against the row's bound.
func (r *run) recovered(what string) {
	r.t.Helper()
	r.mu.Lock()
	took := time.Since(r.struck)
	r.mu.Unlock()
	r.recoveredIn(took, what)
}

// recoveredIn is for what was measured otherwise. Of several the longest is told.
func (r *run) recoveredIn(took time.Duration, what string) {
	r.t.Helper()
	r.t.Logf("row %d: %s after %s (bound %s)", r.row.Number, what, took.Round(10*time.Millisecond), r.row.Bound)
	if took > r.told.Recovery {
		r.told.Recovery, r.told.Recovered = took, what
	}
	if r.row.Bound > 0 {
		require.LessOrEqual(r.t, took, r.row.Bound, "%s took too long: the bound is %s", what, r.row.Why)
	}
}

// checked tells what the run has made sure of.
func (r *run) checked(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	r.told.Checked = append(r.told.Checked, what)
	r.t.Logf("row %d: %s", r.row.Number, what)
}

// auditRule loosens an audit.
type auditRule int

// A Redis that lost its last writes may have a task run again, and then its first event is the outcome and there is a second.
const mayRunTwice auditRule = iota + 1

// audit reads the results topic as it is, repeats and all, and the states: each accepted task has an outcome, all its events
// tell the same one, under one allocation id, and the state agrees. It waits for those that have none yet.
func (r *run) audit(f *fleet.Fleet, accepted []string, rules ...auditRule) {
	r.t.Helper()
	require.NotEmpty(r.t, accepted, "a run without tasks proves nothing")
	slices.Sort(accepted)
	accepted = slices.Compact(accepted)
	for _, id := range accepted {
		f.Outcome(id, 0, 2*time.Minute)
	}
	first, events, seconds := map[string]task.Event{}, map[string]int{}, 0
	require.NoError(r.t, kafkaqueue.ReadResults(r.t.Context(), f.KafkaConfig(), time.Time{}, func(e task.Event) error {
		outcome, known := first[e.TaskID]
		events[e.TaskID]++
		switch {
		case !known:
			first[e.TaskID] = e
		case e.AllocationID != outcome.AllocationID || e.Status != outcome.Status:
			seconds++
			if !slices.Contains(rules, mayRunTwice) {
				return fmt.Errorf("a second outcome of %s: %+v after %+v", e.TaskID, e, outcome)
			}
		}
		return nil
	}))
	repeats := 0
	for _, id := range accepted {
		outcome, found := first[id]
		require.True(r.t, found, "accepted and lost: %s", id)
		repeats += events[id] - 1
		r.agrees(f, outcome, events[id])
	}
	r.checked("%d tasks accepted, each with its outcome; %d events came again, %d of them from a second run", len(accepted), repeats, seconds)
}

// events are all that the results topic has of a task.
func (r *run) events(f *fleet.Fleet, id string) (all []task.Event) {
	r.t.Helper()
	require.NoError(r.t, kafkaqueue.ReadResults(r.t.Context(), f.KafkaConfig(), time.Time{}, func(e task.Event) error {
		if e.TaskID == id {
			all = append(all, e)
		}
		return nil
	}))
	return all
}

// agrees compares a task's state with its outcome. A Redis that forgot the task may say nothing.
func (r *run) agrees(f *fleet.Fleet, outcome task.Event, events int) {
	r.t.Helper()
	s, err := f.Client.State(r.t.Context(), outcome.TaskID)
	if errors.Is(err, client.ErrNoTask) || events > 1 {
		return
	}
	require.NoError(r.t, err)
	require.Equal(r.t, outcome.Status, s.Status, "state and event of %s", outcome.TaskID)
	require.Equal(r.t, outcome.AllocationID, s.AllocationID, "the outcome of %s is of its newest claim", outcome.TaskID)
}
