package demo

import "syscall"

// attributes put a child into a process group of its own, so that Ctrl-C at the terminal reaches the demo alone, and have
// the kernel kill it when the demo dies.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

const lowestPriority = 19

// lowerPriority changes that of the calling thread: children that it starts inherit it, with all their threads.
func lowerPriority() { _ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, lowestPriority) }

func lowerPriorityOf(int) {} // done before it was started
