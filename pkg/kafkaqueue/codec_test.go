package kafkaqueue

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func header(key, value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: key, Value: []byte(value)}
}

// received is the record as it comes back from Kafka: nothing shared with what was sent.
func received(headers []kgo.RecordHeader, value []byte) *kgo.Record {
	r := &kgo.Record{Topic: "tasks.merge", Partition: 3, Offset: 42, Timestamp: time.UnixMilli(7), Value: bytes.Clone(value)}
	for _, h := range headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: strings.Clone(h.Key), Value: bytes.Clone(h.Value)})
	}
	return r
}

func deliverPlain(r *kgo.Record) (task.Delivery, string) {
	var a arena
	return deliver(r, nil, &a, "merge", func(string) string { return "TOPICID" })
}

func drawTime(t *rapid.T, name string) time.Time {
	ms := rapid.Int64Range(0, maxMillis).Draw(t, name)
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

func drawEnvelope(t *rapid.T) task.Envelope {
	text := rapid.StringN(0, 40, 400)
	id := rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._:-]{0,60}(/[a-z0-9]{1,10}){0,3}`)
	e := task.Envelope{
		ID: id.Draw(t, "id"), Type: "merge",
		Replay: rapid.IntRange(0, maxNumber).Draw(t, "replay"), Attempt: rapid.IntRange(1, maxNumber).Draw(t, "attempt"),
		Hop: rapid.IntRange(0, maxNumber).Draw(t, "hop"), MaxAttempts: rapid.IntRange(0, maxNumber).Draw(t, "max attempts"),
		SubmittedAt: drawTime(t, "submitted"), NotBefore: drawTime(t, "not before"), Deadline: drawTime(t, "deadline"),
		ContentType: text.Draw(t, "content type"), OpaqueID: text.Draw(t, "opaque id"),
		TraceParent: text.Draw(t, "traceparent"), TraceState: text.Draw(t, "tracestate"),
		First: task.Origin{
			Topic: rapid.StringMatching(`[A-Za-z0-9._-]{1,200}`).Draw(t, "topic"), Partition: rapid.Int32Min(0).Draw(t, "partition"), Offset: rapid.Int64Min(0).Draw(t, "offset"),
		},
	}
	if rapid.Bool().Draw(t, "checkpointed") {
		e.Checkpoint = rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "checkpoint")
	}
	return e
}

func TestEnvelopeSurvivesTheTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEnvelope(t)
		params := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "params")
		extra := []kgo.RecordHeader{header("their-own", "kept"), header("their-own", "twice")}
		h := newHeaderList()
		h.envelope(&e, "tasks.merge.again", extra)
		d, target := deliverPlain(received(h.list, params))
		require.NoError(t, d.Err)
		if e.SubmittedAt.IsZero() {
			e.SubmittedAt = time.UnixMilli(7) // the record's own
		}
		require.Equal(t, e, d.Envelope)
		require.Equal(t, params, d.Params)
		require.Equal(t, "tasks.merge.again", target)
		require.Equal(t, extra, headersOf(&d))
		require.Equal(t, task.Origin{Topic: "tasks.merge", Partition: 3, Offset: 42}, d.Origin)
	})
}

func TestLetterSurvivesTheTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(0, 40, 400)
		d := task.Delivery{Envelope: drawEnvelope(t), Params: rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "params")}
		d.SubmittedAt = time.UnixMilli(5)
		d.Origin = task.Origin{Topic: "tasks.merge.again", Partition: 1, Offset: 9}
		d.Ref = &reference{headers: []kgo.RecordHeader{header("their-own", "kept"), header("dead-letter-reason", "of an earlier letter")}}
		l := task.Letter{
			Reason: task.RetriesExhausted, Class: text.Draw(t, "class"), Message: text.Draw(t, "message"),
			FirstFailure: drawTime(t, "first"), LastFailure: drawTime(t, "last"), Node: text.Draw(t, "node"),
			Attempts: rapid.IntRange(0, 100).Draw(t, "attempts"), Lost: rapid.IntRange(0, 100).Draw(t, "lost"),
		}
		sent := letterRecord("tasks.dead-letter", &d, &l)
		var a arena
		letter := readLetter(received(sent.Headers, sent.Value), &a)
		require.NoError(t, letter.Delivery.Err)
		require.Equal(t, d.Envelope, letter.Delivery.Envelope)
		require.Equal(t, d.Params, letter.Delivery.Params)
		require.Equal(t, d.Origin, letter.Delivery.Origin)
		require.Equal(t, l, letter.Letter)
		require.False(t, letter.Stub)
		require.Equal(t, []kgo.RecordHeader{header("their-own", "kept")}, headersOf(&letter.Delivery))
	})
}

func TestALetterOfWhatCanBeReadHasItsEnvelope(t *testing.T) {
	d, _ := deliverPlain(received([]kgo.RecordHeader{header("task-id", "a"), header("theirs", "x")}, []byte("v")))
	d.Err, d.Reason = errors.New("no such target"), task.Unroutable // its settler's words
	sent := letterRecord("tasks.dead-letter", &d, &task.Letter{Reason: d.Reason})
	var a arena
	letter := readLetter(received(sent.Headers, sent.Value), &a)
	require.NoError(t, letter.Delivery.Err, "it can be redriven")
	require.Equal(t, "a", letter.Delivery.ID)
	require.Equal(t, []kgo.RecordHeader{header("theirs", "x")}, headersOf(&letter.Delivery))
}

func TestWhatCannotBeReadIsKeptWhole(t *testing.T) {
	long := strings.Repeat("x", task.MaxHeaderBytes+1)
	for name, test := range map[string]struct {
		headers []kgo.RecordHeader
		value   []byte
		reason  task.Reason
		says    string
	}{
		"an unknown format":                {headers: []kgo.RecordHeader{header("format", "2")}, reason: task.Undecodable, says: "format"},
		"an empty task id":                 {headers: []kgo.RecordHeader{header("task-id", "")}, reason: task.Undecodable, says: "empty task id"},
		"an illegal task id":               {headers: []kgo.RecordHeader{header("task-id", "a b")}, reason: task.Undecodable, says: "a b"},
		"a task id of two":                 {headers: []kgo.RecordHeader{header("task-id", "a"), header("task-id", "b")}, reason: task.Undecodable, says: "twice"},
		"a negative number":                {headers: []kgo.RecordHeader{header("replay", "-1")}, reason: task.Undecodable, says: "replay"},
		"a number that is too large":       {headers: []kgo.RecordHeader{header("hop", "2147483648")}, reason: task.Undecodable, says: "hop"},
		"attempt 0":                        {headers: []kgo.RecordHeader{header("attempt", "0")}, reason: task.Undecodable, says: "attempt"},
		"a number with a sign":             {headers: []kgo.RecordHeader{header("attempt", "+1")}, reason: task.Undecodable, says: "attempt"},
		"an empty number":                  {headers: []kgo.RecordHeader{header("max-attempts", "")}, reason: task.Undecodable, says: "max-attempts"},
		"a time in words":                  {headers: []kgo.RecordHeader{header("not-before", "tomorrow")}, reason: task.Undecodable, says: "not-before"},
		"a time after 9999":                {headers: []kgo.RecordHeader{header("deadline", "253402300800000")}, reason: task.Undecodable, says: "deadline"},
		"a time of 0":                      {headers: []kgo.RecordHeader{header("submitted-at", "0")}, reason: task.Undecodable, says: "submitted-at"},
		"a first place without offset":     {headers: []kgo.RecordHeader{header("first", "topic/1")}, reason: task.Undecodable, says: "first"},
		"a first place with a bad topic":   {headers: []kgo.RecordHeader{header("first", "to pic/1/2")}, reason: task.Undecodable, says: "first"},
		"a first place below 0":            {headers: []kgo.RecordHeader{header("first", "topic/-1/2")}, reason: task.Undecodable, says: "first"},
		"an empty target":                  {headers: []kgo.RecordHeader{header("target", "")}, reason: task.Undecodable, says: "target"},
		"too long headers":                 {headers: []kgo.RecordHeader{header("x-opaque-id", long)}, reason: task.TooLarge, says: "headers of 8206 bytes"},
		"too long headers that nobody has": {headers: []kgo.RecordHeader{header("theirs", long)}, reason: task.TooLarge, says: "headers of"},
		"a too large checkpoint":           {headers: []kgo.RecordHeader{header("checkpoint", strings.Repeat("x", task.MaxCheckpointBytes+1))}, reason: task.TooLarge, says: "checkpoint"},
		"too large parameters":             {value: make([]byte, task.MaxParamsBytes+1), reason: task.TooLarge, says: "parameters"},
	} {
		t.Run(name, func(t *testing.T) {
			headers := append([]kgo.RecordHeader{header("first-of-all", "1")}, test.headers...)
			r := received(headers, test.value)
			r.Key = []byte("their key")
			d, _ := deliverPlain(r)
			require.ErrorIs(t, d.Err, task.ErrInvalid)
			require.ErrorContains(t, d.Err, test.says)
			require.Equal(t, test.reason, d.Reason)
			require.Equal(t, "TOPICID.3.42", d.ID, "not the record's own: that may be a healthy task's")
			require.NoError(t, task.ValidateID(d.ID))
			require.Equal(t, headers, headersOf(&d))

			sent := letterRecord("tasks.dead-letter", &d, &task.Letter{Reason: d.Reason})
			var a arena
			letter := readLetter(received(sent.Headers, sent.Value), &a)
			require.ErrorIs(t, letter.Delivery.Err, task.ErrInvalid)
			require.Equal(t, headers, headersOf(&letter.Delivery))
			require.Equal(t, []byte("their key"), keyOf(&letter.Delivery))
			require.Equal(t, d.Params, letter.Delivery.Params)
			require.Equal(t, d.ID, letter.Delivery.ID)
			require.Equal(t, d.Reason, letter.Letter.Reason)
			require.Equal(t, d.Origin, letter.Delivery.Origin)
		})
	}
}

func TestForeignRecordBecomesATask(t *testing.T) {
	d, _ := deliverPlain(received(nil, []byte("anything")))
	require.NoError(t, d.Err)
	require.Equal(t, "TOPICID.3.42", d.ID)
	require.Equal(t, 1, d.Attempt)
	require.Equal(t, []byte("anything"), d.Params)
	require.Equal(t, d.Origin, d.First)
	require.Equal(t, time.UnixMilli(7), d.SubmittedAt)
}

func TestTimesAreNeverRoundedToEarlier(t *testing.T) {
	e := task.Envelope{ID: "a", Attempt: 1, NotBefore: time.UnixMilli(1000).Add(1)}
	h := newHeaderList()
	h.envelope(&e, "", nil)
	d, _ := deliverPlain(received(h.list, nil))
	require.Equal(t, time.UnixMilli(1001), d.NotBefore)
}

func TestNothingAndEmptyAreTwoThings(t *testing.T) {
	d, _ := deliverPlain(received(nil, nil))
	require.Nil(t, d.Params)
	d, _ = deliverPlain(received(nil, []byte{}))
	require.NotNil(t, d.Params)
}

func TestDeliveryDoesNotShareKafkasBuffer(t *testing.T) {
	r := received([]kgo.RecordHeader{header("task-id", "id"), header("checkpoint", "c"), header("theirs", "t")}, []byte("value"))
	d, _ := deliverPlain(r)
	clear(r.Value)
	for _, h := range r.Headers {
		clear(h.Value)
	}
	require.Equal(t, "id", d.ID)
	require.Equal(t, "c", string(d.Checkpoint))
	require.Equal(t, "value", string(d.Params))
	require.Equal(t, "t", string(headersOf(&d)[0].Value))
	_ = append(d.Params, "over the end"...)
	require.Equal(t, "id", d.ID, "neighbours in the arena are safe")
}

// FuzzDecode feeds headers as a foreign client may write them: whatever comes,
// the outcome is a task or a whole, explained refusal.
func FuzzDecode(f *testing.F) {
	e := task.Envelope{ID: "a/b", Attempt: 2, Replay: 1, Hop: 3, SubmittedAt: time.UnixMilli(1), NotBefore: time.UnixMilli(2), Deadline: time.UnixMilli(3), Checkpoint: []byte("c"), First: task.Origin{Topic: "t"}}
	h := newHeaderList()
	h.envelope(&e, "tasks.merge", nil)
	f.Add(flatten(h.list), []byte("{}"))
	f.Add("", []byte(nil))
	f.Add("format\x002", []byte("x"))
	f.Add("task-id\x00a\x00task-id\x00a", []byte("x"))
	f.Add("attempt\x0099999999999999999999", []byte("x"))
	f.Add("first\x00//\x00first\x00t/9999999999/1", []byte("x"))
	f.Fuzz(func(t *testing.T, flat string, value []byte) {
		r := received(unflatten(flat), value)
		d, _ := deliverPlain(r)
		if err := task.ValidateID(d.ID); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(d.Params, value) {
			t.Fatal("the value changed")
		}
		if d.Err != nil {
			if !errors.Is(d.Err, task.ErrInvalid) || d.Reason == "" {
				t.Fatalf("unexplained: %v %q", d.Err, d.Reason)
			}
			if flatten(headersOf(&d)) != flatten(r.Headers) {
				t.Fatal("headers of a refused record changed")
			}
			return
		}
		// What was read can be written and read again.
		h := newHeaderList()
		h.envelope(&d.Envelope, "", headersOf(&d))
		again, _ := deliverPlain(received(h.list, d.Params))
		if again.Err != nil {
			t.Fatalf("a hop cannot be read: %v", again.Err)
		}
		if flatten(headersOf(&again)) != flatten(headersOf(&d)) || again.Compare(d.Replay, d.Attempt, d.Hop) != 0 || again.ID != d.ID || !again.NotBefore.Equal(d.NotBefore) {
			t.Fatalf("a hop changed %+v to %+v", d.Envelope, again.Envelope)
		}
	})
}

func flatten(headers []kgo.RecordHeader) string {
	var parts []string
	for _, h := range headers {
		parts = append(parts, h.Key, string(h.Value))
	}
	return strings.Join(parts, "\x00")
}

func unflatten(flat string) (headers []kgo.RecordHeader) {
	if flat == "" {
		return nil
	}
	parts := strings.Split(flat, "\x00")
	for i := 0; i+1 < len(parts); i += 2 {
		headers = append(headers, header(parts[i], parts[i+1]))
	}
	return headers
}

func usualRecord() *kgo.Record {
	e := task.Envelope{
		ID: task.NewID(), Attempt: 1, SubmittedAt: time.UnixMilli(1763823456789),
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
	h := newHeaderList()
	h.envelope(&e, "", nil)
	return received(h.list, make([]byte, 500))
}

func BenchmarkDecode(b *testing.B) {
	r, as := usualRecord(), newAssignment("tasks.merge", 3, 0)
	var a arena
	b.ReportAllocs()
	for b.Loop() {
		if d, _ := deliver(r, as, &a, "merge", nil); d.Err != nil {
			b.Fatal(d.Err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	d, _ := deliverPlain(usualRecord())
	pub := &publication{producer: &Producer{}}
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		pub.carry(&d, "tasks.merge", now)
	}
}
