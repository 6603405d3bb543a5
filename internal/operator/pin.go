package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/fence"
	"holdfast/internal/term"
)

// minPin is the shortest pin, in leases: below that it would be over before anything has come of it.
const minPin = 3

// stopLimit is how long a scheduler lets a warden run on that it stops, and does not count any more (stopTimeout in
// infra/modules/warden).
const stopLimit = 30 * time.Second

// PinRequest asks that a site goes on without the term store (P18).
type PinRequest struct {
	// Site is the one that shall go on; By and Reason are kept in its database.
	Site, By, Reason string
	// For is how long, at most [fence.MaxPin].
	For time.Duration
	// Databases are connection strings by site, tried in turn.
	Databases map[string][]string
	// PeerStopped: the other site's wardens are stopped, so its database need not show the pin. Its scheduler must say so
	// too, unless IHaveStopped names the site: then the operator's word is taken, and kept with the pin. A database of the
	// other site that answers is believed more than either.
	PeerStopped  bool
	IHaveStopped string
	// DryRun checks everything and changes nothing.
	DryRun   bool
	Progress func(string)
}

// Pinned is the outcome of [Operator.Pin].
type Pinned struct {
	Site string      `json:"site"`
	Term term.Number `json:"term"`
	// Until is the end of the pin, on the database's clock.
	Until time.Time `json:"until"`
	// Evidence says how it is known that the other site stands still.
	Evidence string `json:"evidence"`
	Plan     Plan   `json:"plan"`
}

// Pin opens the glass: the site may take writes until the pin ends, without the store. It is safe only if the other site
// stands still as long, so it is done in this order: the pin is written unconfirmed into the site's database; the other
// site's copy shows it, from which on no warden there brings a term into service; a lease and margin go by, in which
// everything ends that was begun before; the copy still is one; and only then the pin is confirmed and gives a lease.
// Where the other site's wardens are stopped instead, no copy has to show the pin, but the rest is the same: whatever
// lease they gave last is waited out, and scheduler and database are asked before and after.
// A command that is interrupted leaves a pin that gives nothing, or ends it.
func (o *Operator) Pin(ctx context.Context, q PinRequest) (Pinned, error) {
	p := pinning{Operator: o, q: q, plan: newPlan("pin", q.DryRun, q.Progress)}
	if err := p.check(ctx); err != nil {
		return Pinned{}, err
	}
	conn, err := connect(ctx, q.Databases[p.site.Name])
	if err != nil {
		return Pinned{}, fmt.Errorf("%w: the database of %s: %w", ErrEnvironment, p.site.Name, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	state, err := p.holder(ctx, conn)
	if err != nil {
		return Pinned{}, err
	}
	if err := p.otherSite(ctx); err != nil {
		return Pinned{}, err
	}
	done := Pinned{Site: q.Site, Term: p.pin.Term, Evidence: p.evidence, Until: state.DatabaseTime.Add(q.For)}
	err = p.open(ctx, conn)
	if err != nil && p.begun {
		err = errors.Join(err, p.withdraw(context.WithoutCancel(ctx)))
	}
	if p.pin.ID != 0 {
		done.Until = p.pin.PinnedAt.Add(q.For)
	}
	done.Plan = p.plan.Plan
	return done, err
}

// withdraw ends a pin that came to nothing, on a connection of its own: the other one may have been cut off in the middle
// of a statement. The other site must not stand still for it.
func (p *pinning) withdraw(ctx context.Context) error {
	conn, err := connect(ctx, p.q.Databases[p.site.Name])
	if err == nil {
		defer conn.Close(ctx)
		limited, cancel := context.WithTimeout(ctx, callLimit)
		defer cancel()
		_, err = fence.EndPins(limited, conn, "the command that set it failed")
	}
	if err != nil {
		return fmt.Errorf("the pin stands, unconfirmed, and keeps %s still: run 'holdfast unpin': %w", p.peer.Name, err)
	}
	return nil
}

// pinning is one pin under way.
type pinning struct {
	*Operator
	q          PinRequest
	plan       *planner
	site, peer Site
	pin        fence.Pin
	evidence   string
	// terms is the lineage of the site's database.
	terms  []term.Number
	byWord bool
	// begun: the pin may be in the database.
	begun bool
}

func (p *pinning) check(ctx context.Context) error {
	var err error
	if p.site, err = p.Operator.site(p.q.Site); err != nil {
		return err
	}
	p.peer = p.other(p.site)
	lease, margin := p.cfg.Lease(), p.cfg.Margin()
	switch {
	case p.q.For < minPin*lease || p.q.For > fence.MaxPin:
		return fmt.Errorf("%w: a pin for %v: want %v to %v", ErrUsage, p.q.For, minPin*lease, fence.MaxPin)
	case p.q.Reason == "":
		return fmt.Errorf("%w: a pin without a reason", ErrUsage)
	case p.q.IHaveStopped != "" && p.q.IHaveStopped != p.peer.Name:
		return fmt.Errorf("%w: %q is not the other site, %q is", ErrUsage, p.q.IHaveStopped, p.peer.Name)
	}
	p.pin = fence.Pin{Site: p.site.Name, For: p.q.For, Lease: lease, Margin: margin, By: p.q.By, Reason: p.q.Reason}
	switch r, err := p.Record(ctx); {
	case err == nil:
		return fmt.Errorf("%w: the term store answers (term %d, held by %s), and a pin ends at its first answer: %s needs none",
			ErrRefused, r.Term, r.Holder, r.Holder)
	case errors.Is(err, term.ErrNoRecord):
		return fmt.Errorf("%w: the term store answers that it has no record: run 'holdfast init'", ErrRefused)
	case !errors.Is(err, ErrEnvironment):
		return err
	}
	p.plan.saw("the term store does not answer from here")
	return nil
}

// holder checks that the site's database is the one that served last.
func (p *pinning) holder(ctx context.Context, conn *pgx.Conn) (fence.State, error) {
	s, err := fence.Sample(ctx, conn)
	if err != nil {
		return s, fmt.Errorf("%w: the database of %s: %w", ErrEnvironment, p.site.Name, err)
	}
	refuse := func(format string, args ...any) (fence.State, error) {
		return s, fmt.Errorf("%w: the database of %s %s", ErrRefused, p.site.Name, fmt.Sprintf(format, args...))
	}
	switch {
	case s.InRecovery:
		return refuse("is a standby: pin the site that was active")
	case len(s.Terms) == 0:
		return refuse("has served no term")
	case s.Lease.SealedTerm >= slices.Max(s.Terms):
		return refuse("is sealed for a hand-over of term %d: only the store can say who has it now", s.Lease.SealedTerm)
	case s.Pin.Open() && s.Pin.Term == slices.Max(s.Terms):
		return refuse("has a pin already, set by %s at %s: %s ('holdfast unpin' ends it)",
			s.Pin.By, s.Pin.PinnedAt.UTC().Format(time.RFC3339), s.Pin.Reason)
	}
	p.pin.Term, p.terms = slices.Max(s.Terms), s.Terms
	p.plan.saw("the database of %s takes writes in term %d, and is not sealed", p.site.Name, p.pin.Term)
	return s, nil
}

// otherSite finds out how it will be known that the other site stands still.
func (p *pinning) otherSite(ctx context.Context) error {
	if !p.q.PeerStopped && p.q.IHaveStopped == "" {
		return p.copyOf(ctx)
	}
	p.byWord = true
	if err := p.stopped(ctx); err != nil {
		return err
	}
	p.plan.saw("%s", p.evidence)
	return nil
}

// stopped takes the word of the other site's scheduler, or the operator's, that no warden runs there, unless its database
// says otherwise.
func (p *pinning) stopped(ctx context.Context) error {
	word, err := p.word(ctx)
	if err != nil {
		return err
	}
	database, err := p.behind(ctx)
	p.evidence = word + "; " + database
	return err
}

// word is who says that no warden of the other site runs.
func (p *pinning) word(ctx context.Context) (string, error) {
	running, err := p.wardens(ctx, p.peer)
	switch {
	case err == nil && running == 0:
		return fmt.Sprintf("the scheduler of %s runs no warden and wants none", p.peer.Name), nil
	case err == nil:
		return "", fmt.Errorf("%w: %d wardens of %s run or are wanted: set the desired count of %s to 0", ErrRefused, running, p.peer.Name, p.peer.WardenService)
	case p.q.IHaveStopped == p.peer.Name:
		return fmt.Sprintf("%s vouches that the wardens of %s are stopped; its scheduler does not answer: %v", p.q.By, p.peer.Name, err), nil
	}
	return "", fmt.Errorf("%w: the scheduler of %s does not say that its wardens are stopped: %w (if you have stopped them yourself, "+
		"and keep them so until the pin ends, pass --i-have-stopped %s)", ErrRefused, p.peer.Name, err, p.peer.Name)
}

// behind asks the other site's database, if it can be had, whether it has gone its own way: then the other site has the
// term, and what runs there does not matter any more.
func (p *pinning) behind(ctx context.Context) (string, error) {
	s, err := sample(ctx, p.q.Databases[p.peer.Name])
	if err != nil {
		return fmt.Sprintf("the database of %s does not answer: %v", p.peer.Name, err), nil
	}
	for _, n := range s.Terms {
		if !slices.Contains(p.terms, n) {
			return "", fmt.Errorf("%w: the database of %s has term %d, which that of %s has not (%v): %s has taken over, so pin that one, "+
				"or wait for the term store", ErrRefused, p.peer.Name, n, p.site.Name, p.terms, p.peer.Name)
		}
	}
	if !s.InRecovery {
		return "", fmt.Errorf("%w: the database of %s takes writes, so the writer has moved, and pinning %s would make two: if it is an "+
			"old volume, stop that database first", ErrRefused, p.peer.Name, p.site.Name)
	}
	return fmt.Sprintf("the database of %s is a copy", p.peer.Name), nil
}

// copyOf checks that the other site's database is a copy that can show the pin.
func (p *pinning) copyOf(ctx context.Context) error {
	s, err := sample(ctx, p.q.Databases[p.peer.Name])
	switch {
	case err != nil:
		return fmt.Errorf("%w: the database of %s does not answer, so it can't be seen that it stands still: %w "+
			"(stop its wardens and pass --peer-stopped)", ErrRefused, p.peer.Name, err)
	case !s.InRecovery:
		return fmt.Errorf("%w: the database of %s takes writes, so the writer has moved: pinning %s would make two", ErrRefused, p.peer.Name, p.site.Name)
	case !slices.Equal(s.Terms, p.terms):
		return fmt.Errorf("%w: the database of %s is a copy with the terms %v, not %v: it does not follow %s",
			ErrRefused, p.peer.Name, s.Terms, p.terms, p.site.Name)
	}
	p.evidence = fmt.Sprintf("the copy of %s shows the pin, and still was a copy a lease and margin later", p.peer.Name)
	p.plan.saw("the database of %s follows", p.peer.Name)
	return nil
}

// open sets the pin, sees the other site stand still, and confirms it.
func (p *pinning) open(ctx context.Context, conn *pgx.Conn) error {
	err := p.plan.do(p.site.Name, "write the pin, unconfirmed", "it gives nothing yet, and replicates", func() error {
		if err := fence.EnsureSchema(ctx, conn); err != nil {
			return err
		}
		p.begun = true
		pin, err := fence.SetPin(ctx, conn, p.pin)
		if err == nil {
			p.pin = pin
		}
		return err
	})
	if err != nil {
		return err
	}
	if p.byWord {
		err = p.outlasted(ctx)
	} else {
		err = p.seen(ctx)
	}
	if err != nil {
		return err
	}
	err = p.plan.do(p.site.Name, "confirm the pin", p.evidence, func() error { return fence.ConfirmPin(ctx, conn, p.pin.ID, p.evidence) })
	if err != nil {
		return err
	}
	return p.plan.do(p.site.Name, "wait until writes pass", "its wardens see the confirmed pin and extend the lease", func() error {
		return p.taken(ctx, conn)
	})
}

// seen waits for the other site's copy to show the pin, and still to be one a lease and margin later.
func (p *pinning) seen(ctx context.Context) error {
	err := p.plan.do(p.peer.Name, "wait until the copy shows the pin", "from then on no warden there brings a term into service",
		func() error { return p.shown(ctx) })
	if err != nil {
		return err
	}
	rest := p.pin.Lease + p.pin.Margin
	return p.plan.do(p.peer.Name, fmt.Sprintf("wait %v, and look again", rest), "a promotion that was asked for before then ends within it",
		func() error {
			if err := wait(ctx, rest); err != nil {
				return err
			}
			return p.shownNow(ctx)
		})
}

// outlasted waits until nothing is left of what the other site's wardens did before they were stopped, and looks again.
func (p *pinning) outlasted(ctx context.Context) error {
	rest := stopLimit + p.pin.Lease + p.pin.Margin
	return p.plan.do(p.peer.Name, fmt.Sprintf("wait %v, and look again", rest),
		"a warden that is being stopped is gone then, and so is the lease that it gave its database last", func() error {
			if err := p.pause(ctx, rest); err != nil {
				return err
			}
			return p.stopped(ctx)
		})
}

// shown waits until the other site's copy shows the pin.
func (p *pinning) shown(ctx context.Context) error {
	for {
		err := p.shownNow(ctx)
		if err == nil || errors.Is(err, ErrRefused) {
			return err
		}
		if waitErr := wait(ctx, pollEvery); waitErr != nil {
			return fmt.Errorf("%w: %w", ErrEnvironment, err)
		}
	}
}

func (p *pinning) shownNow(ctx context.Context) error {
	s, err := sample(ctx, p.q.Databases[p.peer.Name])
	switch {
	case err != nil:
		return err
	case !s.InRecovery:
		return fmt.Errorf("%w: the database of %s has become a writer meanwhile", ErrRefused, p.peer.Name)
	case s.Pin.ID != p.pin.ID || !s.Pin.Open():
		return fmt.Errorf("the copy of %s does not show the pin yet", p.peer.Name)
	}
	return nil
}

// taken waits until commits pass in the pinned site.
func (p *pinning) taken(ctx context.Context, conn *pgx.Conn) error {
	for {
		s, err := fence.Sample(ctx, conn)
		if err == nil && s.LeaseValid() {
			return nil
		}
		if err == nil && !s.Pin.Open() {
			return fmt.Errorf("%w: the pin was ended: the term store answers the wardens of %s", ErrRefused, p.site.Name)
		}
		if waitErr := wait(ctx, pollEvery); waitErr != nil {
			return fmt.Errorf("the pin was confirmed, but no warden of %s extended its lease in time, so it is taken back: %w",
				p.site.Name, errors.Join(waitErr, err))
		}
	}
}

// UnpinRequest asks for a pin's end.
type UnpinRequest struct {
	By, Reason string
	Databases  map[string][]string
	// IHaveStopped names the pinned site, if it is lost and its database can't be told: the operator vouches that none of
	// its wardens runs, and the other site stops abstaining.
	IHaveStopped string
	DryRun       bool
	Progress     func(string)
}

// Unpinned is the outcome of [Operator.Unpin].
type Unpinned struct {
	// Site was pinned; empty if none was.
	Site string      `json:"site,omitempty"`
	Term term.Number `json:"term,omitempty"`
	Plan Plan        `json:"plan"`
}

// Unpin ends the pin. In the pinned site's database that is all; its leases run out, and the other site waits for that. If
// the pinned site is lost, the record takes the operator's word that it stands still.
func (o *Operator) Unpin(ctx context.Context, q UnpinRequest) (Unpinned, error) {
	plan := newPlan("unpin", q.DryRun, q.Progress)
	if q.IHaveStopped != "" {
		return o.liftPin(ctx, q, plan)
	}
	var errs []error
	for _, site := range o.cfg.Sites {
		conn, err := connect(ctx, q.Databases[site.Name])
		if err != nil {
			errs = append(errs, fmt.Errorf("the database of %s: %w", site.Name, err))
			continue
		}
		defer conn.Close(context.WithoutCancel(ctx))
		s, err := fence.Sample(ctx, conn)
		if err != nil {
			errs = append(errs, fmt.Errorf("the database of %s: %w", site.Name, err))
			continue
		}
		if s.InRecovery || !s.Pin.Open() {
			continue
		}
		err = plan.do(site.Name, "end the pin", "its leases run out, and the other site waits for that", func() error {
			_, err := fence.EndPins(ctx, conn, q.By+": "+q.Reason)
			return err
		})
		return Unpinned{Site: site.Name, Term: s.Pin.Term, Plan: plan.Plan}, err
	}
	if len(errs) > 0 {
		return Unpinned{}, fmt.Errorf("%w: no database that answers has an open pin, and not all answer: %w (if the pinned site is lost, "+
			"make sure that none of its wardens runs and pass --i-have-stopped SITE)", ErrEnvironment, errors.Join(errs...))
	}
	return Unpinned{Plan: plan.Plan}, nil
}

// liftPin lets the other site go on although its copy shows a pin that nobody can end.
func (o *Operator) liftPin(ctx context.Context, q UnpinRequest, plan *planner) (Unpinned, error) {
	pinned, err := o.site(q.IHaveStopped)
	if err != nil {
		return Unpinned{}, err
	}
	other := o.other(pinned)
	s, err := sample(ctx, q.Databases[other.Name])
	if err != nil {
		return Unpinned{}, fmt.Errorf("%w: the database of %s: %w", ErrEnvironment, other.Name, err)
	}
	if !s.Pin.Open() || s.Pin.Site != pinned.Name {
		return Unpinned{Plan: plan.Plan}, nil
	}
	if running, err := o.wardens(ctx, pinned); err == nil && running > 0 {
		return Unpinned{}, fmt.Errorf("%w: %d wardens of %s run or are wanted: set the desired count of %s to 0", ErrRefused, running, pinned.Name, pinned.WardenService)
	}
	done := Unpinned{Site: pinned.Name, Term: s.Pin.Term}
	err = plan.do(other.Name, "write into the record that the pin is over", q.By+" vouches that "+pinned.Name+" stands still", func() error {
		_, err := o.change(ctx, func(r *term.Record) (bool, error) {
			r.UnpinnedTerm, r.UnpinnedBy = max(r.UnpinnedTerm, s.Pin.Term), q.By+": "+q.Reason
			return true, nil
		})
		return err
	})
	done.Plan = plan.Plan
	return done, err
}

// wardens counts a site's wardens, running, starting or wanted.
func (o *Operator) wardens(ctx context.Context, s Site) (int, error) {
	if o.cloud == nil {
		return 0, errors.New("the region was not asked")
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	service, err := o.cloud.service(ctx, s, s.WardenService)
	return max(service.Running+service.Pending, service.Desired), err
}

// other is the deployment's other site.
func (o *Operator) other(s Site) Site {
	for _, other := range o.cfg.Sites {
		if other.Name != s.Name {
			return other
		}
	}
	return Site{}
}

func connect(ctx context.Context, dsns []string) (*pgx.Conn, error) {
	errs := []error{errors.New("no endpoint answers")}
	for _, dsn := range dsns {
		attempt, cancel := context.WithTimeout(ctx, callLimit)
		conn, err := pgx.Connect(attempt, dsn)
		cancel()
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
