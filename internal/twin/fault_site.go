package twin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/topology"
	"holdfast/internal/twin/ecs"
	"holdfast/internal/twin/network"
)

// The faults of one site's parts. The site's name was checked before.

func (t *Twin) mustSite(name string) topology.Site {
	s, _ := t.site(name)
	return s
}

func injectRegionLoss(ctx context.Context, t *Twin, f Fault) (func(context.Context) error, error) {
	return func(ctx context.Context) error { return t.ReturnRegion(ctx, f.Site) }, t.LoseRegion(ctx, f.Site)
}

func injectRegionFreeze(_ context.Context, t *Twin, f Fault) (func(context.Context) error, error) {
	return func(context.Context) error { return t.ThawRegion(f.Site) }, t.FreezeRegion(f.Site)
}

// writersZone chooses the zone in which most is lost.
func writersZone(_ context.Context, t *Twin, f *Fault) error {
	if f.Zone != "" {
		return nil
	}
	s := t.mustSite(f.Site)
	for _, in := range t.aurora.Instances(s.Region) {
		if in.ClusterIdentifier != s.DBClusterIdentifier {
			continue
		}
		if f.Zone == "" || in.IsWriter {
			f.Zone = in.AvailabilityZone
		}
	}
	if f.Zone == "" {
		return fmt.Errorf("no database instance of %s names its availability zone: name one with --zone", s.Name)
	}
	return nil
}

// injectZoneLoss takes the databases and the tasks of a zone. The twin's load balancers have one node each, which stands
// for the nodes in all zones: it stays.
func injectZoneLoss(ctx context.Context, t *Twin, f Fault) (func(context.Context) error, error) {
	region := t.mustSite(f.Site).Region
	if !t.hasZone(region, f.Zone) {
		return nil, fmt.Errorf("%s has no subnet in a zone %q", region, f.Zone)
	}
	if err := t.scheduler.LoseZone(region, f.Zone); err != nil {
		return nil, err
	}
	back := func(context.Context) error {
		t.aurora.ReturnZone(region, f.Zone)
		t.scheduler.ReturnZone(region, f.Zone)
		return nil
	}
	if _, err := t.aurora.LoseZone(region, f.Zone); err != nil {
		return nil, errors.Join(err, back(ctx))
	}
	return back, nil
}

func (t *Twin) hasZone(region, zone string) bool {
	for _, n := range t.topo.Networks {
		for _, s := range n.Subnets {
			if n.Region == region && s.AvailabilityZone == zone {
				return true
			}
		}
	}
	return false
}

func injectWriterCrash(_ context.Context, t *Twin, f Fault) (func(context.Context) error, error) {
	s := t.mustSite(f.Site)
	for _, in := range t.aurora.Instances(s.Region) {
		// In a standby's cluster no instance writes; the first in line is what a takeover needs.
		if in.ClusterIdentifier == s.DBClusterIdentifier && (in.IsWriter || in.PromotionTier == 0 && !t.isWriter(s)) {
			return nil, t.aurora.KillInstance(in.Identifier)
		}
	}
	return nil, fmt.Errorf("the cluster %s has no writer to crash", s.DBClusterIdentifier)
}

func (t *Twin) isWriter(s topology.Site) bool {
	for _, in := range t.aurora.Instances(s.Region) {
		if in.ClusterIdentifier == s.DBClusterIdentifier && in.IsWriter {
			return true
		}
	}
	return false
}

func injectWardenCrash(_ context.Context, t *Twin, f Fault) (func(context.Context) error, error) {
	s := t.mustSite(f.Site)
	return nil, t.crash(s, s.WardenService)
}

func injectApplicationCrash(_ context.Context, t *Twin, f Fault) (func(context.Context) error, error) {
	s := t.mustSite(f.Site)
	return nil, t.crash(s, s.AppService)
}

func (t *Twin) crash(s topology.Site, service string) error {
	n, err := t.scheduler.KillService(s.Region, service)
	if err == nil && n == 0 {
		err = fmt.Errorf("nothing of %s runs", service)
	}
	return err
}

func injectApplicationDown(ctx context.Context, t *Twin, f Fault) (func(context.Context) error, error) {
	s := t.mustSite(f.Site)
	services, err := t.scheduler.Services(s.Region, s.ECSClusterName)
	if err != nil {
		return nil, err
	}
	before := 0
	for _, svc := range services {
		if svc.Name == s.AppService {
			before = svc.DesiredCount
		}
	}
	if before == 0 {
		return nil, fmt.Errorf("the service %s has a desired count of 0 already", s.AppService)
	}
	scale := func(ctx context.Context, n int) error {
		_, err := t.scheduler.UpdateService(ctx, s.Region, s.ECSClusterName, s.AppService, ecs.Update{DesiredCount: &n})
		return err
	}
	return func(ctx context.Context) error { return scale(ctx, before) }, scale(ctx, 0)
}

// injectApplicationSlow stops and continues the application's processes in turn, three parts to one.
func injectApplicationSlow(_ context.Context, t *Twin, f Fault) (func(context.Context) error, error) {
	s := t.mustSite(f.Site)
	if err := t.scheduler.FreezeService(s.Region, s.AppService); err != nil {
		return nil, err
	}
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for frozen := true; ; frozen = !frozen {
			length := f.Delay
			if !frozen {
				length /= 3
			}
			select {
			case <-over:
				return
			case <-time.After(length):
			}
			// A region that is lost meanwhile has no tasks to stop.
			if frozen {
				_ = t.scheduler.ThawService(s.Region, s.AppService)
			} else {
				_ = t.scheduler.FreezeService(s.Region, s.AppService)
			}
		}
	}()
	var once sync.Once
	return func(context.Context) error {
		once.Do(func() { close(over) })
		<-done
		return t.scheduler.ThawService(s.Region, s.AppService)
	}, nil
}

func delayOf(otherwise time.Duration) func(context.Context, *Twin, *Fault) error {
	return func(_ context.Context, _ *Twin, f *Fault) error {
		if f.Delay == 0 {
			f.Delay = otherwise
		}
		return nil
	}
}

func injectApplicationFailing(_ context.Context, t *Twin, f Fault) (func(context.Context) error, error) {
	path := t.acquirers[t.mustSite(f.Site).Region]
	if path == nil {
		return nil, errors.New("the twin relays the way to an acquirer only if its URL is http with an IP address")
	}
	path.cut.Store(true)
	path.proxy.BreakConnections()
	return func(context.Context) error { path.cut.Store(false); return nil }, nil
}

// acquirerPath is a region's way to the acquirer.
type acquirerPath struct {
	proxy *network.Proxy
	url   string
	cut   atomic.Bool
}

const acquirerPort = 8600

// openAcquirers gives each region a way of its own to the acquirer, over the region's link to the outside, so that it
// can be cut. An acquirer with a name, or behind TLS, is left alone: a relay would change what it is called.
func (t *Twin) openAcquirers(context.Context) error {
	t.acquirers = map[string]*acquirerPath{}
	u, err := url.Parse(t.opts.AcquirerURL)
	if err != nil || u.Scheme != "http" {
		return nil // the payment application will say what it thinks of the URL
	}
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = "80"
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.Is4() {
		return nil
	}
	target := net.JoinHostPort(host, port)
	for _, s := range t.topo.Sites {
		path := &acquirerPath{}
		path.proxy, err = t.fabric.Proxy(network.ProxyConfig{
			FromRegion: s.Region, ListenAddr: network.HostPort(t.fabric.Allocate(s.Region, "acquirer"), acquirerPort), ToRegion: network.Outside,
			Target: func() (string, bool) { return target, !path.cut.Load() },
		})
		if err != nil {
			return err
		}
		t.onDown(func(context.Context) { path.proxy.Close() })
		through := *u
		through.Host = network.HostPort(t.fabric.Allocate(s.Region, "acquirer"), acquirerPort)
		path.url = through.String()
		t.acquirers[s.Region] = path
	}
	return nil
}

// acquirerURL is the acquirer as a region's tasks reach it.
func (t *Twin) acquirerURL(region string) string {
	if path := t.acquirers[region]; path != nil {
		return path.url
	}
	return t.opts.AcquirerURL
}
