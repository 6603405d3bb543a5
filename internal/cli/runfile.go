package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/internal/operator"
)

// runInfo is what "twin up" leaves for "twin status" and "twin down", in a file that its process keeps locked. The
// lock, not the file, says that the twin is up: the kernel drops it however the process ends.
type runInfo struct {
	Name      string    `json:"name"`
	PID       int       `json:"pid"`
	StartedAt time.Time `json:"started_at"`
	Speed     float64   `json:"speed"`
	StateDir  string    `json:"state_dir"`
	Config    string    `json:"config"`
	Endpoint  string    `json:"endpoint"`
	Region    string    `json:"region"`
	DNSName   string    `json:"dns_name"`
	Resolver  string    `json:"resolver"`
	AppPort   int       `json:"app_port"`
	Acquirer  string    `json:"acquirer"`
}

var runName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// errTwinDown: no twin of that name is up.
var errTwinDown = errors.New("no twin of that name is up")

// runPath is the file of a twin's name, in a folder that only this user may read.
func runPath(name string) (string, error) {
	if !runName.MatchString(name) {
		return "", usagef("--name %q: want 1 to 32 small letters, digits and hyphens", name)
	}
	base := os.Getenv("XDG_RUNTIME_DIR")
	folder := filepath.Join(base, "holdfast")
	if base == "" {
		folder = filepath.Join(os.TempDir(), "holdfast-"+strconv.Itoa(os.Getuid()))
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", fmt.Errorf("%w: make the folder for running twins: %w", operator.ErrEnvironment, err)
	}
	info, err := os.Lstat(folder)
	if err != nil {
		return "", fmt.Errorf("%w: look at the folder for running twins: %w", operator.ErrEnvironment, err)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || int(owner.Uid) != os.Getuid() {
		return "", fmt.Errorf("%w: %s is not a folder of this user: remove it, or set XDG_RUNTIME_DIR", operator.ErrEnvironment, folder)
	}
	return filepath.Join(folder, name+".json"), nil
}

// runLock is the hold of a running twin on its name.
type runLock struct {
	file *os.File
	path string
}

// The tries to lock a name, and the pause between two.
const (
	lockTries = 10
	lockPause = 20 * time.Millisecond
)

// takeName locks a twin's name for this process.
func takeName(name string) (*runLock, error) {
	path, err := runPath(name)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("%w: open %s: %w", operator.ErrEnvironment, path, err)
		}
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			_ = file.Close()
			if try < lockTries { // "twin status" holds the lock for a moment when it finds it free
				time.Sleep(lockPause)
				continue
			}
			return nil, fmt.Errorf("%w: a twin named %s is up already: run 'holdfast twin down --name %s', or choose another --name",
				operator.ErrEnvironment, name, name)
		}
		// The file may have been removed by the twin before between the opening and the locking.
		if same(file, path) {
			return &runLock{file: file, path: path}, nil
		}
		_ = file.Close()
	}
}

func same(file *os.File, path string) bool {
	mine, err := file.Stat()
	if err != nil {
		return false
	}
	current, err := os.Stat(path)
	return err == nil && os.SameFile(mine, current)
}

// publish writes what the other commands need.
func (l *runLock) publish(info runInfo) error {
	encoded, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	if err := l.file.Truncate(0); err != nil {
		return fmt.Errorf("write %s: %w", l.path, err)
	}
	if _, err := l.file.WriteAt(append(encoded, '\n'), 0); err != nil {
		return fmt.Errorf("write %s: %w", l.path, err)
	}
	return nil
}

// release gives the name back.
func (l *runLock) release() {
	_ = os.RemoveAll(strings.TrimSuffix(l.path, ".json") + ".shell")
	_ = os.Remove(l.path)
	_ = l.file.Close()
}

// readRun returns the twin of a name, or errTwinDown. A twin that is still coming up has no process id yet.
func readRun(name string) (runInfo, error) {
	path, err := runPath(name)
	if err != nil {
		return runInfo{}, err
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return runInfo{}, fmt.Errorf("%w: %s", errTwinDown, name)
	}
	if err != nil {
		return runInfo{}, fmt.Errorf("%w: open %s: %w", operator.ErrEnvironment, path, err)
	}
	defer file.Close()
	if unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil {
		return runInfo{}, fmt.Errorf("%w: %s (it ended without giving its name back)", errTwinDown, name)
	}
	var info runInfo
	if err := json.NewDecoder(file).Decode(&info); err != nil || info.PID <= 1 {
		return runInfo{}, fmt.Errorf("the twin %s is still coming up: try again in a moment", name)
	}
	return info, nil
}

// waitDown waits until the twin has given its name back.
func waitDown(ctx context.Context, name string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := readRun(name); errors.Is(err, errTwinDown) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the twin %s is still going down: %w", name, ctx.Err())
		}
	}
}
