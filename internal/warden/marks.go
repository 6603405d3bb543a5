package warden

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// markLimit is how long an observation waits for the export folder.
const markLimit = time.Second

// marks are the marker files in the export folder. What is known belongs to the loop alone.
type marks struct {
	// exists is [exists] unless a test says otherwise.
	exists func(path string) bool
	slot   slot
	// there is what the folder answered last about each marker, by its path.
	there map[string]bool
}

func newMarks() marks { return marks{exists: exists, slot: newSlot(), there: map[string]bool{}} }

// look asks for the markers with these paths, none of them empty. A folder that does not answer in time leaves what was
// known; it is asked again when it has come back.
func (m *marks) look(ctx context.Context, paths []string) map[string]bool {
	if len(paths) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, markLimit)
	defer cancel()
	ask := m.exists
	there, err := apart(ctx, m.slot, 0, func() map[string]bool {
		there := make(map[string]bool, len(paths))
		for _, path := range paths {
			there[path] = ask(path)
		}
		return there
	})
	if err == nil {
		maps.Copy(m.there, there)
	}
	return m.there
}

// tailMarks says whether the tail of the database's volume is exported, and of which of the terms that the record misses
// the end of this site has the export (P20). Only a site without the term looks, and only for what matters there.
func (w *Warden) tailMarks(ctx context.Context, d failover.DatabaseView) (exported bool, saved term.Number) {
	r, _ := w.record()
	if r.Holder == w.cfg.Site || w.cfg.ExportDir == "" {
		return false, 0
	}
	var paths []string
	volume := ""
	if d.Reachable && d.Writer && d.HighestTerm() > 0 {
		volume = w.tailMarker(d.HighestTerm())
		paths = append(paths, volume)
	}
	for _, n := range r.TailOf {
		paths = append(paths, w.savedMarker(n))
	}
	there := w.marks.look(ctx, paths)
	for _, n := range r.TailOf {
		if there[w.savedMarker(n)] {
			saved = n
			break
		}
	}
	return volume != "" && there[volume], saved
}

// tailMarker is the file that says that the tail of the volume whose newest term is n has been exported. A term is served
// by one site only and its volume is left behind once at most, so the name never comes twice.
func (w *Warden) tailMarker(n term.Number) string { return w.marker("tail-exported", n) }

// savedMarker is the file that says that the end of term n is in an export. A volume whose newest term is n may also be a
// copy that was promoted and lost again before it recorded a term of its own: the end of n is not on that.
func (w *Warden) savedMarker(n term.Number) string { return w.marker("tail-saved", n) }

func (w *Warden) marker(name string, n term.Number) string {
	return filepath.Join(w.cfg.ExportDir, fmt.Sprintf("%s-%s-%s-term-%d", name, w.cfg.Deployment, w.cfg.Site, n))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
