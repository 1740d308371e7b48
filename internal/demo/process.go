package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a child. It does not outlive the demo: where the kernel can, it
// kills the child when the demo dies.
type process struct {
	name string
	log  string // file with what it prints

	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
	err   error         // how; valid once ended is closed

	mu     sync.Mutex
	wanted bool // its end is no accident
}

// launch starts a program. A background process gets the lowest CPU priority,
// as if it ran on another machine.
func launch(dir, name string, background bool, environ []string, program string, args ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, name+".log"), ended: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.cmd = exec.Command(program, args...) //nolint:noctx // it is stopped in order, and by the kernel when that fails
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = dir, environ, log, log
	p.cmd.SysProcAttr = attributes()

	started := make(chan error, 1)
	go func() {
		// The thread is never unlocked, so it ends with this function: the kernel kills the child when the thread that
		// started it ends, and a priority that was lowered stays low.
		runtime.LockOSThread()
		defer log.Close()
		if background {
			lowerPriority()
		}
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if background {
		lowerPriorityOf(p.cmd.Process.Pid)
	}
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// kill ends it as a crash of its machine would: at once.
func (p *process) kill() {
	p.expect()
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.ended
}

// stop asks it to end, waits for that long, and kills it then.
func (p *process) stop(patience time.Duration) {
	p.expect()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err == nil {
		select {
		case <-p.ended:
		case <-time.After(patience):
		}
	}
	p.kill()
}

func (p *process) expect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = true
}

// running tells whether it has not ended yet.
func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// accident is the error of a process that ended unasked, or nil.
func (p *process) accident() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wanted || p.running() {
		return nil
	}
	return &endedError{name: p.name, err: p.err, last: p.tail(12)}
}

// watch waits until ctx ends, or the process does, unasked.
func (p *process) watch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-p.ended:
		return p.accident()
	}
}

// tail is the end of what it printed.
func (p *process) tail(lines int) string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	const most = 16 << 10
	text = text[max(len(text)-most, 0):]
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(len(all)-lines, 0):], "\n")
}

// endedError is about a process that should be running.
type endedError struct {
	name string
	err  error
	last string
}

func (e *endedError) Error() string {
	how := "it stopped by itself"
	if exit, ok := errors.AsType[*exec.ExitError](e.err); ok {
		how = exit.Error()
	}
	return fmt.Sprintf("%s ended: %s; the end of its log:\n%s", e.name, how, e.last)
}
