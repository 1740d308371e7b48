package claims

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func genTime(t *rapid.T, name string) time.Time {
	ms := rapid.Int64Range(0, maxMillis).Draw(t, name)
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

func genInfo(t *rapid.T) Info {
	text := rapid.OneOf(rapid.Just(""), rapid.String())
	i := Info{
		Type: text.Draw(t, "type"), Explanation: text.Draw(t, "why"), Node: text.Draw(t, "node"),
		SubmittedAt: genTime(t, "submitted"), AssignedAt: genTime(t, "assigned"), StartedAt: genTime(t, "started"),
		BeatAt: genTime(t, "beat"), CompletedAt: genTime(t, "completed"),
		Fraction: rapid.Float64Range(0, 1).Draw(t, "fraction"), Note: text.Draw(t, "note"),
		Error: text.Draw(t, "error"), Class: text.Draw(t, "class"), FirstFailure: genTime(t, "first failure"),
		BytesMoved: rapid.Int64().Draw(t, "moved"), Describe: text.Draw(t, "describe"),
		OpaqueID: text.Draw(t, "opaque"), TraceParent: text.Draw(t, "traceparent"), TraceState: text.Draw(t, "tracestate"),
		MaxAttempts: rapid.Int().Draw(t, "max"), Deadline: genTime(t, "deadline"),
	}
	if rapid.Bool().Draw(t, "has result") {
		i.Result, _ = json.Marshal(rapid.String().Draw(t, "result"))
	}
	if rapid.Bool().Draw(t, "has checkpoint") {
		i.Checkpoint = rapid.SliceOf(rapid.Byte()).Draw(t, "checkpoint")
	}
	return i
}

func TestInfoComesBackAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		info := genInfo(t)
		encoded := info.Encode()
		require.True(t, json.Valid(encoded), "%s", encoded)
		back, err := decodeInfo(string(encoded))
		require.NoError(t, err)
		if len(info.Checkpoint) == 0 {
			require.Equal(t, info.Checkpoint == nil, back.Checkpoint == nil)
			info.Checkpoint, back.Checkpoint = nil, nil
		}
		require.Equal(t, info, back)
	})
}

func TestInfoIsNotSpoiltByWhatIsNoJSON(t *testing.T) {
	info := Info{Type: "t", Result: json.RawMessage("{broken"), Fraction: math.NaN(), Checkpoint: []byte(`"}`), Node: "\xff\"\n"}
	back, err := decodeInfo(string(info.Encode()))
	require.NoError(t, err)
	require.JSONEq(t, `"{broken"`, string(back.Result))
	require.Equal(t, info.Checkpoint, back.Checkpoint)
	require.Zero(t, back.Fraction)
	require.Equal(t, "{}", string(new(Info).Encode()), "nothing is written of what is empty")

	spaced, err := decodeInfo(string((&Info{Checkpoint: []byte("\t0\n")}).Encode()))
	require.NoError(t, err)
	require.Equal(t, "\t0\n", string(spaced.Checkpoint))
}

// encodeState writes a state as the scripts do; tests only.
func encodeState(st *State) string {
	code, _ := reasonCode(st.Reason)
	b := []byte{formatByte, byte('0' + st.Status)}
	b = appendFlag(b, st.Published)
	b = appendFlag(b, st.CancelRequested)
	b = appendDigits(b, st.AllocationID, 14)
	b = appendTime(b, st.At)
	b = appendDigits(b, int64(st.Lost), 2)
	b = appendDigits(b, int64(st.Interrupted), 2)
	b = appendDigits(b, 0, 14)
	b = append(b, code)
	return string(appendBlob(b, numbers{st.Replay, st.Attempt, st.Hop}, st.ParamsHash, st.NotBefore, st.Info.Encode()))
}

func FuzzDecodeState(f *testing.F) {
	f.Add(encodeState(&State{Status: task.Active, Attempt: 1}))
	f.Add(encodeState(&State{
		Status: task.Failed, Replay: 1, Attempt: 5, Hop: 7, AllocationID: 1_795_360_000_000, Lost: 3, Interrupted: 2,
		ParamsHash: math.MaxUint64, Published: true, CancelRequested: true, Reason: task.WorkerLost,
		At: time.UnixMilli(5), NotBefore: time.UnixMilli(6), Info: Info{Type: "merge", Checkpoint: []byte("x")},
	}))
	f.Add("")
	f.Add("2")
	f.Fuzz(func(t *testing.T, raw string) {
		st, err := decodeState("t", raw)
		if err != nil {
			return
		}
		again, err := decodeState("t", encodeState(st))
		if err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
		if again.Status != st.Status || again.AllocationID != st.AllocationID || again.ParamsHash != st.ParamsHash ||
			again.Replay != st.Replay || again.Attempt != st.Attempt || again.Hop != st.Hop || again.Lost != st.Lost {
			t.Fatalf("%+v became %+v", st, again)
		}
	})
}

func TestBucketsOfATreeAreOne(t *testing.T) {
	require.Equal(t, Bucket("snap-7"), Bucket("snap-7/3/1"))
	require.Equal(t, []string{"a", "a/b"}, ancestors("a/b/c"))
	require.Equal(t, 39, Bucket("snap-7"), "the function is part of the format")
}
