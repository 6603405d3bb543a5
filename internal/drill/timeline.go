package drill

import (
	"slices"
	"sync"
	"time"

	"holdfast/internal/drill/verdict"
)

// maxEntries bounds the timeline; a drill writes a few hundred.
const maxEntries = 20_000

// timeline collects events from everywhere, in the order of their times.
type timeline struct {
	began time.Time

	mu      sync.Mutex
	entries []verdict.Entry
	dropped int
}

func (t *timeline) since(at time.Time) float64 { return round(at.Sub(t.began).Seconds()) }

func (t *timeline) add(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.entries) >= maxEntries {
		t.dropped++
		return
	}
	t.entries = append(t.entries, verdict.Entry{AtSeconds: t.since(e.At), Site: e.Site, Kind: e.Kind, Event: e.Text})
}

// sorted returns the entries by time, and how many did not fit.
func (t *timeline) sorted() ([]verdict.Entry, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	entries := slices.Clone(t.entries)
	slices.SortStableFunc(entries, func(a, b verdict.Entry) int {
		switch {
		case a.AtSeconds < b.AtSeconds:
			return -1
		case a.AtSeconds > b.AtSeconds:
			return 1
		}
		return 0
	})
	return entries, t.dropped
}

// round keeps milliseconds, which is what the measurement is good for.
func round(seconds float64) float64 {
	return float64(int64(seconds*1000+0.5*sign(seconds))) / 1000
}

func sign(x float64) float64 {
	if x < 0 {
		return -1
	}
	return 1
}
