package failover

import (
	"fmt"
	"time"

	"holdfast/internal/term"
)

// PinView is the newest pin in the own database (P18). The zero value is no pin.
type PinView struct {
	ID   int64
	Term term.Number
	// Site is the one that may go on without the store.
	Site string
	// Confirmed: the other site is known to stand still, so that the pin gives a lease. Ended: somebody has ended it.
	Confirmed, Ended bool
	// For is how long the pin lasts; Lease and Margin are what it goes by.
	For, Lease, Margin time.Duration
	// PinnedAt and EndedAt are on the clock of the database that the pin was set on.
	PinnedAt, EndedAt time.Time
	// Until is when the pin stops giving a lease, on the own boot clock; zero if this server's clock is not the pin's.
	Until term.Instant
}

// Open reports whether there is a pin that nobody has ended.
func (p PinView) Open() bool { return p.ID != 0 && !p.Ended }

// Report is the pin for a beacon, nil if there is none.
func (p PinView) Report() *term.Pin {
	if p.ID == 0 {
		return nil
	}
	report := &term.Pin{Term: p.Term, Site: p.Site, PinnedAt: p.PinnedAt, Until: p.PinnedAt.Add(p.For), Ended: p.Ended}
	if p.Ended {
		report.Until = p.EndedAt
	}
	return report
}

// ReportedPin is the pin that a beacon reports, for previews: the rest of it is not known.
func ReportedPin(report *term.Pin) PinView {
	if report == nil {
		return PinView{}
	}
	p := PinView{ID: 1, Term: report.Term, Site: report.Site, PinnedAt: report.PinnedAt, For: report.Until.Sub(report.PinnedAt), Ended: report.Ended}
	if p.Ended {
		p.EndedAt = report.Until
	}
	return p
}

// Abstention is how long a standby stands still after it has first seen an open pin. The two clocks may differ in rate
// by 1 % each way, and over hours that is more than any margin.
func (p PinView) Abstention() time.Duration { return p.For + p.For/32 + p.Margin }

// Pinned reports whether the own site may go on without the term store: an open, confirmed pin of its newest term, on a
// database that it still writes to, while the store does not answer and nothing that it answered before speaks against
// it. It ends at the first answer of the store, whatever the answer says.
func Pinned(o Observation) bool { return pinned(&o) }

func pinned(o *Observation) bool {
	p, r := &o.Database.Pin, &o.Store.Record
	known := r.Version > 0
	switch {
	case !o.Database.Reachable || !o.Database.Writer || !p.Open() || !p.Confirmed:
		return false
	case p.Site != o.Site || p.Term != o.Database.HighestTerm() || o.Database.SealedTerm >= p.Term:
		return false
	case o.Store.Readable || o.Store.Missing:
		return false
	case known && (r.Holder != o.Site || r.Term != p.Term || r.State != term.Held):
		return false
	}
	return o.Now < p.Until
}

// Abstains says why the own site must neither take a term nor bring one into service, if it must not: its database has
// a pin of the other site for the newest term in it. The rule looks at nothing but the own database, so no warden has
// to be told and none can miss it: a copy that lacks the pin is one that the operator got no confirmation for, and a
// copy that has it keeps it through a promotion. A warden that was frozen over an old observation may still take the
// term in the record, but it can't serve it.
func Abstains(o Observation) (reason string, abstains bool) { return abstention(&o) }

func abstention(o *Observation) (reason string, abstains bool) {
	p := &o.Database.Pin
	switch {
	case !o.Database.Reachable || p.ID == 0 || p.Site == o.Site || p.Term != o.Database.HighestTerm():
		return "", false
	case o.Store.Record.UnpinnedTerm >= p.Term:
		return "", false
	case p.Ended:
		// Another warden of the pinned site may have extended its lease right before the pin was ended.
		rest := p.Lease + p.Margin - o.For.PinEnded
		if rest <= 0 {
			return "", false
		}
		return fmt.Sprintf("%s was pinned, and its last lease may run for another %v", p.Site, rest.Round(time.Millisecond)), true
	}
	rest := p.Abstention() - o.For.PinSeen
	if rest <= 0 {
		return "", false
	}
	return fmt.Sprintf("%s is pinned for another %v at most", p.Site, rest.Round(time.Second)), true
}

// pinGate is shut while the own site abstains.
func pinGate(o *Observation) (Refusal, bool) {
	reason, abstains := abstention(o)
	if !abstains {
		return Refusal{}, false
	}
	return Refusal{
		Gate: gatePin, Current: reason, Wanted: "no pin",
		Remedy: fmt.Sprintf("wait, or run 'holdfast unpin'; if %s is gone for good and its tasks are stopped, 'holdfast unpin --i-have-stopped %s'",
			o.Database.Pin.Site, o.Database.Pin.Site),
	}, true
}

// underPin turns a decision that a pin of the other site forbids into waiting, whatever led to it.
func underPin(o *Observation, d Decision) Decision {
	switch d.Step {
	case Acquire, Promote, RecordTerm, Serve:
		if refusal, shut := pinGate(o); shut {
			return Decision{Step: Wait, Reason: "the other site is pinned", Refusals: []Refusal{refusal}}
		}
	}
	return d
}

// pinIsOver: the store has answered, so a pin that still stands in the own database has to be ended, durably, for the
// site's other wardens and for the other site.
func pinIsOver(o *Observation) bool {
	return (o.Store.Readable || o.Store.Missing) && o.Database.Reachable && o.Database.Writer &&
		o.Database.Pin.Open() && o.Database.Pin.Site == o.Site
}
