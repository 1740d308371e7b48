package claims

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func TestSubmit(t *testing.T) {
	submit := func(f *fixture, x Submission) SubmitVerdict {
		answers, err := f.Submit(f.ctx(), []Submission{x})
		require.NoError(f.t, err)
		require.NoError(f.t, answers[0].Err)
		return answers[0].Verdict
	}
	eachRedis(t, func(f *fixture) {
		t := f.t
		x := Submission{ID: "t", ParamsHash: 7, NotBefore: time.Now().Add(time.Hour), Info: (&Info{Explanation: "runs in 1h"}).Encode()}
		require.Equal(t, Created, submit(f, x))
		require.Equal(t, Exists, submit(f, x))
		st := f.state("t")
		require.Equal(t, task.Unassigned, st.Status)
		require.Equal(t, 1, st.Attempt)
		require.Equal(t, "runs in 1h", st.Explanation)
		require.WithinDuration(t, x.NotBefore, st.NotBefore, time.Millisecond)
		require.Zero(t, st.AllocationID)
		require.True(t, st.Published)

		twin := x
		twin.ParamsHash = 8
		require.Equal(t, Conflicts, submit(f, twin))
		redriven := x
		redriven.Replay = 1
		require.Equal(t, Exists, submit(f, redriven), "the replay before has not ended")

		a := f.grant("call", first("t"))
		f.settle(first("t").settle(a.Lease, task.Failed))
		require.Equal(t, Ended, submit(f, x))
		require.Equal(t, Exists, submit(f, redriven), "the replay before is owed")
		f.published("t")
		require.Equal(t, Created, submit(f, redriven))
		require.Equal(t, Ended, submit(f, x), "a later replay is there")
		require.Equal(t, a.AllocationID, f.state("t").AllocationID, "tokens go on")
		require.Equal(t, time.Duration(-1), f.stateTTL("t"))

		answers, err := f.Submit(f.ctx(), []Submission{{ID: ""}, {ID: "u"}})
		require.NoError(t, err)
		require.ErrorIs(t, answers[0].Err, ErrInvalid)
		require.Equal(t, Created, answers[1].Verdict)
	})
}

func TestStates(t *testing.T) {
	eachRedis(t, func(f *fixture) {
		t := f.t
		var ids []string
		var asks []Ask
		for n := range 300 {
			ids = append(ids, name("t", n))
			asks = append(asks, first(name("t", n)))
		}
		_, err := f.Claim(f.ctx(), "node", "call", asks)
		require.NoError(t, err)
		ids[7] = "unknown"
		states, err := f.States(f.ctx(), ids)
		require.NoError(t, err)
		require.Len(t, states, 300)
		require.Nil(t, states[7])
		require.Equal(t, "t299", states[299].ID)
		require.Equal(t, "node", states[299].Holder)
		none, err := f.States(f.ctx(), nil)
		require.NoError(t, err)
		require.Empty(t, none)
	})
}

func TestCancel(t *testing.T) {
	cancel := func(f *fixture, id string) (CancelAnswer, *State) {
		answer, st, err := f.Cancel(f.ctx(), id, (&Info{Explanation: "cancelled by hand"}).Encode())
		require.NoError(f.t, err)
		return answer, st
	}
	eachRedis(t, func(f *fixture) {
		t := f.t
		t.Run("a task that nobody knows", func(t *testing.T) {
			answer, st := cancel(f, "unknown")
			require.Equal(t, CancelSettled, answer)
			require.Equal(t, task.Cancelled, st.Status)
			require.Equal(t, 1, st.Attempt)
			require.Positive(t, st.AllocationID)
			again, same := cancel(f, "unknown")
			require.Equal(t, CancelSettled, again, "the first caller may never have published it")
			require.Equal(t, st, same)
			f.published("unknown")
			answer, _ = cancel(f, "unknown")
			require.Equal(t, CancelTooLate, answer)
			require.Equal(t, Settled, f.claim("node", "call", first("unknown")).Verdict)
		})
		t.Run("a task that waits for its next attempt", func(t *testing.T) {
			a := f.grant("call", first("waits"))
			f.settle(first("waits").retry(a.Lease))
			answer, st := cancel(f, "waits")
			require.Equal(t, CancelSettled, answer)
			require.Equal(t, 2, st.Attempt)
			require.Greater(t, st.AllocationID, a.AllocationID)
			require.Equal(t, Stale, f.settle(first("waits").settle(a.Lease, task.Success)).Verdict)
		})
		t.Run("a task that runs", func(t *testing.T) {
			f.grant("call", first("runs"))
			answer, st := cancel(f, "runs")
			require.Equal(t, CancelRequested, answer)
			require.True(t, st.CancelRequested)
			require.True(t, f.state("runs").CancelRequested)
		})
		t.Run("a task that runs and that Redis forgot", func(t *testing.T) {
			record := first("forgotten")
			b := record.beat(f.grant("call", record).Lease)
			f.raw.Del(f.ctx(), f.keys.state(Bucket("forgotten"), "forgotten"))
			answer, _ := cancel(f, "forgotten")
			require.Equal(t, CancelRequested, answer)
			require.Equal(t, KeptCancel, f.beat(b))
		})
		t.Run("a task that ended", func(t *testing.T) {
			f.settle(first("ended").settle(f.grant("call", first("ended")).Lease, task.Success))
			answer, st := cancel(f, "ended")
			require.Equal(t, CancelTooLate, answer)
			require.Equal(t, task.Success, st.Status)
		})
		t.Run("the children of a cancelled task are not granted", func(t *testing.T) {
			f.grant("call", first("parent"))
			cancel(f, "parent")
			a := f.claim("node", "call", first("parent/1/2"))
			require.Equal(t, Owed, a.Verdict)
			require.Equal(t, task.Cancelled, a.State.Status)
			require.Equal(t, Granted, f.claim("node", "call", first("parent2/1")).Verdict)
		})
		t.Run("nor are those of one that failed", func(t *testing.T) {
			f.settle(first("failed").settle(f.grant("call", first("failed")).Lease, task.Failed))
			require.Equal(t, task.Cancelled, f.claim("node", "call", first("failed/1")).State.Status)
			f.settle(first("done").settle(f.grant("call", first("done")).Lease, task.Success))
			require.Equal(t, Granted, f.claim("node", "call", first("done/1")).Verdict)
		})
		t.Run("while Redis may have forgotten", func(t *testing.T) {
			f.raw.Del(f.ctx(), f.keys.epoch(Bucket("cold")))
			_, _, err := f.Cancel(f.ctx(), "cold", nil)
			require.ErrorIs(t, err, ErrCold)
		})
	})
}

// listAll follows the cursors.
func listAll(f *fixture, filter Filter, limit int) map[string]*State {
	found := make(map[string]*State)
	cursor := ""
	for {
		states, next, err := f.List(f.ctx(), filter, cursor, limit)
		require.NoError(f.t, err)
		for _, st := range states {
			found[st.ID] = st
		}
		if next == "" {
			return found
		}
		cursor = next
	}
}

func TestList(t *testing.T) {
	eachRedis(t, func(f *fixture) { testList(f.t, f) })
}

func testList(t *testing.T, f *fixture) {
	t.Helper()
	const each = 60
	info := func(typ, node string) []byte { return (&Info{Type: typ, Node: node}).Encode() }
	var submissions []Submission
	var asks []Ask
	for n := range each {
		submissions = append(submissions, Submission{ID: name("waits-", n), Info: info("b", "")})
		asks = append(asks, Ask{ID: name("runs-", n), Attempt: 1, Info: info("a", "node-1")}, Ask{ID: name("failed-", n), Attempt: 1, Info: info("a", "node-2")})
	}
	_, err := f.Submit(f.ctx(), submissions)
	require.NoError(t, err)
	answers, err := f.Claim(f.ctx(), "node-1/x", "call", asks)
	require.NoError(t, err)
	var beats []Beat
	var settlements []Settlement
	for i, a := range answers {
		if i%2 == 0 {
			beats = append(beats, Beat{ID: asks[i].ID, Lease: a.Lease, Attempt: 1, Active: i%4 == 0})
		} else {
			settlements = append(settlements, Settlement{ID: asks[i].ID, Lease: a.Lease, Attempt: 1, Status: task.Failed, Info: asks[i].Info})
		}
	}
	_, err = f.Beat(f.ctx(), beats)
	require.NoError(t, err)
	_, err = f.Settle(f.ctx(), settlements)
	require.NoError(t, err)

	for _, row := range []struct {
		name   string
		filter Filter
		want   int
	}{
		{"all", Filter{}, 3 * each},
		{"waiting", Filter{Statuses: []task.Status{task.Unassigned}}, each},
		{"running", Filter{Statuses: []task.Status{task.Assigned, task.Active}}, each},
		{"active", Filter{Statuses: []task.Status{task.Active}}, each / 2},
		{"failed", Filter{Statuses: []task.Status{task.Failed}}, each},
		{"failed or waiting", Filter{Statuses: []task.Status{task.Failed, task.Unassigned}}, 2 * each},
		{"of a type", Filter{Type: "a"}, 2 * each},
		{"of a type that begins like another", Filter{Type: "aa"}, 0},
		{"failed of a type", Filter{Type: "b", Statuses: []task.Status{task.Failed}}, 0},
		{"of a node", Filter{Node: "node-2"}, each},
		{"young", Filter{YoungerThan: time.Hour}, 3 * each},
		{"old", Filter{OlderThan: time.Hour}, 0},
	} {
		for _, limit := range []int{50, 100_000} {
			t.Run(fmt.Sprintf("%s by %d", row.name, limit), func(t *testing.T) {
				found := listAll(&fixture{Store: f.Store, t: t, raw: f.raw}, row.filter, limit)
				require.Len(t, found, row.want)
				for id, st := range found {
					require.Equal(t, id, st.ID)
				}
			})
		}
	}
	_, _, err = f.List(f.ctx(), Filter{}, "running/3/0/", 10)
	require.ErrorIs(t, err, ErrInvalid)
	_, _, err = f.List(f.ctx(), Filter{}, "scan/x/0/", 10)
	require.ErrorIs(t, err, ErrInvalid)
	ended, cancel := context.WithCancel(f.ctx())
	cancel()
	_, _, err = f.List(ended, Filter{}, "", 10)
	require.ErrorIs(t, err, context.Canceled)
}

func TestListFindsTheTypeOfLongStates(t *testing.T) {
	eachRedis(t, func(f *fixture) {
		t := f.t
		long := make([]byte, 60_000)
		_, err := f.Submit(f.ctx(), []Submission{{ID: "t", Info: (&Info{Type: "a", Checkpoint: long}).Encode()}})
		require.NoError(t, err)
		found := listAll(f, Filter{Type: "a"}, 10)
		require.Equal(t, long, found["t"].Checkpoint)
	})
}

func TestWakes(t *testing.T) {
	eachRedis(t, func(f *fixture) {
		t := f.t
		ctx, cancel := context.WithCancel(f.ctx())
		woken := make(chan string, 100)
		done := make(chan error, 1)
		go func() { done <- f.Wakes(ctx, func(id string) { woken <- id }) }()
		expect := func(id string) {
			t.Helper()
			for {
				select {
				case got := <-woken:
					if got == "ready" { // one of the tries
						continue
					}
					require.Equal(t, id, got)
				case <-time.After(10 * time.Second):
					t.Fatal("no wake-up for " + id)
				}
				return
			}
		}
		require.Eventually(t, func() bool {
			f.raw.Publish(f.ctx(), f.keys.wakes(), "ready")
			return len(woken) > 0
		}, 10*time.Second, 10*time.Millisecond)

		s := first("interrupted").settle(f.grant("call", first("interrupted")).Lease, task.Unassigned)
		s.Interrupted, s.Wake = true, true
		f.settle(s)
		expect("interrupted")

		quiet := first("quiet").settle(f.grant("call", first("quiet")).Lease, task.Success)
		f.settle(quiet) // nobody is told but through the mark
		f.published("quiet")
		expect("quiet")

		f.grant("call", first("runs"))
		_, _, err := f.Cancel(f.ctx(), "runs", nil)
		require.NoError(t, err)
		expect("runs")

		cancel()
		require.NoError(t, <-done)
	})
}

func TestNodes(t *testing.T) {
	eachRedis(t, func(f *fixture) {
		t := f.t
		none, err := f.Nodes(f.ctx())
		require.NoError(t, err)
		require.Empty(t, none)
		a := Node{ID: "a/1", Name: "a", Types: []string{"merge"}, Slots: map[string]int{"merge": 2}, StartedAt: time.UnixMilli(5).UTC(), BeatAt: time.UnixMilli(6).UTC(), Version: "v1"}
		require.NoError(t, f.Register(f.ctx(), Node{ID: "b/1", Name: "b"}, time.Minute))
		require.NoError(t, f.Register(f.ctx(), a, time.Minute))
		nodes, err := f.Nodes(f.ctx())
		require.NoError(t, err)
		require.Len(t, nodes, 2)
		require.Equal(t, a, nodes[0])
		require.NoError(t, f.Unregister(f.ctx(), "a/1"))
		nodes, err = f.Nodes(f.ctx())
		require.NoError(t, err)
		require.Len(t, nodes, 1)
		require.NoError(t, f.Register(f.ctx(), Node{ID: "b/1", Name: "b"}, time.Millisecond))
		require.Eventually(t, func() bool {
			nodes, err := f.Nodes(f.ctx())
			return err == nil && len(nodes) == 0
		}, 10*time.Second, time.Millisecond)
		require.ErrorIs(t, f.Register(f.ctx(), Node{}, time.Minute), ErrInvalid)
		require.ErrorIs(t, f.Register(f.ctx(), a, 0), ErrInvalid)
	})
}
