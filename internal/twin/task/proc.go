package task

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticksPerSecond is the unit of /proc/<pid>/stat; it is 100 on every Linux that Go runs on.
const ticksPerSecond = 100

// canonicalDir is the absolute path of a directory without symbolic links, as /proc shows it.
func canonicalDir(dir string) (string, error) {
	if dir == "" {
		return "", os.ErrNotExist
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(absolute)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(real)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return "", syscall.ENOTDIR
	}
	return real, nil
}

// below reports whether path is dir or in it.
func below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// sparing says whom a sweep leaves alone besides itself: a person's shell that happens to stand in the directory. Such
// a shell has a terminal; it belongs to another session than the twin's, or leads the twin's own.
type sparing struct{ session int }

func (s sparing) spares(pid int, stat procStat) bool {
	if pid == os.Getpid() {
		return true
	}
	return stat.terminal != 0 && (stat.session != s.session || pid == stat.session)
}

// killBelow kills every process whose working directory is dir or below, and says how many it found.
func killBelow(dir string, spare sparing) int {
	found := 0
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		// A zombie has no working directory, and another user's process does not show it.
		cwd, err := os.Readlink(filepath.Join("/proc", entry.Name(), "cwd"))
		if err != nil || !below(strings.TrimSuffix(cwd, " (deleted)"), dir) {
			continue
		}
		stat, err := readStat(pid)
		if err != nil || spare.spares(pid, stat) {
			continue
		}
		if syscall.Kill(pid, syscall.SIGKILL) == nil {
			found++
		}
	}
	return found
}

// procStat is what this package needs of /proc/<pid>/stat.
type procStat struct {
	state                     byte
	parent, session, terminal int
	cpu                       time.Duration
	// started is when the process started, since the machine did.
	started time.Duration
}

func readStat(pid int) (procStat, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, err
	}
	// The second field is the program's name in parentheses, which may itself hold spaces and parentheses.
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	const state, parent, session, terminal, utime, cstime, started = 0, 1, 3, 4, 11, 14, 19
	if len(fields) <= started {
		return procStat{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	number := func(i int) int {
		n, _ := strconv.Atoi(string(fields[i]))
		return n
	}
	ticks := 0
	for i := utime; i <= cstime; i++ {
		ticks += number(i)
	}
	return procStat{
		state: fields[state][0], started: time.Duration(number(started)) * time.Second / ticksPerSecond,
		parent: number(parent), session: number(session), terminal: number(terminal),
		cpu: time.Duration(ticks) * time.Second / ticksPerSecond,
	}, nil
}

// cpuTime is the processor time of a process, its reaped children and its living descendants.
func cpuTime(pid int) time.Duration {
	stat, err := readStat(pid)
	if err != nil {
		return 0
	}
	total := stat.cpu
	for _, child := range childPIDs(pid) {
		total += cpuTime(child)
	}
	return total
}
