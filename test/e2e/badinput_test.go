package e2e

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/test/fleet"
)

// foreign publishes raw records as any Kafka client may.
func foreign(t *testing.T, f *fleet.Fleet, records ...*kgo.Record) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(f.Kafka...))
	require.NoError(t, err)
	defer c.Close()
	for _, r := range records {
		r.Topic = f.Prefix + r.Topic
	}
	require.NoError(t, c.ProduceSync(t.Context(), records...).FirstErr())
}

func header(key, value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: key, Value: []byte(value)}
}

func TestBadRecordsAreSetAsideWholeAndBlockNothing(t *testing.T) {
	t.Parallel()
	f := fleet.New(t)
	f.Node("n1", "types.probe.slots=1")
	long := f.Submit(map[string]any{"for": "10s"}) // holds the only slot: what is bad needs none
	f.Active(long, time.Minute, nil)

	record := func(value string, headers ...kgo.RecordHeader) *kgo.Record {
		return &kgo.Record{Topic: "tasks.probe", Value: []byte(value), Headers: headers}
	}
	same := f.Submit(map[string]any{"echo": "first"}, task.ID("same"))
	foreign(t, f,
		record(`{"n":1}`, header("task-id", "a"), header("format", "1"), header("attempt", "many")),
		record(`{"n":2}`, header("task-id", "b"), header("format", "99")),
		record(`{"n":3}`, header("task-id", "odd id\x00"), header("format", "1")),
		record(strings.Repeat("x", task.MaxParamsBytes+1), header("task-id", "large"), header("format", "1")),
		record(`{"echo":"second"}`, header("task-id", same), header("format", "1")),
		record(`{}`, header("task-id", "late"), header("format", "1"), header("deadline", strconv.FormatInt(time.Now().Add(-time.Hour).UnixMilli(), 10))),
	)
	good := f.Submit(map[string]any{"echo": "behind"})

	letters := map[task.Reason][]kafkaqueue.DeadLetter{}
	require.Eventually(t, func() bool {
		clear(letters)
		n := 0
		require.NoError(t, f.Client.DeadLetters(t.Context(), client.LetterFilter{}, func(l kafkaqueue.DeadLetter) error {
			letters[l.Letter.Reason] = append(letters[l.Letter.Reason], l)
			n++
			return nil
		}))
		return n >= 6
	}, time.Minute, 200*time.Millisecond, "%+v", letters)
	require.Len(t, letters[task.Undecodable], 3)
	require.Len(t, letters[task.TooLarge], 1)
	require.Len(t, letters[task.IDConflict], 1)
	require.Len(t, letters[task.Expired], 1)
	var bytesOf []string
	for _, l := range letters[task.Undecodable] {
		bytesOf = append(bytesOf, string(l.Delivery.Params))
		e := f.Outcome(l.Delivery.ID, 0, time.Minute)
		require.Equal(t, task.Failed, e.Status)
		require.Equal(t, task.Undecodable, e.Reason)
	}
	require.ElementsMatch(t, []string{`{"n":1}`, `{"n":2}`, `{"n":3}`}, bytesOf, "byte for byte")
	require.JSONEq(t, `{"echo":"second"}`, string(letters[task.IDConflict][0].Delivery.Params))

	require.Equal(t, task.Success, f.Outcome(good, 0, time.Minute).Status)
	e := f.Outcome(same, 0, time.Minute)
	require.JSONEq(t, `{"echo":"first"}`, string(e.Result), "the first one goes on")

	plan, err := f.Client.Redrive(t.Context(), client.LetterFilter{Reasons: []task.Reason{task.IDConflict}}, false)
	require.NoError(t, err)
	require.Len(t, plan, 1)
	require.NoError(t, plan[0].Err)
	require.NotEqual(t, same, plan[0].ID)
	require.JSONEq(t, `{"echo":"second"}`, string(f.Outcome(plan[0].ID, 0, time.Minute).Result))
}

func TestSubmitRefusesWhatCanNeverRun(t *testing.T) {
	t.Parallel()
	f := fleet.New(t)
	for name, c := range map[string]struct {
		params  any
		options []task.SubmitOption
		says    string
	}{
		"parameters over the limit": {bytes.Repeat([]byte("x"), task.MaxParamsBytes+1), nil, "at most 262144"},
		"10 MB":                     {bytes.Repeat([]byte("x"), 10<<20), nil, "at most 262144"},
		"run-at in the past":        {nil, []task.SubmitOption{task.At(time.Now().Add(-time.Hour))}, "in the past"},
		"run-at beyond the maximum": {nil, []task.SubmitOption{task.In(401 * 24 * time.Hour)}, "400 days"},
		"an id with odd characters": {nil, []task.SubmitOption{task.ID("a b")}, "use letters"},
		"an expired deadline":       {nil, []task.SubmitOption{task.Deadline(time.Now().Add(-time.Second))}, "has passed"},
	} {
		_, err := f.Client.Submit(t.Context(), "probe", c.params, c.options...)
		require.ErrorIs(t, err, task.ErrInvalid, name)
		require.ErrorContains(t, err, c.says, name)
	}
	id := f.Submit(map[string]any{"echo": "a"}, task.ID("twice"))
	_, err := f.Client.Submit(t.Context(), "probe", map[string]any{"echo": "b"}, task.ID(id))
	require.ErrorIs(t, err, client.ErrConflict)
	_, err = f.Client.Submit(t.Context(), "probe", map[string]any{"echo": "a"}, task.ID(id))
	require.NoError(t, err, "a repeat is no conflict")
	_, err = f.Client.Submit(t.Context(), "nobody-runs-this", nil)
	require.ErrorIs(t, err, kafkaqueue.ErrRefused)
}
