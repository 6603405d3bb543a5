package warden

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
	"holdfast/internal/term/termtest"
)

// TestAnOwnWriteIsRecalled: what was seen before a step that only wrote the record is not asked for again, and the record is
// the new one; unless the process was frozen meanwhile.
func TestAnOwnWriteIsRecalled(t *testing.T) {
	w, c, db := servingWarden(t)
	l := loop{w: w}
	l.observe(t.Context())
	next := w.observation().Store.Record
	next.Version++
	next.Wanted = &term.Wanted{Site: "dr", By: "test"}
	if err := w.write(t.Context(), next, false); err != nil {
		t.Fatal(err)
	}
	seen := db.samples
	look := func(recall bool, want int) failover.Observation {
		t.Helper()
		l.recall = recall
		o := l.observe(t.Context())
		if seen += want; db.samples != seen {
			t.Errorf("%d samples of the database, want %d", db.samples, seen)
		}
		return o
	}
	c.now = c.now.Add(w.renewEvery() - 1)
	if o := look(true, 0); o.Store.Record.Wanted == nil || !o.Database.Writer || o.Now != c.now {
		t.Errorf("recalled %+v at %v", o.Store.Record, o.Now)
	}
	look(false, 1)
	c.now = c.now.Add(w.renewEvery())
	look(true, 1) // frozen since the last look
	look(true, 0)
}

// TestOnlyAnAcquisitionIsRecalled: every other step changes more than the record, or leaves nothing to do at once.
func TestOnlyAnAcquisitionIsRecalled(t *testing.T) {
	for step, want := range map[failover.Step]bool{
		failover.Acquire: true, failover.TakeBack: false, failover.Want: false, failover.Promote: false, failover.MoveWriter: false,
	} {
		t.Run(string(step), func(t *testing.T) {
			w, _, _ := servingWarden(t)
			p := w.cluster.(*plane)
			p.promote = func(context.Context, bool) error { return nil }
			p.move = func(context.Context) error { return nil }
			w.renew(t.Context(), false)
			o := w.observe(t.Context())
			next := o.Store.Record
			next.Version++
			next.Wanted = &term.Wanted{Site: "dr", By: "test"}
			result := w.execute(t.Context(), o, failover.Decision{Step: step, Lossy: true, Record: &next})
			if result.err != nil || !result.effective || result.recall != want {
				t.Errorf("%+v, want to recall: %v", result, want)
			}
		})
	}
}

// TestABusyLoopLeavesSignalsForLater: until the step has ended, and then it takes them at once.
func TestABusyLoopLeavesSignalsForLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, _ := servingWarden(t)
		for name, c := range map[string]struct {
			busy, ends bool
			ended      outcome
			after      time.Duration
		}{
			"idle":                           {false, false, outcome{}, 0},
			"a step that comes to nothing":   {true, true, outcome{err: errors.New("refused")}, time.Second},
			"a step that changes the world":  {true, true, outcome{effective: true}, time.Second + afterEffect},
			"a step that changes the record": {true, true, outcome{effective: true, recall: true}, time.Second + afterEffect},
			"a step that goes on":            {true, false, outcome{}, time.Minute},
		} {
			l := loop{w: w, busy: c.busy, done: make(chan outcome, 1)}
			signal(w.loopNow)
			if c.ends {
				time.AfterFunc(time.Second, func() { l.done <- c.ended })
			}
			began := time.Now()
			l.pause(t.Context(), time.Minute)
			if time.Since(began) != c.after || l.recall != c.ended.recall || l.busy != (c.busy && !c.ends) {
				t.Errorf("%s: paused for %v, want %v; to be recalled: %v; busy: %v", name, time.Since(began), c.after, l.recall, l.busy)
			}
			signalled(w.loopNow)
		}
	})
}

// signalled takes a signal that nobody has taken yet.
func signalled(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestASiblingsTermIsRenewedAtOnce: its first sight wakes the renewer, that of an own acquisition does not.
func TestASiblingsTermIsRenewedAtOnce(t *testing.T) {
	for _, own := range []bool{false, true} {
		w, c, _ := servingWarden(t)
		w.observe(t.Context())
		signalled(w.renewNow) // the first record
		next := w.observation().Store.Record
		next.Version, next.Term, next.Nonce = next.Version+1, next.Term+1, "sibling"
		if own {
			w.noteSent(next, c.now)
		}
		w.learn(next, c.now, c.now)
		if woken := signalled(w.renewNow); woken == own {
			t.Errorf("acquired by this warden: %v; the renewer was woken: %v", own, woken)
		}
	}
}

// TestAPromotionIsWaitedFor: the database alone is asked until it takes writes, for a renewal period at most.
func TestAPromotionIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, db := servingWarden(t)
		if _, err := w.read(t.Context()); err != nil {
			t.Fatal(err)
		}
		db.state.InRecovery = true
		db.sampled = func(n int) { db.state.InRecovery = n < 4 }
		began := time.Now()
		if !w.awaitWriter(t.Context()) || time.Since(began) != 3*failover.AwaitEvery {
			t.Errorf("waited %v for what came about after %v", time.Since(began), 3*failover.AwaitEvery)
		}
		db.sampled = func(int) { db.state.InRecovery = true }
		began = time.Now()
		if w.awaitWriter(t.Context()) || time.Since(began) != w.renewEvery() {
			t.Errorf("waited %v for what never comes about, want %v", time.Since(began), w.renewEvery())
		}
	})
}

// TestUrgentRenewals: one is written on what the observation has just read, and not at all if a sibling was first and the
// warden needs no trust of its own.
func TestUrgentRenewals(t *testing.T) {
	renewed := func(r *term.Record) { r.Renewal, r.CoveredUntil = r.Renewal+1, time.Unix(1_000_000, 0) }
	for name, c := range map[string]struct {
		trust  bool
		before func(*term.Record)
		writes bool
	}{
		"nobody was first":              {true, nil, true},
		"a sibling was first":           {true, renewed, false},
		"a sibling was, and not for me": {false, renewed, true},
		"a sibling has covered nothing": {true, func(r *term.Record) { r.Renewal++ }, true},
	} {
		t.Run(name, func(t *testing.T) {
			w, _, db := servingWarden(t)
			memory := newStore(t, firstRecord())
			replica := memory.Replica("own")
			w.stores = []term.Store{replica}
			if c.trust {
				w.renew(t.Context(), false)
			}
			w.observe(t.Context())
			db.state.DatabaseTime = db.state.DatabaseTime.Add(time.Hour) // nothing covers that
			w.observe(t.Context())
			if c.before != nil {
				memory.Edit(c.before)
			}
			seen, reads := recordOf(t, memory).Renewal, 0
			replica.SetFault(func(op termtest.Operation) termtest.Fault {
				if op.Kind == "read" {
					reads++
				}
				return termtest.Fault{}
			})
			if tried := w.renew(t.Context(), true); tried != c.writes {
				t.Errorf("tried: %v, want %v", tried, c.writes)
			}
			if wrote := recordOf(t, memory).Renewal > seen; wrote != c.writes {
				t.Errorf("renewed: %v, want %v", wrote, c.writes)
			}
			if c.before == nil && reads > 0 {
				t.Errorf("%d reads before the first attempt", reads)
			}
		})
	}
}
