package warden

import (
	"context"
	"errors"
	"time"
)

// Why there is no outcome of what was done apart.
var (
	errNoAnswer     = errors.New("it did not come back in time and is left behind")
	errStillOutside = errors.New("an earlier one has not come back yet")
)

// slot lets one thing at a time be done apart.
type slot chan struct{}

func newSlot() slot { return make(slot, 1) }

// taken: something that was left behind may not have come back yet.
func (s slot) taken() bool { return len(s) > 0 }

// apart calls do in a goroutine of its own and returns its result, or an error once ctx has ended and grace is over. It is
// for what lies on a network file system: a mount that hangs gives no error and knows of no context, and who waits for it
// hangs with it. What does not come back is left behind, and nothing else is begun in its slot before it does.
func apart[T any](ctx context.Context, s slot, grace time.Duration, do func() T) (T, error) {
	var none T
	select {
	case s <- struct{}{}:
	default:
		return none, errStillOutside
	}
	done := make(chan T, 1)
	go func() {
		result := do()
		<-s
		done <- result
	}()
	select {
	case result := <-done:
		return result, nil
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case result := <-done:
		return result, nil
	case <-timer.C:
		return none, errNoAnswer
	}
}
