//go:build unix

package demo

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// roleVariable makes the test's own program play another one.
const roleVariable = "DEMO_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "obedient": // runs until it is told to stop
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		fmt.Println("ready")
		<-stop
		fmt.Println("stopping")
	case "stubborn": // ignores that
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		select {}
	case "broken":
		fmt.Println("something is missing")
		os.Exit(3)
	case "owner": // has a child, whose id it prints
		p, err := launch(os.Getenv("DEMO_TEST_DIR"), "child", true, role("stubborn"), os.Args[0])
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(p.pid())
		select {}
	default:
		code := m.Run()
		if builtIn != "" {
			_ = os.RemoveAll(builtIn)
		}
		os.Exit(code)
	}
}

func role(name string) []string { return append(os.Environ(), roleVariable+"="+name) }

func start(t *testing.T, name string, background bool) *process {
	t.Helper()
	p, err := launch(t.TempDir(), name, background, role(name), os.Args[0])
	require.NoError(t, err)
	t.Cleanup(p.kill)
	return p
}

// says waits until a process has printed something.
func says(t *testing.T, p *process, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(p.tail(10), text) }, 30*time.Second, 10*time.Millisecond)
}

func gone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH }

func TestProcessStopsWhenAsked(t *testing.T) {
	t.Parallel()
	p := start(t, "obedient", false)
	says(t, p, "ready")
	require.True(t, p.running())
	p.stop(time.Minute)
	require.False(t, p.running())
	require.NoError(t, p.accident())
	require.Contains(t, p.tail(5), "stopping")
	require.True(t, gone(p.pid()))
	p.stop(time.Minute) // once more does no harm
}

func TestProcessThatWillNotStopIsKilled(t *testing.T) {
	t.Parallel()
	p := start(t, "stubborn", false)
	says(t, p, "ready")
	p.stop(10 * time.Millisecond)
	require.True(t, gone(p.pid()))
	require.NoError(t, p.accident())
}

func TestProcessThatEndsByItselfIsAnAccident(t *testing.T) {
	t.Parallel()
	p := start(t, "broken", false)
	err := p.watch(t.Context())
	require.ErrorContains(t, err, "broken ended: exit status 3")
	require.ErrorContains(t, err, "something is missing")
}

func TestProgramThatIsNotThere(t *testing.T) {
	t.Parallel()
	_, err := launch(t.TempDir(), "nobody", false, nil, filepath.Join(t.TempDir(), "nobody"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestChildrenDieWithTheirOwner(t *testing.T) {
	t.Parallel()
	owner := exec.CommandContext(t.Context(), os.Args[0])
	owner.Env = append(role("owner"), "DEMO_TEST_DIR="+t.TempDir())
	out, err := owner.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, owner.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	child, err := strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err, line)
	t.Cleanup(func() { _ = syscall.Kill(child, syscall.SIGKILL) })

	require.False(t, gone(child))
	require.NoError(t, owner.Process.Kill())
	_ = owner.Wait() // it was killed
	if !kernelKills {
		t.Skip("this kernel has no death signal")
	}
	require.Eventually(t, func() bool { return gone(child) }, 30*time.Second, 10*time.Millisecond)
}

func TestBackgroundProcessesHaveTheLowestPriority(t *testing.T) {
	t.Parallel()
	p := start(t, "stubborn", true)
	says(t, p, "ready")
	for _, nice := range niceOfThreads(t, p.pid()) {
		require.Equal(t, lowestPriority, nice)
	}
	normal := start(t, "obedient", false)
	says(t, normal, "ready")
	for _, nice := range niceOfThreads(t, normal.pid()) {
		require.Less(t, nice, lowestPriority, "that of one child is not that of the next")
	}
}
