//go:build synctests

package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/kafkaqueue"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// backlog is what the group has not finished.
func (w *world) backlog() kafkaqueue.Backlog {
	w.t.Helper()
	admin, err := kafkaqueue.OpenAdmin(w.kafka())
	require.NoError(w.t, err)
	defer admin.Close()
	b, err := admin.Backlog(w.t.Context(), []string{"work"})
	require.NoError(w.t, err)
	return b["work"]
}

// A node that gets the copy of what it runs lets it wait for the run, but not for hours: behind an open offset a
// partition's window fills.
func TestACopyOfWhatRunsHerePinsNoOffset(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		n := w.node("n1", sleep(40*time.Minute), nil)
		_, err := w.client.Submit(t.Context(), "work", nil, task.ID("a"))
		require.NoError(t, err)
		for range 3 {
			time.Sleep(10 * time.Minute)
			require.Less(t, w.backlog().OldestAge, 2*time.Minute)
		}
		w.endsOnce(n, "a")
	})
}

// A sender that had no answer sends again: of two records of one run the second is finished once the first has hopped.
func TestASecondRecordOfWhatRunsHerePinsNoOffset(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		n := w.node("n1", sleep(40*time.Minute), nil)
		p, err := kafkaqueue.NewProducer(w.kafka())
		require.NoError(t, err)
		d := task.Delivery{Envelope: task.Envelope{ID: "a", Type: "work", Attempt: 1, SubmittedAt: time.Now()}}
		for range 3 {
			require.Empty(t, p.Submit(t.Context(), []task.Delivery{d}))
		}
		require.NoError(t, p.Close(t.Context()))
		for range 3 {
			time.Sleep(10 * time.Minute)
			require.Less(t, w.backlog().OldestAge, 2*time.Minute)
			require.EqualValues(t, 1, w.backlog().Lag)
		}
		w.endsOnce(n, "a")
	})
}

// A partition that went and came back brings the record of what runs here again.
func TestARecordThatComesBackToItsRunPinsNoOffset(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { //nolint:thelper // the test itself
		n := w.node("n1", sleep(40*time.Minute), nil, task.Slots(6))
		for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
			for range 2 { // its sender had no answer the first time
				_, err := w.client.Submit(t.Context(), "work", nil, task.ID(id))
				require.NoError(t, err)
			}
		}
		w.eventually(time.Minute, "all run", func() bool { return n.beats.count()["work"] == 6 })
		other := w.node("n2", sleep(40*time.Minute), nil, task.Slots(6))
		time.Sleep(10 * time.Second)
		require.NoError(t, other.end())
		for range 3 {
			time.Sleep(10 * time.Minute)
			require.Less(t, w.backlog().OldestAge, 2*time.Minute)
		}
		for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
			require.Equal(t, task.Success, w.outcome(id, time.Hour).Status)
			require.Len(t, w.runsOf(id), 1)
			require.Len(t, w.eventsOf(id), 1)
		}
		var copies int64
		for _, p := range w.servers.Broker.PartitionInfos("tasks.work.again") {
			copies += p.HighWatermark
		}
		require.LessOrEqual(t, copies, int64(6*42), "of two copies of a task one is superseded; the other goes round once a minute")
		require.NoError(t, n.end())
	})
}
