//go:build synctests

package kafkaqueue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// records reads a topic whole, without a group.
func (w *world) records(topic string) (all []*kgo.Record) {
	w.Helper()
	require.NoError(w, readTopic(w.Context(), w.cfg, topic, time.Time{}, func(r *kgo.Record) error {
		all = append(all, r)
		return nil
	}))
	return all
}

func (w *world) letters() (all []DeadLetter) {
	w.Helper()
	require.NoError(w, ReadDeadLetters(w.Context(), w.cfg, func(l DeadLetter) error { all = append(all, l); return nil }))
	return all
}

// acks counts the acknowledgements of each publication.
type acks struct {
	mu   sync.Mutex
	errs map[int][]error
}

func (a *acks) of(i int) func(error) {
	return func(err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.errs == nil {
			a.errs = map[int][]error{}
		}
		a.errs[i] = append(a.errs[i], err)
	}
}

func (a *acks) all() map[int][]error {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := map[int][]error{}
	for i, errs := range a.errs {
		all[i] = append([]error(nil), errs...)
	}
	return all
}

func envelope(id string) task.Delivery {
	return task.Delivery{Envelope: task.Envelope{ID: id, Type: "merge", Attempt: 1}, Params: []byte(`{"of":"` + id + `"}`)}
}

func TestSubmitTellsWhichTasksAreRefused(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		p := w.producer()
		bad, large, missing, unread, past := envelope("a b"), envelope("large"), envelope("missing"), envelope("unread"), envelope("past")
		large.Params = make([]byte, task.MaxParamsBytes+1)
		missing.Type = "nobody"
		unread.Err = task.ErrInvalid
		past.Deadline = time.Now().Add(-time.Second)
		errs := p.Submit(t.Context(), []task.Delivery{envelope("good"), bad, large, missing, unread, past})
		require.Len(t, errs, 6)
		require.NoError(t, errs[0])
		for _, i := range []int{1, 2, 4, 5} {
			require.ErrorIs(t, errs[i], task.ErrInvalid)
		}
		require.ErrorIs(t, errs[3], ErrRefused)
		require.ErrorContains(t, errs[3], "tasks.nobody")
		require.Nil(t, p.Submit(t.Context(), nil))
		require.Len(t, w.records("tasks.merge"), 1)
	})
}

func TestSubmitKeepsToItsDeadline(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		p := w.producer()
		require.Nil(t, p.Submit(t.Context(), []task.Delivery{envelope("before")}))
		fault := w.kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		errs := p.Submit(ctx, []task.Delivery{envelope("x"), envelope("y")})
		require.Equal(t, 5*time.Second, time.Since(start))
		require.Len(t, errs, 2)
		for _, err := range errs {
			require.ErrorIs(t, err, ErrUnknown)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorContains(t, err, "submit it again with the same id")
		}
		fault.Remove()
		require.Nil(t, p.Submit(t.Context(), []task.Delivery{envelope("x")}))
		require.NoError(t, p.Close(t.Context()))
		require.GreaterOrEqual(t, len(w.records("tasks.merge")), 3, "the unknown ones arrived after all")
	})
}

func TestSubmitSaysWhatIsWrongWithTheBrokers(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.cfg.Dialer = func(context.Context, string, string) (conn, error) { return nil, fmt.Errorf("no route to host") }
		p := w.producer()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		errs := p.Submit(ctx, []task.Delivery{envelope("x")})
		require.ErrorIs(t, errs[0], ErrUnknown)
		require.ErrorContains(t, errs[0], "no route to host")
	})
}

func TestLostProduceAnswersDoNotRepeatRecords(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		p := w.producer()
		w.kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 5})
		var got acks
		for i := range 20 {
			p.Event(task.Event{TaskID: fmt.Sprint(i), Status: task.Success}, got.of(i))
		}
		require.NoError(t, p.Close(t.Context()))
		for i := range 20 {
			require.Equal(t, []error{nil}, got.all()[i])
		}
		require.Len(t, w.records("tasks.results"), 20)
	})
}

func TestPassingRefusalsAreTriedForEverAndAcknowledgedOnce(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		p := w.producer()
		fault := w.kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		var got acks
		p.Hop(envelope("hop"), got.of(0))
		p.Event(task.Event{TaskID: "e", Status: task.Failed}, got.of(1))
		p.DeadLetter(envelope("d"), task.Letter{Reason: task.PermanentFailure}, got.of(2))
		errs := p.Submit(t.Context(), []task.Delivery{envelope("s")})
		require.ErrorIs(t, errs[0], ErrRefused, "a caller can be told")
		time.Sleep(time.Hour)
		require.Empty(t, got.all())
		fault.Remove()
		require.NoError(t, p.Close(t.Context()))
		require.Equal(t, map[int][]error{0: {nil}, 1: {nil}, 2: {nil}}, got.all())
	})
}

func TestAHopToAMissingTopicIsRefusedAndAnEventWaits(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		p := w.producer()
		var got acks
		p.Hop(envelope("hop"), got.of(0))
		p.Event(task.Event{TaskID: "e", Status: task.Success}, got.of(1))
		w.eventually(5*time.Minute, func() bool { return len(got.all()[0]) == 1 }, "a refusal")
		require.ErrorIs(t, got.all()[0][0], ErrRefused)
		require.Empty(t, got.all()[1])
		w.topics("merge")
		w.eventually(time.Minute, func() bool { return len(got.all()[1]) == 1 }, "the event")
		require.NoError(t, got.all()[1][0])
	})
}

func TestClosingAcknowledgesEverythingOnce(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		p := w.producer()
		w.kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "tasks.results", Err: kerr.NotEnoughReplicas, Count: -1})
		w.kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "tasks.dead-letter", Err: kerr.TopicAuthorizationFailed, Count: -1})
		var got acks
		for i := range 10 {
			p.Event(task.Event{TaskID: fmt.Sprint(i), Status: task.Success}, got.of(i))
			p.DeadLetter(envelope(fmt.Sprint(i)), task.Letter{Reason: task.Expired}, got.of(100+i))
			p.Hop(envelope(fmt.Sprint(i)), got.of(200+i))
		}
		time.Sleep(5 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		require.ErrorIs(t, p.Close(ctx), context.DeadlineExceeded)
		require.Less(t, time.Since(start), 15*time.Second)
		p.Event(task.Event{TaskID: "late", Status: task.Success}, got.of(999))
		w.eventually(time.Second, func() bool { return len(got.all()) == 31 }, "all acknowledged")
		for i, errs := range got.all() {
			require.Len(t, errs, 1, "publication %d", i)
			if i >= 200 && i < 300 {
				require.NoError(t, errs[0])
			} else {
				require.ErrorIs(t, errs[0], ErrClosed)
			}
		}
		require.ErrorIs(t, p.Submit(t.Context(), []task.Delivery{envelope("x")})[0], ErrClosed)
	})
}

func TestAcknowledgementsMayPublish(t *testing.T) {
	bubble(t, func(w *world) {
		w.topics("merge")
		p := w.producer()
		var events atomic.Int64
		const letters = 20000
		for range letters {
			p.DeadLetter(envelope("x"), task.Letter{Reason: task.Expired}, func(err error) {
				p.Event(task.Event{TaskID: "x", Status: task.Failed}, func(error) { events.Add(1) })
			})
		}
		w.eventually(time.Minute, func() bool { return events.Load() == letters }, "all events")
	})
}

func TestARecordThatIsTooLargeIsRefusedAtOnce(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		p := w.producer()
		d := envelope("large")
		d.Params = make([]byte, 10<<20)
		start := time.Now()
		require.ErrorIs(t, p.Submit(t.Context(), []task.Delivery{d})[0], task.ErrInvalid)
		var got acks
		p.Hop(d, got.of(0))
		w.eventually(time.Second, func() bool { return len(got.all()) == 1 }, "an answer")
		require.ErrorIs(t, got.all()[0][0], ErrRefused)
		require.Less(t, time.Since(start), time.Second)
	})
}

func TestALetterThatIsTooLargeBecomesAStub(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.cfg.Topics.Partitions = 1
		w.topics("merge")
		value := make([]byte, 3<<20) // compressed, any client can send it
		foreign := w.client(kgo.ProducerBatchMaxBytes(10 << 20))
		require.NoError(t, foreign.ProduceSync(t.Context(), &kgo.Record{Topic: "tasks.merge", Value: value, Headers: []kgo.RecordHeader{header("theirs", "x")}}).FirstErr())
		d := w.consumer("merge").await(1)[0]
		require.Equal(t, task.TooLarge, d.Reason)
		require.Equal(t, value, d.Params)
		p := w.producer()
		var got acks
		p.DeadLetter(d, task.Letter{Reason: d.Reason, Message: d.Err.Error(), Attempts: 0}, got.of(0))
		require.NoError(t, p.Close(t.Context()))
		require.Equal(t, map[int][]error{0: {nil}}, got.all())
		letters := w.letters()
		require.Len(t, letters, 1)
		l := letters[0]
		sum := sha256.Sum256(value)
		require.True(t, l.Stub)
		require.Equal(t, len(value), l.Bytes)
		require.Equal(t, hex.EncodeToString(sum[:]), l.SHA256)
		require.Equal(t, d.Origin, l.Delivery.Origin)
		require.Equal(t, d.ID, l.Delivery.ID)
		require.Error(t, l.Delivery.Err)
		require.Equal(t, task.TooLarge, l.Letter.Reason)
	})
}

func TestADeadLetterCanBeSubmittedAgain(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		p := w.producer()
		foreign := w.client()
		require.NoError(t, foreign.ProduceSync(t.Context(), &kgo.Record{
			Topic: "tasks.merge", Value: []byte("body"),
			Headers: []kgo.RecordHeader{header("task-id", "theirs-1"), header("x-tenant", "7"), header("tracestate", "a=b")},
		}).FirstErr())
		c := w.consumer("merge")
		d := c.await(1)[0]
		var got acks
		failed := time.Now()
		p.DeadLetter(d, task.Letter{Reason: task.RetriesExhausted, Class: "*os.PathError", Message: strings.Repeat("x", 3000), FirstFailure: failed, LastFailure: failed, Node: "n1", Attempts: 5, Lost: 1}, got.of(0))
		w.eventually(time.Second, func() bool { return len(got.all()) == 1 }, "acked")
		l := w.letters()[0]
		require.NoError(t, l.Delivery.Err)
		require.Len(t, l.Letter.Message, task.MaxErrorBytes)
		require.Equal(t, "*os.PathError", l.Letter.Class)
		require.Equal(t, 5, l.Letter.Attempts)
		require.Equal(t, "tasks.merge", l.Delivery.Origin.Topic)
		require.Equal(t, "merge", l.Delivery.Type)
		l.Delivery.Replay++
		require.Nil(t, p.Submit(t.Context(), []task.Delivery{l.Delivery}))
		again := c.await(2)[1]
		require.Equal(t, 1, again.Replay)
		require.Equal(t, "theirs-1", again.ID)
		require.Equal(t, "body", string(again.Params))
		require.Equal(t, "a=b", again.TraceState)
		require.Equal(t, []kgo.RecordHeader{header("x-tenant", "7")}, headersOf(&again))
		require.Equal(t, d.Origin, again.First)
	})
}

func TestTasksAreSpreadEvenly(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics("merge")
		p := w.producer()
		for range 4 {
			w.submit(p, "merge", 3)
		}
		per := map[int32]int{}
		for _, r := range w.records("tasks.merge") {
			per[r.Partition]++
		}
		require.Equal(t, map[int32]int{0: 2, 1: 2, 2: 2, 3: 2, 4: 2, 5: 2}, per)
	})
}

func TestEventsAreKeyedByTheirTask(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics()
		p := w.producer()
		for i := range 20 {
			p.Event(task.Event{TaskID: fmt.Sprint(i % 4), Status: task.Success, Replay: i / 4}, func(error) {})
		}
		require.NoError(t, p.Close(t.Context()))
		at := map[string]int32{}
		for _, r := range w.records("tasks.results") {
			if was, ok := at[string(r.Key)]; ok {
				require.Equal(t, was, r.Partition)
			}
			at[string(r.Key)] = r.Partition
		}
		require.Len(t, at, 4)
	})
}

func TestOnlyNamedResultsSince(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics()
		require.NoError(t, ReadResults(t.Context(), w.cfg, time.Time{}, func(task.Event) error { t.Error("no event there"); return nil }))
		p := w.producer()
		write := func(from, to int) {
			for i := from; i < to; i++ {
				p.Event(task.Event{TaskID: fmt.Sprint(i), Type: "merge", Status: task.Success, AllocationID: int64(i), Result: json.RawMessage(`{"n":1}`), CompletedAt: time.Now()}, func(err error) { require.NoError(t, err) })
			}
			w.eventually(time.Second, func() bool { return p.open.Load() == 0 }, "acked")
		}
		write(0, 10)
		time.Sleep(time.Hour)
		since := time.Now()
		write(10, 30)
		require.NoError(t, w.client().ProduceSync(t.Context(), &kgo.Record{Topic: "tasks.results", Value: []byte("junk")}).FirstErr())
		var ids []string
		read := func(since time.Time) []string {
			ids = nil
			require.NoError(t, ReadResults(t.Context(), w.cfg, since, func(e task.Event) error {
				if e.TaskID == "11" {
					write(100, 101) // after the end as it was at the call
				}
				ids = append(ids, e.TaskID)
				return nil
			}))
			return ids
		}
		require.Len(t, read(since), 20)
		require.NotContains(t, ids, "9")
		require.NotContains(t, ids, "100")
		require.Len(t, read(time.Time{}), 31)
		require.Empty(t, read(time.Now().Add(time.Hour)))
		stop := fmt.Errorf("enough")
		require.ErrorIs(t, ReadResults(t.Context(), w.cfg, time.Time{}, func(task.Event) error { return stop }), stop)
		for p := range int32(6) { // retention takes what a reader waits for
			require.NoError(t, w.kafka.DeleteRecords("tasks.results", p, w.kafka.PartitionInfo("tasks.results", p).HighWatermark))
		}
		require.Empty(t, read(time.Time{}))
	})
}
