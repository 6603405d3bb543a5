package task

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// stage finds a program and, if the processes run as another user, copies it below the state directory, where that user
// can reach it: a checkout in /root is closed to everybody else. A program is copied once per version.
func (s *Supervisor) stage(path string) (string, error) {
	found, err := exec.LookPath(path)
	if err != nil {
		return "", err
	}
	if found, err = filepath.Abs(found); err != nil {
		return "", err
	}
	if s.opts.Credential == nil {
		return found, nil
	}
	info, err := os.Stat(found)
	if err != nil {
		return "", err
	}
	s.stageMu.Lock()
	defer s.stageMu.Unlock()
	key := fmt.Sprintf("%s %d %d", found, info.Size(), info.ModTime().UnixNano())
	if copied, ok := s.staged[key]; ok {
		return copied, nil
	}
	sum := sha256.Sum256([]byte(key))
	dir := filepath.Join(s.opts.StateDir, "bin", hex.EncodeToString(sum[:6]))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	target := filepath.Join(dir, filepath.Base(found))
	if err := copyProgram(found, target); err != nil {
		return "", fmt.Errorf("copy %s for user id %d: %w", found, s.opts.Credential.Uid, err)
	}
	s.staged[key] = target
	return target, nil
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}
