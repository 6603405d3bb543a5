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

// openEndpoints starts the relays: every cluster's two endpoints, as callers in its own Region and in the others reach
// them, and the links that replication runs over.
func (a *Aurora) openEndpoints() error {
	for _, c := range a.clusters {
		id := c.spec.Identifier
		for region := range a.regions {
			writer, err := a.relay(region, "endpoint:"+id, c, a.writerTarget)
			if err != nil {
				return err
			}
			reader, err := a.relay(region, "reader-endpoint:"+id, c, a.readerTarget)
			if err != nil {
				return err
			}
			if region == c.spec.Region {
				c.writerEndpoint, c.readerEndpoint = writer, reader
			}
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

// EndpointAddress resolves a cluster's endpoint or reader endpoint to where the relay in its own Region listens.
func (a *Aurora) EndpointAddress(dnsName string) (host string, port int, ok bool) {
	for _, c := range a.clusters {
		if region := c.spec.Region; dnsName == c.spec.Endpoint || dnsName == c.spec.ReaderEndpoint {
			return a.EndpointAddressFrom(region, dnsName)
		}
	}
	return "", 0, false
}

// EndpointAddressFrom resolves an endpoint for a caller in a Region: in another Region than the cluster's it is an
// address of the caller's own Region whose relay has the link's delay and partitions. From outside the Regions it is
// the address in the cluster's own Region.
func (a *Aurora) EndpointAddressFrom(callerRegion, dnsName string) (host string, port int, ok bool) {
	for _, c := range a.clusters {
		name := ""
		switch dnsName {
		case "":
			return "", 0, false
		case c.spec.Endpoint:
			name = "endpoint:"
		case c.spec.ReaderEndpoint:
			name = "reader-endpoint:"
		default:
			continue
		}
		if _, known := a.regions[callerRegion]; !known {
			callerRegion = c.spec.Region
		}
		return a.opt.Fabric.Allocate(callerRegion, name+c.spec.Identifier).String(), a.opt.Fabric.Port(c.spec.Port), true
	}
	return "", 0, false
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
