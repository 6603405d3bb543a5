package operator

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"holdfast/internal/fence"
	"holdfast/internal/term"
)

// DefaultTakeoverBudget is how many hand-overs for health may happen before one needs an approval (P19).
const DefaultTakeoverBudget = 3

// InitOptions say how a deployment's record is created.
type InitOptions struct {
	// Databases are connection strings by site, tried in turn: the new term must be above every term in both (P1).
	Databases map[string][]string
	// HighestTerm replaces asking the databases, if VouchForTerm is set: the caller vouches that no database has a
	// higher one.
	HighestTerm  term.Number
	VouchForTerm bool
	// Holder is the site that gets the first term; empty means the first site.
	Holder string
	// Lease and Margin replace the configuration's, if they are not zero.
	Lease, Margin time.Duration
	// TakeoverBudget is DefaultTakeoverBudget if it is zero.
	TakeoverBudget int
}

// Init creates the record (P1). It is the only code that does, and it refuses if there is one already. Over databases that
// have served, a record is missing because it was lost: then wardens may still trust in the lost one, and write into their
// database under it, so the command first waits until no such trust is left, and looks again.
func (o *Operator) Init(ctx context.Context, opt InitOptions) (term.Record, error) {
	first, err := o.PreviewInit(ctx, opt)
	if err == nil && first.ServedTerm > 0 {
		if err := o.pause(ctx, first.Lease()+first.Margin()); err != nil {
			return first, fmt.Errorf("%w: wait until nobody trusts in the lost record any more (%v): %w",
				ErrEnvironment, first.Lease()+first.Margin(), err)
		}
		first, err = o.PreviewInit(ctx, opt)
	}
	if err != nil {
		return first, err
	}
	return first, o.create(ctx, first)
}

// PreviewInit checks everything and returns the record that [Operator.Init] would create.
func (o *Operator) PreviewInit(ctx context.Context, opt InitOptions) (term.Record, error) {
	switch r, err := o.Record(ctx); {
	case err == nil:
		return r, fmt.Errorf("%w: the deployment %q has a record already: term %d, held by %s",
			ErrRefused, o.cfg.Suffix, r.Term, r.Holder)
	case !errors.Is(err, term.ErrNoRecord):
		return term.Record{}, err
	}
	holder := cmp.Or(opt.Holder, o.cfg.Sites[0].Name)
	if _, err := o.site(holder); err != nil {
		return term.Record{}, err
	}
	highest := opt.HighestTerm
	if !opt.VouchForTerm {
		var err error
		if highest, err = o.highestTerm(ctx, opt.Databases, holder); err != nil {
			return term.Record{}, err
		}
	}
	// Reports survive the loss of the record, and may know of a term that is in no database any more: a stale copy was
	// promoted by hand, and the other one rebuilt from it.
	beacons, err := o.Beacons(ctx)
	if err != nil {
		return term.Record{}, err
	}
	for _, b := range beacons {
		highest = max(highest, b.LineageTerm)
	}
	first := term.Record{
		Deployment: o.cfg.Suffix, Version: 1, Term: highest + 1, Holder: holder, Renewal: 1, Nonce: rand.Text(),
		LeaseMS: cmp.Or(opt.Lease, o.cfg.Lease()).Milliseconds(), MarginMS: cmp.Or(opt.Margin, o.cfg.Margin()).Milliseconds(),
		State: term.Held, ServedTerm: highest, // MovedAt stays zero: nothing has moved yet, so no cool-down runs
		TakeoverBudget: cmp.Or(opt.TakeoverBudget, DefaultTakeoverBudget),
	}
	if err := first.Validate(); err != nil {
		return term.Record{}, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	return first, nil
}

func (o *Operator) create(ctx context.Context, first term.Record) error {
	var errs []error
	for _, s := range o.replicas() {
		attempt, cancel := context.WithTimeout(ctx, callLimit)
		err := s.Create(attempt, first)
		cancel()
		if err == nil {
			return nil
		}
		errs = append(errs, err)
		if errors.Is(err, term.ErrConflict) {
			break
		}
	}
	// A lost answer, or another init at the same time: the record tells whose it is.
	switch r, err := o.Record(ctx); {
	case err == nil && r.Nonce == first.Nonce:
		return nil
	case err == nil:
		return fmt.Errorf("%w: somebody else created the record of %q meanwhile: term %d, held by %s",
			ErrRefused, o.cfg.Suffix, r.Term, r.Holder)
	}
	return fmt.Errorf("%w: create the record of %q, outcome unknown, look with 'holdfast status': %w",
		ErrEnvironment, o.cfg.Suffix, errors.Join(errs...))
}

// highestTerm asks both databases; each must answer, because a missed one could have served a later term.
func (o *Operator) highestTerm(ctx context.Context, databases map[string][]string, holder string) (term.Number, error) {
	var highest term.Number
	states := map[string]fence.State{}
	for _, site := range o.cfg.Sites {
		s, err := sample(ctx, databases[site.Name])
		if err != nil {
			return 0, fmt.Errorf("%w: read the terms in the database of site %q: %w (the new term must be above every "+
				"term in both databases; if one cannot be reached from here, run the command where it can, or vouch for "+
				"the highest with --highest-term)", ErrEnvironment, site.Name, err)
		}
		states[site.Name] = s
		for _, n := range append(s.Terms, s.Lease.Term, s.Lease.SealedTerm) {
			highest = max(highest, n)
		}
	}
	if states[holder].InRecovery {
		for _, site := range o.cfg.Sites {
			if !states[site.Name].InRecovery {
				return 0, fmt.Errorf("%w: the database of %q is a standby and that of %q is the writer: pass --holder %s",
					ErrRefused, holder, site.Name, site.Name)
			}
		}
	}
	return highest, nil
}
