package twin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"holdfast/internal/pgserver"
	"holdfast/internal/twin/balancer"
	"holdfast/internal/twin/dns"
	"holdfast/internal/twin/ecs"
	"holdfast/internal/twin/network"
	"holdfast/internal/twin/postgres"
	"holdfast/internal/twin/task"
	"holdfast/internal/twin/termtable"
	"holdfast/internal/twin/vpc"
)

// prepare builds the parts that need nothing running.
func (t *Twin) prepare(context.Context) error {
	in, err := pgserver.Find()
	if err != nil {
		return err
	}
	t.password = rand.Text()
	if t.supervisor, err = task.New(task.Options{StateDir: t.dir, Credential: in.Credential, Logger: t.logger}); err != nil {
		return err
	}
	t.onDown(func(context.Context) { t.supervisor.Close() })
	databases := filepath.Join(t.dir, "databases")
	if err := in.MakeDir(databases); err != nil {
		return err
	}
	for _, s := range t.topo.Sites {
		for _, dir := range []string{filepath.Dir(t.exportDir(s.Name)), t.exportDir(s.Name)} {
			if err := in.MakeDir(dir); err != nil {
				return err
			}
		}
	}
	if t.aurora, err = postgres.New(postgres.Options{
		Topology: &t.topo, Fabric: t.fabric, Dir: databases, Speed: t.opts.Speed,
		Installation: in, Password: t.password, Events: t.databaseEvent, Logger: t.logger,
	}); err != nil {
		return err
	}
	t.store = newStoreNetwork(t.fabric)
	if t.table, err = termtable.New(termtable.Options{Table: t.topo.TermTable, AccountID: t.topo.AccountID, Network: t.store}); err != nil {
		return err
	}
	t.vpc = vpc.New(t.topo)
	if t.balancers, err = balancer.New(balancer.Options{
		Topology: t.topo, Fabric: t.fabric, Speed: t.opts.Speed, OnTargetHealth: t.targetEvent, Admit: t.vpc.AdmitTo, Logger: t.logger,
	}); err != nil {
		return err
	}
	t.onDown(func(context.Context) { t.balancers.Close() })
	if t.names, err = dns.New(dns.Options{
		Topology: t.topo, Fabric: t.fabric, Speed: t.opts.Speed, AliasAddress: t.balancers.AddressOf,
		AliasHealthy: t.balancers.Evaluate, ServiceAddress: t.serviceAddress, Admit: t.vpc.AdmitTo, Logger: t.logger,
	}); err != nil {
		return err
	}
	t.placeParts()
	t.tellRefused()
	return t.prepareServices()
}

func (t *Twin) prepareServices() (err error) {
	t.scheduler, err = ecs.New(ecs.Options{
		Topology: t.topo, Fabric: t.fabric, Supervisor: t.supervisor, Images: t.opts.Images,
		Environment: t.environment, Attach: t.attach, Detach: t.detach, Registrar: t.balancers, TargetHealth: t.targetHealth, Speed: t.opts.Speed,
		Events: t.taskEvent, Logger: t.logger,
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrEnvironment, err)
	}
	return t.prepareEndpoint()
}

// targetHealth is what the scheduler asks about its tasks.
func (t *Twin) targetHealth(targetGroupARN string, ip netip.Addr, port int) (state, reason string) {
	h, ok := t.balancers.TargetState(targetGroupARN, ip, port)
	if !ok {
		return balancer.StateUnused, ""
	}
	return h.State, h.Reason
}

// regionServer is the AWS endpoint of one region, or of the world outside.
type regionServer struct {
	server *http.Server
	done   chan struct{}
}

func (t *Twin) startEndpoints(context.Context) error {
	for _, region := range []string{network.Outside, t.topo.Sites[0].Region, t.topo.Sites[1].Region} {
		if err := t.startEndpoint(region); err != nil {
			return err
		}
		t.onDown(func(context.Context) { t.stopEndpoint(region) })
	}
	t.onDown(func(context.Context) { t.endpoint.Close() }) // first, for the requests to a lost region that hang
	return nil
}

func (t *Twin) startEndpoint(region string) error {
	listener, err := t.fabric.Listen(region, t.apiAddress(region), nil)
	if err != nil {
		return err
	}
	s := &regionServer{server: t.endpoint.NewServer(region), done: make(chan struct{})}
	t.mu.Lock()
	t.servers[region] = s
	t.mu.Unlock()
	go func() {
		defer close(s.done)
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			t.logger.Error("AWS endpoint", "region", region, "error", err)
		}
	}()
	return nil
}

// stopEndpoint closes a region's endpoint with every connection, as when the region is lost.
func (t *Twin) stopEndpoint(region string) {
	t.mu.Lock()
	s, ok := t.servers[region]
	delete(t.servers, region)
	t.mu.Unlock()
	if !ok {
		return
	}
	_ = s.server.Close()
	<-s.done
}

func (t *Twin) startDatabases(ctx context.Context) error {
	t.onDown(func(ctx context.Context) { t.downErr = errors.Join(t.downErr, t.aurora.Stop(ctx)) })
	return t.aurora.Start(ctx)
}

func (t *Twin) startBalancers(context.Context) error {
	for _, s := range t.topo.Sites {
		if err := t.balancers.Start(s.Region); err != nil {
			return err
		}
	}
	return nil
}

func (t *Twin) startDNS(context.Context) error {
	t.names.SetOnChange(func(name, from, to string, _ time.Time) {
		t.tell("", "dns", "%s is answered with %s, was %s", name, to, from)
	})
	t.names.SetOnHealth(func(id string, healthy bool, _ time.Time) {
		t.tell("", "dns", "health check %s is %s", id, map[bool]string{true: "healthy", false: "unhealthy"}[healthy])
	})
	// The server lives until Down, not until the end of Up's context.
	if err := t.names.Start(context.Background()); err != nil {
		return err
	}
	t.onDown(func(context.Context) { t.names.Stop() })
	return nil
}

func (t *Twin) startServices(ctx context.Context) error {
	journals := newJournals(t)
	t.onDown(func(ctx context.Context) { t.scheduler.Stop(ctx); journals.stop() })
	for _, s := range t.topo.Sites {
		if err := t.scheduler.Start(ctx, s.Region); err != nil {
			return err
		}
	}
	return nil
}

// waitServing waits until the first site serves and both sites' applications have a healthy target.
func (t *Twin) waitServing(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	reason := error(nil)
	for {
		if reason = t.serving(ctx); reason == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; the last obstacle: %w", ctx.Err(), reason)
		case <-tick.C:
		}
	}
}

// serving says what keeps the twin from being whole, nil if nothing does.
func (t *Twin) serving(ctx context.Context) error {
	for _, s := range t.topo.Sites {
		healthy := 0
		for _, target := range t.balancers.TargetHealth(s.AppTargetGroupARN) {
			if target.State == balancer.StateHealthy {
				healthy++
			}
		}
		if healthy == 0 {
			return fmt.Errorf("site %s: no target of the application is healthy", s.Name)
		}
	}
	site, ok, err := t.Active(ctx)
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("site %s does not answer 200 at /healthz", site)
	}
	return nil
}

// LoseRegion takes everything in a site's region away at once: its processes are killed, its addresses, balancers and
// AWS endpoints stop answering. It returns once that is so.
func (t *Twin) LoseRegion(_ context.Context, site string) error {
	s, err := t.site(site)
	if err != nil {
		return err
	}
	t.fabric.SetRegion(s.Region, false)
	var all sync.WaitGroup
	var databaseErr error
	all.Go(func() { t.scheduler.LoseRegion(s.Region) })
	all.Go(func() { databaseErr = t.aurora.LoseRegion(s.Region) })
	all.Go(func() { t.balancers.Stop(s.Region) })
	all.Go(func() { t.stopEndpoint(s.Region) })
	all.Wait()
	t.tell(site, "region", "%s is lost: every process killed, every address dead", s.Region)
	return databaseErr
}

// ReturnRegion powers a lost region up again. Its parts come back by themselves: databases on the volumes they had,
// services at their desired counts.
func (t *Twin) ReturnRegion(ctx context.Context, site string) error {
	s, err := t.site(site)
	if err != nil {
		return err
	}
	t.fabric.SetRegion(s.Region, true)
	t.tell(site, "region", "%s has power again", s.Region)
	if err := t.startEndpoint(s.Region); err != nil {
		return err
	}
	if err := t.balancers.Start(s.Region); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return t.aurora.ReturnRegion(ctx, s.Region) })
	group.Go(func() error { return t.scheduler.ReturnRegion(ctx, s.Region) })
	return group.Wait()
}
