package twin

import (
	"net/netip"
	"strconv"

	"holdfast/internal/topology"
	"holdfast/internal/twin/network"
)

// startCrossings gives every region relays of its own to the other region's load balancers: what a task there sends
// across crosses the link between the regions, with its delay and its partitions.
func (t *Twin) startCrossings() error {
	for _, from := range t.topo.Sites {
		for _, lb := range t.topo.LoadBalancers {
			if lb.Region == from.Region {
				continue
			}
			for _, l := range t.listenersOf(lb) {
				port := t.fabric.Port(l.Port)
				target := network.HostPort(t.balancers.Address(lb.ARN), port)
				_, err := t.fabric.Proxy(network.ProxyConfig{
					FromRegion: from.Region, ListenAddr: network.HostPort(t.crossing(from.Region, lb), port), ToRegion: lb.Region,
					Target: func() (string, bool) { return target, true },
				})
				if err != nil {
					return err // what listens already ends with the fabric
				}
			}
		}
	}
	return nil
}

func (t *Twin) listenersOf(lb topology.LoadBalancer) []topology.Listener {
	var own []topology.Listener
	for _, l := range t.topo.Listeners {
		if l.LoadBalancerARN == lb.ARN {
			own = append(own, l)
		}
	}
	return own
}

// crossing is the address at which a region reaches a load balancer: its own in the balancer's region and outside.
func (t *Twin) crossing(region string, lb topology.LoadBalancer) netip.Addr {
	if region == lb.Region || region == network.Outside {
		return t.balancers.Address(lb.ARN)
	}
	return t.fabric.Allocate(region, "load-balancer/"+lb.Name)
}

// balancerNames maps the load balancers' names, and their names with a listener's port, to addresses as seen from a
// region: ports below 1024 are others in the twin.
func (t *Twin) balancerNames(region string) map[string]string {
	names := map[string]string{}
	for _, lb := range t.topo.LoadBalancers {
		if lb.DNSName == "" {
			continue
		}
		address := t.crossing(region, lb)
		names[lb.DNSName] = address.String()
		for _, l := range t.listenersOf(lb) {
			names[lb.DNSName+":"+strconv.Itoa(l.Port)] = network.HostPort(address, t.fabric.Port(l.Port))
		}
	}
	return names
}
