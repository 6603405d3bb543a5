package network

// cutClients notes whether some region is cut off from the outside, which spares connections the lock while none is.
// The caller holds the lock.
func (f *Fabric) cutClients() {
	cut := false
	for p, state := range f.links {
		cut = cut || p.a == Outside && state.Partitioned // Outside is the empty name and comes first
	}
	f.anyCut.Store(cut)
}

// awaitClients returns when a region's link to the outside is not partitioned, or over is closed.
func (f *Fabric) awaitClients(over <-chan struct{}, region string) {
	for f.anyCut.Load() {
		f.mu.Lock()
		cut, changed := f.links[pairOf(Outside, region)].Partitioned, f.changed
		f.mu.Unlock()
		if !cut {
			return
		}
		select {
		case <-changed:
		case <-over:
			return
		}
	}
}

// await waits while the region is frozen, or cut off from this client.
func (c *regionConn) await() {
	c.fabric.awaitThaw(c.open.Done(), c.region)
	if c.admitted == nil {
		return // a server of the region itself, not one for clients
	}
	if from, ok := c.fabric.RegionOf(hostOf(c.RemoteAddr().String())); !ok || from == Outside {
		c.fabric.awaitClients(c.open.Done(), c.region)
	}
}
