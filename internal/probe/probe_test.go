package probe_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/probe"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

// run runs a probe that is told to stop after a second, and returns how long it took.
func run(t *testing.T, params string) (took time.Duration, report task.Report, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		mux := task.NewMux()
		probe.Register(mux)
		x := task.NewExecution(task.Envelope{ID: "p", Type: probe.Type, Attempt: 1}, []byte(params), 1, nil, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		err = mux.Lookup(probe.Type).Do(ctx, x)
		took, report = time.Since(began), x.Report()
	})
	return took, report, err
}

func TestAProbeStopsWhenItIsToldTo(t *testing.T) {
	took, report, err := run(t, `{"for":"5s"}`)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, time.Second, took)
	require.NotEmpty(t, report.Checkpoint)
}

func TestADeafProbeGoesOn(t *testing.T) {
	took, _, err := run(t, `{"for":"5s","deaf":true}`)
	require.NoError(t, err)
	require.Equal(t, 5*time.Second, took)
}

func TestASilentProbeReportsNothing(t *testing.T) {
	_, report, err := run(t, `{"for":"5s","silent":true}`)
	require.Error(t, err)
	require.Empty(t, report.Checkpoint)
	require.Zero(t, report.Fraction)
}

func TestAProbeThatWouldTakeAMachineDownIsRefused(t *testing.T) {
	for _, params := range []string{`{"hold":-1}`, `{"hold":1099511627776}`, `{"for":"-1s"}`, `{"fail":-1}`} {
		_, _, err := run(t, params)
		require.ErrorIs(t, err, task.ErrInvalid, params)
	}
	_, _, err := run(t, `{"hold":1048576}`)
	require.NoError(t, err)
}
