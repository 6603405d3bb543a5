// Package task runs the twin's programs as child processes and makes sure that none survives the twin.
//
// A [Supervisor] starts processes in process groups of their own, which the kernel kills when the supervisor's process
// dies (PR_SET_PDEATHSIG). That does not reach grandchildren, so there is also the reaper: a small process in a session
// of its own, started by [StartReaper], that holds one end of a pipe to the twin. When the twin ends without saying
// so, as by kill -9, the pipe ends, and the reaper kills every process whose working directory is below the twin's
// state directory, frozen ones too, and removes the directory.
//
// As root, the programs run as an unprivileged user (see [Options].Credential), because a rehearsal must not give a
// payment service more rights than production does.
package task

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrClosed: the supervisor was closed and starts nothing any more.
var ErrClosed = errors.New("the supervisor is closed")

// DefaultStopTimeout is the time between SIGTERM and SIGKILL if a [Spec] names none; the same as on ECS.
const DefaultStopTimeout = 30 * time.Second

// Options says how a supervisor runs its processes.
type Options struct {
	// StateDir is the folder below which every process works; it must exist.
	StateDir string
	// Credential is the user that the processes run as. Nil is the caller's own; it should be set if the caller is root
	// (pgserver.Installation.Credential is the same user that PostgreSQL gets).
	Credential *syscall.Credential
	// LogLimit bounds each log file, in bytes; at the limit it is renamed to <name>.1 and begun anew. 0 means 16 MiB.
	LogLimit int64
	// Logger is told about processes that end; nil is slog's default.
	Logger *slog.Logger
}

// Spec describes one process.
type Spec struct {
	// Name names the process for people and, if Dir is empty, its folder StateDir/tasks/<name>.
	Name   string
	Region string
	// Path is the program. If the processes run as another user it is copied below StateDir first, because that user
	// often can't reach a home directory.
	Path string
	Args []string
	// Env is the whole environment; nothing is inherited.
	Env []string
	// Dir is the working directory, below StateDir; it is made if missing.
	Dir string
	// LogPath receives standard output and standard error; empty is Dir/log.
	LogPath string
	// StopTimeout is the time between SIGTERM and SIGKILL; 0 is [DefaultStopTimeout].
	StopTimeout time.Duration
}

// Supervisor starts processes and knows them until they have ended. Its methods are safe for concurrent use.
type Supervisor struct {
	opts   Options
	logger *slog.Logger
	// requests go to one goroutine that is locked to its thread: the kernel's parent-death signal is tied to the thread
	// that forked, not to the process, and Go may end a thread whose goroutine was locked to it.
	requests chan func()
	done     chan struct{}

	mu        sync.Mutex
	processes map[*Process]struct{}
	serial    int64
	closed    bool

	stageMu sync.Mutex
	staged  map[string]string

	// session is this process's own session, whose children are not a person's shell.
	session int
}

// New returns a supervisor for processes below opts.StateDir.
func New(opts Options) (*Supervisor, error) {
	dir, err := canonicalDir(opts.StateDir)
	if err != nil {
		return nil, fmt.Errorf("state directory %s: %w", opts.StateDir, err)
	}
	opts.StateDir = dir
	if opts.LogLimit <= 0 {
		opts.LogLimit = defaultLogLimit
	}
	s := &Supervisor{
		opts: opts, logger: opts.Logger, requests: make(chan func()), done: make(chan struct{}),
		processes: map[*Process]struct{}{}, staged: map[string]string{},
	}
	s.session, _ = unix.Getsid(0)
	if s.logger == nil {
		s.logger = slog.Default()
	}
	go s.fork()
	return s, nil
}

func (s *Supervisor) fork() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		select {
		case start := <-s.requests:
			start()
		case <-s.done:
			return
		}
	}
}

// Start starts a process. It has its own process group, its working directory below the state directory, and is killed
// when this process dies.
func (s *Supervisor) Start(spec Spec) (*Process, error) {
	p, err := s.prepare(spec)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	started := make(chan error, 1)
	request := func() {
		s.mu.Lock()
		closed := s.closed
		s.mu.Unlock()
		if closed {
			started <- ErrClosed
			return
		}
		started <- p.start()
	}
	select {
	case s.requests <- request:
		err = <-started
	case <-s.done:
		err = ErrClosed
	}
	if err != nil {
		p.log.close()
		s.forget(p)
		if errors.Is(err, syscall.EACCES) {
			err = fmt.Errorf("%w (the program, and every folder above %s, must be open to user id %d)", err, s.opts.StateDir, s.uid())
		}
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	go p.wait()
	return p, nil
}

func (s *Supervisor) forget(p *Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.processes, p)
}

// sweepDir kills what a process left behind in a folder that was its own alone.
func (s *Supervisor) sweepDir(p *Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for other := range s.processes {
		if other != p && below(other.spec.Dir, p.spec.Dir) {
			return
		}
	}
	if p.ownDir {
		killBelow(p.spec.Dir, sparing{session: s.session})
	}
}

func (s *Supervisor) uid() int {
	if s.opts.Credential != nil {
		return int(s.opts.Credential.Uid)
	}
	return os.Geteuid()
}

// prepare makes the process's folder and log.
func (s *Supervisor) prepare(spec Spec) (*Process, error) {
	if spec.StopTimeout <= 0 {
		spec.StopTimeout = DefaultStopTimeout
	}
	own := spec.Dir == ""
	if own {
		spec.Dir = filepath.Join(s.opts.StateDir, "tasks", strings.ReplaceAll(spec.Name, string(filepath.Separator), "_"))
	}
	if err := s.makeDir(spec.Dir); err != nil {
		return nil, err
	}
	dir, err := canonicalDir(spec.Dir)
	if err != nil {
		return nil, err
	}
	if !below(dir, s.opts.StateDir) {
		return nil, fmt.Errorf("working directory %s is not below the state directory %s", dir, s.opts.StateDir)
	}
	spec.Dir = dir
	program, err := s.stage(spec.Path)
	if err != nil {
		return nil, err
	}
	if spec.LogPath == "" {
		spec.LogPath = filepath.Join(spec.Dir, "log")
	}
	log, err := openLog(spec.LogPath, s.opts.LogLimit)
	if err != nil {
		return nil, err
	}
	p := newProcess(s, spec, program, log)
	p.ownDir = own
	// Known before it is forked, so that the end of a process in the same folder does not sweep it away.
	s.mu.Lock()
	s.serial++
	p.serial = s.serial
	s.processes[p] = struct{}{}
	s.mu.Unlock()
	return p, nil
}

// makeDir makes a folder with all that is missing above it, owned by the processes' user.
func (s *Supervisor) makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := s.makeDir(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if c := s.opts.Credential; c != nil {
		return os.Chown(dir, int(c.Uid), int(c.Gid))
	}
	return nil
}

// Processes lists the processes that have not ended, oldest first.
func (s *Supervisor) Processes() []*Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*Process, 0, len(s.processes))
	for p := range s.processes {
		if p.running.Load() {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b *Process) int { return cmp.Compare(a.serial, b.serial) })
	return list
}

// inRegion lists the processes of a region.
func (s *Supervisor) inRegion(region string) []*Process {
	return slices.DeleteFunc(s.Processes(), func(p *Process) bool { return p.spec.Region != region })
}

// KillRegion is SIGKILL to everything in a region at once, as when its power is cut, and waits until all of it is gone.
func (s *Supervisor) KillRegion(region string) { killAll(s.inRegion(region)) }

// FreezeRegion stops every process of a region (SIGSTOP).
func (s *Supervisor) FreezeRegion(region string) error {
	var errs []error
	for _, p := range s.inRegion(region) {
		errs = append(errs, p.Freeze())
	}
	return errors.Join(errs...)
}

// ThawRegion lets every process of a region go on (SIGCONT).
func (s *Supervisor) ThawRegion(region string) error {
	var errs []error
	for _, p := range s.inRegion(region) {
		errs = append(errs, p.Thaw())
	}
	return errors.Join(errs...)
}

// Close kills what still runs, waits for its end and starts nothing any more.
func (s *Supervisor) Close() {
	s.mu.Lock()
	already := s.closed
	s.closed = true
	s.mu.Unlock()
	if !already {
		// Behind this request no start is under way any more.
		idle := make(chan struct{})
		s.requests <- func() { close(idle) }
		<-idle
	}
	killAll(s.Processes())
	if !already {
		close(s.done)
	}
}

// killAll signals everything before it waits for anything, so that no process sees another one dead for long.
func killAll(list []*Process) {
	for _, p := range list {
		p.signalGroup(syscall.SIGKILL)
	}
	for _, p := range list {
		p.Kill()
	}
}
