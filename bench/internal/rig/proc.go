package rig

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of processor times in /proc; it is 1/100 s on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// stat is what /proc/PID/stat says of a process.
type stat struct {
	parent   int
	own      time.Duration // processor time
	children time.Duration // that have ended and were waited for
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	// The second field, the name, may have spaces and brackets: what follows the last one is regular.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 15 {
		return stat{}, fmt.Errorf("/proc/%d/stat has too few fields", pid)
	}
	numbers := map[int]int{1: 0, 11: 0, 12: 0, 13: 0, 14: 0}
	for i := range numbers {
		numbers[i], err = strconv.Atoi(fields[i])
		if err != nil {
			return stat{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
	}
	return stat{
		parent:   numbers[1],
		own:      time.Duration(numbers[11]+numbers[12]) * tick,
		children: time.Duration(numbers[13]+numbers[14]) * tick,
	}, nil
}

// CPU is the processor time that a process has used so far.
func CPU(pid int) (time.Duration, error) {
	s, err := readStat(pid)
	return s.own, err
}

// TreeCPU is the processor time of a process and its children, those that have ended included.
func TreeCPU(pid int) (time.Duration, error) {
	s, err := readStat(pid)
	if err != nil {
		return 0, err
	}
	total := s.own + s.children
	return total, eachProcess(func(child int, c stat) {
		if c.parent == pid {
			total += c.own
		}
	})
}

// MachineCPU is what all processes and the kernel have used so far, and what a hypervisor has taken.
func MachineCPU() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(first)
	if len(fields) < 9 {
		return 0, errors.New("/proc/stat has too few fields")
	}
	busy := 0
	for _, i := range []int{1, 2, 3, 6, 7, 8} { // user, nice, system, interrupts, soft interrupts, stolen
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		busy += n
	}
	return time.Duration(busy) * tick, nil
}

// eachProcess calls each for every process of the machine. One that ends meanwhile is left out.
func eachProcess(each func(pid int, s stat)) error {
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	for _, folder := range folders {
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			continue
		}
		if s, err := readStat(pid); err == nil {
			each(pid, s)
		}
	}
	return nil
}

// children are the processes that this one has started and whose program is called name.
func children(name string) ([]int, error) {
	var found []int
	err := eachProcess(func(pid int, s stat) {
		if s.parent != os.Getpid() {
			return
		}
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err == nil && strings.TrimSpace(string(comm)) == name {
			found = append(found, pid)
		}
	})
	return found, err
}

var errNoField = errors.New("not in /proc/PID/status")

// Memory is a field of /proc/PID/status in bytes: VmRSS, VmHWM, RssAnon.
func Memory(pid int, field string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, field+":"); found {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("%s: %w", field, errNoField)
}
