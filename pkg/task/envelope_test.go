package task_test

import (
	"cmp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func TestWhatAProducerMayGetWrong(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	good := task.Envelope{ID: "a", Type: "merge", Attempt: 1}
	require.NoError(t, good.Validate(make([]byte, task.MaxParamsBytes), now))

	for name, change := range map[string]func(*task.Envelope){
		"at the limits": func(e *task.Envelope) {
			e.Checkpoint = make([]byte, task.MaxCheckpointBytes)
			e.OpaqueID = strings.Repeat("x", task.MaxHeaderBytes-1)
			e.NotBefore, e.Deadline = now.Add(task.MaxRunAt), now.Add(task.MaxRunAt)
		},
		"a run-at that has just passed": func(e *task.Envelope) { e.NotBefore = now.Add(-time.Second) },
		"as many attempts as you like":  func(e *task.Envelope) { e.MaxAttempts = 1000 },
	} {
		e := good
		change(&e)
		require.NoError(t, e.Validate(nil, now), name)
	}
	for name, change := range map[string]func(*task.Envelope){
		"no id":                        func(e *task.Envelope) { e.ID = "" },
		"no type":                      func(e *task.Envelope) { e.Type = "" },
		"a large checkpoint":           func(e *task.Envelope) { e.Checkpoint = make([]byte, task.MaxCheckpointBytes+1) },
		"large headers":                func(e *task.Envelope) { e.TraceState = strings.Repeat("x", task.MaxHeaderBytes) },
		"negative attempts":            func(e *task.Envelope) { e.MaxAttempts = -1 },
		"far ahead":                    func(e *task.Envelope) { e.NotBefore = now.Add(task.MaxRunAt + 1) },
		"long past":                    func(e *task.Envelope) { e.NotBefore = now.Add(-time.Hour) },
		"a deadline that has passed":   func(e *task.Envelope) { e.Deadline = now.Add(-1) },
		"a deadline before the run-at": func(e *task.Envelope) { e.NotBefore, e.Deadline = now.Add(2), now.Add(1) },
	} {
		e := good
		change(&e)
		require.ErrorIs(t, e.Validate(nil, now), task.ErrInvalid, name)
	}
	require.ErrorIs(t, good.Validate(make([]byte, task.MaxParamsBytes+1), now), task.ErrInvalid)
}

func TestRecordsAreOrderedByReplayThenAttemptThenHop(t *testing.T) {
	number := rapid.IntRange(0, 3)
	rapid.Check(t, func(t *rapid.T) {
		a := task.Envelope{Replay: number.Draw(t, "r"), Attempt: number.Draw(t, "a"), Hop: number.Draw(t, "h")}
		b := task.Envelope{Replay: number.Draw(t, "r2"), Attempt: number.Draw(t, "a2"), Hop: number.Draw(t, "h2")}
		slow := cmp.Or(cmp.Compare(a.Replay, b.Replay), cmp.Compare(a.Attempt, b.Attempt), cmp.Compare(a.Hop, b.Hop))
		forth, back := a.Compare(b.Replay, b.Attempt, b.Hop), b.Compare(a.Replay, a.Attempt, a.Hop)
		require.Equal(t, slow, cmp.Compare(forth, 0))
		require.Equal(t, -forth, back)
	})
}

func TestHashes(t *testing.T) {
	// Others compare with hashes that older programs wrote.
	require.Equal(t, uint64(0xef46db3751d8e999), task.Hash(nil))
	require.Equal(t, task.Hash(nil), task.Hash([]byte{}))
	require.Equal(t, uint64(0xd24ec4f1a98c6e5b), task.Hash([]byte("a")))
	require.NotEqual(t, task.Hash([]byte(`{"a":1}`)), task.Hash([]byte(`{"a": 1}`)))
}
