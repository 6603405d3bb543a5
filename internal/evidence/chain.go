package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// keepLimit bounds a write of the head's file, which lies on a network file system: a mount that hangs gives no error, and
// nothing of a warden may hang with it.
const keepLimit = time.Second

// Head is the newest entry of a journal. The zero value is an empty journal.
type Head struct {
	Sequence int64  `json:"sequence"`
	Hash     string `json:"hash"`
}

// Chain is a writer of journal entries. It expects one JSON object and a newline per Write, as slog.JSONHandler writes
// them, and is safe for concurrent use.
type Chain struct {
	out  io.Writer
	path string

	mu   sync.Mutex
	head Head
	// failed is why the head is not kept any more; the next entry says so, once.
	failed error
	told   bool
}

// NewChain makes a chain that writes to out and keeps its head in a file, from which the next process of the same name
// goes on; an empty path keeps nothing. A file that can't be read starts a new chain, and the error says so: the chain
// works all the same.
func NewChain(out io.Writer, path string) (*Chain, error) {
	c := &Chain{out: out, path: path}
	if path == "" {
		return c, nil
	}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil:
		return c, fmt.Errorf("read the journal's head: %w", err)
	}
	if c.head, err = parseHead(strings.TrimSpace(string(text))); err != nil {
		return c, fmt.Errorf("read the journal's head from %s: %w", path, err)
	}
	return c, nil
}

// Head returns the newest entry's.
func (c *Chain) Head() Head {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.head
}

// Write appends one entry.
func (c *Chain) Write(entry []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	object, ok := bytes.CutSuffix(bytes.TrimRight(entry, "\n"), []byte("}"))
	if !ok || bytes.ContainsRune(object, '\n') {
		return 0, errors.New("append to the journal: not one JSON object on one line")
	}
	line := make([]byte, 0, len(object)+120)
	line = append(line, object...)
	if !bytes.HasSuffix(bytes.TrimSpace(object), []byte("{")) {
		line = append(line, ',')
	}
	if c.failed != nil && !c.told {
		c.told = true
		line = append(line, `"head_not_kept":`+strconv.QuoteToASCII(c.failed.Error())+`,`...)
	}
	next := c.head.Sequence + 1
	line = append(line, `"sequence":`+strconv.FormatInt(next, 10)+`,"previous":"`+c.head.Hash+`"}`...)
	c.head = Head{Sequence: next, Hash: hashOf(line)}
	c.keep()
	if _, err := c.out.Write(append(line, '\n')); err != nil {
		return 0, err
	}
	return len(entry), nil
}

// keep writes the head to its file. A file that can't be written, or not in time, must not keep the warden from its work;
// the next start begins a chain that does not fit to this one, which shows.
func (c *Chain) keep() {
	if c.path == "" || c.failed != nil {
		return
	}
	done := make(chan error, 1)
	path, head := c.path, c.head
	go func() { done <- writeHead(path, head) }()
	limit := time.NewTimer(keepLimit)
	defer limit.Stop()
	select {
	case c.failed = <-done:
	case <-limit.C: // the one goroutine stays until the file system answers
		c.failed = fmt.Errorf("write the journal's head to %s: no answer within %v", c.path, keepLimit)
	}
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

func hashOf(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// String is the head in one word, "sequence:hash".
func (h Head) String() string { return strconv.FormatInt(h.Sequence, 10) + ":" + h.Hash }

func parseHead(text string) (Head, error) {
	number, hash, ok := strings.Cut(text, ":")
	n, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || n < 1 || len(hash) != hex.EncodedLen(sha256.Size) {
		return Head{}, fmt.Errorf("%q is not a journal's head, as in 42:<64 hex digits>", text)
	}
	return Head{Sequence: n, Hash: hash}, nil
}

// Anchor is what one place says of a journal's head: "warden sequence:hash".
type Anchor struct {
	Warden string
	Head   Head
}

// String is the form that the record, the beacons and the journals carry.
func (a Anchor) String() string { return a.Warden + " " + a.Head.String() }

// ParseAnchor reads the form of [Anchor.String].
func ParseAnchor(text string) (Anchor, error) {
	warden, rest, ok := strings.Cut(text, " ")
	if !ok || warden == "" {
		return Anchor{}, fmt.Errorf("%q is not an anchor, as in \"dr/10.1.2.3 42:<64 hex digits>\"", text)
	}
	head, err := parseHead(rest)
	return Anchor{Warden: warden, Head: head}, err
}

// entry is what the checks read of a line.
type entry struct {
	Message  string  `json:"msg"`
	Warden   string  `json:"warden"`
	Sequence int64   `json:"sequence"`
	Previous *string `json:"previous"`
	Anchor   string  `json:"anchor"`
}

func parseEntry(line []byte) (e entry, chained bool) {
	err := json.Unmarshal(line, &e)
	return e, err == nil && e.Sequence > 0 && e.Previous != nil
}
