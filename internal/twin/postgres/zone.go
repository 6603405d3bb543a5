package postgres

import (
	"errors"
	"fmt"

	"holdfast/internal/pgserver"
)

// errZoneLost keeps an instance's server from being started.
var errZoneLost = errors.New("the availability zone is lost")

// LoseZone is SIGKILL to every instance in an availability zone of a Region. Nothing of it starts before ReturnZone; a
// writer in it moves to an instance in another zone, if its cluster has one. It reports how many instances the zone has.
func (a *Aurora) LoseZone(region, zone string) (instances int, err error) {
	a.mu.Lock()
	var servers []*pgserver.Server
	for _, in := range a.inZone(region, zone) {
		in.lost = true
		instances++
		if in.server != nil {
			servers = append(servers, in.server)
		}
	}
	r := a.regions[region]
	a.broadcast()
	a.mu.Unlock()
	if r == nil {
		return 0, fmt.Errorf("lose zone %s: Region %s has no DB cluster", zone, region)
	}
	for _, server := range servers {
		server.Kill()
	}
	return instances, nil
}

// ReturnZone lets the instances of a zone start again.
func (a *Aurora) ReturnZone(region, zone string) {
	a.set(func() {
		for _, in := range a.inZone(region, zone) {
			in.lost = false
		}
	})
}

// inZone lists a zone's instances. The caller holds the lock.
func (a *Aurora) inZone(region, zone string) []*instance {
	var list []*instance
	for _, c := range a.clusters {
		for _, in := range c.instances {
			if c.spec.Region == region && in.spec.AvailabilityZone == zone {
				list = append(list, in)
			}
		}
	}
	return list
}

// mayHeal reports whether an instance that crashed can be brought back: not while its Region is frozen, and while its
// zone is lost only by moving the writer elsewhere. The caller holds the lock.
func (in *instance) mayHeal() bool {
	return !in.cluster.region.frozen && (!in.lost || in.successor() != nil)
}

// successor is the instance that takes over from a writer that does not run, nil if there is none or in is no writer.
// The caller holds the lock.
func (in *instance) successor() *instance {
	if !in.writes() {
		return nil
	}
	for _, other := range in.cluster.instances {
		if other != in && other.running() {
			return other
		}
	}
	return nil
}
