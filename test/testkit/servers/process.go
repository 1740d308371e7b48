//go:build unix

package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// process runs a server as a child of this process.
type process struct {
	program string
	args    []string
	dir     string
	log     string

	running *os.Process
	ended   <-chan struct{}
}

// start runs the program again on the same data. It must not be running.
func (p *process) start(ctx context.Context) error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	// The server outlives the request to start it: it ends by signal, or with this process.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), p.program, p.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, log, log
	ended, err := Spawn(cmd)
	if err := errors.Join(err, log.Close()); err != nil {
		return fmt.Errorf("start %s: %w", p.program, err)
	}
	p.running, p.ended = cmd.Process, ended
	return nil
}

// Spawn starts a program in a process group of its own, and has it killed when this process ends (on Linux). The channel
// is closed when it is gone, and cmd has its state then.
func Spawn(cmd *exec.Cmd) (<-chan struct{}, error) {
	cmd.SysProcAttr = attributes()
	started, ended := make(chan error), make(chan struct{})
	go func() {
		// The kernel sends the death signal when the thread that started the child ends: it has to live as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in cmd.ProcessState; that it ended is what callers ask
		}
	}()
	return ended, <-started
}

func (p *process) signal(_ context.Context, sig syscall.Signal) error {
	if err := p.running.Signal(sig); err != nil {
		return fmt.Errorf("signal %s: %w", p.program, err)
	}
	return nil
}

func (p *process) exited() <-chan struct{} { return p.ended }

func (p *process) remove(context.Context) error { return nil }

func (p *process) output(context.Context) ([]byte, error) { return os.ReadFile(p.log) }
