package servers

import "syscall"

// attributes put a server into a process group of its own, so that Ctrl-C at the terminal reaches its owner alone, and
// have the kernel kill it when its owner dies.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// OwnGroup puts a process that looks after itself into a group of its own: Ctrl-C does not reach it.
func OwnGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
