package twin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"holdfast/internal/operator"
	"holdfast/internal/pgserver"
	"holdfast/internal/term"
	"holdfast/internal/topology"
	"holdfast/internal/twin/api"
	"holdfast/internal/twin/balancer"
	"holdfast/internal/twin/dns"
	"holdfast/internal/twin/ecs"
	"holdfast/internal/twin/network"
	"holdfast/internal/twin/postgres"
	"holdfast/internal/twin/task"
	"holdfast/internal/twin/termtable"
	"holdfast/internal/twin/vpc"
)

// ErrEnvironment: this machine can't run the twin as asked. The error that wraps it says why and what to do.
var ErrEnvironment = errors.New("this machine can't run the twin")

// upTimeout bounds everything between [Up]'s call and a serving site, on a busy machine.
const upTimeout = 2 * time.Minute

// Options say what to build.
type Options struct {
	Topology topology.Topology
	// Speed divides every configured time; 0 means 1. Delays of the network stay real.
	Speed float64
	// Block is B in 127.B.0.0/16; 0 chooses a free one.
	Block int
	// StateDir is where everything is kept while the twin is up. It must be empty or absent; it is removed by Down.
	// Empty makes a folder in the system's temporary folder.
	StateDir string
	// AcquirerURL replaces the payment application's PAYD_ACQUIRER_URL, unless it is empty.
	AcquirerURL string
	// Images maps a container image to the program that stands for it.
	Images map[string]ecs.Image
	// Progress, if set, receives events; it is called from many goroutines and must not block.
	Progress func(Event)
	Logger   *slog.Logger
}

// Event is something that happened in the twin.
type Event struct {
	At   time.Time
	Site string
	// Kind is "region", "dns", "database", "task", "warden", "target", "alarm" or "network".
	Kind string
	Text string
}

// Twin is a running pair of regions. Its methods are safe for concurrent use.
type Twin struct {
	opts     Options
	topo     topology.Topology
	dir      string
	password string
	lease    time.Duration
	margin   time.Duration
	logger   *slog.Logger

	fabric     *network.Fabric
	vpc        *vpc.VPC
	reaper     *task.Reaper
	supervisor *task.Supervisor
	aurora     *postgres.Aurora
	table      *termtable.Table
	balancers  *balancer.Balancer
	scheduler  *ecs.Scheduler
	names      *dns.Server
	monitor    *monitor
	endpoint   *api.Endpoint
	operator   *operator.Operator
	created    time.Time

	// What can go wrong on purpose.
	faults faults
	traps  traps
	links  linkFaults
	store  *storeNetwork
	// acquirers are the regions' ways to the acquirer.
	acquirers map[string]*acquirerPath

	mu sync.Mutex
	// servers are the AWS endpoints that listen now, by the region of their callers.
	servers map[string]*regionServer
	// attached are the tasks' places in the network, by the task's address.
	attached map[netip.Addr]*attachment

	progress struct {
		sync.Mutex
		hook func(Event)
	}
	// cleanup holds what to undo, in the order in which it was done.
	cleanup []func(context.Context)
	down    sync.Once
	downErr error
}

// Up builds a deployment's regions and returns once both run, replication flows and the first site serves. Nothing is
// left behind if it fails. Errors wrap [ErrEnvironment] if it is the machine's fault.
func Up(ctx context.Context, opts Options) (*Twin, error) {
	t := &Twin{opts: opts, topo: opts.Topology, logger: opts.Logger, servers: map[string]*regionServer{}, attached: map[netip.Addr]*attachment{}, created: time.Now()}
	if t.opts.Speed == 0 {
		t.opts.Speed = 1
	}
	if t.logger == nil {
		t.logger = slog.New(slog.DiscardHandler)
	}
	t.SetProgress(opts.Progress)
	ctx, cancel := context.WithTimeout(ctx, upTimeout)
	defer cancel()
	for _, step := range []struct {
		what string
		do   func(context.Context) error
		// machine says that only the machine can make the step fail: its disk, its ports, its programs.
		machine bool
	}{
		{"read the topology", t.check, false},
		{"reserve addresses", t.reserve, true},
		{"make the state folder", t.makeStateDir, true},
		{"prepare the regions", t.prepare, true},
		{"open the way to the acquirer", t.openAcquirers, true},
		{"start the endpoints", t.startEndpoints, true},
		{"start the databases", t.startDatabases, true},
		{"create the term record", t.createRecord, false},
		{"start the load balancers", t.startBalancers, true},
		{"start DNS", t.startDNS, true},
		{"start the services", t.startServices, false},
		{"wait for the first site to serve", t.waitServing, false},
		{"start the alarms", t.startMonitor, false},
	} {
		started := time.Now()
		if err := step.do(ctx); err != nil {
			t.abandon()
			return nil, fmt.Errorf("twin: %s: %w", step.what, explain(err, step.machine && ctx.Err() == nil))
		}
		t.logger.Debug("twin up", "step", step.what, "took", time.Since(started))
	}
	return t, nil
}

// abandon takes down what a failed Up has started.
func (t *Twin) abandon() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_ = t.Down(ctx)
}

// Down stops everything, removes the state folder and gives the addresses back. It may be called again.
func (t *Twin) Down(ctx context.Context) error {
	t.down.Do(func() {
		t.endFaults(ctx)
		for i := len(t.cleanup) - 1; i >= 0; i-- {
			t.cleanup[i](ctx)
		}
		if t.reaper != nil {
			t.reaper.Stop() // last, so that it cleans up if anything before hangs and is killed
		}
	})
	return t.downErr
}

// onDown registers an undo; the newest runs first.
func (t *Twin) onDown(undo func(context.Context)) { t.cleanup = append(t.cleanup, undo) }

// explain marks an error that is the machine's fault, and adds what to do where the error does not say it.
func explain(err error, machine bool) error {
	switch {
	case errors.Is(err, ErrEnvironment):
		return err
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w: the disk is full: free some space or set TMPDIR to another disk: %w", ErrEnvironment, err)
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, network.ErrBlockInUse):
		return fmt.Errorf("%w: an address or port is in use: choose another block with --address-block, or stop what uses it: %w", ErrEnvironment, err)
	case machine:
		return fmt.Errorf("%w: %w", ErrEnvironment, err)
	}
	return err
}

// check refuses a topology or a speed that can't be brought to life, before anything is started.
func (t *Twin) check(context.Context) error {
	if len(t.topo.Sites) != 2 {
		return fmt.Errorf("the topology has %d sites, want 2", len(t.topo.Sites))
	}
	var err error
	t.lease, t.margin, err = term.Scale(t.topo.Lease, t.topo.Margin, t.opts.Speed)
	return err
}

func (t *Twin) reserve(context.Context) error {
	regions := []string{t.topo.Sites[0].Region, t.topo.Sites[1].Region, t.topo.TermTable.WitnessRegion}
	fabric, err := network.New(network.Options{Regions: regions, Block: t.opts.Block})
	if err != nil {
		return err
	}
	t.fabric = fabric
	t.onDown(func(context.Context) { fabric.Close() })
	return nil
}

// makeStateDir makes the folder that everything lives in and starts the reaper, which removes it if this process dies.
func (t *Twin) makeStateDir(context.Context) error {
	in, err := pgserver.Find()
	if err != nil {
		return err
	}
	if t.opts.StateDir == "" {
		t.dir, err = os.MkdirTemp("", "holdfast-twin-")
	} else {
		t.dir = t.opts.StateDir
		err = os.MkdirAll(t.dir, 0o700)
	}
	if err != nil {
		return fmt.Errorf("%w: set TMPDIR to a folder that can be written", err)
	}
	if t.dir, err = filepath.Abs(t.dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("the state folder %s is not empty: choose another one", t.dir)
	}
	t.onDown(func(context.Context) { t.downErr = errors.Join(t.downErr, os.RemoveAll(t.dir)) })
	if err := in.Own(t.dir); err != nil {
		return err
	}
	if t.reaper, err = task.StartReaper(t.dir); err != nil {
		return err
	}
	return nil
}

// Dir is the state folder.
func (t *Twin) Dir() string { return t.dir }

// Sites lists the sites, the one that is active on the first day first.
func (t *Twin) Sites() []topology.Site { return t.topo.Sites }

// Topology is what the twin was built from.
func (t *Twin) Topology() topology.Topology { return t.topo }

// DNSName is the name that clients resolve, Resolver the address of the DNS server that knows it.
func (t *Twin) DNSName() string { return t.topo.DNSName }

// Resolver is host:port of the DNS server.
func (t *Twin) Resolver() string { return t.names.Addr() }

// Speed is what every configured time is divided by.
func (t *Twin) Speed() float64 { return t.opts.Speed }

// AppPort is the port of the load balancers' first listener that serves the application.
func (t *Twin) AppPort() int {
	for _, l := range t.topo.Listeners {
		if l.LoadBalancerARN == t.topo.Sites[0].LoadBalancerARN && l.Default.Type == "forward" {
			return t.fabric.Port(l.Port)
		}
	}
	return t.fabric.Port(80)
}

// DatabaseDSN connects to the first database instance of a site directly, past every endpoint and relay.
func (t *Twin) DatabaseDSN(site string) string {
	s, err := t.site(site)
	if err != nil {
		return ""
	}
	dsn, err := t.aurora.InstanceDSN(s.DBClusterIdentifier)
	if err != nil {
		return ""
	}
	return dsn
}

func (t *Twin) site(name string) (topology.Site, error) {
	for _, s := range t.topo.Sites {
		if s.Name == name {
			return s, nil
		}
	}
	return topology.Site{}, fmt.Errorf("no site is called %q: the sites are %s and %s", name, t.topo.Sites[0].Name, t.topo.Sites[1].Name)
}

func (t *Twin) siteOf(region string) string {
	for _, s := range t.topo.Sites {
		if s.Region == region {
			return s.Name
		}
	}
	return ""
}

// SetProgress replaces the receiver of events; nil discards them.
func (t *Twin) SetProgress(hook func(Event)) {
	t.progress.Lock()
	defer t.progress.Unlock()
	t.progress.hook = hook
}

func (t *Twin) tell(site, kind, format string, args ...any) {
	t.progress.Lock()
	hook := t.progress.hook
	t.progress.Unlock()
	if hook != nil {
		hook(Event{At: time.Now(), Site: site, Kind: kind, Text: fmt.Sprintf(format, args...)})
	}
}
