//go:build unix && !linux

package servers

import "syscall"

// attributes leave a server in its owner's process group: Ctrl-C ends both where the kernel has no death signal.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

// OwnGroup puts a process that looks after itself into a group of its own: Ctrl-C does not reach it.
func OwnGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
