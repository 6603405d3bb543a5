package task

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ProcessUsage is what a process and its living descendants have taken of the machine.
type ProcessUsage struct {
	// CPU is processor time since the start, that of ended and reaped children included, to 10 ms.
	CPU time.Duration
	// Waits is, for the process and each of its living descendants, how long its first thread was ready to run and waited
	// for a processor, since its start. It is empty where the kernel does not count that.
	Waits map[int]time.Duration
	// Resident is memory in bytes; a page that several of the processes share counts once for each.
	Resident int64
	// Stopped says that the process itself was stopped by a signal.
	Stopped bool
	// Up is how long ago the process started.
	Up time.Duration
	// Commands are the titles of the direct children, which servers set to what the child is doing.
	Commands []string
}

// UsageOf reads /proc. The error says that the process has ended.
func UsageOf(pid int) (ProcessUsage, error) {
	stat, err := readStat(pid)
	if err != nil {
		return ProcessUsage{}, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	u := ProcessUsage{CPU: cpuTime(pid), Waits: map[int]time.Duration{}, Resident: resident(pid), Stopped: stat.state == 'T', Up: uptime() - stat.started}
	addWaits(u.Waits, pid)
	for _, child := range childPIDs(pid) {
		title, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", child))
		if err == nil {
			u.Commands = append(u.Commands, string(bytes.TrimRight(title, "\x00 ")))
		}
	}
	return u, nil
}

// addWaits reads the run queue's figures (proc-schedstat: time on a processor, time in its queue, slices).
func addWaits(waits map[int]time.Duration, pid int) {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	if fields := strings.Fields(string(data)); len(fields) >= 2 {
		nanoseconds, _ := strconv.ParseInt(fields[1], 10, 64)
		waits[pid] = time.Duration(nanoseconds)
	}
	for _, child := range childPIDs(pid) {
		addWaits(waits, child)
	}
}

// resident is the memory of a process and its living descendants.
func resident(pid int) int64 {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	fields := strings.Fields(string(data))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	total := pages * int64(os.Getpagesize())
	for _, child := range childPIDs(pid) {
		total += resident(child)
	}
	return total
}

// uptime is how long the machine has been up, the clock that /proc/<pid>/stat starts processes by.
func uptime() time.Duration {
	data, _ := os.ReadFile("/proc/uptime")
	text, _, _ := strings.Cut(string(data), " ")
	seconds, _ := strconv.ParseFloat(text, 64)
	return time.Duration(seconds * float64(time.Second))
}

func childPIDs(pid int) []int {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	var list []int
	for _, field := range strings.Fields(string(data)) {
		if child, err := strconv.Atoi(field); err == nil {
			list = append(list, child)
		}
	}
	return list
}
