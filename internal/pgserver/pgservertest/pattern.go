package pgservertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"holdfast/internal/pgserver"
)

// PatternsEnv names a folder in which the tests of all packages share what initdb has made. "make test" makes one and
// removes it. initdb takes more than a second of processor time and copying its files a tenth of one, and the tests start
// some seventy servers. All have the same system identifier then, as copies of one server have.
const PatternsEnv = "HOLDFAST_TEST_PATTERNS"

// initDB makes a data directory, by initdb or as a copy of what initdb made before.
func initDB(ctx context.Context, in pgserver.Installation, data string) error {
	patterns := os.Getenv(PatternsEnv)
	if patterns == "" {
		return in.InitDB(ctx, data, "postgres", Password)
	}
	pattern, err := patternIn(ctx, in, patterns)
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "cp", "-a", pattern, data).CombinedOutput(); err != nil {
		return fmt.Errorf("copy the pattern %s: %w: %s", pattern, err, out)
	}
	return nil
}

// patternIn makes the pattern if it is the first to come.
func patternIn(ctx context.Context, in pgserver.Installation, patterns string) (string, error) {
	lock, err := os.OpenFile(filepath.Join(patterns, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", fmt.Errorf("%s names no folder to keep a pattern in: %w", PatternsEnv, err)
	}
	defer lock.Close() // and with it the lock ends
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	pattern := filepath.Join(patterns, "data")
	made := filepath.Join(patterns, "made")
	if _, err := os.Stat(made); err == nil {
		return pattern, nil
	}
	// What a test that was killed has left is not whole.
	if err := os.RemoveAll(pattern); err != nil {
		return "", err
	}
	if err := in.InitDB(ctx, pattern, "postgres", Password); err != nil {
		return "", err
	}
	return pattern, os.WriteFile(made, nil, 0o600)
}
