package twin

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"holdfast/internal/twin/network"
)

// regionPair is a link between two regions.
type regionPair [2]string

// linkChange is what one fault does to some links.
type linkChange struct {
	pairs  []regionPair
	change func(*network.LinkState)
}

// linkFaults puts several faults onto the same links, and takes them off again in any order.
type linkFaults struct {
	mu sync.Mutex
	// base is what a link was like before the first fault.
	base    map[regionPair]network.LinkState
	changes []*linkChange
}

// changeLinks applies a change until the returned function is called.
func (t *Twin) changeLinks(pairs []regionPair, change func(*network.LinkState)) (undo func(context.Context) error) {
	l := &t.links
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &linkChange{pairs: pairs, change: change}
	if l.base == nil {
		l.base = map[regionPair]network.LinkState{}
	}
	for _, p := range pairs {
		if _, known := l.base[p]; !known {
			l.base[p] = t.fabric.Link(p[0], p[1])
		}
	}
	l.changes = append(l.changes, c)
	l.apply(t.fabric, pairs)
	return func(context.Context) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.changes = slices.DeleteFunc(l.changes, func(other *linkChange) bool { return other == c })
		l.apply(t.fabric, pairs)
		return nil
	}
}

// apply sets links to what they are with every change. The caller holds the lock.
func (l *linkFaults) apply(fabric *network.Fabric, pairs []regionPair) {
	for _, p := range pairs {
		state, changed := l.base[p], false
		for _, c := range l.changes {
			if slices.Contains(c.pairs, p) {
				c.change(&state)
				changed = true
			}
		}
		fabric.SetLink(p[0], p[1], state)
		if !changed {
			delete(l.base, p)
		}
	}
}

// between is the link between the two sites.
func (t *Twin) between() regionPair { return canonical(t.topo.Sites[0].Region, t.topo.Sites[1].Region) }

func injectLink(change func(Fault, *network.LinkState), partition bool) func(context.Context, *Twin, Fault) (func(context.Context) error, error) {
	return func(_ context.Context, t *Twin, f Fault) (func(context.Context) error, error) {
		return t.changeLinks([]regionPair{t.between()}, func(s *network.LinkState) {
			change(f, s)
			s.Partitioned = s.Partitioned || partition
		}), nil
	}
}

func addDelay(f Fault, s *network.LinkState) { s.OneWayDelay += f.Delay }

func defaultLoss(_ context.Context, _ *Twin, f *Fault) error {
	if f.Loss == 0 {
		f.Loss = defaultLinkLoss
	}
	return nil
}

func standby(ctx context.Context, t *Twin, f *Fault) error {
	if f.Site == t.activeSite(ctx) {
		return fmt.Errorf("%s is the active site; want the other one, or the fault %s", f.Site, IsolatedActive)
	}
	return nil
}

// injectIsolation cuts a site off from every other region, and from the outside if that is wanted.
func injectIsolation(_ context.Context, t *Twin, f Fault) (func(context.Context) error, error) {
	return t.changeLinks(t.isolatedFrom(f), func(s *network.LinkState) { s.Partitioned = true }), nil
}

// isolatedFrom are the links that an isolation cuts.
func (t *Twin) isolatedFrom(f Fault) []regionPair {
	own := t.mustSite(f.Site).Region
	var pairs []regionPair
	for _, other := range t.fabric.Regions() {
		if other != own {
			pairs = append(pairs, canonical(own, other))
		}
	}
	if f.Clients {
		pairs = append(pairs, canonical(own, network.Outside))
	}
	return pairs
}

// sent adds up, over some links, one count of what was sent.
func sent(pairs func(*Twin, Fault) []regionPair, count func(network.Traffic) uint64) func(*Twin, Fault) uint64 {
	return func(t *Twin, f Fault) (n uint64) {
		for _, p := range pairs(t, f) {
			n += count(t.fabric.Traffic(p[0], p[1]))
		}
		return n
	}
}

func betweenSites(t *Twin, _ Fault) []regionPair { return []regionPair{t.between()} }

func carried(n network.Traffic) uint64 { return n.Carried }

func delayed(n network.Traffic) uint64 { return n.Delayed }

func held(n network.Traffic) uint64 { return n.Held }

// canonical orders a pair, so that a link has one name.
func canonical(a, b string) regionPair {
	if a > b {
		a, b = b, a
	}
	return regionPair{a, b}
}

func witness(_ context.Context, t *Twin, f *Fault) error {
	if f.Region == "" {
		f.Region = t.topo.TermTable.WitnessRegion
	}
	if !slices.Contains(t.storeRegions(), f.Region) {
		return fmt.Errorf("the store has no region %q: its regions are %v", f.Region, t.storeRegions())
	}
	return nil
}

func (t *Twin) storeRegions() []string {
	return append(slices.Clone(t.topo.TermTable.ReplicaRegions), t.topo.TermTable.WitnessRegion)
}

func injectStoreRegionLoss(_ context.Context, t *Twin, f Fault) (func(context.Context) error, error) {
	return t.store.lose(f.Region), nil
}

func injectStoreLoss(_ context.Context, t *Twin, _ Fault) (func(context.Context) error, error) {
	return t.store.lose(t.storeRegions()...), nil
}

// storeNetwork is the fabric as the term table's replicas have it: a replica can be lost while its region is there.
type storeNetwork struct {
	fabric *network.Fabric

	mu sync.Mutex
	// lost counts the faults that have taken a region's replica.
	lost    map[string]int
	changed chan struct{}
	// missed counts what found a replica lost.
	missed map[string]uint64
}

func newStoreNetwork(fabric *network.Fabric) *storeNetwork {
	return &storeNetwork{fabric: fabric, lost: map[string]int{}, changed: make(chan struct{}), missed: map[string]uint64{}}
}

// lose takes replicas away until the returned function is called.
func (n *storeNetwork) lose(regions ...string) (undo func(context.Context) error) {
	n.count(regions, 1)
	return func(context.Context) error { n.count(regions, -1); return nil }
}

func (n *storeNetwork) count(regions []string, by int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range regions {
		n.lost[r] += by
	}
	close(n.changed)
	n.changed = make(chan struct{})
}

// isLost reports whether one of the regions has lost its replica, and counts that somebody has met with it.
func (n *storeNetwork) isLost(regions ...string) (bool, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	found := false
	for _, r := range regions {
		if n.lost[r] > 0 {
			n.missed[r]++
			found = true
		}
	}
	return found, n.changed
}

func missedReplica(t *Twin, f Fault) uint64 { return t.store.misses(f.Region) }

func missedReplicas(t *Twin, _ Fault) uint64 { return t.store.misses(t.storeRegions()...) }

// misses is how often a request was for a replica that is lost.
func (n *storeNetwork) misses(regions ...string) (sum uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range regions {
		sum += n.missed[r]
	}
	return sum
}

// Up reports whether a region's replica is there.
func (n *storeNetwork) Up(region string) bool {
	lost, _ := n.isLost(region)
	return !lost && n.fabric.Up(region)
}

// OneWay is the fabric's, but nothing gets to or from a replica that is lost.
func (n *storeNetwork) OneWay(ctx context.Context, from, to string) error {
	for {
		lost, changed := n.isLost(from, to)
		if lost {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return fmt.Errorf("the store's replica in %s or %s does not answer: %w", from, to, ctx.Err())
			}
		}
		if err := n.fabric.OneWay(ctx, from, to); err != nil {
			return err
		}
		if lost, _ := n.isLost(from, to); !lost {
			return nil
		}
	}
}
