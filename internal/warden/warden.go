package warden

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/fence"
	"holdfast/internal/term"
)

// Database is the site's own database. Every call takes its deadline from ctx.
type Database interface {
	// Sample asks the writer endpoint, and the reader endpoint if that does not answer.
	Sample(ctx context.Context) (fence.State, error)
	// Extend samples the writer and extends its lease row, on one connection to one server. until is called right
	// after the sample and derives the row's valid_until from it (P8), or returns the reason not to extend.
	Extend(ctx context.Context, n term.Number, renewal int64, until func(fence.State) (time.Time, error)) error
	// RecordTerm puts the term into the writer's lineage, installing the fence's schema if it is missing.
	RecordTerm(ctx context.Context, n term.Number, site string) error
	Seal(ctx context.Context, n term.Number) error
	Drain(ctx context.Context, n term.Number) (position string, err error)
	// Unpin ends the site's pin (P18).
	Unpin(ctx context.Context, because string) error
}

// ControlPlane is the control plane of the global database.
type ControlPlane interface {
	// View asks the own region's control plane only: the other's may be lost.
	View(ctx context.Context) (failover.ClusterView, error)
	// Promote makes the own cluster the writer: by a failover if lossy, else by a switchover, which the other region may
	// refuse to take from here with [ErrSwitchoverRefused].
	Promote(ctx context.Context, lossy bool) error
	// MoveWriter makes the other site's cluster the writer, without loss.
	MoveWriter(ctx context.Context) error
}

// Application is the application behind the site's balancer.
type Application interface {
	View(ctx context.Context) (failover.AppView, error)
}

// TailExporter saves the rows that only the site's old volume has (P20). Export may be called again after a failure.
type TailExporter interface {
	Export(ctx context.Context) (summary string, err error)
}

// Options are a warden's parts.
type Options struct {
	Config Config
	// Stores are the term store's replicas, the own region's first (P4).
	Stores      []term.Store
	Database    Database
	Cluster     ControlPlane
	Application Application
	// Balancer and Scaler may be nil: then nothing is forwarded after a move, or no capacity is raised for one.
	Balancer Balancer
	Scaler   Scaler
	// Tail may be nil: then a tail is never exported, and the journal says so whenever it should be.
	Tail TailExporter
	// Journal receives one record for every change of what the warden sees, decides or does.
	Journal *slog.Logger
	// JournalHead says what the journal's newest entry is, in one line, or ""; nil means that nothing is known of it.
	JournalHead func() string
	// Listener is where the HTTP server listens; nil means Config.Address and Config.Port. ForwardListener is where
	// requests to be sent on arrive; nil means Config.ForwardPort.
	Listener, ForwardListener net.Listener
	// Decide is failover.Decide unless a test says otherwise.
	Decide func(failover.Observation) failover.Decision
	// Boot is term.Boot unless a test says otherwise.
	Boot func() term.Instant
}

// Warden is one warden process. Make it with [New] and run it once with [Warden.Run].
type Warden struct {
	cfg      Config
	stores   []term.Store
	db       Database
	cluster  ControlPlane
	app      Application
	tail     TailExporter
	balancer Balancer
	scaler   Scaler
	journal  *journal
	decide   func(failover.Observation) failover.Decision
	boot     func() term.Instant
	metrics  *metrics

	listener, forwardListener net.Listener
	memory                    memory
	// answers belong to the loop alone.
	answers answers
	marks   marks
	// exports holds the export of a tail, whether its step waits for it or has left it behind.
	exports slot
	// renewNow wakes the renewer, extendNow the extender, and so on; each holds one signal at most.
	renewNow, extendNow, publishNow, divertNow, capacityNow, loopNow chan struct{}
}

// New checks the options and makes a warden; nothing is started or sent.
func New(o Options) (*Warden, error) {
	switch {
	case len(o.Stores) == 0:
		return nil, errors.New("make a warden: no term store")
	case o.Database == nil || o.Cluster == nil || o.Application == nil:
		return nil, errors.New("make a warden: the database, its control plane and the application are required")
	case o.Config.Site == "" || o.Config.PeerSite == "":
		return nil, errors.New("make a warden: the names of both sites are required")
	}
	if o.Journal == nil {
		o.Journal = slog.New(slog.DiscardHandler)
	}
	if o.Decide == nil {
		o.Decide = failover.Decide
	}
	if o.Boot == nil {
		o.Boot = term.Boot
	}
	w := &Warden{
		cfg: o.Config, stores: o.Stores, db: o.Database, cluster: o.Cluster, app: o.Application, tail: o.Tail, balancer: o.Balancer, scaler: o.Scaler,
		decide: o.Decide, boot: o.Boot, listener: o.Listener, forwardListener: o.ForwardListener,
		marks: newMarks(), exports: newSlot(),
		renewNow: make(chan struct{}, 1), extendNow: make(chan struct{}, 1), publishNow: make(chan struct{}, 1),
		divertNow: make(chan struct{}, 1), capacityNow: make(chan struct{}, 1), loopNow: make(chan struct{}, 1),
	}
	w.metrics = newMetrics(w)
	if o.JournalHead == nil {
		o.JournalHead = func() string { return "" }
	}
	w.journal = &journal{head: o.JournalHead, log: o.Journal.With("warden", o.Config.Warden), boot: o.Boot}
	return w, nil
}

// Run runs the warden until ctx ends, which is its orderly stop: it stops renewing and leaves, so that the other
// wardens of the site, or the other site, carry on. It returns an error only if it could not serve HTTP, or [ErrStuck].
func (w *Warden) Run(ctx context.Context) error {
	listener, forward, err := w.listen(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w.journal.event("warden started", "site", w.cfg.Site, "peer", w.cfg.PeerSite, "address", listener.Addr().String())
	var wg sync.WaitGroup
	for _, activity := range []func(context.Context){w.runRenewer, w.runExtender, w.runLoop, w.runPublisher, w.runDiverter, w.runCapacity} {
		wg.Go(func() { activity(ctx) })
	}
	wg.Go(func() {
		if err := w.serve(ctx, listener); err != nil {
			cancel(err)
		}
	})
	if forward != nil {
		wg.Go(func() {
			if err := w.serveForward(ctx, forward); err != nil {
				cancel(err)
			}
		})
	}
	wg.Go(func() {
		if err := w.watch(ctx); err != nil {
			cancel(err)
			w.journal.event("warden stuck", "error", err.Error())
		}
	})
	w.await(ctx, &wg)
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// await waits until all activities have ended, but for those of a warden that is stuck a moment only.
func (w *Warden) await(ctx context.Context, activities *sync.WaitGroup) {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		activities.Wait()
		w.journal.event("warden stopped")
	}()
	select {
	case <-stopped:
		return
	case <-ctx.Done():
	}
	if !errors.Is(context.Cause(ctx), ErrStuck) {
		<-stopped
		return
	}
	grace := time.NewTimer(stuckGrace)
	defer grace.Stop()
	select {
	case <-stopped:
	case <-grace.C:
	}
}

// listen opens the warden's ports; forward is nil if it is not told where the other site's application is.
func (w *Warden) listen(ctx context.Context) (health, forward net.Listener, err error) {
	open := func(given net.Listener, port int, what, variable string) (net.Listener, error) {
		if given != nil {
			return given, nil
		}
		address := hostPort(w.cfg.Address, port)
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("listen for %s at %s: %w (%s and HOLDFAST_TASK_ADDRESS choose it)", what, address, err, variable)
		}
		return l, nil
	}
	if health, err = open(w.listener, w.cfg.Port, "health checks", "HOLDFAST_PORT"); err != nil {
		return nil, nil, err
	}
	if w.cfg.PeerAppURL == "" {
		return health, nil, nil
	}
	if forward, err = open(w.forwardListener, w.cfg.ForwardPort, "requests to be sent on", "HOLDFAST_FORWARD_PORT"); err != nil {
		return nil, nil, errors.Join(err, health.Close())
	}
	return health, forward, nil
}
