package postgres

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"holdfast/internal/pgserver"
	"holdfast/internal/topology"
	"holdfast/internal/twin/network"
)

// Fabric is what the databases need of the twin's network.
type Fabric interface {
	// Allocate returns the address of a name in a Region, always the same one for the same name.
	Allocate(region, name string) netip.Addr
	// Port maps a port of the topology to the one used on this machine.
	Port(p int) int
	// Traverse takes one round trip between two Regions, or fails when ctx ends first.
	Traverse(ctx context.Context, from, to string) error
	// Proxy starts a TCP relay.
	Proxy(config network.ProxyConfig) (*network.Proxy, error)
}

const (
	defaultResyncDelay = 60 * time.Second
	// minimumResyncDelay is what no speed takes from the time in which an old volume can be read: reading it takes what it
	// takes on this machine.
	minimumResyncDelay = 20 * time.Second
)

// Options says what to build.
type Options struct {
	// Topology describes the clusters. It is read, never changed.
	Topology *topology.Topology
	Fabric   Fabric
	// Dir is a folder of its own; volumes, snapshots and logs go below it. PostgreSQL's user must be able to enter it.
	Dir string
	// Speed divides the configured times; 0 is 1.
	Speed float64
	// Installation has the server binaries.
	Installation pgserver.Installation
	// Password is the master user's, on every cluster.
	Password string
	// ResyncDelay is how long an old writer that came back stays a zombie before Aurora resynchronizes it; 0 is 60 s
	// divided by Speed, and at least 20 s.
	ResyncDelay time.Duration
	// Events, if set, is called for every event, on the goroutine that caused it; it must not block.
	Events func(Event)
	// Logger is slog.Default() if nil.
	Logger *slog.Logger
}

// Role is a cluster's part in its global cluster.
type Role string

// The roles; see the package comment.
const (
	RoleWriter    Role = "writer"
	RoleSecondary Role = "secondary"
	RoleStale     Role = "stale"
)

// Aurora is the database service of all Regions. Its methods are safe for concurrent use.
type Aurora struct {
	opt        Options
	ctx        context.Context
	cancel     context.CancelFunc
	background sync.WaitGroup
	secrets    secrets
	// synchronizeLimit is defaultSynchronizeLimit but in tests.
	synchronizeLimit time.Duration

	// mu guards everything below, including the fields of regions, globals, clusters and instances. It is held for
	// moments, also while a server is forked (so that a Region that is being lost can't miss one), never while waiting.
	mu        sync.Mutex
	stopping  bool
	regions   map[string]*region
	globals   []*global
	clusters  []*cluster
	snapshots []Snapshot
	restored  []*restored
	relays    []*network.Proxy
	lags      map[string]float64
	// changed is closed and replaced whenever something that a job waits for changes.
	changed chan struct{}

	eventsMu sync.Mutex
	events   []Event
}

// region is what happened to one Region. While it is down or frozen no server is started in it.
type region struct {
	name   string
	up     bool
	frozen bool
	// epoch ends when the Region is lost, and with it every program that works for it.
	epoch context.Context
	end   context.CancelFunc
	// programs are the process groups of programs that run in the Region beside the servers (base backups).
	programs map[int]struct{}
}

type global struct {
	spec    topology.GlobalCluster
	members []*cluster
	writer  *cluster
	// operation is the switchover or failover under way; outcome is how the last one ended.
	operation *FailoverState
	outcome   error
}

type cluster struct {
	spec      topology.DBCluster
	region    *region
	global    *global
	instances []*instance
	head      *instance
	role      Role
	// doing is the status of an operation under way, empty if there is none.
	doing string
	// rebuilding: the cluster has no volume of its own to serve from until the copy has caught up.
	rebuilding bool
	// resyncing: a goroutine cares for bringing the stale cluster back.
	resyncing bool
	// work serialises what starts and stops the cluster's servers: whoever holds the one token may.
	work chan struct{}
	// links are the addresses of the relays to the other clusters' heads, by cluster identifier.
	links          map[string]netip.AddrPort
	writerEndpoint netip.AddrPort
	readerEndpoint netip.AddrPort
	// nextReader deals connections to the reader endpoint in turn.
	nextReader int
	parameters map[string]string
	ignored    []string
}

type instance struct {
	spec    topology.DBInstance
	cluster *cluster
	host    string
	port    int
	logFile string
	// volume is the data directory, empty while there is none.
	volume string
	server *pgserver.Server
	// lost: its availability zone is lost, so its server can't run.
	lost bool
	// ready: the server answered a query since it was started.
	ready bool
	// beginning and deleting: it is being made, or removed, in a restored cluster.
	beginning, deleting bool
}

// New reads the topology and prepares the service; Start brings it up.
func New(opt Options) (*Aurora, error) {
	if opt.Speed <= 0 {
		opt.Speed = 1
	}
	if opt.ResyncDelay <= 0 {
		opt.ResyncDelay = max(minimumResyncDelay, time.Duration(float64(defaultResyncDelay)/opt.Speed))
	}
	if opt.Logger == nil {
		opt.Logger = slog.Default()
	}
	if opt.Topology == nil || opt.Fabric == nil || opt.Dir == "" || opt.Password == "" {
		return nil, errors.New("databases: topology, network, folder and master password are required")
	}
	dir, err := filepath.Abs(opt.Dir)
	if err != nil {
		return nil, fmt.Errorf("databases: folder %s: %w", opt.Dir, err)
	}
	opt.Dir = dir
	a := &Aurora{
		opt: opt, regions: map[string]*region{}, lags: map[string]float64{}, changed: make(chan struct{}),
		synchronizeLimit: defaultSynchronizeLimit, secrets: secrets{admin: rand.Text(), replication: rand.Text()},
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	if err := a.build(); err != nil {
		return nil, fmt.Errorf("databases: %w", err)
	}
	return a, nil
}

// build makes the model of what the topology describes.
func (a *Aurora) build() error {
	t := a.opt.Topology
	for _, spec := range t.GlobalClusters {
		a.globals = append(a.globals, &global{spec: spec})
	}
	for _, spec := range t.DBClusters {
		c := &cluster{
			spec: spec, region: a.region(spec.Region), role: RoleSecondary, work: make(chan struct{}, 1),
			links: map[string]netip.AddrPort{},
		}
		for _, g := range a.globals {
			if g.spec.Identifier == spec.GlobalClusterIdentifier {
				c.global = g
				g.members = append(g.members, c)
			}
		}
		if c.global == nil {
			if spec.GlobalClusterIdentifier != "" {
				return fmt.Errorf("cluster %s belongs to global cluster %s, which the topology lacks", spec.Identifier,
					spec.GlobalClusterIdentifier)
			}
			c.role = RoleWriter
		}
		if err := a.addInstances(c); err != nil {
			return err
		}
		a.clusters = append(a.clusters, c)
	}
	if len(a.clusters) == 0 {
		return errors.New("the topology has no DB cluster")
	}
	return a.chooseWriters()
}

func (a *Aurora) region(name string) *region {
	r := a.regions[name]
	if r == nil {
		r = &region{name: name, up: true, programs: map[int]struct{}{}}
		r.epoch, r.end = context.WithCancel(a.ctx)
		a.regions[name] = r
	}
	return r
}

func (a *Aurora) addInstances(c *cluster) error {
	for _, spec := range a.opt.Topology.DBInstances {
		if spec.ClusterIdentifier != c.spec.Identifier || spec.Region != c.spec.Region {
			continue
		}
		c.instances = append(c.instances, &instance{
			spec: spec, cluster: c, host: a.InstanceAddress(spec.Region, spec.Identifier).String(),
			port: a.opt.Fabric.Port(c.spec.Port), logFile: filepath.Join(a.opt.Dir, "log", spec.Identifier+".log"),
		})
	}
	if len(c.instances) == 0 {
		return fmt.Errorf("cluster %s in %s has no DB instance", c.spec.Identifier, c.spec.Region)
	}
	slices.SortFunc(c.instances, byPromotion)
	c.head = c.instances[0]
	return nil
}

func byPromotion(x, y *instance) int {
	return cmp.Or(cmp.Compare(x.spec.PromotionTier, y.spec.PromotionTier), cmp.Compare(x.spec.Identifier, y.spec.Identifier))
}

// chooseWriters makes, of each global cluster, the one cluster writer that was not created as a secondary.
func (a *Aurora) chooseWriters() error {
	for _, g := range a.globals {
		for _, c := range g.members {
			if c.spec.Secondary {
				continue
			}
			if g.writer != nil {
				return fmt.Errorf("global cluster %s has two primary clusters, %s and %s", g.spec.Identifier,
					g.writer.spec.Identifier, c.spec.Identifier)
			}
			g.writer = c
		}
		if g.writer == nil {
			return fmt.Errorf("global cluster %s has no primary cluster", g.spec.Identifier)
		}
		g.writer.role = RoleWriter
	}
	return nil
}

// source is the cluster that this one follows, nil if it follows none. The caller holds the lock.
func (c *cluster) source() *cluster {
	if c.role != RoleSecondary || c.global == nil {
		return nil
	}
	return c.global.writer
}

// writes reports whether the instance accepts writes by its role. The caller holds the lock.
func (in *instance) writes() bool { return in == in.cluster.head && in.cluster.role != RoleSecondary }

// running reports whether the instance's server runs and has answered. The caller holds the lock.
func (in *instance) running() bool { return in.server != nil && in.ready }

// broadcast wakes every job that waits for a change. The caller holds the lock.
func (a *Aurora) broadcast() {
	close(a.changed)
	a.changed = make(chan struct{})
}

// set changes the model under the lock and wakes who waits for it.
func (a *Aurora) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
	a.broadcast()
}

// await waits until a condition on the model holds.
func (a *Aurora) await(ctx context.Context, holds func() bool) error {
	for {
		a.mu.Lock()
		ok, changed := holds(), a.changed
		a.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// acquire takes the clusters' work tokens, always in the same order, and returns what gives them back.
func (a *Aurora) acquire(ctx context.Context, clusters ...*cluster) (release func(), err error) {
	ordered := slices.Clone(clusters)
	slices.SortFunc(ordered, func(x, y *cluster) int {
		return cmp.Or(cmp.Compare(x.spec.Region, y.spec.Region), cmp.Compare(x.spec.Identifier, y.spec.Identifier))
	})
	held := 0
	release = func() {
		for _, c := range ordered[:held] {
			<-c.work
		}
	}
	for _, c := range ordered {
		select {
		case c.work <- struct{}{}:
			held++
		case <-ctx.Done():
			release()
			return nil, fmt.Errorf("wait for other work on cluster %s: %w", c.spec.Identifier, ctx.Err())
		}
	}
	return release, nil
}

// spawn runs a job of the service's own; Stop waits for it. It reports false if the service is being stopped.
func (a *Aurora) spawn(job func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.spawnLocked(job)
}

func (a *Aurora) spawnLocked(job func()) bool {
	if a.stopping {
		return false
	}
	a.background.Go(job)
	return true
}
