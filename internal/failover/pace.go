package failover

import (
	"slices"
	"time"

	"holdfast/internal/term"
)

// How often a standby reads the record: a watch starts at the answer that showed the last renewal first, so whatever
// lies between the two is added to every takeover. Each read is charged (package cost: term-reads-millions).
const (
	watchPerLease = 80
	watchFloor    = 100 * time.Millisecond
)

// NextLook is the time to a standby's next read of the record: the end of the watch is not slept past.
func NextLook(s *StoreView, watch term.Watch) time.Duration {
	r := &s.Record
	pause := max(r.Lease()/watchPerLease, watchFloor)
	if left := r.Lease() + r.Margin() - watch.Stood(); left > 0 && s.Readable {
		pause = min(pause, left)
	}
	return pause
}

// ChangedHands: more than a renewal lies between two records, so that the loop has something to decide.
func ChangedHands(a, b term.Record) bool {
	return a.Term != b.Term || a.State != b.State || a.ServedTerm != b.ServedTerm || (a.Wanted == nil) != (b.Wanted == nil)
}

// OnlyRenewed: nothing but renewals lies between two records, so that what was observed beside the first one holds beside the
// second.
func OnlyRenewed(a, b term.Record) bool {
	return !ChangedHands(a, b) && requestIn(&a).Equal(requestIn(&b)) && slices.Equal(a.TailOf, b.TailOf)
}

// requestIn is when the hand-over that a record asks for was asked for, zero if it asks for none.
func requestIn(r *term.Record) time.Time {
	if r.Wanted == nil {
		return time.Time{}
	}
	return r.Wanted.At
}

// Request is what a site's beacon says of the request for a hand-over that the site has taken into account, readiness and
// capacity included: when it was asked for. Zero is none.
func Request(o Observation) time.Time {
	r := &o.Store.Record
	if r.Wanted == nil || r.Wanted.Site != o.Site {
		return time.Time{}
	}
	return requestIn(r)
}

// News: a beacon says something that the other site may be waiting for, so it is written at once.
func News(last, next term.Beacon) bool {
	return next.Ready != last.Ready || next.LineageTerm != last.LineageTerm || next.DrainedTerm != last.DrainedTerm ||
		!next.Request.Equal(last.Request)
}

// Attempt is the step that a warden has begun last.
type Attempt struct {
	Step  Step
	Lossy bool
	Began term.Instant
}

// MayFollow says whether a step may be begun now. Those that ask much of others are not asked again within a renewal
// period: a control plane that refuses is not helped by being asked four times as often. A failover in place of
// a switchover that was refused is asked of another region.
func (a Attempt) MayFollow(o Observation, d Decision, now term.Instant, period time.Duration) bool {
	instead := d.Lossy && !a.Lossy && o.SwitchoverRefused == o.Store.Record.Term
	switch d.Step {
	case Promote, MoveWriter, ExportTail:
		return a.Step != d.Step || instead || now.Sub(a.Began) >= period
	}
	return true
}

// The pace of the loop while the site is between two states and every moment is downtime, per renewal period. The control
// planes are asked less often than database and store: theirs are rates that an account shares.
const (
	hurriedLooks  = 25
	hurriedAsks   = 8
	unhurried     = 4
	hurriedAtMost = 100 * time.Millisecond
)

// Pace is the time from one observation to the next, and how long an answer of a control plane may be used again, for a
// warden that renews once a period and may be busy with a step. The end of a step that took effect ends the pause. An
// observation that is under way then, and saw the world before the step, only keeps the next one waiting; so a busy warden does
// not hurry.
func Pace(o Observation, busy bool, period time.Duration) (every, reuse time.Duration) {
	switch {
	case hurried(&o) && !busy:
		return max(period/hurriedLooks, hurriedAtMost), max(period/hurriedAsks, hurriedAtMost)
	case busy || changing(&o):
		return period / unhurried, 0
	}
	return period, 0
}

// changing: the term is on its way from one site to the other.
func changing(o *Observation) bool {
	r := &o.Store.Record
	return r.State == term.Granted || r.Wanted != nil || r.Holder == o.Site && r.ServedTerm < r.Term
}

// forwards: the site has handed the term over, and sends requests on to the one that has it now.
func forwards(o *Observation) bool {
	state, known := Forward(*o)
	return known && state.Divert
}

// hurried: it is this site's turn, or clients wait for the other one's, and has not been for so long that something else
// is wrong.
func hurried(o *Observation) bool {
	r := &o.Store.Record
	switch {
	case r.Version == 0:
		return false
	case r.Holder == o.Site && r.ServedTerm < r.Term:
		return o.For.Unserved < o.Settings.HandoffTimeout
	case r.State == term.Granted:
		return o.For.Handoff < o.Settings.HandoffTimeout
	case r.Holder == o.Site:
		return r.State == term.Held && o.For.Handoff > 0 && o.For.Handoff < o.Settings.HandoffTimeout
	case r.ServedTerm < r.Term && forwards(o): // requests are waiting here until the other site serves
		return o.WallClock.Sub(r.MovedAt) < o.Settings.HandoffTimeout
	}
	return r.Wanted != nil && r.Wanted.Site == o.Site && o.For.Wanted < o.Settings.HandoffTimeout
}
