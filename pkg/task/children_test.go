package task_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/task"
	"github.com/offline-nodes/offline-nodes/pkg/task/tasktest"
)

// awaits is a type whose worker awaits these children, all or strictly.
func awaits(all bool, children ...task.Child) *task.Mux {
	mux := task.NewMux()
	mux.Register("parent", task.WorkerFunc(func(ctx context.Context, x *task.Execution) error {
		wait := x.Await
		if all {
			wait = x.AwaitAll
		}
		states, err := wait(ctx, children...)
		return errors.Join(err, x.SetResult(states))
	}))
	return mux
}

func TestAwait(t *testing.T) {
	two := []task.Child{{Name: "a", Type: "child"}, {Name: "b", Type: "child"}}
	plays := func(a, b task.Status) tasktest.Option {
		return tasktest.Children(func(c task.Submission) *task.ChildState {
			if c.ID[len(c.ID)-1] == 'a' {
				return &task.ChildState{Status: a, Error: "boom"}
			}
			return &task.ChildState{Status: b, Fraction: 0.5}
		})
	}
	for name, c := range map[string]struct {
		mux      *task.Mux
		a, b     task.Status
		want     tasktest.Outcome
		contains string
		fraction float64
	}{
		"all succeed":                       {awaits(false, two...), task.Success, task.Success, tasktest.Success, "", 1},
		"one runs":                          {awaits(false, two...), task.Success, task.Active, tasktest.Waiting, "", 0.75},
		"one fails while another runs":      {awaits(false, two...), task.Failed, task.Active, tasktest.DeadLetter, "/a: FAILED boom", 0},
		"one is cancelled":                  {awaits(false, two...), task.Cancelled, task.Success, tasktest.DeadLetter, "/a: CANCELLED", 0},
		"all: one fails while another runs": {awaits(true, two...), task.Failed, task.Active, tasktest.Waiting, "", 0.75},
		"all: one fails":                    {awaits(true, two...), task.Failed, task.Success, tasktest.Success, "", 1},
		"none at all":                       {awaits(false), task.Success, task.Success, tasktest.Success, "", 0},
		"two with one name":                 {awaits(false, two[0], two[0]), task.Success, task.Success, tasktest.DeadLetter, `two children with the name "a"`, 0},
		"a name that no id may have":        {awaits(false, task.Child{Name: "a b", Type: "child"}), task.Success, task.Success, tasktest.DeadLetter, "a b", 0},
	} {
		t.Run(name, func(t *testing.T) {
			first := tasktest.Run(t.Context(), c.mux, "parent", nil, plays(c.a, c.b))
			again := first.Again(t.Context())
			require.Equal(t, c.want, again.Outcome, "%v", again.Err)
			if c.contains != "" {
				require.ErrorContains(t, again.Err, c.contains)
			}
			require.InDelta(t, c.fraction, again.Report.Fraction, 0.001)
		})
	}
}

func TestAPlanMustBeRepeatable(t *testing.T) {
	mux := task.NewMux()
	runs := 0
	mux.Register("parent", task.WorkerFunc(func(ctx context.Context, x *task.Execution) error {
		runs++
		_, err := x.Await(ctx, task.Child{Name: "a", Type: "child", Params: runs})
		return err
	}))
	r := tasktest.Run(t.Context(), mux, "parent", nil, tasktest.Children(func(task.Submission) *task.ChildState { return nil }))
	require.Equal(t, tasktest.Waiting, r.Outcome)
	r = r.Again(t.Context())
	require.Equal(t, tasktest.DeadLetter, r.Outcome)
	require.ErrorContains(t, r.Err, "must plan the same children")
}

func TestARunWithoutAFamilySaysSo(t *testing.T) {
	r := tasktest.Run(t.Context(), awaits(false, task.Child{Name: "a", Type: "child"}), "parent", nil)
	require.Equal(t, tasktest.DeadLetter, r.Outcome)
	require.ErrorContains(t, r.Err, "no way to submit children")
}
