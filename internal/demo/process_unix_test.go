//go:build unix && !linux

package demo

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const kernelKills = false

// niceOfThreads reads the priority of a process.
func niceOfThreads(t *testing.T, pid int) []int {
	t.Helper()
	nice, err := syscall.Getpriority(syscall.PRIO_PROCESS, pid)
	require.NoError(t, err)
	return []int{nice}
}
