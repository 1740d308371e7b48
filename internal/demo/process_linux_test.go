package demo

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const kernelKills = true

// niceOfThreads reads the priority of each thread of a process.
func niceOfThreads(t *testing.T, pid int) []int {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var all []int
	for _, file := range files {
		text, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue // the thread has ended
		}
		require.NoError(t, err)
		_, rest, ok := strings.Cut(string(text), ") ") // the name may hold anything
		require.True(t, ok)
		nice, err := strconv.Atoi(strings.Fields(rest)[16])
		require.NoError(t, err)
		all = append(all, nice)
	}
	return all
}
