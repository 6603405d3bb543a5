package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"holdfast/internal/twin/network"
)

// openEndpoints starts the relays: every cluster's two endpoints, and the links that replication runs over.
func (a *Aurora) openEndpoints() error {
	for _, c := range a.clusters {
		id := c.spec.Identifier
		var err error
		if c.writerEndpoint, err = a.relay(c.spec.Region, "endpoint:"+id, c, a.writerTarget); err != nil {
			return err
		}
		if c.readerEndpoint, err = a.relay(c.spec.Region, "reader-endpoint:"+id, c, a.readerTarget); err != nil {
			return err
		}
		for _, other := range a.clusters {
			if other == c || c.global == nil || other.global != c.global {
				continue
			}
			link, err := a.relay(other.spec.Region, "replication:"+other.spec.Identifier+":"+id, c, a.replicationTarget)
			if err != nil {
				return err
			}
			other.links[id] = link
		}
	}
	return nil
}

// inUse is what an operator can do about a port that somebody else has.
const inUse = "stop the program that uses the port; a PostgreSQL or a container that listens on 0.0.0.0 takes it on every address"

// relay listens on a name's address in a Region and leads to a target in a cluster's.
func (a *Aurora) relay(from, name string, to *cluster, target func(*cluster) (string, bool)) (netip.AddrPort, error) {
	listen := netip.AddrPortFrom(a.opt.Fabric.Allocate(from, name), uint16(a.opt.Fabric.Port(to.spec.Port)))
	proxy, err := a.opt.Fabric.Proxy(network.ProxyConfig{
		FromRegion: from, ListenAddr: listen.String(), ToRegion: to.spec.Region, Target: func() (string, bool) { return target(to) },
	})
	if err != nil {
		return listen, fmt.Errorf("open %s: %w (%s)", name, err, inUse)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.relays = append(a.relays, proxy)
	return listen, nil
}

// writerTarget is where the cluster endpoint leads: nowhere in a secondary cluster, as on AWS.
func (a *Aurora) writerTarget(c *cluster) (string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.role == RoleSecondary || !c.region.up || !c.head.running() {
		return "", false
	}
	return c.head.address(), true
}

// readerTarget deals connections over the readers in turn; a writer without readers serves them itself. In a secondary
// cluster every instance is a reader.
func (a *Aurora) readerTarget(c *cluster) (string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !c.region.up {
		return "", false
	}
	var readers []*instance
	for _, in := range c.instances {
		if in.running() && !in.writes() {
			readers = append(readers, in)
		}
	}
	if len(readers) == 0 && c.head.running() {
		readers = append(readers, c.head)
	}
	if len(readers) == 0 {
		return "", false
	}
	c.nextReader++
	return readers[c.nextReader%len(readers)].address(), true
}

// replicationTarget is where a link to a cluster leads: to its head, if the cluster is its global cluster's writer.
func (a *Aurora) replicationTarget(c *cluster) (string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.role != RoleWriter || !c.region.up || c.head.server == nil {
		return "", false
	}
	return c.head.address(), true
}

func (in *instance) address() string { return net.JoinHostPort(in.host, strconv.Itoa(in.port)) }

// EndpointAddress resolves a cluster's endpoint or reader endpoint to where its relay listens. It is the way in for
// people and drills, who on AWS come through a tunnel into the VPC: no security group is asked.
func (a *Aurora) EndpointAddress(dnsName string) (host string, port int, ok bool) {
	c, reader, ok := a.named(dnsName)
	if !ok {
		return "", 0, false
	}
	name := "endpoint:"
	if reader {
		name = "reader-endpoint:"
	}
	return a.opt.Fabric.Allocate(c.spec.Region, name+c.spec.Identifier).String(), a.opt.Fabric.Port(c.spec.Port), true
}

// named finds the cluster that has an endpoint of a DNS name.
func (a *Aurora) named(dnsName string) (c *cluster, reader, ok bool) {
	for _, c := range a.clusters {
		if dnsName != "" && (dnsName == c.spec.Endpoint || dnsName == c.spec.ReaderEndpoint) {
			return c, dnsName != c.spec.Endpoint, true
		}
	}
	return nil, false, false
}

// Relay opens one caller's own way to an endpoint: the relay listens on an address in the caller's Region, at the
// endpoint's port, has the link's delay and partitions, and carries what the filter lets through. The caller closes it.
func (a *Aurora) Relay(dnsName, callerRegion string, listen netip.Addr, filter network.Filter) (*network.Proxy, error) {
	c, reader, ok := a.named(dnsName)
	if !ok {
		return nil, fmt.Errorf("no DB cluster has the endpoint %q", dnsName)
	}
	target := a.writerTarget
	if reader {
		target = a.readerTarget
	}
	return a.opt.Fabric.Proxy(network.ProxyConfig{
		FromRegion: callerRegion, ListenAddr: network.HostPort(listen, a.opt.Fabric.Port(c.spec.Port)), ToRegion: c.spec.Region,
		Target: func() (string, bool) { return target(c) }, Filter: filter,
	})
}

// InstanceAddress is the address of an instance's server on this machine.
func (a *Aurora) InstanceAddress(region, identifier string) netip.Addr {
	return a.opt.Fabric.Allocate(region, "db:"+identifier)
}

// InstanceDSN connects as the master user to the first instance in line of a cluster (the writer, in the cluster that
// is one), without the endpoint's relay: what a test or a drill uses to look behind the endpoints.
func (a *Aurora) InstanceDSN(clusterIdentifier string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.clusters {
		if clusterIdentifier == c.spec.Identifier || clusterIdentifier == c.spec.ARN {
			return dsn(c.spec.MasterUsername, a.opt.Password, c.head.host, c.head.port, databaseName(c.spec)), nil
		}
	}
	return "", refuse(CodeDBClusterNotFound, "DBCluster %s not found", clusterIdentifier)
}

// closeEndpoints closes every relay.
func (a *Aurora) closeEndpoints(ctx context.Context) error {
	a.mu.Lock()
	relays := a.relays
	a.relays = nil
	a.mu.Unlock()
	done := make(chan struct{})
	go func() {
		for _, p := range relays {
			p.Close()
		}
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.Join(errors.New("close the databases' relays"), ctx.Err())
	}
}
