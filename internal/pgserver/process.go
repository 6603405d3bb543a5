package pgserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// goneLimit bounds the wait for the end of processes that were sent SIGKILL; only a process in uninterruptible sleep takes
// longer.
const goneLimit = 5 * time.Second

// Kill is SIGKILL to the postmaster and all its children, as when a machine is lost, and waits for their end. Backends
// lead sessions of their own, so a signal to the postmaster's group would let them answer a moment longer; the
// postmaster is stopped first so that it starts no new one in between. What a killed server leaves behind (its lock
// file, the id of its shared memory) is removed, so that neither a reused pid nor a leak stands in the way of a restart.
// That is done once, and only to its own: another server may run on the volume by then, whose files these are.
func (s *Server) Kill() { s.killed.Do(s.kill) }

func (s *Server) kill() {
	select {
	case <-s.exited:
	default:
		pids := s.stopAll()
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		<-s.exited
		waitGone(pids[1:])
	}
	if !s.hasLockFile() {
		return
	}
	ReleaseSharedMemory(s.DataDir)
	_ = os.Remove(s.lockFile())
}

// hasLockFile says that the volume's lock file is this server's.
func (s *Server) hasLockFile() bool {
	lines := s.lockLines()
	return len(lines) > pidLine && lines[pidLine] == strconv.Itoa(s.Pid())
}

// Freeze stops the postmaster and all its children (SIGSTOP), as when a machine hangs: connections stay open and
// nothing answers.
func (s *Server) Freeze() error {
	select {
	case <-s.exited:
		return fmt.Errorf("freeze PostgreSQL at %s: it has ended", s.Host)
	default:
	}
	s.stopAll()
	return nil
}

// Thaw lets a frozen server go on: the children first, the postmaster last.
func (s *Server) Thaw() error {
	var errs []error
	for _, pid := range append(children(s.Pid()), s.Pid()) {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("thaw PostgreSQL at %s, process %d: %w", s.Host, pid, err))
		}
	}
	return errors.Join(errs...)
}

// stopAll sends SIGSTOP to the postmaster and to every child, and returns all of them, the postmaster first. SIGSTOP
// takes a moment to arrive, so the children are listed again until no new one appears.
func (s *Server) stopAll() []int {
	pid := s.Pid()
	pids := []int{pid}
	seen := map[int]bool{pid: true}
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	for deadline := time.Now().Add(goneLimit); time.Now().Before(deadline); {
		stopped := processState(pid) != 'R' && processState(pid) != 'S' && processState(pid) != 'D'
		fresh := false
		for _, child := range children(pid) {
			if !seen[child] {
				seen[child], fresh = true, true
				pids = append(pids, child)
				_ = syscall.Kill(child, syscall.SIGSTOP)
			}
		}
		if stopped && !fresh {
			break
		}
	}
	return pids
}

// Signal sends a signal to the postmaster and all its children. Backends of PostgreSQL lead their own process groups,
// so each is found by its parent.
func (s *Server) Signal(sig syscall.Signal) error {
	pids := append([]int{s.cmd.Process.Pid}, children(s.cmd.Process.Pid)...)
	var errs []error
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("signal %v to %d: %w", sig, pid, err))
		}
	}
	return errors.Join(errs...)
}

// Reload makes the server read its configuration files again.
func (s *Server) Reload() error {
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return fmt.Errorf("reload PostgreSQL at %s: %w", s.Host, err)
	}
	return nil
}

// Promote asks a standby to become a primary, as pg_ctl promote does, and returns at once. A request can be slept over
// while the standby waits for its next attempt to reach the primary; callers repeat it until the server is out of recovery.
func (s *Server) Promote() error {
	if err := os.WriteFile(s.promoteFile(), nil, 0o600); err != nil {
		return fmt.Errorf("promote PostgreSQL at %s: %w", s.Host, err)
	}
	if err := s.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		s.CancelPromotion()
		return fmt.Errorf("promote PostgreSQL at %s: %w", s.Host, err)
	}
	return nil
}

// CancelPromotion removes a request that the server has not taken up yet. One that it has taken up goes on.
func (s *Server) CancelPromotion() { _ = os.Remove(s.promoteFile()) }

func (s *Server) promoteFile() string { return filepath.Join(s.DataDir, "promote") }

// ControlData reads what a data directory says about itself (pg_controldata), by pg_controldata's labels, as in
// "Database cluster state".
func (in Installation) ControlData(ctx context.Context, dataDir string) (map[string]string, error) {
	out, err := in.Output(ctx, dataDir, "pg_controldata", "-D", dataDir)
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for line := range strings.Lines(out) {
		if label, value, ok := strings.Cut(line, ":"); ok {
			values[label] = strings.TrimSpace(value)
		}
	}
	return values, nil
}

// ReleaseSharedMemory removes the System V segment that a killed server of this data directory has left behind: the
// lock file's last line names it. A segment that a process is still attached to is left alone.
func ReleaseSharedMemory(dataDir string) {
	data, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		return
	}
	lines := strings.Split(string(data), "\n")
	if len(lines) < 7 {
		return
	}
	fields := strings.Fields(lines[6])
	if len(fields) != 2 {
		return
	}
	id, err := strconv.Atoi(fields[1])
	if err != nil {
		return
	}
	var desc unix.SysvShmDesc
	if _, err := unix.SysvShmCtl(id, unix.IPC_STAT, &desc); err == nil && desc.Nattch == 0 {
		_, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil)
	}
}

// waitGone waits until processes that are not the caller's children have ended.
func waitGone(pids []int) {
	deadline := time.Now().Add(goneLimit)
	for _, pid := range pids {
		for {
			if state := processState(pid); state == 0 || state == 'Z' || state == 'X' || time.Now().After(deadline) {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// processState is the letter that /proc shows, 0 if there is no such process.
func processState(pid int) byte {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The command's name is in parentheses and may contain anything, so look behind the last one.
	if i := bytes.LastIndexByte(data, ')'); i >= 0 && i+2 < len(data) {
		return data[i+2]
	}
	return 0
}

func children(parent int) []int {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", parent, parent))
	var pids []int
	for _, field := range strings.Fields(string(data)) {
		if pid, err := strconv.Atoi(field); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
