package evidence_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/internal/evidence"
)

// journalOf writes entries of a warden as slog does, and returns the lines and the head after each.
func journalOf(t *testing.T, warden string, entries int, anchor func(i int) string) ([]string, []evidence.Head) {
	t.Helper()
	var out bytes.Buffer
	chain, err := evidence.NewChain(&out, "")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewJSONHandler(chain, nil)).With("warden", warden)
	var heads []evidence.Head
	for i := range entries {
		args := []any{"n", i}
		if anchor != nil {
			args = append(args, "anchor", anchor(i))
		}
		log.Info("decided", args...)
		heads = append(heads, chain.Head())
	}
	return strings.SplitAfter(strings.TrimSuffix(out.String(), "\n"), "\n"), heads
}

func write(t *testing.T, dir, name string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
}

func verify(t *testing.T, dir string, anchors ...evidence.Anchor) evidence.Report {
	t.Helper()
	r, err := evidence.Verify([]string{dir}, anchors...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestTampering: whatever is done to a journal, the first entry that does not fit is named.
func TestTampering(t *testing.T) {
	lines, heads := journalOf(t, "dr/1", 6, nil)
	last := evidence.Anchor{Warden: "dr/1", Head: heads[5]}
	forged, _ := journalOf(t, "dr/1", 6, func(int) string { return "forged" })
	for name, c := range map[string]struct {
		lines []string
		// at is the number of the first entry that does not fit; 0: the journal is whole.
		at int64
	}{
		"whole":                        {lines, 0},
		"with other output in between": {slices.Insert(slices.Clone(lines), 3, "goroutine 1 [running]:\n", "{}\n"), 0},
		"without its beginning":        {lines[2:], 0},
		"an entry changed":             {replaced(lines, 2, strings.Replace(lines[2], `"n":2`, `"n":9`, 1)), 4},
		"an entry removed":             {slices.Delete(slices.Clone(lines), 2, 3), 4},
		"an entry twice":               {slices.Insert(slices.Clone(lines), 3, lines[2]), 3},
		"two entries exchanged":        {replaced(replaced(lines, 2, lines[3]), 3, lines[2]), 4},
		"one inserted":                 {slices.Insert(slices.Clone(lines), 3, forged[3]), 4},
		"the end cut off":              {lines[:4], 6},
		"the last entry changed":       {replaced(lines, 5, strings.Replace(lines[5], `"n":5`, `"n":9`, 1)), 6},
		"rewritten from end to end":    {forged, 6},
		"a second beginning":           {append(slices.Clone(lines[:3]), lines...), 1},
		"an entry made no entry":       {replaced(lines, 2, strings.Replace(lines[2], `"sequence"`, `"sequenze"`, 1)), 4},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "warden.log", c.lines...)
			r := verify(t, dir, last)
			switch {
			case c.at == 0 && len(r.Broken) != 0:
				t.Errorf("broken: %+v", r.Broken)
			case c.at != 0 && (len(r.Broken) != 1 || r.Broken[0].Sequence != c.at || r.Broken[0].Reason == ""):
				t.Errorf("broken: %+v, want entry %d", r.Broken, c.at)
			}
		})
	}
}

func replaced(lines []string, i int, with string) []string {
	lines = slices.Clone(lines)
	lines[i] = strings.TrimSuffix(with, "\n") + "\n"
	return lines
}

// TestOthersBearWitness: one warden's journal carries the head of the other's, so that cutting that one short shows.
func TestOthersBearWitness(t *testing.T) {
	lines, heads := journalOf(t, "primary/1", 5, nil)
	witness, _ := journalOf(t, "dr/1", 3, func(i int) string { return evidence.Anchor{Warden: "primary/1", Head: heads[i+1]}.String() })
	dir := t.TempDir()
	write(t, dir, "dr.log", witness...)
	write(t, dir, "primary.log", lines...)
	if r := verify(t, dir); len(r.Broken) != 0 || r.Anchors != 3 || len(r.Journals) != 2 || r.Journals[1].Last != heads[4] {
		t.Fatalf("%+v", r)
	}
	write(t, dir, "primary.log", lines[:2]...)
	r := verify(t, dir)
	if len(r.Broken) != 1 || r.Broken[0].Warden != "primary/1" || !strings.Contains(r.Broken[0].Reason, "end is missing") {
		t.Errorf("%+v", r.Broken)
	}
}

// TestRestartContinuesTheChain: the next process goes on where the last one was; what a killed one had counted and not
// written is reported and is no break, and nothing else passes for that.
func TestRestartContinuesTheChain(t *testing.T) {
	dir := t.TempDir()
	head := filepath.Join(t.TempDir(), "export", "journal.head")
	var out bytes.Buffer
	process := func(messages ...string) {
		chain, err := evidence.NewChain(&out, head)
		if err != nil {
			t.Fatal(err)
		}
		log := slog.New(slog.NewJSONHandler(chain, nil)).With("warden", "dr/1")
		for _, m := range messages {
			log.Info(m)
		}
		if strings.Contains(out.String(), "head_not_kept") {
			t.Fatal(out.String())
		}
	}
	process("warden started", "decided", "warden stopped")
	process("warden started", "decided")
	write(t, dir, "warden.log", out.String())
	if r := verify(t, dir); len(r.Broken) != 0 || r.Journals[0].Entries != 5 || r.Journals[0].Lost != 0 {
		t.Fatalf("%+v", r)
	}
	// Killed after counting.
	whole := out.String()
	process("never written")
	out.Reset()
	out.WriteString(whole)
	process("warden started")
	write(t, dir, "warden.log", out.String())
	if r := verify(t, dir); len(r.Broken) != 0 || r.Journals[0].Lost != 1 {
		t.Errorf("%+v", r)
	}
	process("decided", "decided")
	lines := strings.SplitAfter(out.String(), "\n")
	write(t, dir, "warden.log", slices.Delete(lines, len(lines)-3, len(lines)-2)...)
	if r := verify(t, dir); len(r.Broken) != 1 {
		t.Errorf("one entry removed elsewhere: %+v", r)
	}
	if err := os.WriteFile(head, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := evidence.NewChain(&out, head); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a broken head: %v", err)
	}
}

// TestHeadThatCannotBeKept: the journal goes on, and every entry that is written meanwhile says so.
func TestHeadThatCannotBeKept(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "file", "x")
	var out bytes.Buffer
	chain, err := evidence.NewChain(&out, filepath.Join(dir, "none"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "none"), 0o700); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewJSONHandler(chain, nil)).With("warden", "dr/1")
	for range 4 {
		log.Info("decided")
	}
	if n := strings.Count(out.String(), "head_not_kept"); n != 3 {
		t.Errorf("told %d times:\n%s", n, out.String())
	}
	write(t, dir, "warden.log", out.String())
	if r := verify(t, dir); len(r.Broken) != 0 || r.Journals[0].Entries != 4 {
		t.Errorf("%+v", r)
	}
}

func TestChainTakesOneObjectPerLine(t *testing.T) {
	chain, err := evidence.NewChain(&bytes.Buffer{}, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "text\n", "{\"a\":\n1}\n"} {
		if _, err := fmt.Fprint(chain, bad); bad != "" && err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if h := chain.Head(); h.Sequence != 0 {
		t.Errorf("head %v", h)
	}
	if _, err := evidence.Verify([]string{t.TempDir()}); err == nil {
		t.Error("an empty folder passes for a journal")
	}
}

func TestAnchorText(t *testing.T) {
	_, heads := journalOf(t, "x", 1, nil)
	a := evidence.Anchor{Warden: "dr/10.0.0.1", Head: heads[0]}
	if got, err := evidence.ParseAnchor(a.String()); err != nil || got != a {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "dr/1", "dr/1 5", "dr/1 x:" + heads[0].Hash, "dr/1 5:abc"} {
		if _, err := evidence.ParseAnchor(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// TestHangingFileSystem: a head that can't be written in time, as on a network mount that hangs, costs the journal a moment
// and no entry.
func TestHangingFileSystem(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.head")
	pipe := path + ".new"
	if err := syscall.Mkfifo(pipe, 0o600); err != nil { // opening it waits for a reader
		t.Fatal(err)
	}
	var out bytes.Buffer
	chain, err := evidence.NewChain(&out, path)
	if err != nil {
		t.Fatal(err)
	}
	log, done := slog.New(slog.NewJSONHandler(chain, nil)), make(chan struct{})
	go func() {
		defer close(done)
		log.Info("one")
		log.Info("two")
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("the journal waits for its head's file")
	}
	if reader, err := os.Open(pipe); err != nil { // lets the writer go
		t.Error(err)
	} else if err := reader.Close(); err != nil {
		t.Error(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[1], `"head_not_kept":"write the journal's head`) {
		t.Errorf("the journal is %q, want two entries of which the second says that the head is not kept", lines)
	}
}

// TestHeadIsKeptAgain: once a file system that hung has come back, the file has the newest head, and the entries stop
// saying that it is behind.
func TestHeadIsKeptAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.head")
	if err := syscall.Mkfifo(path+".new", 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	chain, err := evidence.NewChain(&out, path)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewJSONHandler(chain, nil))
	log.Info("one")
	log.Info("two")
	if older, err := os.ReadFile(path + ".new"); err != nil || !strings.HasPrefix(string(older), "1:") { // lets the writer go
		t.Fatalf("%q, %v", older, err)
	}
	waitForHead(t, path, chain.Head())
	log.Info("three")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if !strings.Contains(lines[1], "head_not_kept") || strings.Contains(lines[2], "head_not_kept") {
		t.Errorf("the journal is %q", lines)
	}
	waitForHead(t, path, chain.Head())
}

func waitForHead(t *testing.T, path string, want evidence.Head) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); ; <-tick.C {
		info, err := os.Stat(path)
		var text []byte
		if err == nil && info.Mode().IsRegular() {
			text, err = os.ReadFile(path)
		}
		if err == nil && string(text) == want.String()+"\n" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the head's file: %q, %v; want %v", text, err, want)
		}
	}
}

// behind writes a journal whose head could not be kept from entry 4 to 6, and the next process's, which goes on from 3.
// With told false the file was put back instead, and nothing says that it was behind.
func behind(t *testing.T, told bool) (lines []string, heads []evidence.Head) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal.head")
	var out bytes.Buffer
	process := func(messages ...string) {
		chain, err := evidence.NewChain(&out, path)
		if err != nil {
			t.Fatal(err)
		}
		log := slog.New(slog.NewJSONHandler(chain, nil)).With("warden", "dr/1")
		for _, m := range messages {
			if m == "blocked" && told {
				if err := os.MkdirAll(path+".new", 0o700); err != nil {
					t.Fatal(err)
				}
			}
			log.Info(m)
			heads = append(heads, chain.Head())
		}
	}
	process("warden started", "decided", "decided", "blocked", "blocked", "blocked")
	var err error
	if told {
		err = os.Remove(path + ".new")
	} else {
		err = os.WriteFile(path, []byte(heads[2].String()), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	process("warden started", "decided", "decided", "decided")
	return strings.SplitAfter(strings.TrimSuffix(out.String(), "\n"), "\n"), heads
}

// TestGap: a restart behind a head that was not kept is a gap and no break, and neither serves to cut out what somebody
// knows of.
func TestGap(t *testing.T) {
	lines, heads := behind(t, true)
	unsaid, _ := behind(t, false)
	lines[len(lines)-1] += "\n"
	anchor := func(i int) evidence.Anchor { return evidence.Anchor{Warden: "dr/1", Head: heads[i]} }
	for name, c := range map[string]struct {
		lines     []string
		anchors   []evidence.Anchor
		broken    bool
		witnessed int64
	}{
		"nobody knows of it":                        {lines, nil, false, 0},
		"others know of entries on both sides":      {lines, []evidence.Anchor{anchor(2), anchor(4), anchor(8)}, false, 5},
		"its end cut off":                           {slices.Delete(slices.Clone(lines), 5, 6), []evidence.Anchor{anchor(4)}, false, 5},
		"its end cut off, which others know of":     {slices.Delete(slices.Clone(lines), 4, 6), []evidence.Anchor{anchor(5)}, true, 0},
		"all of it cut out, which others know of":   {slices.Delete(slices.Clone(lines), 3, 6), []evidence.Anchor{anchor(3)}, true, 0},
		"an entry of it removed":                    {slices.Delete(slices.Clone(lines), 4, 5), nil, true, 0},
		"an entry that both sides stand on removed": {slices.Delete(slices.Clone(lines), 2, 3), nil, true, 0},
		"the entry that goes on removed":            {slices.Delete(slices.Clone(lines), 6, 7), nil, true, 0},
		"an entry after it changed":                 {replaced(lines, 7, strings.Replace(lines[7], "decided", "deceived", 1)), nil, true, 0},
		"entries that do not say why":               {unsaid, nil, true, 0},
		"a process that did not start there":        {replaced(lines, 6, strings.Replace(lines[6], "warden started", "decided", 1)), nil, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "warden.log", c.lines...)
			r := verify(t, dir, c.anchors...)
			if (len(r.Broken) > 0) != c.broken {
				t.Fatalf("broken %+v, gaps %+v", r.Broken, r.Gaps)
			}
			if !c.broken && (len(r.Gaps) != 1 || r.Gaps[0].Sequence != 4 || r.Gaps[0].From != 4 || r.Gaps[0].Witnessed != c.witnessed || !strings.Contains(r.Gaps[0].Reason, "write the journal's head")) {
				t.Errorf("gaps %+v", r.Gaps)
			}
		})
	}
}

// TestHeadThatCannotBeRead: a file system that hangs does not keep a warden from starting. Its journal begins anew, which is
// a gap, and the entries before it still have to be those that others know of.
func TestHeadThatCannotBeRead(t *testing.T) {
	t.Parallel()
	lines, heads := journalOf(t, "dr/1", 4, nil)
	path := filepath.Join(t.TempDir(), "journal.head")
	if err := syscall.Mkfifo(path, 0o600); err != nil { // opening it waits for a writer
		t.Fatal(err)
	}
	var out bytes.Buffer
	chain, err := evidence.NewChain(&out, path)
	if err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("a head that does not answer: %v", err)
	}
	log := slog.New(slog.NewJSONHandler(chain, nil)).With("warden", "dr/1")
	log.Info("warden started")
	log.Info("decided")
	if err := os.WriteFile(path, nil, 0o600); err != nil { // lets the reader go
		t.Fatal(err)
	}
	waitForHead(t, path, chain.Head())
	dir := t.TempDir()
	for name, c := range map[string]struct {
		cut, witness int
		broken       bool
	}{
		"whole":           {4, 3, false},
		"its end cut off": {2, 3, true},
	} {
		write(t, dir, "warden.log", append(slices.Clone(lines[:c.cut]), "\n", out.String())...)
		r := verify(t, dir, evidence.Anchor{Warden: "dr/1", Head: heads[c.witness]}, evidence.Anchor{Warden: "dr/1", Head: chain.Head()})
		if (len(r.Broken) > 0) != c.broken || len(r.Gaps) != 1 || r.Gaps[0].From != 1 || r.Gaps[0].To != int64(c.cut) {
			t.Errorf("%s: broken %+v, gaps %+v", name, r.Broken, r.Gaps)
		}
	}
}

// TestLostEntryThatWasWitnessed: an entry that others know of was written, so no killed process lost it.
func TestLostEntryThatWasWitnessed(t *testing.T) {
	dir, head := t.TempDir(), filepath.Join(t.TempDir(), "journal.head")
	var out bytes.Buffer
	var cut evidence.Head
	for _, m := range []string{"decided", "decided", "warden started"} {
		chain, err := evidence.NewChain(&out, head)
		if err != nil {
			t.Fatal(err)
		}
		slog.New(slog.NewJSONHandler(chain, nil)).With("warden", "dr/1").Info(m)
		if chain.Head().Sequence == 2 {
			cut = chain.Head()
		}
	}
	write(t, dir, "warden.log", slices.Delete(strings.SplitAfter(out.String(), "\n"), 1, 2)...)
	if r := verify(t, dir); len(r.Broken) != 0 || r.Journals[0].Lost != 1 {
		t.Errorf("%+v", r)
	}
	if r := verify(t, dir, evidence.Anchor{Warden: "dr/1", Head: cut}); len(r.Broken) != 1 {
		t.Errorf("an entry that is witnessed passes for lost: %+v", r)
	}
}

// TestAJournalThatIsMissing is named, if only somebody bears witness of it.
func TestAJournalThatIsMissing(t *testing.T) {
	_, removed := journalOf(t, "primary/1", 4, nil)
	lines, _ := journalOf(t, "dr/1", 2, func(i int) string { return evidence.Anchor{Warden: "primary/1", Head: removed[i+2]}.String() })
	dir := t.TempDir()
	write(t, dir, "dr.log", lines...)
	if r := verify(t, dir); len(r.Broken) != 0 || !slices.Equal(r.Absent, []evidence.Absent{{Warden: "primary/1", Witnessed: 4}}) {
		t.Errorf("broken %v, absent %v", r.Broken, r.Absent)
	}
}
