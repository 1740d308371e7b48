package faults

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/fleet"
)

// letter reads the dead letter of a task.
func letter(t *testing.T, f *fleet.Fleet, id string) task.Letter {
	t.Helper()
	var found []kafkaqueue.DeadLetter
	require.NoError(t, f.Client.DeadLetters(t.Context(), client.LetterFilter{IDs: []string{id}}, func(l kafkaqueue.DeadLetter) error {
		found = append(found, l)
		return nil
	}))
	require.Len(t, found, 1)
	return found[0].Letter
}

func TestRow10ATaskThatIgnoresItsEndGoesWithTheProcess(t *testing.T) {
	r := begin(t, 10)
	r.on(usualServers)
	f := r.fleet(fleet.Servers{})
	old := f.Node("old", "types.probe.slots=2", "node.grace=2s")
	deaf := f.Submit(map[string]any{"for": "3m", "deaf": true})
	s := saved(f, deaf)
	f.Node("new", "types.probe.slots=2")
	require.Eventually(t, func() bool { return len(shares(t, f)) == 2 }, time.Minute, 100*time.Millisecond)
	work := r.load(f, loadOf{})

	r.strike("SIGTERM of a node whose task ignores that it is cancelled")
	old.Signal(syscall.SIGTERM)
	next := claimedAgain(f, s, time.Minute)
	r.recovered("the task runs on another node")
	// The grace of 2 s, the 10 s after which a worker counts as stuck, and a lease that nobody can give back for it.
	require.Less(t, r.told.Recovery, 12*time.Second+again)
	require.NotEqual(t, 0, old.Wait(time.Minute), "the process ends, and says by its status that it had to")
	require.Contains(t, old.Tail(), "ignore their cancelled context")
	require.Equal(t, "new", next.Node)

	// Cancelled for good, it holds a slot until it ends; the other slot serves everybody else.
	_, err := f.Client.Cancel(t.Context(), deaf)
	require.NoError(t, err)
	work.next(time.Minute)
	e := f.Outcome(deaf, 0, 3*time.Minute)
	require.NotEqual(t, task.Failed, e.Status)
	r.checked("the process ended with its own status; cancelled, it blocked nobody on the next node and ended as %s", e.Status)
	r.audit(f, append(work.stop(), deaf))
}

func TestRow11ATaskThatKillsItsWorkerIsGivenUp(t *testing.T) {
	r := begin(t, 11)
	r.on(usualServers)
	f := r.fleet(fleet.Servers{})
	nodes := start(f, []string{"n1", "n2"}, fast...)
	work := r.load(f, loadOf{})
	// One that got further each time would not be given up: a checkpoint that advances begins the count anew.
	killer := f.Submit(map[string]any{"for": "10m", "silent": true})

	r.strike("the node is killed (-9) each time that a certain task runs on it")
	began, kills, last := time.Now(), 0, int64(0)
	for {
		s, err := f.Client.State(t.Context(), killer)
		require.NoError(t, err)
		if s.Status.Terminal() {
			break
		}
		require.Less(t, time.Since(began), 3*time.Minute, "still claimed after %d kills", kills)
		if holder, _, held := strings.Cut(s.Holder, "/"); held && s.AllocationID != last {
			kills, last = kills+1, s.AllocationID
			nodes[holder].Kill()
			nodes[holder] = f.Node(holder, fast...)
		}
		time.Sleep(50 * time.Millisecond)
	}
	e := f.Outcome(killer, 0, time.Minute)
	require.Equal(t, task.Failed, e.Status)
	require.Equal(t, task.WorkerLost, e.Reason)
	require.Equal(t, claims.DefaultMaxLost, kills)
	l := letter(t, f, killer)
	require.Equal(t, task.WorkerLost, l.Reason)
	require.Equal(t, claims.DefaultMaxLost, l.Lost)
	work.next(time.Minute)
	r.checked("given up after %d nodes, with a dead letter that says so", kills)
	r.audit(f, append(work.stop(), killer))
}

func TestRow12AStuckTaskIsStoppedThoughItsNodeBeats(t *testing.T) {
	r := begin(t, 12)
	r.on(usualServers)
	f := r.fleet(fleet.Servers{})
	const stall = 6 * time.Second
	f.Node("n1", "types.probe.stall=6s", "types.probe.retry.max_attempts=2", "types.probe.retry.initial=100ms", "types.probe.slots=2")
	work := r.load(f, loadOf{})
	stuck := f.Submit(map[string]any{"for": "10m", "silent": true})
	lively := f.Submit(map[string]any{"for": "20s"})
	var first *claims.State
	require.Eventually(t, func() bool {
		var err error
		first, err = f.Client.State(t.Context(), stuck)
		return err == nil && first.Node != "" && !first.StartedAt.IsZero()
	}, time.Minute, 20*time.Millisecond)

	r.strike("a task reports nothing, while the beats of its node go on; stall timeout %s", stall)
	require.Eventually(t, func() bool {
		s, err := f.Client.State(t.Context(), stuck)
		return err == nil && s.Attempt == 2
	}, time.Minute, 20*time.Millisecond)
	took := time.Since(first.StartedAt)
	r.recoveredIn(took, "its attempt is ended")
	// A beat looks for what is silent, so one more may pass.
	require.Less(t, took, stall+claims.DefaultBeat+2*time.Second)

	e := f.Outcome(stuck, 0, time.Minute)
	require.Equal(t, task.Failed, e.Status)
	require.Equal(t, task.RetriesExhausted, e.Reason)
	require.Contains(t, e.Error, task.ErrStalled.Error())
	require.Contains(t, letter(t, f, stuck).Message, task.ErrStalled.Error())
	require.Equal(t, task.Success, f.Outcome(lively, 0, time.Minute).Status, "one that reports is left alone")
	r.checked("both attempts were ended, and the dead letter says why; a task of 20 s that reports was left alone")
	r.audit(f, append(work.stop(), stuck, lively))
}
