package network

import (
	"context"
	"fmt"
	"time"
)

// minimumRetransmission is the shortest time after which TCP sends a lost segment again (Linux's TCP_RTO_MIN).
const minimumRetransmission = 200 * time.Millisecond

// maxRetransmissions bounds the extra delay of one unlucky segment.
const maxRetransmissions = 8

// SetRegion says that a region is up or lost. Losing it breaks every proxied connection from or to it at once.
func (f *Fabric) SetRegion(region string, up bool) {
	f.mu.Lock()
	if f.down[region] != up { // already so
		f.mu.Unlock()
		return
	}
	f.down[region] = !up
	f.setFrozen(region, false)
	f.broadcast()
	var affected []*Proxy
	for p := range f.proxies {
		if !up && (p.config.FromRegion == region || p.config.ToRegion == region) {
			affected = append(affected, p)
		}
	}
	f.mu.Unlock()
	for _, p := range affected {
		p.breakConnections()
	}
}

// Up reports whether a region is up. Outside is up as long as nobody takes it down.
func (f *Fabric) Up(region string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.down[region]
}

// SetLink replaces the state of the link between two regions, in both directions. Links inside a region and links
// from outside have no delay until they get one.
func (f *Fabric) SetLink(a, b string, state LinkState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.links[pairOf(a, b)] = state
	f.cutClients()
	f.broadcast()
}

// Link is the state of the link between two regions.
func (f *Fabric) Link(a, b string) LinkState {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.links[pairOf(a, b)]
}

// Traffic is what was sent over the link between two regions, in both directions.
func (f *Fabric) Traffic(a, b string) Traffic {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.traffic[pairOf(a, b)]
}

// sent counts what was sent over a link: it goes and travels for delay, or waits.
func (f *Fabric) sent(from, to string, goes bool, delay time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pair := pairOf(from, to)
	link, traffic := f.links[pair], f.traffic[pair]
	switch {
	case goes && delay > link.OneWayDelay:
		traffic.Delayed++
		fallthrough
	case goes:
		traffic.Carried++
	case link.Partitioned || link.Loss >= 1:
		traffic.Held++
	}
	f.traffic[pair] = traffic
}

// Reachable reports whether something sent from one region arrives in the other right now: both are up and not frozen,
// and the link between them is not partitioned.
func (f *Fabric) Reachable(from, to string) bool {
	ok, _, _, _ := f.path(from, to)
	return ok
}

// Changed returns a channel that is closed at the next change of a region or a link.
func (f *Fabric) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// broadcast tells every waiter that something changed. The caller holds the lock.
func (f *Fabric) broadcast() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// path says whether from reaches to, why not, how long one segment sent now travels, and when to ask again.
func (f *Fabric) path(from, to string) (ok bool, why string, delay time.Duration, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	link := f.links[pairOf(from, to)]
	switch {
	case f.down[to]:
		return false, describe(to) + " is lost", 0, f.changed
	case f.down[from]:
		return false, describe(from) + " is lost", 0, f.changed
	case f.frozen[to]:
		return false, describe(to) + " is frozen", 0, f.changed
	case f.frozen[from]:
		return false, describe(from) + " is frozen", 0, f.changed
	case link.Partitioned || link.Loss >= 1:
		return false, "the link is partitioned", 0, f.changed
	}
	return true, "", link.OneWayDelay + f.lost(link), f.changed
}

// lost is the extra delay of one segment by retransmissions. The caller holds the lock.
func (f *Fabric) lost(link LinkState) time.Duration {
	if link.Loss <= 0 {
		return 0
	}
	timeout := max(minimumRetransmission, 4*link.OneWayDelay)
	var extra time.Duration
	for range maxRetransmissions {
		if f.random.Float64() >= link.Loss {
			break
		}
		extra += timeout
	}
	return extra
}

func describe(region string) string {
	if region == Outside {
		return "the outside"
	}
	return region
}

// Traverse takes the time of one round trip from one region to another. While the link is partitioned or one of the
// two is lost it waits, because a lost host answers nothing; it goes on when the way is free again, and when ctx ends
// first the error wraps ctx's error.
func (f *Fabric) Traverse(ctx context.Context, from, to string) error {
	for first := true; ; first = false {
		there, why, forth, changed := f.path(from, to)
		if first {
			f.sent(from, to, there, forth)
		}
		if !there {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return fmt.Errorf("no answer from %s to %s, %s: %w", describe(to), describe(from), why, ctx.Err())
			}
		}
		_, _, back, _ := f.path(to, from)
		if err := wait(ctx, forth+back); err != nil {
			return fmt.Errorf("no answer from %s to %s yet: %w", describe(to), describe(from), err)
		}
		// What was under way when the link broke is lost and sent again.
		if f.Reachable(from, to) {
			return nil
		}
	}
}

// wait waits for a duration, or for ctx to end, whose error it then returns.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
