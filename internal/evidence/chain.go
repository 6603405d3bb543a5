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
	"strconv"
	"strings"
	"sync"
	"time"
)

// Head is the newest entry of a journal. The zero value is an empty journal.
type Head struct {
	Sequence int64  `json:"sequence"`
	Hash     string `json:"hash"`
}

// Chain is a writer of journal entries. It expects one JSON object and a newline per Write, as slog.JSONHandler writes
// them, and is safe for concurrent use.
type Chain struct {
	out io.Writer
	// keeper is nil if the head is not kept.
	keeper *keeper

	mu   sync.Mutex
	head Head
	// notRead is why the chain begins anew; the first entry says so.
	notRead error
	// notKept is why the head's file is behind; every entry that is written meanwhile says so.
	notKept error
}

// NewChain makes a chain that writes to out and keeps its head in a file, from which the next process of the same name
// goes on; an empty path keeps nothing. A file that can't be read, or not in time, starts a new chain, and the error and the
// first entry say so: the chain works all the same.
func NewChain(out io.Writer, path string) (*Chain, error) {
	c := &Chain{out: out}
	if path == "" {
		return c, nil
	}
	c.keeper = &keeper{path: path, ended: make(chan struct{})}
	text, err := c.keeper.read()
	if err == nil {
		if c.head, err = parseHead(strings.TrimSpace(string(text))); err == nil {
			return c, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	c.notRead = fmt.Errorf("read the journal's head from %s: %w", path, err)
	// No entry of an earlier chain has such a number, so what others say of that one is not taken for this one's.
	c.head = Head{Sequence: time.Now().UnixMicro()}
	return c, c.notRead
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
	if c.notKept != nil && c.keeper.has(c.head) {
		c.notKept = nil // late, but it is there
	}
	line = appendReason(line, "head_not_read", c.notRead)
	line = appendReason(line, "head_not_kept", c.notKept)
	next := c.head.Sequence + 1
	line = append(line, `"sequence":`+strconv.FormatInt(next, 10)+`,"previous":"`+c.head.Hash+`"}`...)
	c.head = Head{Sequence: next, Hash: hashOf(line)}
	c.notRead = nil
	c.keep()
	if _, err := c.out.Write(append(line, '\n')); err != nil {
		return 0, err
	}
	return len(entry), nil
}

// appendReason adds a field to a line that ends with a comma, unless there is no reason.
func appendReason(line []byte, field string, reason error) []byte {
	if reason == nil {
		return line
	}
	quoted, err := json.Marshal(reason.Error())
	if err != nil {
		quoted = []byte(`"unknown"`)
	}
	return append(append(append(line, `"`+field+`":`...), quoted...), ',')
}

// keep has the head written to its file. One that can't be written, or not in time, must not keep the warden from its work:
// who knows that the file is behind hardly waits for it.
func (c *Chain) keep() {
	if c.keeper == nil {
		return
	}
	limit := keepLimit
	if c.notKept != nil {
		limit = behindLimit
	}
	c.notKept = nil
	if err := c.keeper.keep(c.head, limit); err != nil {
		c.notKept = fmt.Errorf("write the journal's head to %s: %w", c.keeper.path, err)
	}
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
	// NotRead and NotKept say why the head's file could not be read at the start, or was behind.
	NotRead string `json:"head_not_read"`
	NotKept string `json:"head_not_kept"`
}

func parseEntry(line []byte) (e entry, chained bool) {
	err := json.Unmarshal(line, &e)
	return e, err == nil && e.Sequence > 0 && e.Previous != nil
}
