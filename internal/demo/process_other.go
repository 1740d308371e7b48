//go:build !unix

package demo

import "syscall"

func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

func lowerPriority() {}

func lowerPriorityOf(int) {} // there is no such thing here
