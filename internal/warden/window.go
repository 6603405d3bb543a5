package warden

import (
	"context"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"holdfast/internal/term"
)

// window admits the requests that have waited for the other site, in the order in which they came: a few at first, and for
// each that is answered one more, so that their number doubles with every round trip. That is TCP's slow start (RFC 5681,
// section 3.1). A site that begins to serve has few connections to its database, and none from here; a whole hand-over's
// requests at once would make each of them as late as the last.
type window struct {
	places *semaphore.Weighted
	// shut is how many places are not given out yet.
	shut atomic.Int64
}

func newWindow() *window {
	w := &window{places: semaphore.NewWeighted(forwardSlots)}
	w.shut.Store(forwardSlots - forwardFirst)
	w.places.TryAcquire(forwardSlots - forwardFirst)
	return w
}

// enter waits for a place; leave gives it back.
func (w *window) enter(ctx context.Context) error { return w.places.Acquire(ctx, 1) }

func (w *window) leave() { w.places.Release(1) }

// widen gives out one more place, up to forwardSlots.
func (w *window) widen() {
	if w.shut.Add(-1) >= 0 {
		w.places.Release(1)
	}
}

// windows holds the window of the newest term: with each hand-over it starts anew.
type windows struct {
	mu     sync.Mutex
	term   term.Number
	window *window
}

func (w *windows) of(n term.Number) *window {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.window == nil || n > w.term {
		w.term, w.window = n, newWindow()
	}
	return w.window
}

type windowKey struct{}

func withWindow(ctx context.Context, w *window) context.Context {
	return context.WithValue(ctx, windowKey{}, w)
}

// windowOf returns the window through which a request came.
func windowOf(ctx context.Context) *window { return ctx.Value(windowKey{}).(*window) }
