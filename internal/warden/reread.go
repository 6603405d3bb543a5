package warden

import (
	"context"
	"sync"
)

// reread reads the record for requests that came unexpectedly: once for all that came before it began, so that however many
// come, one read is under way at a time. It has a context of its own, because what a read finds is everybody's: a client that
// hangs up must not make the store look unreadable.
type reread struct {
	wanted chan struct{}

	mu   sync.Mutex
	next chan struct{}
}

func newReread() *reread { return &reread{wanted: make(chan struct{}, 1)} }

// after is closed after a read that begins from now on.
func (r *reread) after() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = make(chan struct{})
	}
	signal(r.wanted)
	return r.next
}

// run reads whenever it is wanted, until ctx ends.
func (r *reread) run(ctx context.Context, read func(context.Context)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wanted:
		}
		r.mu.Lock()
		waiting := r.next
		r.next = nil
		r.mu.Unlock()
		read(ctx)
		if waiting != nil {
			close(waiting)
		}
	}
}
