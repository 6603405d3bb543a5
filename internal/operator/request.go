package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/reconcile"
	"holdfast/internal/term"
)

// Request asks for a move of the active site.
type Request struct {
	// To is the site that shall be active, By and Reason are kept in the record.
	To, By, Reason string
	// Commanded makes the approval of a takeover one that counts in mode manual too (P17).
	Commanded bool
	// Progress is told what happens, one short sentence at a time; nil is silence.
	Progress func(string)
}

// Moved is the outcome of a move.
type Moved struct {
	// Already says that the site was the active one before anything was asked.
	Already bool `json:"already"`
	// Term is the term that the site serves now.
	Term term.Number   `json:"term"`
	Site string        `json:"site"`
	From string        `json:"from"`
	Took time.Duration `json:"-"`
	// TookMS is Took in milliseconds.
	TookMS int64 `json:"took_ms"`
}

func (q *Request) tell(format string, args ...any) {
	if q.Progress != nil {
		q.Progress(fmt.Sprintf(format, args...))
	}
}

// Switchover asks the holder to hand its term over without loss (P14) and waits until the target serves, the holder
// has turned the request down ([ErrRefused]), or ctx ends. The request stays in the record when ctx ends first.
func (o *Operator) Switchover(ctx context.Context, q Request) (Moved, error) {
	began := time.Now()
	if _, err := o.site(q.To); err != nil {
		return Moved{}, err
	}
	start, err := o.change(ctx, request(q, began.UTC()))
	if err != nil {
		return Moved{}, err
	}
	if start.Holder == q.To {
		return o.arrived(ctx, q, start, began)
	}
	q.tell("asked %s to hand term %d over to %s", start.Holder, start.Term, q.To)
	return o.await(ctx, q, start, began, func(r term.Record, heard string) error {
		why := "its wardens' journals say why"
		if heard != "" {
			why = "before that, " + heard
		}
		switch {
		case r.Holder != q.To && r.Term > start.Term:
			return fmt.Errorf("%w: %s took the hand-over back under term %d; %s", ErrRefused, r.Holder, r.Term, why)
		case r.Term == start.Term && r.State == term.Held && r.Wanted == nil:
			return fmt.Errorf("%w: %s turned the request down, or somebody has withdrawn it; %s", ErrRefused, r.Holder, why)
		}
		return nil
	})
}

// request is the edit of the record that asks for a switchover.
func request(q Request, at time.Time) func(*term.Record) (bool, error) {
	return func(r *term.Record) (bool, error) {
		switch {
		case r.Holder == q.To && r.State == term.Held:
			return false, nil
		case r.State != term.Held:
			return false, fmt.Errorf("%w: term %d is already %s by %s: wait until it has a holder again",
				ErrRefused, r.Term, r.State, r.Holder)
		case r.Wanted != nil && r.Wanted.Site != q.To:
			return false, fmt.Errorf("%w: %s has already asked for site %q", ErrRefused, r.Wanted.By, r.Wanted.Site)
		}
		r.Wanted = &term.Wanted{Site: q.To, By: q.By, Reason: q.Reason, At: at}
		r.TakeoverBudget = max(r.TakeoverBudget, DefaultTakeoverBudget) // somebody is looking: health may move the site again (P19)
		return true, nil
	}
}

// WithdrawSwitchover takes somebody's request for a switchover to a site out of the record: a holder that has sealed its database
// for it takes the hand-over back. It returns false if there was nothing, and [ErrRefused] if the other site has replayed
// everything, because then the writer may be on its way, and if the wardens have made the request themselves.
func (o *Operator) WithdrawSwitchover(ctx context.Context, site string) (was bool, err error) {
	if _, err := o.site(site); err != nil {
		return false, err
	}
	beacons, err := o.Beacons(ctx)
	if err != nil {
		return false, err
	}
	_, err = o.change(ctx, func(r *term.Record) (bool, error) {
		if r.Wanted == nil || r.Wanted.Site != site {
			return false, nil
		}
		b := beacons[site]
		switch {
		case r.State != term.Held, b.DrainedTerm >= r.Term, b.ObservedWriter == site:
			return false, fmt.Errorf("%w: the writer is on its way to %s: let it arrive, and ask for a switchover back", ErrRefused, site)
		case failover.AskedByWarden(r.Wanted):
			return false, fmt.Errorf("%w: %s asks for it, and would again, because %s: mend that; in mode manual they do not ask", ErrRefused, r.Wanted.By, r.Wanted.Reason)
		}
		was, r.Wanted = true, nil
		return true, nil
	})
	return was && err == nil, err
}

func approvalOf(q Request, r term.Record, at time.Time, allowDataLoss bool, validFor time.Duration) term.Approval {
	return term.Approval{Term: r.Term, By: q.By, Reason: q.Reason, Expires: at.Add(validFor).UTC(), AllowDataLoss: allowDataLoss, Commanded: q.Commanded}
}

// Failover approves that a site takes the present term's place after its holder has fallen silent (P11, P17), with
// the loss of data if allowDataLoss, and waits until the site serves or ctx ends. It never takes the term from a
// holder that renews: the lease is waited out all the same. validFor bounds the approval.
func (o *Operator) Failover(ctx context.Context, q Request, allowDataLoss bool, validFor time.Duration) (Moved, error) {
	began := time.Now()
	if _, err := o.site(q.To); err != nil {
		return Moved{}, err
	}
	start, err := o.Record(ctx)
	if err != nil {
		return Moved{}, err
	}
	if start.Holder == q.To {
		return o.arrived(ctx, q, start, began)
	}
	if allowDataLoss {
		if err := o.refuseNeedlessLoss(ctx, q.To); err != nil {
			return Moved{}, err
		}
	}
	approval := approvalOf(q, start, began, allowDataLoss, validFor)
	if err := o.approve(ctx, q.To, approval); err != nil {
		return Moved{}, err
	}
	q.tell("approved that %s takes over from term %d of %s", q.To, start.Term, start.Holder)
	renewing := start.Renewal
	return o.await(ctx, q, start, began, func(r term.Record, heard string) error {
		if r.Term != start.Term {
			if r.Holder == q.To {
				return nil
			}
			return fmt.Errorf("%w: %s holds term %d now, and the approval was for term %d", ErrRefused, r.Holder, r.Term, start.Term)
		}
		if r.Renewal != renewing {
			renewing = r.Renewal
			if allowDataLoss {
				return errors.Join(needlessLoss(r, q.To), o.withdraw(ctx, q.To, approval))
			}
			q.tell("%s still renews its lease; a live site is moved with 'holdfast switchover --to %s'", r.Holder, q.To)
		}
		if !time.Now().Before(approval.Expires) {
			return fmt.Errorf("%w: the approval expired before %s could take over: %s", ErrRefused, q.To,
				cmp.Or(heard, "'holdfast status' shows what it waits for"))
		}
		// A warden's beacon may have replaced the one that carried the approval. A store that does not answer now is asked
		// again: the approval stands, or is put there then.
		if err := o.approve(ctx, q.To, approval); err != nil && !errors.Is(err, ErrEnvironment) {
			return err
		}
		return nil
	})
}

// arrived is the outcome for a site that holds the term: it serves, or is waited for until it does. A term that it lets go of
// is nobody's yet.
func (o *Operator) arrived(ctx context.Context, q Request, start term.Record, began time.Time) (Moved, error) {
	lost := func(r term.Record) error {
		switch {
		case r.Holder != q.To:
			return fmt.Errorf("%w: %s holds term %d now", ErrRefused, r.Holder, r.Term)
		case r.State != term.Held:
			return fmt.Errorf("%w: term %d of %s is %s, so no site serves: the other site takes it, or %s takes the next one once its database "+
				"and its application are well; 'holdfast status' shows what is not", ErrRefused, r.Term, r.Holder, r.State, r.Holder)
		}
		return nil
	}
	if err := lost(start); err != nil {
		return Moved{}, err
	}
	if start.ServedTerm == start.Term {
		return Moved{Already: true, Term: start.Term, Site: q.To, From: q.To}, nil
	}
	q.tell("%s holds term %d already, and does not serve it yet", q.To, start.Term)
	return o.await(ctx, q, start, began, func(r term.Record, _ string) error { return lost(r) })
}

// TailSaved takes an operator's word that the end of a term is saved: the database service rebuilt the old volume before
// its wardens could export it, and somebody has read it from the snapshot. It is [ErrRefused] if the record misses no such
// end, and if an export is shown for it that does not end with this term. by is kept in the record, with the export's
// checksum; the wardens journal it.
func (o *Operator) TailSaved(ctx context.Context, n term.Number, by string, export *reconcile.Summary) (term.Record, error) {
	if export != nil && export.Term != n {
		return term.Record{}, fmt.Errorf("%w: %s ends with term %d, not with term %d: it is of another time", ErrRefused, export.Folder, export.Term, n)
	}
	by = fmt.Sprintf("term %d: %s", n, by)
	if export != nil {
		by += fmt.Sprintf(" (%s: %d rows missing, %d different, manifest sha256 %s)", filepath.Base(export.Folder), export.Missing, export.Different, export.SHA256)
	}
	return o.change(ctx, func(r *term.Record) (bool, error) {
		if !slices.Contains(r.TailOf, n) {
			return false, fmt.Errorf("%w: the record does not miss the end of term %d (tail_of is %d)", ErrRefused, n, r.TailOf)
		}
		*r = r.WithoutTail(n)
		r.TailSavedBy = by
		return true, nil
	})
}

// approve puts the approval into the site's beacon unless it is there. The beacon's sequence stays: only a warden's
// own report is a sign of life.
func (o *Operator) approve(ctx context.Context, site string, a term.Approval) error {
	beacons, err := o.Beacons(ctx)
	if err != nil {
		return err
	}
	b, ok := beacons[site]
	if ok && b.Approval != nil && b.Approval.Term == a.Term && b.Approval.AllowDataLoss == a.AllowDataLoss && b.Approval.Commanded == a.Commanded &&
		b.Approval.Expires.Equal(a.Expires) {
		return nil
	}
	if !ok {
		b = term.Beacon{Deployment: o.cfg.Suffix, Site: site, Warden: "operator", NotReadyBecause: "no warden has reported yet"}
	}
	b.Approval = &a
	var errs []error
	for _, s := range o.replicas() {
		attempt, cancel := context.WithTimeout(ctx, callLimit)
		err := s.PutBeacon(attempt, b)
		cancel()
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("%w: write the approval: %w", ErrEnvironment, errors.Join(errs...))
}

// await polls until the site serves a later term. stop ends the wait with an error; it is told what the sites' wardens waited
// for last.
func (o *Operator) await(ctx context.Context, q Request, start term.Record, began time.Time, stop func(term.Record, string) error) (
	Moved, error,
) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	said, heard := "", ""
	for {
		r, err := o.Record(ctx)
		if err == nil {
			if phase := phaseOf(r, start, q.To); phase != said {
				said = phase
				q.tell("%s", phase)
			}
			if r.Holder == q.To && (r.Term > start.Term || start.Holder == q.To) && r.ServedTerm == r.Term && r.State == term.Held {
				took := time.Since(began)
				return Moved{Term: r.Term, Site: q.To, From: start.Holder, Took: took, TookMS: took.Milliseconds()}, nil
			}
			if waits := o.waits(ctx, r, q.To); waits != "" && waits != heard {
				heard = waits
				q.tell("%s", heard)
			}
			if err := stop(r, heard); err != nil {
				return Moved{}, err
			}
		} else if phase := "the term store does not answer"; phase != said {
			said = phase
			q.tell("%s: %v", phase, err)
		}
		select {
		case <-ctx.Done():
			return Moved{}, fmt.Errorf("wait until %s serves: %w (last: %s; what was asked for stands, 'holdfast status' shows its state; "+
				"'holdfast switchover --withdraw --to %s' takes a request back, 'holdfast approve --withdraw --to %s' an approval)",
				q.To, ctx.Err(), strings.Join(slices.DeleteFunc([]string{said, heard}, func(s string) bool { return s == "" }), "; "), q.To, q.To)
		case <-tick.C:
		}
	}
}

// waits are the gates that keep the holder and the site that shall follow it waiting, in the words of their own beacons.
func (o *Operator) waits(ctx context.Context, r term.Record, to string) string {
	beacons, err := o.Beacons(ctx)
	if err != nil {
		return "" // the next look asks again
	}
	var all []string
	now := Status{At: time.Now()}
	for _, site := range slices.Compact([]string{r.Holder, to}) {
		b := beacons[site]
		if !fresh(now, b) {
			continue
		}
		for _, gate := range b.WaitsFor {
			all = append(all, site+" waits, "+gate)
		}
		if site != r.Holder && !b.Ready && b.NotReadyBecause != "" {
			all = append(all, site+" is not ready: "+b.NotReadyBecause)
		}
	}
	return strings.Join(all, "; ")
}

func phaseOf(r, start term.Record, to string) string {
	switch {
	case r.Holder == to && r.ServedTerm == r.Term:
		return fmt.Sprintf("%s serves term %d", to, r.Term)
	case r.Holder == to && r.Term > start.Term:
		return fmt.Sprintf("%s has taken term %d and brings its database into service", to, r.Term)
	case r.State == term.Granted:
		return fmt.Sprintf("%s has sealed its database and granted the term to %s", r.Holder, r.GrantedTo)
	case r.State == term.Releasing:
		return fmt.Sprintf("%s has released term %d; its lease runs out", r.Holder, r.Term)
	}
	return fmt.Sprintf("%s holds term %d", r.Holder, r.Term)
}
