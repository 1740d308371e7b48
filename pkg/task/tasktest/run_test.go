package tasktest_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/pkg/task/tasktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// count is a task that counts to N and keeps its place.
type count struct {
	N int `json:"n"`
}

func (c count) Validate() error {
	if c.N < 0 {
		return errors.New("n is negative")
	}
	return nil
}

// worker registers one function for the type "count".
func worker(work func(ctx context.Context, run *task.Run[count]) error, options ...task.Option) *task.Mux {
	mux := task.NewMux()
	task.Handle(mux, "count", work, options...)
	return mux
}

// counting keeps its place after every number, and waits for the end of its
// context at the number that is given.
func counting(stopAt int) *task.Mux {
	return worker(func(ctx context.Context, run *task.Run[count]) error {
		var done int
		run.Resume(&done)
		for done < run.Params.N {
			done++
			if err := run.Checkpoint(done); err != nil {
				return err
			}
			run.Progress(float64(done)/float64(run.Params.N), "counting")
			run.Moved(1)
			if done == stopAt {
				<-ctx.Done()
				return ctx.Err()
			}
		}
		return run.SetResult(done)
	})
}

func TestSuccess(t *testing.T) {
	r := tasktest.Run(t.Context(), counting(0), "count", count{3})
	require.Equal(t, tasktest.Success, r.Outcome)
	require.NoError(t, r.Err)
	require.NoError(t, r.Cause)
	require.JSONEq(t, `{"n":3}`, string(r.Params))
	require.InDelta(t, 1, r.Report.Fraction, 0)
	require.EqualValues(t, 3, r.Report.BytesMoved)

	var n int
	require.NoError(t, r.ReadResult(&n))
	require.Equal(t, 3, n)
	require.NoError(t, r.ReadCheckpoint(&n))
	require.Error(t, r.ReadResult(&count{}))
	require.Equal(t, r, r.Again(t.Context()), "nothing follows")
}

func TestWhatCannotBeAcceptedIsRefused(t *testing.T) {
	never := worker(func(context.Context, *task.Run[count]) error { panic("not to be run") })
	for name, r := range map[string]tasktest.Result{
		"params":       tasktest.Run(t.Context(), never, "count", count{-1}),
		"size":         tasktest.Run(t.Context(), never, "count", make([]byte, task.MaxParamsBytes+1)),
		"type":         tasktest.Run(t.Context(), never, "cuont", count{}),
		"type's name":  tasktest.Run(t.Context(), never, "A", count{}),
		"id":           tasktest.Run(t.Context(), never, "count", count{}, tasktest.ID("a b")),
		"after refuse": tasktest.Run(t.Context(), never, "count", count{-1}).Again(t.Context()),
	} {
		require.Equal(t, tasktest.Refused, r.Outcome, name)
		require.ErrorIs(t, r.Err, task.ErrInvalid, name)
		require.Error(t, r.ReadResult(new(int)))
	}
	r := tasktest.Run(t.Context(), never, "count", count{}, tasktest.Checkpoint(make(chan int)))
	require.Equal(t, tasktest.Refused, r.Outcome)
}

func TestBytesReachTheWorkerAsTheyAre(t *testing.T) {
	r := tasktest.Run(t.Context(), counting(0), "count", []byte(`{"n":"many"}`))
	require.Equal(t, tasktest.DeadLetter, r.Outcome)
	require.Equal(t, task.PermanentFailure, r.Reason)
	require.ErrorIs(t, r.Err, task.ErrInvalid)
}

func TestFailures(t *testing.T) {
	broken := errors.New("broken")
	mux := worker(func(_ context.Context, run *task.Run[count]) error {
		switch run.Params.N {
		case 0:
			return broken
		case 1:
			return task.Permanent(broken)
		default:
			panic(broken)
		}
	})
	r := tasktest.Run(t.Context(), mux, "count", count{0})
	require.Equal(t, tasktest.Retry, r.Outcome)
	require.ErrorIs(t, r.Err, broken)
	require.Equal(t, task.DefaultRetry.Delay(1, 0), r.Delay)

	r = tasktest.Run(t.Context(), mux, "count", count{0}, tasktest.Attempt(5))
	require.Equal(t, tasktest.DeadLetter, r.Outcome)
	require.Equal(t, task.RetriesExhausted, r.Reason)

	r = tasktest.Run(t.Context(), mux, "count", count{0}, tasktest.MaxAttempts(1))
	require.Equal(t, task.RetriesExhausted, r.Reason)

	r = tasktest.Run(t.Context(), mux, "count", count{1})
	require.Equal(t, task.PermanentFailure, r.Reason)

	r = tasktest.Run(t.Context(), mux, "count", count{2})
	require.Equal(t, tasktest.Retry, r.Outcome)
	var panicked *task.PanicError
	require.ErrorAs(t, r.Err, &panicked)
}

func TestAttemptsFollowUntilNoneIsLeft(t *testing.T) {
	var attempts []int
	var allocations []int64
	mux := worker(func(_ context.Context, run *task.Run[count]) error {
		attempts, allocations = append(attempts, run.Attempt), append(allocations, run.AllocationID)
		require.Equal(t, "mine", run.ID)
		require.Equal(t, 2, run.Replay)
		return errors.New("broken")
	}, task.Retry(task.RetryPolicy{MaxAttempts: 3}))
	r := tasktest.Run(t.Context(), mux, "count", count{}, tasktest.ID("mine"), tasktest.Replay(2), tasktest.AllocationID(7))
	for r.Outcome == tasktest.Retry {
		r = r.Again(t.Context())
	}
	require.Equal(t, tasktest.DeadLetter, r.Outcome)
	require.Equal(t, []int{1, 2, 3}, attempts)
	require.Equal(t, []int64{7, 8, 9}, allocations)
}

func TestADrainedRunResumesWithItsCheckpoint(t *testing.T) {
	reached := func(n int) func(task.Report) bool {
		return func(r task.Report) bool { return r.Checkpointed == n }
	}
	first := tasktest.Run(t.Context(), counting(2), "count", count{5}, tasktest.StopWhen(reached(2), task.ErrDraining))
	require.Equal(t, tasktest.Interrupted, first.Outcome)
	require.ErrorIs(t, first.Cause, task.ErrDraining)
	var at int
	require.NoError(t, first.ReadCheckpoint(&at))
	require.Equal(t, 2, at)

	second := first.Again(t.Context())
	require.Equal(t, tasktest.Success, second.Outcome)
	require.Equal(t, 3, second.Report.Checkpointed, "only what was left to do")
}

func TestACheckpointCanBeGiven(t *testing.T) {
	for _, given := range []any{4, []byte("4"), []byte(" 4 ")} {
		r := tasktest.Run(t.Context(), counting(0), "count", count{5}, tasktest.Checkpoint(given))
		require.Equal(t, 1, r.Report.Checkpointed)
	}
	r := tasktest.Run(t.Context(), counting(0), "count", count{5}, tasktest.Checkpoint([]byte("{")))
	require.Equal(t, 5, r.Report.Checkpointed, "one that does not decode is none")
}

func TestHowAContextEndsDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waits := worker(func(ctx context.Context, _ *task.Run[count]) error {
			<-ctx.Done()
			return ctx.Err()
		}, task.Stall(time.Hour))
		for cause, want := range map[error]tasktest.Outcome{
			task.ErrCancelled:    tasktest.Cancelled,
			task.ErrDraining:     tasktest.Interrupted,
			task.ErrLeaseLost:    tasktest.Interrupted,
			task.ErrLeaseUnknown: tasktest.Interrupted,
			errors.New("other"):  tasktest.Retry,
		} {
			began := time.Now()
			r := tasktest.Run(t.Context(), waits, "count", count{}, tasktest.StopAfter(time.Minute, cause))
			require.Equal(t, want, r.Outcome, cause)
			require.Equal(t, cause, r.Cause)
			require.Equal(t, time.Minute, time.Since(began))
		}

		began := time.Now()
		r := tasktest.Run(t.Context(), waits, "count", count{})
		require.Equal(t, tasktest.Retry, r.Outcome)
		require.ErrorIs(t, r.Cause, task.ErrStalled)
		require.Equal(t, time.Hour, time.Since(began))
	})
}

func TestAWorkerThatReportsDoesNotStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := worker(func(ctx context.Context, run *task.Run[count]) error {
			for i := range run.Params.N {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(50 * time.Second):
				}
				run.Progress(float64(i)/float64(run.Params.N), "slow")
			}
			return nil
		}, task.Stall(time.Minute))
		require.Equal(t, tasktest.Success, tasktest.Run(t.Context(), slow, "count", count{100}).Outcome)
	})
}

func TestAWorkerThatSucceedsInSpiteOfACancelHasSucceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mux := worker(func(ctx context.Context, _ *task.Run[count]) error {
			<-ctx.Done()
			return nil
		})
		r := tasktest.Run(t.Context(), mux, "count", count{}, tasktest.StopAfter(time.Minute, task.ErrCancelled))
		require.Equal(t, tasktest.Success, r.Outcome)
		require.ErrorIs(t, r.Cause, task.ErrCancelled)
	})
}

func TestStoppedBeforeItBegins(t *testing.T) {
	never := worker(func(context.Context, *task.Run[count]) error { panic("not to be run") })
	r := tasktest.Run(t.Context(), never, "count", count{}, tasktest.StopAfter(0, task.ErrDraining))
	require.Equal(t, tasktest.Interrupted, r.Outcome)

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(task.ErrCancelled)
	require.Equal(t, tasktest.Cancelled, tasktest.Run(ctx, never, "count", count{}).Outcome)
}

func TestTenInterruptionsAreFreeTheNextCounts(t *testing.T) {
	never := worker(func(context.Context, *task.Run[count]) error { panic("not to be run") })
	drained := tasktest.StopAfter(0, task.ErrDraining)
	r := tasktest.Run(t.Context(), never, "count", count{}, drained)
	for range 9 {
		require.Equal(t, tasktest.Interrupted, r.Outcome)
		r = r.Again(t.Context(), drained)
	}
	require.Equal(t, tasktest.Interrupted, r.Outcome)
	r = r.Again(t.Context(), drained)
	require.Equal(t, tasktest.Retry, r.Outcome)
	require.Equal(t, tasktest.Interrupted, r.Again(t.Context(), drained).Outcome, "each attempt has its own ten")
}

func TestTheWorkersLog(t *testing.T) {
	var out strings.Builder
	mux := worker(func(_ context.Context, run *task.Run[count]) error {
		run.Log.Info("counted")
		return nil
	})
	tasktest.Run(t.Context(), mux, "count", count{}, tasktest.Log(slog.New(slog.NewTextHandler(&out, nil))))
	require.Contains(t, out.String(), "msg=counted")
}

// FailNow ends the goroutine it is called in: in a worker, that of the test.
func TestAWorkerMayEndItsTest(t *testing.T) {
	ended := make(chan string, 1)
	go func() {
		how := "by returning"
		defer func() { ended <- how }()
		mux := worker(func(context.Context, *task.Run[count]) error {
			how = "by the worker"
			runtime.Goexit()
			return nil
		})
		tasktest.Run(t.Context(), mux, "count", count{})
		how = "by returning"
	}()
	require.Equal(t, "by the worker", <-ended)
}
