package reconcile

import (
	"slices"
	"time"
)

// Span is a stretch of time, from From until just before Until.
type Span struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

// Uncovered lists the parts of a gap that lie in none of the windows, in order.
func Uncovered(gap Span, windows []Span) []Span {
	windows = slices.Clone(windows)
	slices.SortFunc(windows, func(a, b Span) int { return a.From.Compare(b.From) })
	open := []Span{}
	at := gap.From
	for _, w := range windows {
		if !w.Until.After(at) || !w.Until.After(w.From) {
			continue
		}
		if end := earlier(w.From, gap.Until); end.After(at) {
			open = append(open, Span{at, end})
		}
		at = w.Until
	}
	if gap.Until.After(at) {
		open = append(open, Span{at, gap.Until})
	}
	return open
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
