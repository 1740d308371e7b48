package task_test

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func sampleEvents() []task.Event {
	at := func(second int) time.Time { return time.Date(2026, 1, 2, 3, 4, second, 5e6, time.UTC) }
	return []task.Event{
		{TaskID: "a", Type: "merge", Status: task.Success, Attempt: 1, AllocationID: 7, CompletedAt: at(9)},
		{
			TaskID: "snap-7/3", Type: "snapshot", Status: task.Failed, Replay: 1, Attempt: 5, AllocationID: 1767323046005,
			Parent: "snap-7", Node: "node-a", SubmittedAt: at(1), StartedAt: at(2), CompletedAt: at(3),
			BytesMoved: 1 << 30, Result: json.RawMessage(`{"generation":12}`), Error: "no such shard", Reason: task.RetriesExhausted,
			OpaqueID: "req-1", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", TraceState: "a=b", Repeat: true,
		},
	}
}

// Listeners in other languages and of other versions read these bytes: a name
// may be added, none may change.
func TestEventsAreEncodedAsEver(t *testing.T) {
	const golden = "testdata/events.jsonl"
	var encoded []byte
	for _, e := range sampleEvents() {
		line, err := json.Marshal(e)
		require.NoError(t, err)
		encoded = append(append(encoded, line...), '\n')
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), string(encoded))
}

// Nodes write with AppendJSON what others may write with json.Marshal.
func TestAppendedEventsAreWhatMarshalReturns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, number := rapid.String(), rapid.IntMin(0)
		at := rapid.Custom(func(t *rapid.T) time.Time {
			return time.Unix(rapid.Int64Range(1, 1<<33).Draw(t, "s"), rapid.Int64Range(0, 1e9-1).Draw(t, "ns")).UTC()
		})
		e := task.Event{
			TaskID: rapid.StringMatching(".+").Draw(t, "id"), Type: rapid.StringMatching("[a-z]+").Draw(t, "type"),
			Status: task.Status(rapid.IntRange(1, 6).Draw(t, "status")), Replay: number.Draw(t, "replay"), Attempt: number.Draw(t, "attempt"),
			AllocationID: rapid.Int64().Draw(t, "allocation"), Parent: text.Draw(t, "parent"), Node: text.Draw(t, "node"),
			SubmittedAt: at.Draw(t, "submitted"), CompletedAt: at.Draw(t, "completed"), BytesMoved: rapid.Int64().Draw(t, "moved"),
			Error: text.Draw(t, "error"), Reason: task.Reason(text.Draw(t, "reason")), OpaqueID: text.Draw(t, "opaque"),
			TraceParent: text.Draw(t, "traceparent"), TraceState: text.Draw(t, "tracestate"), Repeat: rapid.Bool().Draw(t, "repeat"),
		}
		want, err := json.Marshal(e)
		require.NoError(t, err)
		require.Equal(t, string(want), string(e.AppendJSON(nil)))
	})
}

func TestEventsReadBackAsTheyWere(t *testing.T) {
	for _, e := range sampleEvents() {
		line, err := json.Marshal(e)
		require.NoError(t, err)
		var again task.Event
		require.NoError(t, json.Unmarshal(line, &again))
		require.Equal(t, e, again)
	}
	var newer task.Event
	require.NoError(t, json.Unmarshal([]byte(`{"task_id":"a","status":"SUCCESS","mood":"good"}`), &newer), "what a newer node adds is passed over")
	require.Equal(t, "a", newer.TaskID)
}

func TestLettersReadBackAsTheyWere(t *testing.T) {
	letter := task.Letter{
		Reason: task.WorkerLost, Class: "panic", Message: "x", Node: "node-a", Attempts: 2, Lost: 4,
		FirstFailure: time.Unix(1, 0).UTC(), LastFailure: time.Unix(2, 0).UTC(),
	}
	encoded, err := json.Marshal(letter)
	require.NoError(t, err)
	require.JSONEq(t, `{"reason":"worker_lost","error_class":"panic","message":"x","first_failure":"1970-01-01T00:00:01Z",
		"last_failure":"1970-01-01T00:00:02Z","node":"node-a","attempts":2,"lost":4}`, string(encoded))
	var again task.Letter
	require.NoError(t, json.Unmarshal(encoded, &again))
	require.Equal(t, letter, again)
}
