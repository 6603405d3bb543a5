package twin

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the kernel's unit of processor time in /proc, the same on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// Usage is what processes take of the machine.
type Usage struct {
	Processes int `json:"processes"`
	// ResidentBytes counts a page that several processes share in part for each of them (PSS), so that sums are what
	// the machine really gives. Where the kernel does not tell, it is the whole resident set.
	ResidentBytes int64 `json:"resident_bytes"`
	// RSSBytes counts a shared page once for every process that has it, as ps and top do.
	RSSBytes int64 `json:"rss_bytes"`
	// Cores is the share of one processor core that was used while it was measured: 0.15 is 15 %.
	Cores float64 `json:"cores"`
}

func (u *Usage) add(v Usage) {
	u.Processes += v.Processes
	u.ResidentBytes += v.ResidentBytes
	u.RSSBytes += v.RSSBytes
	u.Cores += v.Cores
}

// process is one line of the process table.
type process struct {
	parent int
	rss    int64
	// cpu is the processor time of the process and of its children that have ended and were waited for.
	cpu time.Duration
}

// processTree reads a process and all its descendants.
func processTree(root int) (map[int]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("read the process table: %w", err)
	}
	all := map[int]process{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if stat, err := os.ReadFile("/proc/" + e.Name() + "/stat"); err == nil { // else it has just ended
			if p, ok := parseStat(stat); ok {
				all[pid] = p
			}
		}
	}
	tree := map[int]process{}
	for pid, p := range all {
		for at, steps := pid, 0; at > 1 && steps < len(all); at, steps = all[at].parent, steps+1 {
			if at == root {
				tree[pid] = p
				break
			}
		}
	}
	return tree, nil
}

// parseStat reads a line of /proc/PID/stat (proc(5)).
func parseStat(line []byte) (process, bool) {
	// The second field is the program's name in parentheses, which may hold anything.
	end := bytes.LastIndexByte(line, ')')
	if end < 0 {
		return process{}, false
	}
	fields := strings.Fields(string(line[end+1:]))
	number := func(n int) int64 { // n counts from 1 as in proc(5)
		if n-3 >= len(fields) {
			return 0
		}
		v, _ := strconv.ParseInt(fields[n-3], 10, 64)
		return v
	}
	if len(fields) < 22 {
		return process{}, false
	}
	ticks := number(14) + number(15) + number(16) + number(17)
	return process{parent: int(number(4)), rss: number(24) * int64(os.Getpagesize()), cpu: time.Duration(ticks) * clockTick}, true
}

// proportional is a process's share of the memory that it maps (PSS), or false if this process may not know.
func proportional(pid int) (int64, bool) {
	rollup, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(rollup)) {
		if text, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")), 10, 64)
			return kib << 10, err == nil
		}
	}
	return 0, false
}

// usageByOwner adds up what the processes of a tree took between two looks: for each owner its own process and the
// descendants that no other owner has. Processes of nobody else are the root's.
func usageByOwner(before, after map[int]process, between time.Duration, root int, owners map[int]bool) map[int]Usage {
	usage := map[int]Usage{}
	for pid, p := range after {
		owner := pid
		for owner != root && !owners[owner] {
			owner = after[owner].parent
			if owner <= 1 { // its parent ended between the reading of two entries
				owner = root
			}
		}
		one := Usage{Processes: 1, RSSBytes: p.rss, ResidentBytes: p.rss}
		if share, ok := proportional(pid); ok {
			one.ResidentBytes = share
		}
		// What a process had used before it was first seen belongs to the time between the looks, too.
		if used := p.cpu - before[pid].cpu; used > 0 && between > 0 {
			one.Cores = float64(used) / float64(between)
		}
		u := usage[owner]
		u.add(one)
		usage[owner] = u
	}
	return usage
}
