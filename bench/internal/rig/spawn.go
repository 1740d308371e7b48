package rig

import (
	"os/exec"
	"runtime"
	"syscall"
)

// spawn starts a program in a process group of its own that dies with this process; as another user, if owner is not nil.
// The channel is closed when it has ended.
func spawn(cmd *exec.Cmd, owner *syscall.Credential) (<-chan struct{}, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: owner}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		// The kernel sends the death signal when the thread that started the child ends: it has to live as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in cmd.ProcessState
		}
	}()
	return ended, <-started
}
