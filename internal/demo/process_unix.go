//go:build unix && !linux

package demo

import "syscall"

// attributes leave a child in the demo's process group: Ctrl-C ends both where the kernel has no death signal.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

const lowestPriority = 19

func lowerPriority() {} // would be that of the demo itself

func lowerPriorityOf(pid int) { _ = syscall.Setpriority(syscall.PRIO_PROCESS, pid, lowestPriority) }
