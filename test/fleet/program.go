package fleet

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/offline-nodes/offline-nodes/test/testkit/servers"
)

// programs is the folder of the built programs; Main makes it.
var programs string

// Main runs the tests of a package that starts programs, and returns its exit code.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "offline-fleet-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	programs = dir
	return m.Run()
}

var building sync.Mutex

// Build makes a program, unless it was made before, and returns where it is.
func Build(ctx context.Context, program string) (string, error) {
	building.Lock()
	defer building.Unlock()
	path := filepath.Join(programs, program)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	out, err := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/offline-nodes/offline-nodes/cmd/"+program).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", program, err, out)
	}
	return path, nil
}

// Process is a program of ours that runs.
type Process struct {
	t     testing.TB
	cmd   *exec.Cmd
	log   string
	ended <-chan struct{}
}

// Start runs a program until the test ends. Variables of its environment are NAME=value.
func Start(t testing.TB, program string, environ []string, args ...string) *Process {
	t.Helper()
	path, err := Build(t.Context(), program)
	require.NoError(t, err)
	p := &Process{t: t, log: filepath.Join(t.TempDir(), program+".log")}
	log, err := os.Create(p.log)
	require.NoError(t, err)
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), path, args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = append(os.Environ(), environ...)
	p.ended, err = servers.Spawn(p.cmd)
	require.NoError(t, err)
	require.NoError(t, log.Close())
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s\n%s", strings.Join(p.cmd.Args, " "), p.Tail())
		}
	})
	return p
}

// Pid is the number of the process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Kill ends the process as kill -9 does and returns when it is gone. One that has ended is fine.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// Signal sends a signal: SIGTERM, SIGSTOP, SIGCONT.
func (p *Process) Signal(s syscall.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(s))
}

// Ended is closed when the process is gone.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Wait returns the exit code.
func (p *Process) Wait(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(within):
		require.FailNow(p.t, "still running", "%s after %s", p.cmd.Path, within)
	}
	return p.cmd.ProcessState.ExitCode()
}

// Output is what the process has written so far.
func (p *Process) Output() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Tail is the end of what the process wrote.
func (p *Process) Tail() string {
	const most = 8000
	text := []byte(p.Output())
	if len(text) > most {
		text = text[len(text)-most:]
		text = text[bytes.IndexByte(text, '\n')+1:]
	}
	return string(text)
}

// Says waits until the process has written a text.
func (p *Process) Says(text string, within time.Duration) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return strings.Contains(p.Output(), text) }, within, 50*time.Millisecond, "%q is not said", text)
}
