package nodetest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/pkg/nodetest"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

type resize struct {
	Key   string `json:"key"`
	Width int    `json:"width"`
}

func (r resize) Validate() error {
	if r.Width < 1 {
		return errors.New("width must be 1 or more")
	}
	return nil
}

func TestAWholeFlowInOneLine(t *testing.T) {
	mux := task.NewMux()
	task.Handle(mux, "image.resize", func(_ context.Context, run *task.Run[resize]) error {
		return run.SetResult(map[string]int{"width": run.Params.Width})
	})
	fleet := nodetest.Start(t, mux)
	state := fleet.Do("image.resize", resize{"cat.jpg", 640})
	require.Equal(t, task.Success, state.Status)
	require.JSONEq(t, `{"width":640}`, string(state.Result))

	_, err := fleet.Client.Submit(t.Context(), "image.resize", resize{"cat.jpg", 0})
	require.ErrorIs(t, err, task.ErrInvalid, "parameters are checked at submit too")
	require.ErrorContains(t, err, "width must be 1 or more")
}
