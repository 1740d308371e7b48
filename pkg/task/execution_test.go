package task_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func execution(checkpoint []byte) *task.Execution {
	e := task.Envelope{ID: "a", Type: "merge", Attempt: 2, Replay: 1, OpaqueID: "o"}
	return task.NewExecution(e, []byte(`{"n":1}`), 7, checkpoint, nil)
}

func TestAnExecutionKnowsItsTask(t *testing.T) {
	x := execution(nil)
	require.Equal(t, "a", x.ID)
	require.Equal(t, "merge", x.Type)
	require.Equal(t, 2, x.Attempt)
	require.Equal(t, 1, x.Replay)
	require.Equal(t, "o", x.OpaqueID)
	require.EqualValues(t, 7, x.AllocationID)
	require.JSONEq(t, `{"n":1}`, string(x.Raw))
	x.Log.Info("never nil")
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := execution(nil)
		require.False(t, x.Report().Active)
		require.Equal(t, time.Now(), x.Report().ReportedAt, "silence is counted from the start")

		time.Sleep(time.Minute)
		x.Progress(0.5, "half")
		require.Equal(t, task.Report{Active: true, Fraction: 0.5, Note: "half", ReportedAt: time.Now()}, x.Report())

		for given, want := range map[float64]float64{-1: 0, 2: 1, math.NaN(): 0, math.Inf(1): 1, math.Inf(-1): 0} {
			x.Progress(given, strings.Repeat("x", 3000))
			require.InDelta(t, want, x.Report().Fraction, 0)
			require.LessOrEqual(t, len(x.Report().Note), task.MaxErrorBytes)
			_, err := json.Marshal(x.Report())
			require.NoError(t, err)
		}
	})
}

type position struct{ Shard, Offset int }

func TestCheckpoints(t *testing.T) {
	x := execution(nil)
	var p position
	require.False(t, x.Resume(&p))
	require.NoError(t, x.Checkpoint(position{1, 2}))
	require.NoError(t, x.Checkpoint(position{3, 4}))
	require.Equal(t, 2, x.Report().Checkpointed)
	require.True(t, x.Report().Active)

	next := execution(x.Report().Checkpoint)
	require.Zero(t, next.Report().Checkpointed, "inherited, not made")
	require.True(t, next.Resume(&p))
	require.Equal(t, position{3, 4}, p)
}

func TestACheckpointThatCannotBeKeptLeavesTheOneBefore(t *testing.T) {
	x := execution([]byte(`{"Shard":1}`))
	require.ErrorIs(t, x.Checkpoint(strings.Repeat("x", task.MaxCheckpointBytes)), task.ErrInvalid)
	require.ErrorContains(t, x.Checkpoint(make(chan int)), "encode checkpoint")
	require.JSONEq(t, `{"Shard":1}`, string(x.Report().Checkpoint))
	require.Zero(t, x.Report().Checkpointed)
	require.NoError(t, x.Checkpoint(strings.Repeat("x", task.MaxCheckpointBytes-2)), "with the quotes, as large as may be")
}

func TestACheckpointThatDoesNotDecodeIsNone(t *testing.T) {
	var warned bytes.Buffer
	x := task.NewExecution(task.Envelope{}, nil, 1, []byte(`{"Offset":1,"Shard":"text"}`), slog.New(slog.NewTextHandler(&warned, nil)))
	p := position{Offset: 7}
	require.False(t, x.Resume(&p))
	require.Zero(t, p, "nothing of it is taken over")
	require.Contains(t, warned.String(), "cannot unmarshal string")
}

func TestReportEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reports int
		stop := execution(nil).ReportEvery(time.Second, func() { reports++ })
		time.Sleep(3500 * time.Millisecond)
		stop()
		require.Equal(t, 4, reports, "and once at the end")
		time.Sleep(time.Hour)
		require.Equal(t, 4, reports)
	})
}

func TestResultsAndBytes(t *testing.T) {
	x := execution(nil)
	require.NoError(t, x.SetResult(position{1, 2}))
	require.ErrorIs(t, x.SetResult(strings.Repeat("x", task.MaxResultBytes)), task.ErrInvalid)
	require.ErrorContains(t, x.SetResult(func() {}), "encode result")
	x.Moved(3)
	x.Moved(4)
	require.JSONEq(t, `{"Shard":1,"Offset":2}`, string(x.Report().Result))
	require.EqualValues(t, 7, x.Report().BytesMoved)
}

func TestReportsMayBeMadeFromManyGoroutines(t *testing.T) {
	x := execution(nil)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 100 {
				x.Progress(0.5, "")
				x.Moved(1)
				if err := x.Checkpoint(i); err != nil {
					t.Error(err)
				}
				_ = x.Report()
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 800, x.Report().BytesMoved)
	require.Equal(t, 800, x.Report().Checkpointed)
}
