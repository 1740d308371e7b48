//go:build synctests

package kafkaqueue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

type listening struct {
	stop func()

	mu     sync.Mutex
	events []string
}

func (l *listening) got() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.events...)
}

func (w *world) listener(lc ListenerConfig, handle func(task.Event) error) *listening {
	w.Helper()
	listener, err := NewListener(w.cfg, lc)
	require.NoError(w, err)
	l := &listening{}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- listener.Run(ctx, func(_ context.Context, e task.Event) error {
			if err := handle(e); err != nil {
				return err
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.events = append(l.events, fmt.Sprint(e.TaskID, "/", e.Replay))
			return nil
		})
	}()
	l.stop = sync.OnceFunc(func() { cancel(); require.NoError(w, <-ended) })
	w.Cleanup(l.stop)
	return l
}

func accept(task.Event) error { return nil }

func (w *world) event(p *Producer, id string, replay int) {
	w.Helper()
	done := make(chan error, 1)
	p.Event(task.Event{TaskID: id, Type: "merge", Replay: replay, Status: task.Success, CompletedAt: time.Now()}, func(err error) { done <- err })
	require.NoError(w, <-done)
}

func TestAListenerHearsEachOutcomeOnce(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics()
		p := w.producer()
		w.event(p, "a", 0)
		w.event(p, "a", 0)
		w.event(p, "a", 1)
		l := w.listener(ListenerConfig{Group: "listeners"}, accept)
		w.eventually(time.Minute, func() bool { return len(l.got()) == 2 }, "two outcomes")
		for range 3 {
			w.event(p, "b", 0)
		}
		w.event(p, "a", 0)
		time.Sleep(10 * time.Second)
		require.ElementsMatch(t, []string{"a/0", "a/1", "b/0"}, l.got())
		l.stop()
		w.event(p, "c", 0)
		again := w.listener(ListenerConfig{Group: "listeners"}, accept)
		w.eventually(time.Minute, func() bool { return len(again.got()) > 0 }, "what came meanwhile")
		require.Equal(t, []string{"c/0"}, again.got(), "the rest was committed")
		other := w.listener(ListenerConfig{Group: "others", Latest: true}, accept)
		time.Sleep(10 * time.Second)
		require.Empty(t, other.got())
		w.event(p, "d", 0)
		w.eventually(time.Minute, func() bool { return len(other.got()) == 1 }, "new ones")
	})
}

func TestAListenerThatCountsRepeatsStartsAtATime(t *testing.T) {
	bubble(t, func(w *world) {
		w.topics()
		p := w.producer()
		w.event(p, "before", 0)
		time.Sleep(time.Minute)
		since := time.Now()
		var said strings.Builder
		w.cfg.Log = slog.New(slog.NewTextHandler(&said, nil))
		w.event(p, "a", 0)
		w.event(p, "a", 0)
		l := w.listener(ListenerConfig{Group: "auditors", Since: since, Latest: true, Repeats: true}, accept)
		w.eventually(time.Minute, func() bool { return len(l.got()) == 2 }, "what came before it joined")
		w.event(p, "a", 0)
		w.eventually(time.Minute, func() bool { return len(l.got()) == 3 }, "what came after")
		require.Equal(w.T, []string{"a/0", "a/0", "a/0"}, l.got())
		l.stop()
		committed := sum(w.committed("auditors")["tasks.results"])
		require.Positive(w.T, committed, "what was heard is committed")
		require.LessOrEqual(w.T, committed, int64(4), "a time is no offset")
		require.NotContains(w.T, said.String(), "records were lost")
	})
}

func TestAHandlersErrorIsTriedAgain(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics()
		p := w.producer()
		for i := range 5 {
			w.event(p, fmt.Sprint(i), 0)
		}
		var tries int
		l := w.listener(ListenerConfig{Group: "listeners"}, func(e task.Event) error {
			if e.TaskID == "3" && tries < 10 {
				tries++
				return errors.New("not yet")
			}
			return nil
		})
		time.Sleep(time.Second)
		require.Less(t, len(l.got()), 5, "others of the same poll wait")
		w.eventually(10*time.Minute, func() bool { return len(l.got()) == 5 }, "all")
		require.Equal(t, 10, tries)
	})
}

func TestAnUnhandledEventIsNotCommitted(t *testing.T) {
	bubble(t, func(w *world) {
		t := w.T
		w.topics()
		p := w.producer()
		w.event(p, "a", 0)
		l := w.listener(ListenerConfig{Group: "listeners"}, func(task.Event) error { return errors.New("no") })
		time.Sleep(time.Minute)
		l.stop()
		require.Zero(t, sum(w.committed("listeners")["tasks.results"]))
		again := w.listener(ListenerConfig{Group: "listeners"}, accept)
		w.eventually(time.Minute, func() bool { return len(again.got()) == 1 }, "again")
	})
}

func TestAListenerRemembersWithinItsBounds(t *testing.T) {
	m := newMemory(3)
	for i := range 5 {
		m.add(remembered{fmt.Sprint(i), 0})
	}
	require.Len(t, m.keys, 3)
	require.False(t, m.has(remembered{"1", 0}))
	require.True(t, m.has(remembered{"2", 0}))
	require.False(t, m.has(remembered{"2", 1}))
}
