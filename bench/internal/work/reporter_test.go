package work_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/bench/internal/work"
)

// report runs what a worker does, and returns what arrives of it.
func report(t *testing.T, counting bool, worker func(r *work.Reporter)) []work.Event {
	t.Helper()
	var out bytes.Buffer
	r := work.NewReporter(&out, counting)
	worker(r)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, r.Run(ctx))
	var events []work.Event
	require.NoError(t, work.Read("w", &out, func(e work.Event) { events = append(events, e) }))
	return events
}

func TestAWorkerTellsWhatItDid(t *testing.T) {
	sent := time.Now()
	events := report(t, false, func(r *work.Reporter) {
		r.Ready()
		require.NoError(t, r.Do(t.Context(), work.Task{N: 7, Sent: sent.UnixNano()}, 2))
	})
	require.Len(t, events, 3)
	require.Equal(t, work.Ready, events[0].Kind)
	require.Equal(t, work.Start, events[1].Kind)
	require.Equal(t, 7, events[1].N)
	require.Equal(t, 2, events[1].Attempt)
	require.Equal(t, sent.UnixNano(), events[1].Sent.UnixNano())
	require.Equal(t, work.End, events[2].Kind)
	require.True(t, events[2].OK)
	require.Equal(t, "w", events[2].Worker)
}

func TestACountingWorkerTellsHowMany(t *testing.T) {
	events := report(t, true, func(r *work.Reporter) {
		for range 3 {
			require.NoError(t, r.Do(t.Context(), work.Task{}, 1))
		}
	})
	last := events[len(events)-1]
	require.Equal(t, work.Count, last.Kind)
	require.Equal(t, 3, last.N)
	require.False(t, last.Sent.IsZero())
}

func TestAStormEnds(t *testing.T) {
	failed := 0
	for n := range 1000 {
		storm := work.Task{N: n, Failing: 30, StormUntil: time.Now().Add(time.Hour).UnixNano()}
		if storm.Run(t.Context(), 1) != nil {
			failed++
		}
		storm.StormUntil = 1
		require.NoError(t, storm.Run(t.Context(), 1))
	}
	require.InDelta(t, 300, failed, 60)
}

func TestALongTaskEndsWhenItIsTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, work.Task{For: time.Hour}.Run(ctx, 1), context.Canceled)
}

func TestALineThatNobodyWroteIsAnError(t *testing.T) {
	for _, line := range []string{"x 1\n", "s 1 two\n", "s 1 2 3 4 5\n", "\n"} {
		err := work.Read("w", bytes.NewBufferString(line), func(work.Event) {})
		require.Error(t, err, line)
		require.NotErrorIs(t, err, errors.ErrUnsupported)
	}
}
