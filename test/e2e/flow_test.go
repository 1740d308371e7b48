package e2e

import (
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

func TestTasksRunFailRetryAndAreRedriven(t *testing.T) {
	t.Parallel()
	f := fleet.New(t)
	f.Node("n1", "types.probe.retry.initial=100ms", "types.probe.retry.max_attempts=2")

	echo := f.Submit(map[string]any{"echo": "hello"}, task.OpaqueID("mine"))
	flaky := f.Submit(map[string]any{"fail": 1})
	later := f.Submit(nil, task.In(6*time.Second))
	doomed := f.Submit(map[string]any{"fail": 9, "panic": true})
	fatal := f.Submit(map[string]any{"fatal": true})
	wrong, err := f.Client.Submit(t.Context(), "probe", []byte(`{"for": 7}`))
	require.NoError(t, err)
	unique := f.Submit(nil, task.Unique("key"))

	e := f.Outcome(echo, 0, time.Minute)
	require.Equal(t, task.Success, e.Status)
	require.Equal(t, "mine", e.OpaqueID)
	require.JSONEq(t, `{"echo":"hello"}`, string(e.Result))

	e = f.Outcome(flaky, 0, time.Minute)
	require.Equal(t, task.Success, e.Status)
	require.Equal(t, 2, e.Attempt)

	e = f.Outcome(doomed, 0, time.Minute)
	require.Equal(t, task.Failed, e.Status)
	require.Equal(t, task.RetriesExhausted, e.Reason)
	require.Contains(t, e.Error, "panic: told to panic")

	for _, id := range []string{fatal, wrong} {
		e = f.Outcome(id, 0, time.Minute)
		require.Equal(t, task.PermanentFailure, e.Reason)
		require.Equal(t, 1, e.Attempt)
	}

	e = f.Outcome(later, 0, time.Minute)
	require.Equal(t, task.Success, e.Status)
	require.GreaterOrEqual(t, e.StartedAt.Sub(e.SubmittedAt), 6*time.Second)
	require.Less(t, e.StartedAt.Sub(e.SubmittedAt), 8*time.Second)

	f.Outcome(unique, 0, time.Minute)
	again, err := f.Client.Submit(t.Context(), "probe", nil, task.Unique("key"))
	require.ErrorIs(t, err, client.ErrSettled)
	require.Equal(t, unique, again)
	_, err = f.Client.Submit(t.Context(), "probe", nil, task.Unique("key"), task.Again())
	require.NoError(t, err)
	require.Equal(t, task.Success, f.Outcome(unique, 1, time.Minute).Status)

	letters := map[string]kafkaqueue.DeadLetter{}
	require.NoError(t, f.Client.DeadLetters(t.Context(), client.LetterFilter{}, func(l kafkaqueue.DeadLetter) error {
		letters[l.Delivery.ID] = l
		return nil
	}))
	require.Len(t, letters, 3)
	require.Equal(t, `{"for": 7}`, string(letters[wrong].Delivery.Params), "byte for byte")
	require.Equal(t, "panic", letters[doomed].Letter.Class)
	require.Equal(t, 2, letters[doomed].Letter.Attempts)

	plan, err := f.Client.Redrive(t.Context(), client.LetterFilter{IDs: []string{fatal}}, false)
	require.NoError(t, err)
	require.Len(t, plan, 1)
	require.NoError(t, plan[0].Err)
	require.Equal(t, task.Failed, f.Outcome(fatal, 1, time.Minute).Status, "it fails again, as it is told")
}

func TestAKilledNodesTaskGoesOnElsewhereFromItsCheckpoint(t *testing.T) {
	t.Parallel()
	f := fleet.New(t)
	nodes := map[string]*fleet.Process{"n1": f.Node("n1"), "n2": f.Node("n2")}
	id := f.Submit(map[string]any{"for": "25s"})
	// A checkpoint travels with a beat: wait for the one after the first.
	s := f.Active(id, time.Minute, func(s *claims.State) bool { return s.Fraction > 0.2 })
	first, token := s.Node, s.AllocationID
	nodes[first].Kill()
	killed := time.Now()
	s = f.Active(id, time.Minute, func(s *claims.State) bool { return s.AllocationID != token })
	took := time.Since(killed)
	t.Logf("claimed again %s after kill -9", took.Round(100*time.Millisecond))
	require.Less(t, took, 20*time.Second)
	require.NotEqual(t, first, s.Node)
	e := f.Outcome(id, 0, time.Minute)
	require.Equal(t, task.Success, e.Status)
	require.Equal(t, 1, e.Attempt, "a lost claim is no attempt")
	require.Less(t, e.CompletedAt.Sub(e.StartedAt), 22*time.Second, "it went on from its checkpoint")
}

func TestADeployRunsNothingTwice(t *testing.T) {
	t.Parallel()
	f := fleet.New(t)
	old := f.Node("old", "node.grace=1m")
	var ids []string
	for range 4 {
		ids = append(ids, f.Submit(map[string]any{"for": "8s"}))
	}
	tokens := map[string]int64{}
	for _, id := range ids {
		tokens[id] = f.Active(id, time.Minute, nil).AllocationID
	}
	f.Node("new")
	old.Signal(syscall.SIGTERM)
	for _, id := range ids {
		e := f.Outcome(id, 0, time.Minute)
		require.Equal(t, task.Success, e.Status)
		require.Equal(t, tokens[id], e.AllocationID, "the run that the deploy met has ended the task")
	}
	require.Equal(t, 0, old.Wait(time.Minute))
}

func TestAShortGraceLosesNoAttempt(t *testing.T) {
	t.Parallel()
	f := fleet.New(t)
	old := f.Node("old", "node.grace=1s")
	id := f.Submit(map[string]any{"for": "15s"})
	f.Active(id, time.Minute, func(s *claims.State) bool { return s.Fraction > 0.3 })
	f.Node("new")
	old.Signal(syscall.SIGTERM)
	require.Equal(t, 0, old.Wait(30*time.Second))
	e := f.Outcome(id, 0, time.Minute)
	require.Equal(t, task.Success, e.Status)
	require.Equal(t, "new", e.Node)
	require.Equal(t, 1, e.Attempt)
	require.Less(t, e.CompletedAt.Sub(e.StartedAt), 13*time.Second, "it went on from its checkpoint")
}

func TestCancelOfAWaitingAndARunningTask(t *testing.T) {
	t.Parallel()
	f := fleet.New(t)
	f.Node("n1", "types.probe.slots=1")
	running := f.Submit(map[string]any{"for": "1m"})
	f.Active(running, time.Minute, nil)
	waiting := f.Submit(map[string]any{"for": "1m"})
	for _, id := range []string{waiting, running} {
		_, err := f.Client.Cancel(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, task.Cancelled, f.Outcome(id, 0, 20*time.Second).Status)
	}
}
