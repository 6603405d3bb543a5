package evidence

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// lineLimit bounds one entry, in bytes.
const lineLimit = 4 << 20

// Report is the outcome of a check.
type Report struct {
	Journals []Journal `json:"journals"`
	// Anchors is how many statements about a journal's head were compared with the journal itself.
	Anchors int `json:"anchors"`
	// Broken lists what does not fit, the first entry of each journal first.
	Broken []Break `json:"broken"`
	// Absent are journals that others bear witness of and that are not here at all: of another site, or removed.
	Absent []Absent `json:"absent"`
}

// Absent is a journal that is not here.
type Absent struct {
	Warden string `json:"warden"`
	// Witnessed is the newest entry that others know of.
	Witnessed int64 `json:"witnessed"`
}

// Journal is one warden's journal.
type Journal struct {
	Warden  string   `json:"warden"`
	Files   []string `json:"files"`
	Entries int      `json:"entries"`
	// First is the number of the first entry; above 1 the beginning is not here.
	First int64 `json:"first"`
	Last  Head  `json:"last"`
	// Lost are entries that a killed process had counted and not written.
	Lost int `json:"lost"`
	// hashes are the entries' own, by number.
	hashes map[int64]string
	broken bool
}

// Break is an entry that does not fit.
type Break struct {
	Warden   string `json:"warden"`
	File     string `json:"file,omitempty"`
	Sequence int64  `json:"sequence"`
	Reason   string `json:"reason"`
}

// started is the message of a warden's first entry in a process.
const started = "warden started"

// Verify checks journals: files, and folders with everything below them. Lines that are no journal entries are passed over,
// but a path without a single entry is an error. anchors are known from elsewhere, as from the term record.
func Verify(paths []string, anchors ...Anchor) (Report, error) {
	v := verifier{journals: map[string]*Journal{}, anchors: anchors}
	for _, path := range paths {
		before := v.entries
		files, err := filesOf(path)
		if err != nil {
			return Report{}, fmt.Errorf("read the journals: %w", err)
		}
		for _, file := range files {
			if err := v.file(file); err != nil {
				return Report{}, fmt.Errorf("read the journal %s: %w", file, err)
			}
		}
		if v.entries == before {
			return Report{}, fmt.Errorf("read the journals: %s has no journal entry in it", path)
		}
	}
	v.compare()
	r := Report{Anchors: v.compared, Broken: v.broken}
	for _, name := range slices.Sorted(maps.Keys(v.journals)) {
		r.Journals = append(r.Journals, *v.journals[name])
	}
	if r.Broken == nil {
		r.Broken = []Break{}
	}
	r.Absent = v.absent()
	return r, nil
}

// absent lists the journals that are witnessed and not here, by name.
func (v *verifier) absent() []Absent {
	witnessed := map[string]int64{}
	for _, a := range v.anchors {
		if v.journals[a.Warden] == nil {
			witnessed[a.Warden] = max(witnessed[a.Warden], a.Head.Sequence)
		}
	}
	list := []Absent{}
	for _, name := range slices.Sorted(maps.Keys(witnessed)) {
		list = append(list, Absent{Warden: name, Witnessed: witnessed[name]})
	}
	return list
}

// filesOf lists a file, or all files below a folder, in order of their names.
func filesOf(path string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, name)
		}
		return err
	})
	return files, err
}

type verifier struct {
	journals map[string]*Journal
	anchors  []Anchor
	entries  int
	compared int
	broken   []Break
}

func (v *verifier) file(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return v.read(path, f)
}

func (v *verifier) read(path string, in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), lineLimit)
	for lines.Scan() {
		if e, chained := parseEntry(lines.Bytes()); chained {
			v.entry(path, e, hashOf(lines.Bytes()))
		}
	}
	err := lines.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		return nil // no journal: an entry is never that long
	}
	return err
}

func (v *verifier) entry(path string, e entry, hash string) {
	v.entries++
	j := v.journals[e.Warden]
	if j == nil {
		j = &Journal{Warden: e.Warden, First: e.Sequence, hashes: map[int64]string{}}
		v.journals[e.Warden] = j
	}
	if !slices.Contains(j.Files, path) {
		j.Files = append(j.Files, path)
	}
	if reason := j.misfit(e); reason != "" && !j.broken {
		// Everything behind the first break is in doubt: it is not listed.
		j.broken = true
		v.broken = append(v.broken, Break{Warden: e.Warden, File: path, Sequence: e.Sequence, Reason: reason})
	}
	j.Entries++
	j.Last = Head{Sequence: e.Sequence, Hash: hash}
	j.hashes[e.Sequence] = hash
	if a, err := ParseAnchor(e.Anchor); err == nil {
		v.anchors = append(v.anchors, a)
	}
}

// misfit says why an entry can't follow the last one, or "".
func (j *Journal) misfit(e entry) string {
	switch {
	case j.Entries == 0 && e.Sequence == 1 && *e.Previous != "":
		return "the first entry names one before it"
	case j.Entries == 0:
		return ""
	case e.Sequence == j.Last.Sequence+2 && e.Message == started:
		j.Lost++ // killed between counting and writing; the hash of what was lost is not known
		return ""
	case e.Sequence != j.Last.Sequence+1:
		return fmt.Sprintf("entry %d follows entry %d", e.Sequence, j.Last.Sequence)
	case *e.Previous != j.Last.Hash:
		return fmt.Sprintf("entry %d is not the one that was written: its hash is another", j.Last.Sequence)
	}
	return ""
}

// compare holds every statement about a journal against the journal.
func (v *verifier) compare() {
	for _, a := range v.anchors {
		j := v.journals[a.Warden]
		if j == nil || a.Head.Sequence < j.First {
			continue
		}
		v.compared++
		hash, there := j.hashes[a.Head.Sequence]
		reason := ""
		switch {
		case !there && a.Head.Sequence > j.Last.Sequence:
			reason = fmt.Sprintf("the end is missing: entry %d is witnessed, the last one here is %d", a.Head.Sequence, j.Last.Sequence)
		case there && hash != a.Head.Hash:
			reason = fmt.Sprintf("entry %d is not the one that was witnessed", a.Head.Sequence)
		}
		if reason != "" && !j.broken {
			j.broken = true
			v.broken = append(v.broken, Break{Warden: a.Warden, Sequence: a.Head.Sequence, Reason: reason})
		}
	}
}
