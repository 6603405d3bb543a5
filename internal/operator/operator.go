package operator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"holdfast/internal/aws"
	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// Limits of the operator's calls.
const (
	// callLimit bounds one call to one region; a lost region does not answer at all.
	callLimit = 8 * time.Second
	// writeTries is how often a write starts again after a warden's renewal came first.
	writeTries = 20
	// pollEvery is how often progress is looked for.
	pollEvery = 300 * time.Millisecond
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrRefused: the request is valid, and the system's state forbids it or the holder turned it down.
	ErrRefused = errors.New("refused")
	// ErrEnvironment: something that the command needs (a store, a database, a region) can't be reached or read.
	ErrEnvironment = errors.New("the environment can't run this command")
)

// cloud is what the operator asks the two regions. Every call is bound to a site's region.
type cloud interface {
	globalCluster(ctx context.Context, s Site) (aws.GlobalCluster, error)
	service(ctx context.Context, s Site, name string) (aws.Service, error)
	// bounds are those of the application's autoscaling; 0 if it is not scaled.
	bounds(ctx context.Context, s Site) (minimum, maximum int, err error)
	targets(ctx context.Context, s Site, targetGroupARN string) ([]aws.Target, error)
}

// Operator acts on one deployment. Make it with [Open], or with [New] over given stores.
type Operator struct {
	cfg    Config
	stores []term.Store
	cloud  cloud
	lookup func(ctx context.Context, host string) ([]string, error)
	secret func(ctx context.Context, s Site) (string, error)
	// pause waits; tests replace it.
	pause func(ctx context.Context, d time.Duration) error
	// answered is the index of the replica that answered last.
	answered atomic.Int32
}

// Open makes an operator that reaches the deployment with the process's AWS configuration. Nothing is sent.
func Open(ctx context.Context, cfg Config, dnsServer string) (*Operator, error) {
	session, err := aws.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEnvironment, err)
	}
	var sites []string
	for _, s := range cfg.Sites {
		sites = append(sites, s.Name)
	}
	var stores []term.Store
	for _, region := range cfg.TermRegions {
		stores = append(stores, session.TermStore(region, cfg.TermTable, cfg.Suffix, sites...))
	}
	o := New(cfg, stores)
	o.cloud = regions{cfg: cfg, session: session}
	o.lookup = resolver(dnsServer)
	o.secret = func(ctx context.Context, s Site) (string, error) {
		return session.Secrets(s.Region).Password(ctx, s.DBSecretARN)
	}
	return o, nil
}

// New makes an operator over the term store's replicas, tried in turn. Its Status shows the record and the beacons,
// and of the regions only that they were not asked.
func New(cfg Config, stores []term.Store) *Operator {
	return &Operator{cfg: cfg, stores: stores, pause: wait}
}

// Config is the deployment that the operator acts on.
func (o *Operator) Config() Config { return o.cfg }

// Password reads the database password of a site from its region's secret.
func (o *Operator) Password(ctx context.Context, s Site) (string, error) {
	if o.secret == nil || s.DBSecretARN == "" {
		return "", fmt.Errorf("%w: no secret is known for the database of site %q", ErrEnvironment, s.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	password, err := o.secret(ctx, s)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrEnvironment, err)
	}
	return password, nil
}

// Record asks all replicas at once and returns the first answer: each is strongly consistent, and that of a lost
// region would only be waited for.
func (o *Operator) Record(ctx context.Context) (term.Record, error) {
	return first(ctx, o, func(ctx context.Context, s term.Store) (term.Record, error) { return s.Read(ctx) })
}

// Beacons reads the sites' beacons from the replica that answers first.
func (o *Operator) Beacons(ctx context.Context) (map[string]term.Beacon, error) {
	return first(ctx, o, func(ctx context.Context, s term.Store) (map[string]term.Beacon, error) { return s.Beacons(ctx) })
}

// first returns the first certain answer of any replica, and remembers whose it was.
func first[T any](ctx context.Context, o *Operator, ask func(context.Context, term.Store) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	type answer struct {
		replica int
		value   T
		err     error
	}
	answers := make(chan answer, len(o.stores))
	for i, s := range o.stores {
		go func() {
			value, err := ask(ctx, s)
			answers <- answer{i, value, err}
		}()
	}
	var errs []error
	for range o.stores {
		a := <-answers
		if a.err == nil || errors.Is(a.err, term.ErrNoRecord) {
			o.answered.Store(int32(a.replica))
			return a.value, a.err
		}
		errs = append(errs, a.err)
	}
	var none T
	return none, fmt.Errorf("%w: no replica of the term table answers: %w", ErrEnvironment, errors.Join(errs...))
}

// replicas are the stores, the one that answered last first: a write is sent to one after the other, and a lost
// region's would be waited for.
func (o *Operator) replicas() []term.Store {
	i := int(o.answered.Load())
	return append([]term.Store{o.stores[i]}, slices.Delete(slices.Clone(o.stores), i, i+1)...)
}

// change applies an edit to the newest record until a conditional write of it succeeds. edit returns false if there is
// nothing to write, or an error to give up.
func (o *Operator) change(ctx context.Context, edit func(*term.Record) (bool, error)) (term.Record, error) {
	var last error
	for range writeTries {
		r, err := o.Record(ctx)
		if err != nil {
			return term.Record{}, err
		}
		next := r
		write, err := edit(&next)
		if err != nil || !write {
			return r, err
		}
		next.Version, next.Nonce = r.Version+1, rand.Text()
		if last = o.write(ctx, next); last == nil {
			return next, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return term.Record{}, fmt.Errorf("change the record of %q: %w", o.cfg.Suffix, last)
}

// write sends one version, once to each replica until one answers, and reads again when the outcome is not known.
func (o *Operator) write(ctx context.Context, next term.Record) error {
	var errs []error
	for _, s := range o.replicas() {
		attempt, cancel := context.WithTimeout(ctx, callLimit)
		err := s.Write(attempt, next)
		cancel()
		if err == nil {
			return nil
		}
		errs = append(errs, err)
		if errors.Is(err, term.ErrConflict) {
			break
		}
	}
	if r, err := o.Record(ctx); err == nil && r.Nonce == next.Nonce {
		return nil
	}
	return errors.Join(errs...)
}

func (o *Operator) site(name string) (Site, error) {
	var names []string
	for _, s := range o.cfg.Sites {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Site{}, fmt.Errorf("%w: the deployment has no site %q, only %q", ErrUsage, name, names)
}

// lag bounds from above what a site's database lacks, by the same rule as the wardens.
func lag(r term.Record, b term.Beacon) (time.Duration, bool) {
	return failover.Lag(failover.Observation{
		Store: failover.StoreView{Readable: true, Record: r},
		Database: failover.DatabaseView{
			Reachable: true, LeaseTerm: b.LineageTerm, DrainedTerm: b.DrainedTerm, ValidUntil: b.CoveredUntil, Pin: failover.ReportedPin(b.Pin),
		},
	})
}

// ExitCode maps an error of this package to the exit code of the command that met it: 0 without an error, 2 for a
// wrong call, 3 for an environment that can't run it, 1 for everything else.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrUsage):
		return 2
	case errors.Is(err, ErrEnvironment):
		return 3
	}
	return 1
}
