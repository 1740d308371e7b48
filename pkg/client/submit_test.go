//go:build synctests

package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/offline-nodes/offline-nodes/pkg/claims"
	"github.com/offline-nodes/offline-nodes/pkg/client"
	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func ok(context.Context, *task.Execution) error { return nil }

func TestSubmittedTasksHaveAStateBeforeAnyNodeRuns(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		id, err := w.Submit(t.Context(), "work", map[string]int{"n": 1}, task.OpaqueID("mine"), task.MaxAttempts(2))
		require.NoError(t, err)
		s, err := w.State(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, task.Unassigned, s.Status)
		require.Equal(t, "work", s.Type)
		require.Equal(t, "mine", s.OpaqueID)
		require.Equal(t, 2, s.MaxAttempts)
		require.Equal(t, "waits for a node", s.Explanation)

		_, err = w.State(t.Context(), "nobody")
		require.ErrorIs(t, err, client.ErrNoTask)
	})
}

func TestABatchAnswersForEachInItsPlace(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		good := make([]task.Submission, 600)
		for i := range good {
			var err error
			good[i], err = task.NewSubmission("work", i)
			require.NoError(t, err)
		}
		nowhere, err := task.NewSubmission("nowhere", nil)
		require.NoError(t, err)
		results := w.SubmitBatch(t.Context(), slices.Insert(slices.Clone(good), 300, nowhere))
		require.Len(t, results, 601)
		for i, r := range results {
			if i == 300 {
				require.ErrorIs(t, r.Err, kafkaqueue.ErrRefused, "it has no topic")
				continue
			}
			require.NoError(t, r.Err)
			require.False(t, r.Existed)
		}
		ids := make([]string, len(good))
		for i := range good {
			ids[i] = good[i].ID
		}
		states, err := w.States(t.Context(), ids)
		require.NoError(t, err)
		require.NotContains(t, states, (*claims.State)(nil))
		require.Len(t, w.deliver(600), 600)
	})
}

func TestAChosenIDMayBeSubmittedAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		s, err := task.NewSubmission("work", "p", task.ID("mine"))
		require.NoError(t, err)
		first := w.SubmitBatch(t.Context(), []task.Submission{s})[0]
		require.Equal(t, client.Result{ID: "mine"}, first)
		again := w.SubmitBatch(t.Context(), []task.Submission{s})[0]
		require.NoError(t, again.Err)
		require.True(t, again.Existed)
		require.Equal(t, task.Unassigned, again.State.Status)

		w.node(ok)
		ended, err := w.Wait(t.Context(), "mine", nil)
		require.NoError(t, err)
		require.Equal(t, task.Success, ended.Status)
		again = w.SubmitBatch(t.Context(), []task.Submission{s})[0]
		require.NoError(t, again.Err)
		require.True(t, again.Existed)
		require.Equal(t, task.Success, again.State.Status)
		time.Sleep(time.Minute)
		require.Len(t, w.runsOf("mine"), 1)
	})
}

func TestAChosenIDWithOtherParametersIsAConflict(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		_, err := w.Submit(t.Context(), "work", "one", task.ID("mine"))
		require.NoError(t, err)
		_, err = w.Submit(t.Context(), "work", "two", task.ID("mine"))
		require.ErrorIs(t, err, client.ErrConflict)
		require.True(t, client.Invalid(err))
		require.Len(t, w.deliver(1), 1)
	})
}

func TestOfOneIDInABatchTheFirstCounts(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		batch := make([]task.Submission, 4)
		for i, params := range []string{"one", "one", "two", "one"} {
			option := task.ID("mine")
			if i == 3 {
				option = task.ID("other")
			}
			var err error
			batch[i], err = task.NewSubmission("work", params, option)
			require.NoError(t, err)
		}
		results := w.SubmitBatch(t.Context(), batch)
		require.Equal(t, []client.Result{{ID: "mine"}, {ID: "mine", Existed: true}, {ID: "mine", Err: client.ErrConflict}, {ID: "other"}}, results)
		require.Len(t, w.deliver(2), 2)
		require.Empty(t, w.letters(client.LetterFilter{}))
	})
}

func TestAUniqueKeyFindsTheFirstTask(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		first, err := w.Submit(t.Context(), "work", "one", task.Unique("cat.jpg"))
		require.NoError(t, err)
		second, err := w.Submit(t.Context(), "work", "two", task.Unique("cat.jpg"))
		require.NoError(t, err)
		require.Equal(t, first, second)
		other, err := w.Submit(t.Context(), "work", "two", task.Unique("dog.jpg"))
		require.NoError(t, err)
		require.NotEqual(t, first, other)
		nextHour, err := w.Submit(t.Context(), "work", "one", task.UniqueFor("cat.jpg", time.Hour))
		require.NoError(t, err)
		require.NotEqual(t, first, nextHour)

		w.node(ok)
		_, err = w.Wait(t.Context(), first, nil)
		require.NoError(t, err)
		third, err := w.Submit(t.Context(), "work", "three", task.Unique("cat.jpg"))
		require.ErrorIs(t, err, client.ErrSettled)
		require.Equal(t, first, third)
	})
}

func TestAgainRunsAUniqueTaskOnceMoreWhenItHasEnded(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.node(func(ctx context.Context, x *task.Execution) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(10 * time.Second):
				return x.SetResult(x.Replay)
			}
		})
		s, err := task.NewSubmission("work", "p", task.Unique("cat.jpg"), task.Again())
		require.NoError(t, err)
		submit := func() client.Result {
			r := w.SubmitBatch(t.Context(), []task.Submission{s})[0]
			require.NoError(t, r.Err)
			return r
		}
		require.False(t, submit().Existed)
		require.True(t, submit().Existed, "it is not finished")
		_, err = w.Wait(t.Context(), s.ID, nil)
		require.NoError(t, err)

		again := submit()
		require.False(t, again.Existed)
		require.Equal(t, 1, again.Replay)
		require.Zero(t, s.Replay, "the caller's own is left alone")
		var last *claims.State
		require.NoError(t, w.WaitAll(t.Context(), []client.Awaited{{ID: again.ID, Replay: again.Replay}}, func(_ int, s *claims.State) { last = s }))
		require.Equal(t, task.Success, last.Status)
		require.JSONEq(t, "1", string(last.Result))
		require.Len(t, w.runsOf(s.ID), 2)
	})
}

type sized struct{ Width int }

func (p sized) Validate() error {
	if p.Width <= 0 {
		return errors.New("width must be positive")
	}
	return nil
}

func (p sized) Describe() string { return "resize" }

func TestKnownTypesCheckAndDescribeTheirParameters(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		mux := task.NewMux()
		task.Handle(mux, "work", func(context.Context, *task.Run[sized]) error { return nil })
		c := w.open(client.Config{Workers: mux})
		_, err := c.Submit(t.Context(), "work", json.RawMessage(`{"Width": -1}`))
		require.ErrorIs(t, err, task.ErrInvalid)
		require.ErrorContains(t, err, "width must be positive")
		_, err = c.Submit(t.Context(), "work", json.RawMessage(`{"Width": "wide"}`))
		require.ErrorIs(t, err, task.ErrInvalid)
		id, err := c.Submit(t.Context(), "work", sized{3})
		require.NoError(t, err)
		s, err := c.State(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, "resize", s.Describe)
	})
}

func TestWhenKafkaIsSilentSubmitSaysUnknownInTime(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		c := w.open(client.Config{Timeout: 5 * time.Second})
		w.servers.Broker.Close()
		start := time.Now()
		id, err := c.Submit(t.Context(), "work", nil)
		require.ErrorIs(t, err, client.ErrUnknown)
		require.NotEmpty(t, id)
		require.Equal(t, 5*time.Second, time.Since(start))
		_, err = c.State(t.Context(), id)
		require.ErrorIs(t, err, client.ErrNoTask, "what Kafka may not have gets no state")
	})
}

// silent dials a server that never answers once hush is closed.
func silent(dial func(context.Context, string, string) (net.Conn, error), hush <-chan struct{}) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return &silentConn{conn, hush}, err
	}
}

type silentConn struct {
	net.Conn
	hush <-chan struct{}
}

func (c *silentConn) Write(b []byte) (int, error) {
	select {
	case <-c.hush:
		return len(b), nil // it is lost on the way
	default:
		return c.Conn.Write(b)
	}
}

func TestTasksAreAcceptedWhileRedisIsSilent(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		hush := make(chan struct{})
		cfg := w.claims()
		cfg.Dialer = silent(w.servers.RedisDialer, hush)
		c := w.open(client.Config{Claims: cfg, Timeout: 5 * time.Second})
		close(hush)
		start := time.Now()
		_, err := c.Submit(t.Context(), "work", "p", task.ID("mine"))
		require.NoError(t, err)
		require.Less(t, time.Since(start), 5*time.Second, "Redis takes nothing of Kafka's time")
		require.Equal(t, "mine", w.deliver(1)[0].ID)
	})
}

func TestACancelledContextEndsSubmit(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.servers.Broker.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := w.Submit(ctx, "work", nil)
		require.ErrorIs(t, err, client.ErrUnknown)
		require.Equal(t, time.Second, time.Since(start))
	})
}

func TestTheSubmittersTraceTravelsWithTheTask(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		spans := tracetest.NewInMemoryExporter()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
		tracer := provider.Tracer("test")
		c := w.open(client.Config{Tracer: tracer})
		ctx, parent := tracer.Start(t.Context(), "caller")
		_, err := c.Submit(ctx, "work", nil)
		require.NoError(t, err)
		parent.End()

		recorded := spans.GetSpans()
		require.Len(t, recorded, 2)
		publish := recorded[0]
		require.Equal(t, "publish work", publish.Name)
		require.Equal(t, parent.SpanContext().SpanID(), publish.Parent.SpanID())
		header := w.deliver(1)[0].TraceParent
		require.Equal(t, "00-"+publish.SpanContext.TraceID().String()+"-"+publish.SpanContext.SpanID().String()+"-01", header)

		spans.Reset()
		_, err = c.Submit(ctx, "nowhere", nil)
		require.Error(t, err)
		require.Contains(t, spans.GetSpans()[0].Status.Description, "refused")

		_, err = w.Submit(ctx, "work", nil) // without a tracer
		require.NoError(t, err)
		deliveries := w.deliver(2)
		require.True(t, slices.ContainsFunc(deliveries, func(d task.Delivery) bool {
			return strings.Contains(d.TraceParent, parent.SpanContext().SpanID().String())
		}), "the caller's own context is passed on")
	})
}

func TestCancelledBeforeItStarts(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		id, err := w.Submit(t.Context(), "work", nil)
		require.NoError(t, err)
		s, err := w.Cancel(t.Context(), id)
		require.ErrorIs(t, err, claims.ErrCold, "nobody has read the outcomes back yet")
		require.Nil(t, s)
		forgetful, err := w.Forgetful(t.Context(), id)
		require.NoError(t, err)
		require.True(t, forgetful)

		blocked, err := w.Submit(t.Context(), "work", nil, task.In(2*time.Minute))
		require.NoError(t, err)
		w.node(ok)
		s, err = w.Cancel(t.Context(), blocked)
		require.NoError(t, err)
		require.Equal(t, task.Cancelled, s.Status)
		again, err := w.Cancel(t.Context(), blocked)
		require.NoError(t, err)
		require.Equal(t, task.Cancelled, again.Status)
		unknown, err := w.Cancel(t.Context(), "never-seen")
		require.NoError(t, err)
		require.Equal(t, task.Cancelled, unknown.Status)

		var told []string
		for _, e := range w.events() {
			if e.Status == task.Cancelled {
				told = append(told, e.TaskID)
				require.Equal(t, "task cancelled on request", e.Error)
			}
		}
		slices.Sort(told)
		require.Equal(t, []string{blocked, "never-seen"}, told, "each event once")
		time.Sleep(5 * time.Minute)
		require.Empty(t, w.runsOf(blocked))

		_, err = w.Cancel(t.Context(), "no such id!")
		require.ErrorIs(t, err, task.ErrInvalid)
	})
}

func TestCancelledWhileItRuns(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.node(func(ctx context.Context, _ *task.Execution) error {
			<-ctx.Done()
			return ctx.Err()
		})
		id, err := w.Submit(t.Context(), "work", nil)
		require.NoError(t, err)
		w.eventually("it runs", func() bool { return len(w.runsOf(id)) == 1 })
		s, err := w.Cancel(t.Context(), id)
		require.NoError(t, err)
		require.False(t, s.Status.Terminal())
		require.True(t, s.CancelRequested)
		ended, err := w.Wait(t.Context(), id, nil)
		require.NoError(t, err)
		require.Equal(t, task.Cancelled, ended.Status)
		late, err := w.Cancel(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, task.Cancelled, late.Status)
	})
}

func TestCancelIsTooLateForWhatHasEnded(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.node(ok)
		id, err := w.Submit(t.Context(), "work", nil)
		require.NoError(t, err)
		_, err = w.Wait(t.Context(), id, nil)
		require.NoError(t, err)
		s, err := w.Cancel(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, task.Success, s.Status)
	})
}
