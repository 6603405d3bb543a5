package evidence

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The head's file lies on a network file system: a mount that hangs gives no error, and nothing of a warden may hang with
// it.
const (
	// keepLimit bounds the reading of the file and the first write that hangs.
	keepLimit = time.Second
	// behindLimit bounds the writes after one that came to nothing.
	behindLimit = 50 * time.Millisecond
)

// keeper has one call to the file system under way at most, in a goroutine that is left behind if it hangs. When that comes
// back it writes the newest head, so an older one never lands on a newer one.
type keeper struct {
	path string

	mu sync.Mutex
	// newest is what the file is to say, stored what it is known to say.
	newest, stored Head
	busy           bool
	// err is the newest attempt's; ended is closed after it.
	err   error
	ended chan struct{}
}

// read returns what the file says, unless that takes too long.
func (k *keeper) read() ([]byte, error) {
	type answer struct {
		text []byte
		err  error
	}
	answered := make(chan answer, 1)
	k.busy = true // nobody else knows of the keeper yet
	go func() {
		text, err := os.ReadFile(k.path)
		answered <- answer{text, err}
		k.catchUp()
	}()
	limit := time.NewTimer(keepLimit)
	defer limit.Stop()
	select {
	case a := <-answered:
		return a.text, a.err
	case <-limit.C:
		return nil, fmt.Errorf("no answer within %v", keepLimit)
	}
}

// keep has a head written and waits for that up to the limit. Nil says that the file has it.
func (k *keeper) keep(head Head, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	k.mu.Lock()
	k.newest, k.err = head, nil
	if !k.busy {
		k.busy = true
		go k.catchUp()
	}
	for {
		stored, busy, err, ended := k.stored == head, k.busy, k.err, k.ended
		k.mu.Unlock()
		switch {
		case stored:
			return nil
		case !busy && err != nil:
			return err
		}
		select {
		case <-ended:
		case <-timer.C:
			return fmt.Errorf("no answer within %v", limit)
		}
		k.mu.Lock()
	}
}

// has says whether the file has a head.
func (k *keeper) has(head Head) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stored == head
}

// catchUp writes until the file has the newest head, or can't be written. What fails at once is tried again with the next
// entry.
func (k *keeper) catchUp() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.stored != k.newest {
		head := k.newest
		k.mu.Unlock()
		err := writeHead(k.path, head)
		k.mu.Lock()
		k.err = err
		if err == nil {
			k.stored = head
		}
		if err != nil && head == k.newest {
			break
		}
		close(k.ended)
		k.ended = make(chan struct{})
	}
	k.busy = false
	close(k.ended)
	k.ended = make(chan struct{})
}

func writeHead(path string, head Head) error {
	temporary := path + ".new"
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	if err := os.WriteFile(temporary, []byte(head.String()+"\n"), 0o640); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
