package task

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/pgserver"
)

// ReaperCommand is the hidden first argument with which [StartReaper] runs this program again.
const ReaperCommand = "twin-reaper"

const (
	// reaperEnv marks the reaper's environment, so that a program that forgot [ReaperMain] does not start a reaper
	// that starts a reaper.
	reaperEnv = "HOLDFAST_REAPER"
	// readyLimit bounds the start of the reaper.
	readyLimit = 10 * time.Second
	// sweepLimit bounds how long the reaper hunts; sweepPause lies between two rounds.
	sweepLimit = 60 * time.Second
	sweepPause = 50 * time.Millisecond
	// quietRounds is how many rounds in a row must find nothing, in case a process forked while it was looked at.
	quietRounds = 3
	// cleanStop is what a twin that stopped in order writes before it closes the pipe.
	cleanStop = 'q'
)

// Reaper is the twin's end of the pipe to its reaper.
type Reaper struct {
	cmd      *exec.Cmd
	lifeline *os.File
	once     sync.Once
	exited   chan struct{}
}

// ReaperMain runs the reaper and exits if this program was started as one. Call it first in main and in TestMain of
// every program that calls [StartReaper].
func ReaperMain() {
	if len(os.Args) < 3 || os.Args[1] != ReaperCommand || os.Getenv(reaperEnv) == "" {
		return
	}
	if err := runReaper(os.Args[2], os.NewFile(3, "lifeline"), os.NewFile(4, "ready")); err != nil {
		fmt.Fprintf(os.Stderr, "holdfast: reaper: %v\n", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// StartReaper starts the reaper of a state directory, as this program run again with [ReaperCommand]. The directory
// must exist and be empty, because the reaper will remove it with all that is in it.
func StartReaper(stateDir string) (*Reaper, error) {
	dir, err := reapable(stateDir)
	if err != nil {
		return nil, fmt.Errorf("start the reaper of %s: %w", stateDir, err)
	}
	if os.Getenv(reaperEnv) != "" {
		return nil, errors.New("start the reaper: this program is a reaper itself; its main does not call task.ReaperMain first")
	}
	r, err := startReaper(dir)
	if err != nil {
		return nil, fmt.Errorf("start the reaper of %s: %w", stateDir, err)
	}
	return r, nil
}

// reapable refuses directories that nobody wants to lose.
func reapable(stateDir string) (string, error) {
	dir, err := canonicalDir(stateDir)
	if err != nil {
		return "", err
	}
	if filepath.Dir(dir) == dir || filepath.Dir(dir) == "/" {
		return "", errors.New("the directory is too close to the root of the file system to be removed later")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	if len(entries) > 0 {
		return "", fmt.Errorf("the directory is not empty (it holds %s) and would be removed with all that is in it; name a new one",
			entries[0].Name())
	}
	return dir, nil
}

func startReaper(dir string) (*Reaper, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	lifelineRead, lifeline, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer lifelineRead.Close()
	ready, readyWrite, err := os.Pipe()
	if err != nil {
		lifeline.Close()
		return nil, err
	}
	defer ready.Close()
	session, _ := unix.Getsid(0)
	cmd := exec.Command(program, ReaperCommand, dir)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), reaperEnv+"="+strconv.Itoa(session))
	cmd.ExtraFiles = []*os.File{lifelineRead, readyWrite}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = readyWrite.Close()
	if err != nil {
		lifeline.Close()
		return nil, err
	}
	r := &Reaper{cmd: cmd, lifeline: lifeline, exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(r.exited)
	}()
	_ = ready.SetReadDeadline(time.Now().Add(readyLimit))
	if n, err := ready.Read(make([]byte, 1)); n != 1 {
		_ = cmd.Process.Kill()
		<-r.exited
		lifeline.Close()
		return nil, fmt.Errorf("%s did not become a reaper (does its main call task.ReaperMain first?): %w", program, err)
	}
	return r, nil
}

// Pid is the reaper's process id.
func (r *Reaper) Pid() int { return r.cmd.Process.Pid }

// Exited is closed when the reaper has ended.
func (r *Reaper) Exited() <-chan struct{} { return r.exited }

// Stop tells the reaper that the twin has cleaned up by itself, and waits for its end.
func (r *Reaper) Stop() {
	r.once.Do(func() {
		_, _ = r.lifeline.Write([]byte{cleanStop})
		_ = r.lifeline.Close()
	})
	<-r.exited
}

// RunReaper is the reaper's body: it waits until the pipe ends and then, unless the twin said that it stopped in order,
// kills everything below stateDir and removes it. SIGINT, SIGHUP and SIGTERM are for the twin and are ignored; the
// reaper ends with its twin in any case.
func RunReaper(stateDir string, pipe io.Reader) error {
	return runReaper(stateDir, pipe, nil)
}

func runReaper(stateDir string, pipe io.Reader, ready io.WriteCloser) error {
	session, _ := strconv.Atoi(os.Getenv(reaperEnv))
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGPIPE)
	dir, err := canonicalDir(stateDir)
	if err != nil {
		return err
	}
	born, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if ready != nil {
		_, _ = ready.Write([]byte{cleanStop})
		_ = ready.Close()
	}
	if message, _ := io.ReadAll(io.LimitReader(pipe, 1)); len(message) == 1 && message[0] == cleanStop {
		return nil
	}
	slog.Warn("the twin ended without cleaning up; the reaper does it", "dir", dir)
	return sweep(dir, born, sparing{session: session})
}

// releaseSharedMemory removes what no folder holds: the System V segments of the PostgreSQL servers below dir.
func releaseSharedMemory(dir string) {
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == "postmaster.pid" {
			pgserver.ReleaseSharedMemory(filepath.Dir(path))
		}
		return nil // what can't be read can't be released
	})
}

// sweep kills until nothing is left, and removes the directory if it is still the one that was there at the start.
func sweep(dir string, born os.FileInfo, spare sparing) error {
	deadline := time.Now().Add(sweepLimit)
	var removal error
	for quiet := 0; time.Now().Before(deadline); {
		if killBelow(dir, spare) > 0 {
			quiet = 0
		} else {
			quiet++
		}
		if quiet >= quietRounds {
			now, err := os.Stat(dir)
			if errors.Is(err, os.ErrNotExist) || err == nil && !os.SameFile(born, now) {
				return nil
			}
			releaseSharedMemory(dir)
			if removal = os.RemoveAll(dir); removal == nil {
				return nil
			}
		}
		time.Sleep(sweepPause)
	}
	return fmt.Errorf("%s is still in use after %s: %w", dir, sweepLimit, removal)
}
