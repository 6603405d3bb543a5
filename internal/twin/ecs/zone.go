package ecs

import (
	"errors"
	"fmt"
	"sync"

	"holdfast/internal/topology"
)

// errNoZone: every availability zone that a service may use is lost.
var errNoZone = errors.New("no availability zone of the service's subnets is there")

// place chooses the subnet of a service's next task as Fargate does: in the availability zone that has the fewest of the
// service's tasks. A service without known subnets is in no zone. The caller holds the lock.
func (s *Scheduler) place(r *region, svc *service) (subnet topology.Subnet, err error) {
	tasks := map[string]int{}
	for _, t := range svc.tasks {
		if !t.stopping() {
			tasks[t.view.AvailabilityZone]++
		}
	}
	known, found := false, false
	for _, id := range svc.SubnetIDs {
		candidate, ok := s.subnet(svc.Region, id)
		if !ok {
			continue
		}
		known = true
		if r.lostZones[candidate.AvailabilityZone] {
			continue
		}
		if !found || tasks[candidate.AvailabilityZone] < tasks[subnet.AvailabilityZone] {
			subnet, found = candidate, true
		}
	}
	if known && !found {
		return subnet, errNoZone
	}
	return subnet, nil
}

func (s *Scheduler) subnet(regionName, id string) (topology.Subnet, bool) {
	for _, n := range s.opts.Topology.Networks {
		if n.Region != regionName {
			continue
		}
		for _, subnet := range n.Subnets {
			if subnet.ID == id {
				return subnet, true
			}
		}
	}
	return topology.Subnet{}, false
}

// LoseZone kills every task in an availability zone of a region at once. Their services start others in the zones that
// are left, as ECS does, until ReturnZone.
func (s *Scheduler) LoseZone(regionName, zone string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.regions[regionName]
	if r == nil || !r.up {
		return fmt.Errorf("lose zone %s: %w: %s", zone, ErrRegionDown, regionName)
	}
	if r.lostZones == nil {
		r.lostZones = map[string]bool{}
	}
	r.lostZones[zone] = true
	for _, t := range s.tasksOf(regionName) {
		if t.view.AvailabilityZone == zone {
			t.lose("The availability zone was lost.")
		}
	}
	r.poke()
	return nil
}

// ReturnZone lets tasks be placed in a zone again. Those that run stay where they are.
func (s *Scheduler) ReturnZone(regionName, zone string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.regions[regionName]; r != nil {
		delete(r.lostZones, zone)
		r.poke()
	}
}

// KillService is SIGKILL to every process of a service at once, as when the programs crash. It returns how many there
// were; the service starts others.
func (s *Scheduler) KillService(regionName, serviceName string) (int, error) {
	s.mu.Lock()
	var victims []*containerState
	found := false
	for _, svc := range s.services {
		if svc.Region != regionName || !named(serviceName, svc.Name, svc.ARN) {
			continue
		}
		found = true
		for _, t := range svc.tasks {
			for _, c := range t.containers {
				if c.process != nil {
					victims = append(victims, c)
				}
			}
		}
	}
	s.mu.Unlock()
	if !found {
		return 0, fmt.Errorf("%w: %s in %s", ErrServiceNotFound, serviceName, regionName)
	}
	var dying sync.WaitGroup
	for _, c := range victims {
		dying.Go(c.process.Kill)
	}
	dying.Wait()
	return len(victims), nil
}
