package task

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// outputGrace is how long the end of a process waits for its output when something else still holds the pipe.
const outputGrace = time.Second

// Process is one running or ended process with everything it forked into its group.
type Process struct {
	supervisor *Supervisor
	spec       Spec
	cmd        *exec.Cmd
	log        *rotatingLog
	started    time.Time
	serial     int64
	// ownDir says that the supervisor chose the folder for this process alone.
	ownDir  bool
	running atomic.Bool

	exited chan struct{}
	// mu keeps signals away from a process id that was given back to the kernel.
	mu     sync.Mutex
	reaped bool
	frozen bool
	// state and lastCPU are set before exited is closed.
	state   *os.ProcessState
	err     error
	lastCPU time.Duration
}

func newProcess(s *Supervisor, spec Spec, program string, log *rotatingLog) *Process {
	cmd := exec.Command(program, spec.Args...)
	cmd.Args[0] = spec.Path
	cmd.Dir, cmd.Env = spec.Dir, spec.Env
	if cmd.Env == nil {
		cmd.Env = []string{} // nil would inherit
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.WaitDelay = outputGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: s.opts.Credential}
	return &Process{supervisor: s, spec: spec, cmd: cmd, log: log, exited: make(chan struct{})}
}

func (p *Process) start() error {
	p.started = time.Now()
	err := p.cmd.Start()
	p.running.Store(err == nil)
	return err
}

// wait reaps the process, and kills what it left in its group: when a container's first process ends, so do the others.
func (p *Process) wait() {
	pid := p.cmd.Process.Pid
	for {
		// WNOWAIT leaves a zombie, which keeps the process group's id from being used again while it is signalled.
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.lastCPU = cpuTime(pid)
	p.signalGroup(syscall.SIGKILL)
	p.supervisor.sweepDir(p)
	p.mu.Lock()
	p.err = p.cmd.Wait()
	p.state = p.cmd.ProcessState
	p.reaped = true
	p.mu.Unlock()
	if p.state != nil {
		p.lastCPU = max(p.lastCPU, p.state.UserTime()+p.state.SystemTime())
	}
	p.log.close()
	p.supervisor.forget(p)
	p.supervisor.logger.Debug("process ended", "name", p.spec.Name, "region", p.spec.Region, "pid", pid, "state", p.state.String())
	close(p.exited)
}

// Spec is what the process was started with.
func (p *Process) Spec() Spec { return p.spec }

// Pid is the process id, which is also the id of its group.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Started is when it was started.
func (p *Process) Started() time.Time { return p.started }

// Exited is closed when the process has ended, was reaped, and all it had forked was killed.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// ExitCode is the exit code, 128 plus the signal's number for a process that a signal ended, as containers report it;
// false while it runs.
func (p *Process) ExitCode() (int, bool) {
	select {
	case <-p.exited:
	default:
		return 0, false
	}
	if p.state == nil {
		return -1, true
	}
	if ws, ok := p.state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), true
	}
	return p.state.ExitCode(), true
}

// LogTail is the end of what the process wrote, at most limit bytes.
func (p *Process) LogTail(limit int) string { return p.log.tail(limit) }

// Stop asks the process to end (SIGTERM to the process itself, as a container's first process gets it), and kills it
// with its group after its stop timeout or when ctx ends, whichever is first. It returns nil if the process ended by
// itself, and else an error that says it was killed.
func (p *Process) Stop(ctx context.Context) error {
	p.mu.Lock()
	if !p.reaped {
		_ = syscall.Kill(p.Pid(), syscall.SIGTERM)
	}
	p.mu.Unlock()
	timer := time.NewTimer(p.spec.StopTimeout)
	defer timer.Stop()
	cause := error(nil)
	select {
	case <-p.exited:
		return nil
	case <-timer.C:
		cause = fmt.Errorf("it did not end within %s of SIGTERM", p.spec.StopTimeout)
	case <-ctx.Done():
		cause = ctx.Err()
	}
	p.Kill()
	return fmt.Errorf("stop %s: killed: %w", p.spec.Name, cause)
}

// Kill is SIGKILL to the process and its group, and waits for the end.
func (p *Process) Kill() {
	p.signalGroup(syscall.SIGKILL)
	<-p.exited
}

// Freeze stops the process and its group (SIGSTOP): it keeps its sockets and does nothing.
func (p *Process) Freeze() error { return p.pause(syscall.SIGSTOP, true) }

// Thaw lets a frozen process go on (SIGCONT).
func (p *Process) Thaw() error { return p.pause(syscall.SIGCONT, false) }

// Frozen reports whether the process was frozen and not thawed.
func (p *Process) Frozen() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.frozen
}

func (p *Process) pause(sig syscall.Signal, frozen bool) error {
	if err := p.signalGroup(sig); err != nil {
		return fmt.Errorf("signal %v to %s: %w", sig, p.spec.Name, err)
	}
	p.mu.Lock()
	p.frozen = frozen
	p.mu.Unlock()
	return nil
}

// signalGroup signals the whole group; a group that is gone is no error.
func (p *Process) signalGroup(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return nil
	}
	if err := syscall.Kill(-p.Pid(), sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// CPUTime is the processor time that the process and its children have used, to 10 ms.
func (p *Process) CPUTime() time.Duration {
	select {
	case <-p.exited:
		return p.lastCPU
	default:
		return cpuTime(p.Pid())
	}
}
