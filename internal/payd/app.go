package payd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"holdfast/internal/fence"
	"holdfast/internal/payment"
	"holdfast/internal/payment/acquirer"
	paymenthttp "holdfast/internal/payment/http"
	"holdfast/internal/payment/postgres"
)

// App is one payd process.
type App struct {
	config   Config
	log      *slog.Logger
	metrics  *metrics
	site     *postgres.Site
	acquirer *acquirer.Client
	service  *payment.Service
	server   *http.Server
	listener net.Listener
	draining atomic.Bool
	// toMigrator and toRecovery carry what the last look at the databases found; one is kept, the newest.
	toMigrator, toRecovery chan postgres.Status
}

// New wires the process together and opens its port. Close or [App.Run] must follow.
func New(c Config, log *slog.Logger) (*App, error) {
	a := &App{
		config: c, log: log, metrics: newMetrics(c.Site),
		toMigrator: make(chan postgres.Status, 1), toRecovery: make(chan postgres.Status, 1),
	}
	var err error
	if a.acquirer, err = acquirer.New(c.AcquirerURL, acquirer.Options{Timeout: c.AcquirerTimeout}); err != nil {
		return nil, err
	}
	a.site, err = postgres.OpenSite(postgres.SiteOptions{
		Writer: c.Writer, Reader: c.Reader, MaxConnections: c.MaxConnections,
		ConnectTimeout: c.ConnectTimeout, ProbeEvery: c.ProbeEvery, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	a.site.OnStatus(func(s postgres.Status) {
		a.metrics.status(s)
		offer(a.toMigrator, s)
		offer(a.toRecovery, s)
	})
	store := postgres.NewStore(a.site, c.DatabaseTimeout)
	a.service = payment.NewService(store, a.acquirer, payment.Options{Claim: c.Claim, Observer: a.metrics})
	a.server = paymenthttp.NewServer(paymenthttp.NewHandler(paymenthttp.Options{
		Service: a.service, Readiness: a.readiness, Observer: a.metrics, Metrics: a.metrics.handler(),
		MaxInFlight: c.MaxInFlight, Timeout: c.RequestTimeout, Logger: log,
	}), log)
	address := net.JoinHostPort(c.Address, strconv.Itoa(c.Port))
	if a.listener, err = net.Listen("tcp", address); err != nil {
		a.site.Close()
		return nil, fmt.Errorf("listen on %s: %w (is the port in use? PAYD_PORT and HOLDFAST_TASK_ADDRESS change it)", address, err)
	}
	return a, nil
}

// offer puts the value into a channel with room for one, in place of an older one.
func offer(c chan postgres.Status, s postgres.Status) {
	for {
		select {
		case c <- s:
			return
		default:
		}
		select {
		case <-c:
		default:
		}
	}
}

// Addr is where the API listens.
func (a *App) Addr() string { return a.listener.Addr().String() }

// readiness derives what the process can do from the last look at the databases.
func (a *App) readiness() paymenthttp.Readiness {
	s := a.site.Status()
	r := paymenthttp.Readiness{Role: string(s.Role), Site: a.config.Site, Draining: a.draining.Load()}
	if s.Role != postgres.Active {
		r.Writes = s.Err
		if r.Writes == nil || !known(r.Writes) {
			r.Writes = fmt.Errorf("%w: %w", payment.ErrUnavailable, errors.Join(s.Err))
		}
	}
	if !s.Readable {
		r.Reads = s.Err
		if s.SchemaVersion < postgres.SchemaVersion && s.Role != postgres.Down {
			r.Reads = fmt.Errorf("the schema is at version %d, this program needs %d", s.SchemaVersion, postgres.SchemaVersion)
		}
	}
	return r
}

func known(err error) bool {
	return errors.Is(err, payment.ErrStandby) || errors.Is(err, payment.ErrNoLease) || errors.Is(err, payment.ErrUnavailable)
}

// Run serves until ctx ends, then drains: /readyz turns bad first, requests under way come to their end, and then the
// background work stops. It returns nil after a clean end.
func (a *App) Run(ctx context.Context) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var work sync.WaitGroup
	work.Go(func() { a.site.Watch(background) })
	work.Go(func() { a.migrate(background) })
	work.Go(func() { a.recover(background) })
	served := make(chan error, 1)
	go func() { served <- a.server.Serve(a.listener) }()
	a.log.Info("payd serves", "address", a.Addr(), "site", a.config.Site)

	var err error
	select {
	case err = <-served:
		err = fmt.Errorf("serve on %s: %w", a.Addr(), err)
	case <-ctx.Done():
		err = a.drain()
		<-served
	}
	stop()
	work.Wait()
	a.site.Close()
	a.acquirer.Close()
	return err
}

func (a *App) drain() error {
	a.draining.Store(true)
	a.log.Info("payd drains", "delay", a.config.DrainDelay, "timeout", a.config.DrainTimeout)
	timer := time.NewTimer(a.config.DrainDelay) // the balancer has to see /readyz before connections are refused
	<-timer.C
	ctx, cancel := context.WithTimeout(context.Background(), a.config.DrainTimeout)
	defer cancel()
	if err := a.server.Shutdown(ctx); err != nil {
		_ = a.server.Close()
		return fmt.Errorf("drain: requests were still under way after %s: %w", a.config.DrainTimeout, err)
	}
	return nil
}

// migrate brings the schema up to date whenever another server turns out to be the writer, until that is done.
func (a *App) migrate(ctx context.Context) {
	var done time.Time // the start of the server that is known to be up to date
	var said string
	for {
		var s postgres.Status
		select {
		case <-ctx.Done():
			return
		case s = <-a.toMigrator:
		}
		if s.ServerStarted.IsZero() || s.ServerStarted.Equal(done) {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, time.Minute)
		err := postgres.Migrate(limited, a.site.Writer(), a.log)
		cancel()
		switch {
		case err == nil:
			done, said = s.ServerStarted, ""
			a.log.Info("the schema is up to date", "version", postgres.SchemaVersion)
			a.site.Look(ctx)
		case errors.Is(err, fence.ErrStandby) || ctx.Err() != nil:
		case err.Error() != said: // once for each cause, not twice a second
			said = err.Error()
			a.log.Warn("the schema could not be brought up to date; trying again", "error", err)
		}
	}
}

// recover finishes what crashes left, while the site is active.
func (a *App) recover(ctx context.Context) {
	tick := time.NewTicker(a.config.RecoverEvery)
	defer tick.Stop()
	role := postgres.Down
	for {
		var s postgres.Status
		select {
		case <-ctx.Done():
			return
		case s = <-a.toRecovery:
			if became := s.Role == postgres.Active && role != postgres.Active; !became {
				role = s.Role
				continue
			}
			role = s.Role // right after a takeover, at once
		case <-tick.C:
		}
		if role == postgres.Active {
			a.recoverOnce(ctx)
		}
	}
}

// recoverOnce works until nothing is left, or something goes wrong.
func (a *App) recoverOnce(ctx context.Context) {
	for ctx.Err() == nil {
		found, finished, err := a.service.Recover(ctx)
		a.metrics.recoveryFound.Add(float64(found))
		a.metrics.recoveryFixed.Add(float64(finished))
		if err != nil && ctx.Err() == nil {
			a.log.Warn("recovery is not through", "found", found, "finished", finished, "error", err)
		} else if found > 0 {
			a.log.Info("recovery finished payments", "found", found, "finished", finished)
		}
		if err != nil || found == 0 {
			return
		}
	}
}
