// Package pgserver runs real PostgreSQL servers as child processes: it finds the server binaries, makes a data
// directory, starts, stops and kills a server. PostgreSQL refuses to run as root, so a caller that is root gets its
// servers run as an unprivileged user.
package pgserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrNotInstalled: no PostgreSQL server binaries of version 15 or later were found.
var ErrNotInstalled = errors.New("no PostgreSQL server (version 15 or later) found: run 'make setup', install the package " +
	"postgresql, or set HOLDFAST_PG_BINDIR to the folder of initdb and postgres")

// ErrNoUnprivilegedUser: the caller is root and there is no user to run PostgreSQL as.
var ErrNoUnprivilegedUser = errors.New("PostgreSQL refuses to run as root and neither user 'postgres' nor 'nobody' exists: " +
	"create one, or set HOLDFAST_PG_USER, or run as another user")

// minimumMajor is the oldest PostgreSQL that has all that the fence and the twin use.
const minimumMajor = 15

// Installation is a set of server binaries and the user that runs them.
type Installation struct {
	BinDir string
	// Version is what "postgres --version" says, as in 15.18.
	Version string
	// Credential is nil unless the caller is root.
	Credential *syscall.Credential
	userName   string
}

// Find locates the newest server binaries: HOLDFAST_PG_BINDIR, Debian's and Red Hat's folders, then PATH.
func Find() (Installation, error) {
	var candidates []string
	if dir := os.Getenv("HOLDFAST_PG_BINDIR"); dir != "" {
		candidates = []string{dir}
	} else {
		patterns := []string{
			"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql@*/bin",
		}
		for _, pattern := range patterns {
			found, _ := filepath.Glob(pattern)
			candidates = append(candidates, found...)
		}
		sort.Sort(sort.Reverse(sort.StringSlice(candidates)))
		if path, err := exec.LookPath("postgres"); err == nil {
			candidates = append(candidates, filepath.Dir(path))
		}
	}
	best := Installation{}
	bestMajor := 0
	for _, dir := range candidates {
		out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output()
		if err != nil {
			continue
		}
		fields := strings.Fields(string(out))
		if len(fields) < 3 {
			continue
		}
		major, _ := strconv.Atoi(strings.SplitN(fields[2], ".", 2)[0])
		if major >= minimumMajor && major > bestMajor {
			best, bestMajor = Installation{BinDir: dir, Version: fields[2]}, major
		}
	}
	if bestMajor == 0 {
		return Installation{}, ErrNotInstalled
	}
	return best, best.chooseUser()
}

func (in *Installation) chooseUser() error {
	if os.Geteuid() != 0 {
		return nil
	}
	names := []string{"postgres", "nobody"}
	if name := os.Getenv("HOLDFAST_PG_USER"); name != "" {
		names = []string{name}
	}
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errU := strconv.ParseUint(u.Uid, 10, 32)
		gid, errG := strconv.ParseUint(u.Gid, 10, 32)
		if errU != nil || errG != nil || uid == 0 {
			continue
		}
		in.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		in.userName = name
		return nil
	}
	return ErrNoUnprivilegedUser
}

// keepMemory has the C library keep what a server gives back to it at the end of every transaction, and take it from the
// kernel in larger pieces. By default a backend whose memory ends near the threshold gives it back and faults it in again
// in each transaction, which is dear on a virtual machine, and happens or not with each small change to a statement
// (docs/adr/0017). See mallopt(3).
var keepMemory = []string{"MALLOC_TRIM_THRESHOLD_=16777216", "MALLOC_MMAP_THRESHOLD_=16777216", "MALLOC_TOP_PAD_=1048576"}

// Command prepares one of the installation's programs to run as the unprivileged user, in dir, dying with its parent.
// It leads a process group of its own, which the end of ctx kills (pg_basebackup has a child).
func (in Installation) Command(ctx context.Context, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(in.BinDir, program), args...)
	cmd.Dir = dir
	// libpq looks for certificates below HOME: the caller's are none of its business, and root's it may not even read.
	cmd.Env = append(environment(), "LC_ALL=C", "TZ=UTC", "PGTZ=UTC", "HOME="+dir)
	cmd.Env = append(cmd.Env, keepMemory...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: in.Credential, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		} else if err != nil {
			return err
		}
		return nil
	}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// environment is the caller's without libpq's variables, which would redirect pg_basebackup and the servers' receivers.
func environment() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "PG") {
			env = append(env, kv)
		}
	}
	return env
}

// Run runs one of the installation's programs to its end and returns its output in the error.
func (in Installation) Run(ctx context.Context, dir, program string, args ...string) error {
	_, err := in.Output(ctx, dir, program, args...)
	return err
}

// Output runs one of the installation's programs to its end and returns what it printed on standard output. The error
// holds the last lines of what it complained about, and a hint where the cause is a known one.
func (in Installation) Output(ctx context.Context, dir, program string, args ...string) (string, error) {
	return RunCommand(in.Command(ctx, dir, program, args...), nil)
}

// RunCommand runs a prepared command to its end, as Output does; started, if not nil, is called with the id of its
// process group.
func RunCommand(cmd *exec.Cmd, started func(group int)) (string, error) {
	program := filepath.Base(cmd.Path)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Start()
	if err == nil {
		if started != nil {
			started(cmd.Process.Pid)
		}
		err = cmd.Wait()
	}
	if err != nil {
		text := cause(complaints.String() + out.String())
		return out.String(), fmt.Errorf("%s: %w: %s%s", program, err, text, hint(text))
	}
	return out.String(), nil
}

// Own gives a file or folder to the unprivileged user, if there is one.
func (in Installation) Own(path string) error {
	if in.Credential == nil {
		return nil
	}
	return os.Chown(path, int(in.Credential.Uid), int(in.Credential.Gid))
}

// MakeDir makes a folder that only the server's user may read.
func (in Installation) MakeDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return in.Own(path)
}

// WriteFile writes a file that belongs to the server's user.
func (in Installation) WriteFile(path, content string) error {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return err
	}
	return in.Own(path)
}

// InitDB makes a data directory with the given superuser, authenticated by password over TCP. Further arguments go to
// initdb.
func (in Installation) InitDB(ctx context.Context, dataDir, superuser, password string, more ...string) error {
	if err := in.MakeDir(dataDir); err != nil {
		return fmt.Errorf("make data directory %s: %w", dataDir, err)
	}
	pwFile := dataDir + ".pw"
	if err := in.WriteFile(pwFile, password+"\n"); err != nil {
		return err
	}
	defer os.Remove(pwFile)
	args := []string{
		"-D", dataDir, "-U", superuser, "--pwfile", pwFile, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C",
		"--no-sync", "--no-instructions",
	}
	return in.Run(ctx, dataDir, "initdb", append(args, more...)...)
}

// Single runs SQL statements on a data directory whose server does not run.
func (in Installation) Single(ctx context.Context, dataDir string, statements []string) error {
	// In this mode a statement that fails does not end the program, unless it is told so.
	cmd := in.Command(ctx, dataDir, "postgres", "--single", "-j", "-D", dataDir, "-c", "exit_on_error=on", "-c", "fsync=off",
		"postgres")
	cmd.Stdin = strings.NewReader(strings.Join(statements, ";\n\n") + ";\n\n")
	_, err := RunCommand(cmd, nil)
	return err
}

// Config says where a server listens and how it is set.
type Config struct {
	DataDir string
	Host    string
	Port    int
	// Settings are passed with -c and win over postgresql.conf.
	Settings map[string]string
	// LogFile receives the server's output.
	LogFile string
}

// Server is a running postmaster.
type Server struct {
	Config
	cmd    *exec.Cmd
	exited chan struct{}
	err    error
	killed sync.Once
	// logStart is how long the log was, in bytes, before this start.
	logStart int64
}

// Start starts a server and returns at once; use WaitReady to wait until it accepts connections. Dynamic shared memory
// is kept in the data directory unless the settings say otherwise: a killed server would leave it behind in /dev/shm.
func (in Installation) Start(cfg Config) (*Server, error) {
	args := []string{
		"-D", cfg.DataDir, "-c", "listen_addresses=" + cfg.Host, "-c", "port=" + strconv.Itoa(cfg.Port),
		"-c", "unix_socket_directories=", "-c", "dynamic_shared_memory_type=mmap",
	}
	keys := make([]string, 0, len(cfg.Settings))
	for k := range cfg.Settings {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		args = append(args, "-c", k+"="+cfg.Settings[k])
	}
	log, err := os.OpenFile(cfg.LogFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of PostgreSQL at %s: %w", cfg.Host, err)
	}
	defer log.Close()
	logStart, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("open the log of PostgreSQL at %s: %w", cfg.Host, err)
	}
	// The server outlives any one context: it ends by Stop, Kill, or with this process (Pdeathsig).
	cmd := in.Command(context.Background(), cfg.DataDir, "postgres", args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start PostgreSQL at %s:%d: %w", cfg.Host, cfg.Port, err)
	}
	s := &Server{Config: cfg, cmd: cmd, exited: make(chan struct{}), logStart: logStart}
	go func() {
		s.err = cmd.Wait()
		close(s.exited)
	}()
	return s, nil
}

// Pid is the postmaster's process id.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Exited is closed when the postmaster has ended and was reaped.
func (s *Server) Exited() <-chan struct{} { return s.exited }

// readyInterval is how often a starting server's status is read.
const readyInterval = 10 * time.Millisecond

// WaitReady waits until the server says that it takes connections (a hot standby: that it is consistent), has ended, or ctx
// is done. It reads what pg_ctl reads: to try to connect instead costs the starting server a process each time.
func (s *Server) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	for !s.saysReady() {
		select {
		case <-s.exited:
			return s.StartError()
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL at %s:%d is not ready: %w: %s", s.Host, s.Port, ctx.Err(), s.LogTail())
		case <-tick.C:
		}
	}
	return nil
}

// Lines of postmaster.pid, counted from 0 (PostgreSQL's miscadmin.h, LOCK_FILE_LINE_PID and LOCK_FILE_LINE_PM_STATUS).
const (
	pidLine    = 0
	statusLine = 7
)

// saysReady reads the status that the postmaster keeps in its data directory. The file of an earlier server that was killed
// may still be there.
func (s *Server) saysReady() bool {
	lines := s.lockLines()
	return len(lines) > statusLine && lines[pidLine] == strconv.Itoa(s.Pid()) && strings.TrimSpace(lines[statusLine]) == "ready"
}

func (s *Server) lockFile() string { return filepath.Join(s.DataDir, "postmaster.pid") }

// lockLines are the lines of the lock file, none if it is not there.
func (s *Server) lockLines() []string {
	data, err := os.ReadFile(s.lockFile())
	if err != nil {
		return nil
	}
	return strings.Split(string(data), "\n")
}

// Stop asks for a fast shutdown (every client is disconnected, everything is flushed and sent to the standbys) and
// waits for its end; when ctx ends first the server is killed.
func (s *Server) Stop(ctx context.Context) error {
	_ = s.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-s.exited:
		return nil
	case <-ctx.Done():
		s.Kill()
		return fmt.Errorf("stop PostgreSQL at %s: killed after %w", s.Host, ctx.Err())
	}
}

// StartError says why a server ended while it was starting, with a hint where the cause is a known one. Call it only
// after Exited.
func (s *Server) StartError() error {
	text := cause(s.log())
	return fmt.Errorf("PostgreSQL at %s:%d ended while starting (%v): %s%s", s.Host, s.Port, s.err, text, hint(text))
}

// LogTail is the last three lines that this start of the server has logged.
func (s *Server) LogTail() string { return lastLines(s.log(), 3) }

// LogStart is how long the log was, in bytes, before this start.
func (s *Server) LogStart() int64 { return s.logStart }

// log reads what this start has logged, the last 16 KiB of it.
func (s *Server) log() string {
	const window = 16 << 10
	f, err := os.Open(s.LogFile)
	if err != nil {
		return ""
	}
	defer f.Close()
	offset := s.logStart
	if info, err := f.Stat(); err == nil {
		offset = max(offset, info.Size()-window)
	}
	data, _ := io.ReadAll(io.NewSectionReader(f, offset, window))
	return string(data)
}

// cause picks the lines of a log that say why a program ended; behind them come others that only say that it did.
func cause(log string) string {
	var lines []string
	for line := range strings.Lines(log) {
		fatal := false
		for _, word := range []string{"FATAL:", "PANIC:", "ERROR:", "error:", "could not"} {
			fatal = fatal || strings.Contains(line, word)
		}
		if fatal && !strings.Contains(line, "the database system is") || len(lines) > 0 && strings.Contains(line, "DETAIL:") {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return lastLines(log, 3)
	}
	return lastLines(strings.Join(lines, ""), 3)
}

// hint names the remedy for the causes that an operator can do something about.
func hint(text string) string {
	switch {
	case strings.Contains(text, "No space left on device"), strings.Contains(text, "could not resize shared memory"):
		return " (the disk is full: free some space, or choose a folder on another disk)"
	case strings.Contains(text, "Address already in use"), strings.Contains(text, "could not bind"):
		return " (another program uses the address and port: stop it; a PostgreSQL or a container that listens on 0.0.0.0 " +
			"takes every address)"
	case strings.Contains(text, "Permission denied"):
		return " (PostgreSQL's user cannot read or write there: choose a folder that it can enter, as below /tmp or /var/tmp)"
	}
	return ""
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], " | ")
}
