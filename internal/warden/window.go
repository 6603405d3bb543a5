package warden

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"holdfast/internal/term"
)

// slowAnswer is how long a place is kept to one request before another one is let in beside it: what the other site takes
// long to answer says nothing about whether it could answer others.
const slowAnswer = time.Second

// window admits the requests that have waited for the other site, in the order in which they came: a few at first, and for
// each that is answered one more, so that their number doubles with every round trip. That is TCP's slow start (RFC 5681,
// section 3.1). A site that begins to serve has few connections to its database, and none from here; a whole hand-over's
// requests at once would make each of them as late as the last.
type window struct {
	places *semaphore.Weighted
	// shut is how many places are not given out yet.
	shut atomic.Int64
	// slow is slowAnswer unless a test says otherwise.
	slow time.Duration
}

func newWindow(slow time.Duration) *window {
	w := &window{places: semaphore.NewWeighted(forwardSlots), slow: slow}
	w.shut.Store(forwardSlots - forwardFirst)
	w.places.TryAcquire(forwardSlots - forwardFirst)
	return w
}

// enter waits for a place; leave gives it back.
func (w *window) enter(ctx context.Context) (*place, error) {
	if err := w.places.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	p := &place{window: w}
	p.slow = time.AfterFunc(w.slow, p.answered)
	return p, nil
}

// place is one request's in a window.
type place struct {
	window *window
	slow   *time.Timer
	once   sync.Once
}

// answered lets one more in, once, up to forwardSlots.
func (p *place) answered() {
	p.once.Do(func() {
		if p.window.shut.Add(-1) >= 0 {
			p.window.places.Release(1)
		}
	})
}

func (p *place) leave() {
	p.slow.Stop()
	p.window.places.Release(1)
}

// windows holds the window of the newest term: with each hand-over it starts anew.
type windows struct {
	slow   time.Duration
	mu     sync.Mutex
	term   term.Number
	window *window
}

func (w *windows) of(n term.Number) *window {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.window == nil || n > w.term {
		w.term, w.window = n, newWindow(w.slow)
	}
	return w.window
}

type placeKey struct{}

func withPlace(ctx context.Context, p *place) context.Context {
	return context.WithValue(ctx, placeKey{}, p)
}

// placeOf returns the place that a request has.
func placeOf(ctx context.Context) *place { return ctx.Value(placeKey{}).(*place) }
