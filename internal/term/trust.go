package term

import (
	"time"

	"golang.org/x/sys/unix"
)

// Instant is a reading of a clock that counts suspended time, as a duration since an arbitrary origin (boot).
type Instant time.Duration

// Boot reads CLOCK_BOOTTIME. Go's own monotonic clock is CLOCK_MONOTONIC, which stands still while a virtual
// machine is suspended, so a holder that was suspended past its lease would believe it still has it.
func Boot() Instant {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("clock_gettime(CLOCK_BOOTTIME): " + err.Error()) // Linux has had it since 2.6.39
	}
	return Instant(ts.Nano())
}

// Add returns i + d.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// Sub returns i − j.
func (i Instant) Sub(j Instant) time.Duration { return time.Duration(i - j) }

// Trust is how long one warden may believe that its site holds a term. The zero value trusts nothing.
type Trust struct {
	Term  Number
	Until Instant
}

// Trusted returns the trust that a confirmed renewal gives: from before the attempt was sent, for lease − margin (P4).
// Counting from the answer instead would let a slow answer stretch the lease past what a watcher waits.
func Trusted(r Record, beforeAttempt Instant) Trust {
	return Trust{Term: r.Term, Until: beforeAttempt.Add(r.Lease() - r.Margin())}
}

// Holds reports whether the trust covers the term at the instant.
func (t Trust) Holds(n Number, now Instant) bool { return t.Term == n && n > 0 && now < t.Until }

// Left is the time that remains, never negative.
func (t Trust) Left(now Instant) time.Duration { return max(0, t.Until.Sub(now)) }

// Watch measures how long a record has stood still, as seen by one reader (P5). The zero value has seen nothing.
type Watch struct {
	term    Number
	renewal int64
	seen    bool
	// stood is the watched time so far; last is when the store last answered.
	stood time.Duration
	last  Instant
}

// Observe takes an answered read into account. The clock starts at the answer of the first read that showed
// (term, renewal), never at its request: the value may have been written in between. The time between two answered
// reads counts only if no read failed in between, because unreadable time is no evidence of silence.
func (w Watch) Observe(r Record, answered Instant) Watch {
	if !w.seen || r.Term != w.term || r.Renewal != w.renewal {
		return Watch{term: r.Term, renewal: r.Renewal, seen: true, last: answered}
	}
	w.stood += answered.Sub(w.last)
	w.last = answered
	return w
}

// Unreadable takes a failed read into account: the time since the last answer does not count.
func (w Watch) Unreadable(now Instant) Watch {
	w.last = now
	return w
}

// Stood is the watched time so far.
func (w Watch) Stood() time.Duration { return w.stood }

// Expired reports whether the record's lease is over for sure: it stood still for lease + margin.
func (w Watch) Expired(r Record) bool {
	return w.seen && w.term == r.Term && w.renewal == r.Renewal && w.stood >= r.Lease()+r.Margin()
}
