package rig_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/bench/internal/rig"
)

func TestProcessorTimeOfABusyProcessGrows(t *testing.T) {
	before, err := rig.CPU(os.Getpid())
	require.NoError(t, err)
	for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); {
		_ = os.Getpid()
	}
	require.Eventually(t, func() bool {
		after, err := rig.CPU(os.Getpid())
		return err == nil && after > before
	}, 5*time.Second, 10*time.Millisecond)
	tree, err := rig.TreeCPU(os.Getpid())
	require.NoError(t, err)
	require.GreaterOrEqual(t, tree, before)
}

func TestMemoryIsRead(t *testing.T) {
	resident, err := rig.Memory(os.Getpid(), "VmRSS")
	require.NoError(t, err)
	require.Greater(t, resident, int64(1<<20))
	_, err = rig.Memory(os.Getpid(), "VmNothing")
	require.Error(t, err)
}

func TestAProcessThatIsGoneIsAnError(t *testing.T) {
	_, err := rig.CPU(1 << 30)
	require.Error(t, err)
}

func TestTheMachineIsDescribed(t *testing.T) {
	m := rig.Describe()
	require.Positive(t, m.Cores)
	require.NotEmpty(t, m.Versions["Go"])
	require.GreaterOrEqual(t, rig.Load(), 0.0)
}
