package config_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/internal/config"
	"github.com/offline-nodes/offline-nodes/pkg/task"
)

func workers() *task.Mux {
	mux := task.NewMux()
	idle := task.WorkerFunc(func(context.Context, *task.Execution) error { return nil })
	mux.Register("shard.merge", idle, task.Slots(2), task.Stall(time.Minute))
	mux.Register("shard.snapshot", idle)
	return mux
}

func TestSettingsOfATypeReplaceTheProgramsOwn(t *testing.T) {
	settings := load(t, config.Sources{File: file(t, `
types:
  shard.merge:
    slots: 5
    retry: {max_attempts: 9, jitter: 0}
`)})
	mux := workers()
	require.NoError(t, settings.Apply(mux))

	merge, want := mux.Lookup("shard.merge"), task.DefaultRetry
	want.MaxAttempts, want.Jitter = 9, 0
	require.Equal(t, 5, merge.Slots)
	require.Equal(t, time.Minute, merge.Stall)
	require.Equal(t, want, merge.Retry)
	require.Equal(t, task.DefaultRetry, mux.Lookup("shard.snapshot").Retry)
	require.Equal(t, []string{"shard.merge", "shard.snapshot"}, settings.Served(mux))
}

func TestTypesThatNoWorkerRuns(t *testing.T) {
	settings := load(t, config.Sources{
		File:    file(t, "types: {shard.merg: {slots: 1}}"),
		Environ: []string{"OFFLINE_NODE__TYPES=shard.merge,reindex"},
	})
	require.Equal(t, []string{"shard.merge", "reindex"}, settings.Served(workers()))
	var all *config.Error
	require.ErrorAs(t, settings.Apply(workers()), &all)
	require.ErrorContains(t, all, "did you mean shard.merge?")
	require.ErrorContains(t, all, "node.types (OFFLINE_NODE__TYPES): no worker runs the type reindex")
}

func TestAPolicyThatContradictsTheProgramsOwn(t *testing.T) {
	settings := load(t, config.Sources{File: file(t, "types: {shard.merge: {retry: {initial: 1h}}}")})
	require.ErrorContains(t, settings.Apply(workers()), "types.shard.merge.retry: retry policy: the first delay (1h0m0s)", "the longest is 10 m")
}
