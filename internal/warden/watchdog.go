package warden

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrStuck ends a warden whose loop does not come round any more. Nothing of the process is to be waited for then: the
// orchestrator starts another.
var ErrStuck = errors.New("the loop of the warden is stuck")

// How long the loop may take. An observation takes no more than a few calls with limits of their own; what is above this is
// something that no limit binds.
const (
	stuckLeases = 3
	stuckFloor  = time.Minute
	// stuckLooks is how often the watchdog must have found the loop where it was. A process that was frozen wakes up past
	// every deadline, and has done nothing wrong.
	stuckLooks = 10
	// stuckGrace is what the other activities get to end.
	stuckGrace = 2 * time.Second
)

// watch returns an error that says so once the loop has not come round for too long, and nil when ctx ends.
func (w *Warden) watch(ctx context.Context) error {
	seen, looks := w.observed(), 0
	for looks < stuckLooks {
		r, _ := w.timing()
		if !sleep(ctx, max(stuckLeases*r.Lease(), stuckFloor)/stuckLooks) {
			return nil
		}
		if now := w.observed(); now != seen {
			seen, looks = now, 0
			continue
		}
		looks++
	}
	return fmt.Errorf("%w: no observation for %d looks of the watchdog", ErrStuck, looks)
}
