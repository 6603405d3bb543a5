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

// punctual is how much later than the end of a watch an answer is meant to come: one that came a little faster than the one
// before would be in vain else.
const punctual = 10 * time.Millisecond

// NextLook is the time to a standby's next read of the record: the end of the watch is not slept past.
func NextLook(s *StoreView, watch term.Watch) time.Duration {
	return untilWatched(s, watch, max(s.Record.Lease()/watchPerLease, watchFloor))
}

// untilWatched is the time to the end of the watch, or every if that comes first or nothing is watched.
func untilWatched(s *StoreView, watch term.Watch, every time.Duration) time.Duration {
	if left := s.Record.Lease() + s.Record.Margin() - watch.Stood(); left > 0 && s.Readable {
		return min(every, left+punctual)
	}
	return every
}

// ChangedHands: more than a renewal lies between two records, so that the loop has something to decide.
func ChangedHands(a, b term.Record) bool {
	return a.Term != b.Term || a.State != b.State || a.ServedTerm != b.ServedTerm || (a.Wanted == nil) != (b.Wanted == nil)
}

// Joins: a sibling has acquired a term for the site. Every warden of the site needs a renewal of its own to act under it, and
// later it would be in the way of the steps that bring the term into service.
func Joins(site string, before, after term.Record) bool {
	return after.Holder == site && after.State == term.Held && after.Term > before.Term
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

// AwaitEvery is how often the database is asked, for a renewal period, whether a promotion that was accepted has come about.
const AwaitEvery = 20 * time.Millisecond

// Pace is the time from one observation to the next, and how long an answer of a control plane may be used again, for a
// warden that renews once a period and may be busy with a step. The end of a step that took effect ends the pause. An
// observation that is under way then, and saw the world before the step, only keeps the next one waiting; so a busy warden does
// not hurry. A standby's observation is due when its watch ends, so that nothing has to be asked again before the term is
// taken.
func Pace(o Observation, busy bool, period time.Duration) (every, reuse time.Duration) {
	switch {
	case hurried(&o) && !busy:
		return max(period/hurriedLooks, hurriedAtMost), max(period/hurriedAsks, hurriedAtMost)
	case busy || changing(&o):
		return period / unhurried, 0
	case o.Store.Record.Holder == o.Peer:
		return untilWatched(&o.Store, o.Watch, period), 0
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
