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
	// Gaps are starts of a process that did not know the end of the one before, and say or show why.
	Gaps []Gap `json:"gaps"`
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
	// hashes are those of the entries that the newest one stands on, by number.
	hashes map[int64]string
	gaps   []*Gap
	// unkept is the newest entry that does not say that the head's file was behind, why what the others say.
	unkept int64
	why    string
	broken bool
}

// Gap is where a warden's journal goes on without a link to its newest entries, because the head's file could not be read or
// written. Nothing that follows stands on those: only what others bear witness of shows that they are as they were written,
// and that there were no more of them.
type Gap struct {
	Warden string `json:"warden"`
	File   string `json:"file"`
	// Sequence is the entry with which the journal goes on, From and To the entries before that nothing follows.
	Sequence int64 `json:"sequence"`
	From     int64 `json:"from"`
	To       int64 `json:"to"`
	// Witnessed is the newest of them that others know of, 0 if none is.
	Witnessed int64  `json:"witnessed"`
	Reason    string `json:"reason"`
	hashes    map[int64]string
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
	r := Report{Anchors: v.compared, Broken: v.broken, Gaps: []Gap{}}
	for _, name := range slices.Sorted(maps.Keys(v.journals)) {
		r.Journals = append(r.Journals, *v.journals[name])
		for _, g := range v.journals[name].gaps {
			r.Gaps = append(r.Gaps, *g)
		}
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
	if g := j.gap(e); g != nil && !j.broken {
		g.Warden, g.File, g.Sequence = e.Warden, path, e.Sequence
		j.gaps = append(j.gaps, g)
	} else if reason := j.misfit(e); reason != "" && !j.broken {
		// Everything behind the first break is in doubt: it is not listed.
		j.broken = true
		v.broken = append(v.broken, Break{Warden: e.Warden, File: path, Sequence: e.Sequence, Reason: reason})
	}
	j.Entries++
	j.Last = Head{Sequence: e.Sequence, Hash: hash}
	j.hashes[e.Sequence] = hash
	if e.NotKept == "" {
		j.unkept = e.Sequence
	} else {
		j.why = e.NotKept
	}
	if a, err := ParseAnchor(e.Anchor); err == nil {
		v.anchors = append(v.anchors, a)
	}
}

// gap returns the gap before an entry, or nil if it has none or must not have one. The entries that nothing stands on any
// more are moved into it.
func (j *Journal) gap(e entry) *Gap {
	g := &Gap{To: j.Last.Sequence, hashes: map[int64]string{}}
	switch {
	case j.Entries == 0:
		return nil
	case e.NotRead != "" && *e.Previous == "" && e.Sequence > j.Last.Sequence:
		g.Reason = e.NotRead
	case j.goesOnBehind(e):
		g.From, g.Reason = e.Sequence, j.why
		if e.Sequence == j.Last.Sequence {
			g.Reason = "the head of the last entry was not kept"
		}
	default:
		return nil
	}
	for n, hash := range j.hashes {
		if n >= g.From {
			g.hashes[n] = hash
			delete(j.hashes, n)
		}
	}
	if g.From == 0 {
		g.From = slices.Min(slices.Collect(maps.Keys(g.hashes)))
	}
	return g
}

// goesOnBehind: the first entry of a process stands on one before the last, or on none, and all but the first of those that
// it should have stood on say that the head's file was behind.
func (j *Journal) goesOnBehind(e entry) bool {
	if e.Message != started || e.Sequence > j.Last.Sequence || e.Sequence < j.unkept {
		return false
	}
	before, there := j.hashes[e.Sequence-1]
	return there && before == *e.Previous || e.Sequence == 1 && j.First == 1 && *e.Previous == ""
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
		if reason := j.contradicts(a.Head); reason != "" && !j.broken {
			j.broken = true
			v.broken = append(v.broken, Break{Warden: a.Warden, Sequence: a.Head.Sequence, Reason: reason})
		}
	}
}

// contradicts says how the journal differs from what was witnessed, or "". No entry was ever witnessed that was not written
// first, so one that is not here was removed.
func (j *Journal) contradicts(witnessed Head) string {
	hash, there := j.hashes[witnessed.Sequence]
	if there && hash == witnessed.Hash {
		return ""
	}
	for _, g := range j.gaps {
		other, inGap := g.hashes[witnessed.Sequence]
		if inGap && other == witnessed.Hash {
			g.Witnessed = max(g.Witnessed, witnessed.Sequence)
			return ""
		}
		there = there || inGap
	}
	switch {
	case there:
		return fmt.Sprintf("entry %d is not the one that was witnessed", witnessed.Sequence)
	case witnessed.Sequence > j.Last.Sequence:
		return fmt.Sprintf("the end is missing: entry %d is witnessed, the last one here is %d", witnessed.Sequence, j.Last.Sequence)
	}
	return fmt.Sprintf("entry %d is witnessed, and missing", witnessed.Sequence)
}
