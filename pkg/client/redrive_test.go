//go:build synctests

package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// failOnce fails for good until a task is redriven.
func failOnce(_ context.Context, x *task.Execution) error {
	if x.Replay == 0 {
		return task.Permanent(errors.New("broken"))
	}
	return x.SetResult(string(x.Raw))
}

// failed submits tasks with these ids and waits until they are dead letters.
func (w *world) failed(ids ...string) {
	w.t.Helper()
	var submissions []task.Submission
	var awaited []client.Awaited
	for _, id := range ids {
		s, err := task.NewSubmission("work", []byte("params of "+id), task.ID(id))
		require.NoError(w.t, err)
		submissions, awaited = append(submissions, s), append(awaited, client.Awaited{ID: id})
	}
	for _, r := range w.SubmitBatch(w.t.Context(), submissions) {
		require.NoError(w.t, r.Err)
	}
	require.NoError(w.t, w.WaitAll(w.t.Context(), awaited, nil))
	w.eventually("letters", func() bool { return len(w.letters(client.LetterFilter{IDs: ids})) >= len(ids) })
}

// said is what a redrive answers, for comparison.
func said(plan []client.Redriven) (lines []string) {
	for _, p := range plan {
		line := fmt.Sprintf("%s as %s replay %d", p.Letter.Delivery.ID, p.ID, p.Replay)
		if p.Err != nil {
			line += ": " + p.Err.Error()
		}
		lines = append(lines, line)
	}
	return lines
}

func TestRedriveByID(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.node(failOnce)
		w.failed("a", "b")
		filter := client.LetterFilter{IDs: []string{"a"}}

		dry, err := w.Redrive(t.Context(), filter, true)
		require.NoError(t, err)
		require.Equal(t, []string{"a as a replay 1"}, said(dry))
		require.Nil(t, dry[0].Letter.Delivery.Params)
		require.Equal(t, "broken", dry[0].Letter.Letter.Message)
		time.Sleep(time.Minute)
		require.Len(t, w.runsOf("a"), 1, "a dry run runs nothing")

		done, err := w.Redrive(t.Context(), filter, false)
		require.NoError(t, err)
		require.Equal(t, said(dry), said(done))
		require.NoError(t, w.WaitAll(t.Context(), []client.Awaited{{ID: "a", Replay: 1}}, nil))
		s, err := w.State(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, task.Success, s.Status)
		require.JSONEq(t, `"params of a"`, string(s.Result))
		require.Len(t, w.runsOf("a"), 2)
		require.Len(t, w.runsOf("b"), 1)

		again, err := w.Redrive(t.Context(), filter, false)
		require.NoError(t, err)
		require.Equal(t, []string{"a as a replay 1: redriven already"}, said(again))
	})
}

// Found by model checking (test/model): a node died between letter and event,
// the letter was redriven, and Redis forgot who owed the event.
func TestARedriveTellsTheOutcomeFirst(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		d := task.Delivery{Envelope: task.Envelope{ID: "a", Type: "work", Attempt: 3, SubmittedAt: time.Now()}, Params: []byte("p")}
		acked := make(chan error, 1)
		producer, err := kafkaqueue.NewProducer(w.kafka())
		require.NoError(t, err)
		producer.DeadLetter(d, task.Letter{Reason: task.RetriesExhausted, Message: "broken", LastFailure: time.Now(), Node: "n0", Attempts: 3}, func(err error) { acked <- err })
		require.NoError(t, <-acked)
		require.NoError(t, producer.Close(t.Context()))
		require.Empty(t, w.events())

		plan, err := w.Redrive(t.Context(), client.LetterFilter{IDs: []string{"a"}}, false)
		require.NoError(t, err)
		require.Equal(t, []string{"a as a replay 1"}, said(plan))
		events := w.events()
		require.Len(t, events, 1)
		require.Equal(t, task.Failed, events[0].Status)
		require.Equal(t, 0, events[0].Replay)
		require.Equal(t, task.RetriesExhausted, events[0].Reason)
		require.True(t, events[0].Repeat)
		w.node(failOnce)
		require.NoError(t, w.WaitAll(t.Context(), []client.Awaited{{ID: "a", Replay: 1}}, nil))
	})
}

func TestRedriveOfEverythingThatIsLeft(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.node(failOnce, task.Slots(50))
		ids := make([]string, 300) // more than one batch
		for i := range ids {
			ids[i] = fmt.Sprintf("t%03d", i)
		}
		w.failed(ids...)
		_, err := w.Redrive(t.Context(), client.LetterFilter{IDs: ids[:1]}, false)
		require.NoError(t, err)
		require.NoError(t, w.WaitAll(t.Context(), []client.Awaited{{ID: ids[0], Replay: 1}}, nil))

		all, err := w.Redrive(t.Context(), client.LetterFilter{}, false)
		require.NoError(t, err)
		require.Len(t, all, 300)
		left := 0
		for _, p := range all {
			if errors.Is(p.Err, client.ErrRedriven) {
				left++
				require.Equal(t, ids[0], p.ID)
			} else {
				require.NoError(t, p.Err)
			}
		}
		require.Equal(t, 1, left)
		var replays []client.Awaited
		for _, id := range ids {
			replays = append(replays, client.Awaited{ID: id, Replay: 1})
		}
		require.NoError(t, w.WaitAll(t.Context(), replays, nil))
		for _, id := range ids {
			require.Len(t, w.runsOf(id), 2)
		}
	})
}

func TestRedriveKnowsWhatRedisHasForgotten(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.node(failOnce)
		w.failed("a")
		_, err := w.Redrive(t.Context(), client.LetterFilter{}, false)
		require.NoError(t, err)
		require.NoError(t, w.WaitAll(t.Context(), []client.Awaited{{ID: "a", Replay: 1}}, nil))

		time.Sleep(retention + time.Minute)
		_, err = w.State(t.Context(), "a")
		require.ErrorIs(t, err, client.ErrNoTask, "its state has expired")
		again, err := w.Redrive(t.Context(), client.LetterFilter{}, false)
		require.NoError(t, err)
		require.Equal(t, []string{"a as a replay 1: redriven already"}, said(again))
		time.Sleep(time.Minute)
		require.Len(t, w.runsOf("a"), 2)
	})
}

func TestTheNewestLetterOfATaskCounts(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.node(func(_ context.Context, x *task.Execution) error {
			if x.Replay < 2 {
				return task.Permanent(errors.New("broken"))
			}
			return nil
		})
		w.failed("a")
		_, err := w.Redrive(t.Context(), client.LetterFilter{}, false)
		require.NoError(t, err)
		w.eventually("its second letter", func() bool { return len(w.letters(client.LetterFilter{})) == 2 })
		again, err := w.Redrive(t.Context(), client.LetterFilter{}, false)
		require.NoError(t, err)
		require.Equal(t, []string{"a as a replay 2"}, said(again))
		require.NoError(t, w.WaitAll(t.Context(), []client.Awaited{{ID: "a", Replay: 2}}, nil))
	})
}

func TestLettersAreChosenByWhatTheySay(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.node(failOnce)
		start := time.Now()
		w.failed("a")
		time.Sleep(5 * time.Minute)
		w.failed("b")
		letters := w.letters(client.LetterFilter{})
		require.Len(t, letters, 2)
		class := letters[0].Letter.Class
		for name, c := range map[string]struct {
			filter client.LetterFilter
			want   int
		}{
			"all":          {client.LetterFilter{}, 2},
			"id":           {client.LetterFilter{IDs: []string{"b", "c"}}, 1},
			"type":         {client.LetterFilter{Type: "work"}, 2},
			"other type":   {client.LetterFilter{Type: "play"}, 0},
			"reason":       {client.LetterFilter{Reasons: []task.Reason{task.PermanentFailure}}, 2},
			"other reason": {client.LetterFilter{Reasons: []task.Reason{task.WorkerLost, task.Expired}}, 0},
			"class":        {client.LetterFilter{Class: class}, 2},
			"other class":  {client.LetterFilter{Class: class + "x"}, 0},
			"since":        {client.LetterFilter{Since: start.Add(3 * time.Minute)}, 1},
			"until":        {client.LetterFilter{Until: start.Add(3 * time.Minute)}, 1},
			"between":      {client.LetterFilter{Since: start.Add(time.Minute), Until: start.Add(2 * time.Minute)}, 0},
		} {
			require.Len(t, w.letters(c.filter), c.want, name)
		}
	})
}

// produce puts a record on a topic as a foreign client would.
func (w *world) produce(r *kgo.Record) {
	w.t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(w.servers.Addresses.Kafka), kgo.Dialer(w.servers.KafkaDialer))
	require.NoError(w.t, err)
	defer c.Close()
	require.NoError(w.t, c.ProduceSync(w.t.Context(), r).FirstErr())
}

func TestAConflictLetterRunsUnderANewID(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.node(func(_ context.Context, x *task.Execution) error { return x.SetResult(string(x.Raw)) })
		_, err := w.Submit(t.Context(), "work", []byte("one"), task.ID("mine"))
		require.NoError(t, err)
		_, err = w.Wait(t.Context(), "mine", nil)
		require.NoError(t, err)
		w.produce(&kgo.Record{Topic: "tasks.work", Value: []byte("two"), Headers: []kgo.RecordHeader{
			{Key: "task-id", Value: []byte("mine")}, {Key: "theirs", Value: []byte("kept")},
		}})
		w.eventually("the letter", func() bool { return len(w.letters(client.LetterFilter{})) == 1 })
		letter := w.letters(client.LetterFilter{})[0]
		require.Equal(t, task.IDConflict, letter.Letter.Reason)

		done, err := w.Redrive(t.Context(), client.LetterFilter{IDs: []string{"mine"}}, false)
		require.NoError(t, err)
		require.Len(t, done, 1)
		require.NoError(t, done[0].Err)
		require.NotEqual(t, "mine", done[0].ID)
		require.Zero(t, done[0].Replay)
		s, err := w.Wait(t.Context(), done[0].ID, nil)
		require.NoError(t, err)
		require.JSONEq(t, `"two"`, string(s.Result))
		require.Len(t, w.runsOf("mine"), 1)

		again, err := w.Redrive(t.Context(), client.LetterFilter{}, false)
		require.NoError(t, err)
		require.Len(t, again, 1)
		require.ErrorIs(t, again[0].Err, client.ErrRedriven)
		require.Equal(t, done[0].ID, again[0].ID)
	})
}

func TestForeignHeadersSurviveARedrive(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.produce(&kgo.Record{Topic: "tasks.dead-letter", Value: []byte("params"), Headers: []kgo.RecordHeader{
			{Key: "task-id", Value: []byte("mine")},
			{Key: "theirs", Value: []byte("kept")},
			{Key: "dead-letter-reason", Value: []byte("permanent")},
			{Key: "dead-letter-type", Value: []byte("work")},
		}})
		done, err := w.Redrive(t.Context(), client.LetterFilter{}, false)
		require.NoError(t, err)
		require.Equal(t, []string{"mine as mine replay 1"}, said(done))

		c, err := kgo.NewClient(kgo.SeedBrokers(w.servers.Addresses.Kafka), kgo.Dialer(w.servers.KafkaDialer), kgo.ConsumeTopics("tasks.work"))
		require.NoError(t, err)
		defer c.Close()
		records := c.PollFetches(t.Context()).Records()
		require.Len(t, records, 1)
		require.Equal(t, "params", string(records[0].Value))
		headers := map[string]string{}
		for _, h := range records[0].Headers {
			headers[h.Key] = string(h.Value)
		}
		require.Equal(t, "kept", headers["theirs"])
		require.Equal(t, "1", headers["replay"])
		require.NotContains(t, headers, "dead-letter-reason")
	})
}

func TestStubsAndUnreadableLettersAreLeftAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		producer, err := kafkaqueue.NewProducer(w.kafka())
		require.NoError(t, err)
		acked := make(chan error, 1)
		huge := task.Delivery{
			Envelope: task.Envelope{ID: "huge", Type: "work", Attempt: 1},
			Params:   []byte(strings.Repeat("x", 4<<20)), // a record that another client wrote
		}
		producer.DeadLetter(huge, task.Letter{Reason: task.TooLarge, LastFailure: time.Now()}, func(err error) { acked <- err })
		require.NoError(t, <-acked)
		require.NoError(t, producer.Close(t.Context()))

		w.node(ok)
		w.produce(&kgo.Record{Topic: "tasks.work", Value: []byte("params"), Headers: []kgo.RecordHeader{{Key: "format", Value: []byte("99")}}})
		w.eventually("both letters", func() bool { return len(w.letters(client.LetterFilter{})) == 2 })

		plan, err := w.Redrive(t.Context(), client.LetterFilter{}, false)
		require.NoError(t, err)
		require.Len(t, plan, 2)
		byReason := map[task.Reason]error{}
		for _, p := range plan {
			byReason[p.Letter.Letter.Reason] = p.Err
		}
		require.ErrorIs(t, byReason[task.TooLarge], client.ErrStub)
		require.ErrorIs(t, byReason[task.Undecodable], client.ErrUnreadable)
	})
}

func TestRedriveNeedsRedis(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.node(failOnce)
		w.failed("a")
		w.servers.Redis.SetError("LOADING the dataset")
		_, err := w.Redrive(t.Context(), client.LetterFilter{}, false)
		require.ErrorContains(t, err, "states of dead letters")
		w.servers.Redis.SetError("")
	})
}
