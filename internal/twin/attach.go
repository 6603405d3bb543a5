package twin

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"holdfast/internal/reach"
	"holdfast/internal/topology"
	"holdfast/internal/twin/ecs"
	"holdfast/internal/twin/network"
)

// httpsPort is where every endpoint of AWS listens.
const httpsPort = 443

// attachment is one task's place in the network: what it is, and the relays that lead from it to everything that its
// environment names.
type attachment struct {
	region   string
	endpoint reach.Endpoint
	relays   []*network.Proxy
	// ways are the task's addresses beside its own, under which it finds others; used counts those taken at each port.
	ways []netip.Addr
	used map[int]int
	// names maps what the environment says to what leads there.
	names map[string]string
	// api is the task's AWS_ENDPOINT_URL, acquirer what stands for its acquirer, empty if nothing does.
	api, acquirer string
}

// placeParts tells the networks what stands where, but for the tasks, which come and go.
func (t *Twin) placeParts() {
	for _, lb := range t.topo.LoadBalancers {
		t.vpc.Place(t.balancers.Address(lb.ARN), reach.LoadBalancer(t.topo, lb))
	}
	for _, c := range t.names.Checkers() {
		t.vpc.Place(c.Source, reach.Host("Route 53 health checker in "+c.Region, c.IPAddress))
	}
	for _, c := range t.topo.DBClusters {
		for _, in := range t.topo.DBInstances {
			if in.ClusterIdentifier == c.Identifier && in.Region == c.Region {
				t.vpc.Place(t.aurora.InstanceAddress(in.Region, in.Identifier), reach.Database(t.topo, c, in))
			}
		}
	}
}

// tellRefused tells of the connections that the deployment needs and its own networks drop: the twin comes up all the
// same, and then behaves as the deployment would.
func (t *Twin) tellRefused() {
	for _, f := range reach.Flows(t.topo) {
		if !f.OK {
			t.tell("", "network", "%s", f)
		}
	}
}

// admitCall is asked about every call of the AWS API: the caller's networks must lead to the service.
func (t *Twin) admitCall(ctx context.Context, from netip.Addr, region, service string) error {
	return t.vpc.Admit(ctx, t.vpc.At(from), reach.Service(region, service), httpsPort)
}

// attach gives a task its place, as ECS does with a network interface of the task's own. It fails, as ECS does, if the
// task's network does not lead to what has to be fetched before the task can start.
func (t *Twin) attach(place ecs.Attachment) error {
	a := &attachment{
		region: place.Service.Region, used: map[int]int{}, names: map[string]string{},
		endpoint: reach.Task(t.topo, place.Service, place.SubnetID, int(place.Address.As4()[3])),
	}
	t.vpc.Place(place.Address, a.endpoint)
	t.mu.Lock()
	t.attached[place.Address] = a
	t.mu.Unlock()
	for _, c := range place.Definition.Containers {
		if err := t.reachesResources(a, c); err != nil {
			return err
		}
		if err := t.openWays(place.Address, a, c); err != nil {
			return err
		}
	}
	way, err := t.relay(place.Address, a, apiPort, network.ProxyConfig{
		ToRegion: a.region, Target: func() (string, bool) { return t.apiAddress(a.region), true },
	})
	a.api = "http://" + way
	return err
}

// detach closes a task's relays and gives its addresses back. A task that was never attached is left as it is.
func (t *Twin) detach(address netip.Addr) {
	t.mu.Lock()
	a := t.attached[address]
	delete(t.attached, address)
	t.mu.Unlock()
	if a == nil {
		return
	}
	for _, r := range a.relays {
		r.Close()
	}
	for i, way := range a.ways {
		t.vpc.Clear(way)
		t.fabric.Release(a.region, wayName(address, i))
	}
	t.vpc.Clear(address)
}

func wayName(task netip.Addr, n int) string { return fmt.Sprintf("way/%s/%d", task, n) }

// resourceErrors are ECS's words for what could not be fetched, by the service that it comes from.
var resourceErrors = map[string]string{
	"secretsmanager": "unable to pull secrets or registry auth: The task cannot pull secrets from AWS Secrets Manager. There is a connection issue " +
		"between the task and AWS Secrets Manager. Check your task network configuration.",
	"logs": "failed to validate logger args: The task cannot find the Amazon CloudWatch log group defined in the task definition. There is a " +
		"connection issue between the task and Amazon CloudWatch. Check your network configuration.",
	"": "unable to pull secrets or registry auth: The task cannot pull registry auth from Amazon ECR: There is a connection issue between the task " +
		"and Amazon ECR. Check your task network configuration.",
}

func (t *Twin) reachesResources(a *attachment, c topology.Container) error {
	rules, _ := t.vpc.Network()
	for _, service := range reach.StartServices(c) {
		if v := rules.Connect(a.endpoint, reach.Service(a.region, service), "tcp", httpsPort); !v.OK {
			text, ok := resourceErrors[service]
			if !ok {
				text = resourceErrors[""]
			}
			return fmt.Errorf("%w: %s (%s)", ecs.ErrResources, text, v.Reason)
		}
	}
	return nil
}

// openWays opens a relay to everything of the deployment that a container's environment names.
func (t *Twin) openWays(task netip.Addr, a *attachment, c topology.Container) error {
	values := strings.Join(slices.Collect(maps.Values(c.Environment)), "\n")
	for _, cluster := range t.topo.DBClusters {
		for _, name := range []string{cluster.Endpoint, cluster.ReaderEndpoint} {
			if name == "" || !strings.Contains(values, name) || a.names[name] != "" {
				continue
			}
			address, err := t.way(task, a, t.fabric.Port(cluster.Port))
			if err != nil {
				return err
			}
			var path network.Filter = t.vpc.PathTo(a.endpoint, cluster.Port)
			if cluster.Region != a.region {
				path = exportPath{path, t, a.region}
			}
			r, err := t.aurora.Relay(name, a.region, address, path)
			if err != nil {
				return fmt.Errorf("open the way to %s: %w", name, err)
			}
			a.relays = append(a.relays, r)
			a.names[name] = address.String()
		}
	}
	for _, lb := range t.topo.LoadBalancers {
		if lb.DNSName == "" || !strings.Contains(values, lb.DNSName) || a.names[lb.DNSName] != "" {
			continue
		}
		if err := t.openBalancer(task, a, lb); err != nil {
			return err
		}
	}
	return t.openAcquirer(task, a, c)
}

// openBalancer opens a relay to each listener of a load balancer, all on one address.
func (t *Twin) openBalancer(task netip.Addr, a *attachment, lb topology.LoadBalancer) error {
	var listeners []topology.Listener
	var ports []int
	for _, l := range t.topo.Listeners {
		if l.LoadBalancerARN == lb.ARN {
			listeners, ports = append(listeners, l), append(ports, t.fabric.Port(l.Port))
		}
	}
	address, err := t.way(task, a, ports...)
	if err != nil {
		return err
	}
	for i, l := range listeners {
		to := network.HostPort(t.balancers.Address(lb.ARN), ports[i])
		r, err := t.fabric.Proxy(network.ProxyConfig{
			FromRegion: a.region, ListenAddr: network.HostPort(address, ports[i]), ToRegion: lb.Region,
			Target: func() (string, bool) { return to, true }, Filter: t.vpc.PathTo(a.endpoint, l.Port),
		})
		if err != nil {
			return fmt.Errorf("open the way to %s: %w", lb.Name, err)
		}
		a.relays = append(a.relays, r)
		// Ports below 1024 are others in the twin.
		a.names[lb.DNSName+":"+strconv.Itoa(l.Port)] = network.HostPort(address, ports[i])
	}
	a.names[lb.DNSName] = address.String()
	return nil
}

// openAcquirer opens a relay to the acquirer that stands in for the one in the environment, over the way to that one.
func (t *Twin) openAcquirer(task netip.Addr, a *attachment, c topology.Container) error {
	value, named := c.Environment[acquirerVariable]
	if !named || t.opts.AcquirerURL == "" {
		return nil
	}
	meant, err := url.Parse(value)
	if err != nil || meant.Hostname() == "" {
		return fmt.Errorf("%s: %q is no URL", acquirerVariable, value)
	}
	stand, err := url.Parse(t.opts.AcquirerURL)
	if err != nil || stand.Hostname() == "" {
		return fmt.Errorf("%s: %q is no URL", acquirerVariable, t.opts.AcquirerURL)
	}
	to := net.JoinHostPort(stand.Hostname(), strconv.Itoa(reach.URLPort(stand)))
	way, err := t.relay(task, a, reach.URLPort(stand), network.ProxyConfig{
		ToRegion: network.Outside, Target: func() (string, bool) { return to, true },
		Filter: t.vpc.Path(a.endpoint, reach.Host("acquirer "+meant.Hostname(), netip.Addr{}), reach.URLPort(meant)),
	})
	stand.Host = way
	a.acquirer = stand.String()
	return err
}

// way is an address of a task's own at which nothing listens yet on any of the ports.
func (t *Twin) way(task netip.Addr, a *attachment, ports ...int) (netip.Addr, error) {
	n := 0
	for _, port := range ports {
		n = max(n, a.used[port])
	}
	for _, port := range ports {
		a.used[port] = n + 1
	}
	for len(a.ways) <= n {
		address := t.fabric.Allocate(a.region, wayName(task, len(a.ways)))
		if !address.IsValid() {
			return address, fmt.Errorf("no address is left in %s", a.region)
		}
		t.vpc.Place(address, a.endpoint)
		a.ways = append(a.ways, address)
	}
	return a.ways[n], nil
}

// relay opens a relay at a port and returns where it listens.
func (t *Twin) relay(task netip.Addr, a *attachment, port int, config network.ProxyConfig) (string, error) {
	address, err := t.way(task, a, port)
	if err != nil {
		return "", err
	}
	config.FromRegion, config.ListenAddr = a.region, network.HostPort(address, port)
	r, err := t.fabric.Proxy(config)
	if err != nil {
		return "", err
	}
	a.relays = append(a.relays, r)
	return config.ListenAddr, nil
}

// replacer puts the task's own ways in the place of the names that only DNS on AWS knows.
func (a *attachment) replacer() *strings.Replacer {
	names := slices.Collect(maps.Keys(a.names))
	// A name may be the beginning of another one: the longest goes first.
	slices.SortFunc(names, func(x, y string) int { return cmp.Or(len(y)-len(x), cmp.Compare(x, y)) })
	var pairs []string
	for _, name := range names {
		pairs = append(pairs, name, a.names[name])
	}
	return strings.NewReplacer(pairs...)
}
