package network

import (
	"context"
	"fmt"
)

// OneWay takes the time of one message from one region to another. While the link is partitioned or one of the two is
// lost it waits, and a message that was under way then is sent again; when ctx ends first the error wraps ctx's error.
// It lets a caller act in the middle of a round trip, where an answer can get lost after the request took effect.
func (f *Fabric) OneWay(ctx context.Context, from, to string) error {
	for first := true; ; first = false {
		there, why, delay, changed := f.path(from, to)
		if first {
			f.sent(from, to, there, delay)
		}
		if !there {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return fmt.Errorf("nothing gets from %s to %s, %s: %w", describe(from), describe(to), why, ctx.Err())
			}
		}
		if err := wait(ctx, delay); err != nil {
			return fmt.Errorf("the message from %s to %s is still under way: %w", describe(from), describe(to), err)
		}
		if f.Reachable(from, to) {
			return nil
		}
	}
}
