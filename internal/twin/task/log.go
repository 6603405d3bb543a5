package task

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

const defaultLogLimit = 16 << 20

// rotatingLog is a log file that never takes more than twice its limit.
type rotatingLog struct {
	path  string
	limit int64

	mu   sync.Mutex
	file *os.File
	size int64
}

func openLog(path string, limit int64) (*rotatingLog, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("log %s: %w", path, err)
	}
	l := &rotatingLog{path: path, limit: limit}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("log %s: %w", path, err)
	}
	return l, nil
}

func (l *rotatingLog) open() error {
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	l.file, l.size = file, 0
	if info, err := file.Stat(); err == nil {
		l.size = info.Size()
	}
	return nil
}

// Write never fails: a full disk must not stop a process that logs, because its pipe would fill up.
func (l *rotatingLog) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return len(data), nil
	}
	if l.size > 0 && l.size+int64(len(data)) > l.limit {
		_ = l.file.Close()
		_ = os.Rename(l.path, l.path+".1")
		if err := l.open(); err != nil {
			l.file = nil
			return len(data), nil
		}
	}
	n, _ := l.file.Write(data)
	l.size += int64(n)
	return len(data), nil
}

// tail reads the last bytes of the file.
func (l *rotatingLog) tail(limit int) string {
	file, err := os.Open(l.path)
	if err != nil {
		return ""
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > int64(limit) {
		_, _ = file.Seek(-int64(limit), io.SeekEnd)
	}
	data, _ := io.ReadAll(io.LimitReader(file, int64(limit)))
	return string(data)
}

func (l *rotatingLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
}
