package warden

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
	"holdfast/internal/term/termtest"
)

// TestAnOwnWriteIsRecalled: what was seen before a step that only wrote the record is not asked for again, and the record is
// the new one.
func TestAnOwnWriteIsRecalled(t *testing.T) {
	w, _, db := servingWarden(t)
	w.observe(t.Context())
	next := w.observation().Store.Record
	next.Version++
	next.Wanted = &term.Wanted{Site: "dr", By: "test"}
	result := w.writeOnce(t.Context(), failover.Decision{Step: failover.Want, Record: &next}, false)
	if !result.written {
		t.Fatalf("%+v", result)
	}
	l, seen := loop{w: w, written: result.written}, db.samples
	if o := l.observe(t.Context()); db.samples != seen || o.Store.Record.Wanted == nil || !o.Database.Writer {
		t.Errorf("recalled %+v after %d samples of the database, want %d", o.Store.Record, db.samples, seen)
	}
	if l.observe(t.Context()); db.samples != seen+1 {
		t.Errorf("%d samples of the database after the next observation, want %d", db.samples, seen+1)
	}
}

// TestABusyLoopLeavesSignalsForLater: until the step has ended, and then it takes them at once.
func TestABusyLoopLeavesSignalsForLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, _ := servingWarden(t)
		for name, c := range map[string]struct {
			busy  bool
			ended outcome
			after time.Duration
		}{
			"idle":                             {false, outcome{}, 0},
			"a step that comes to nothing":     {true, outcome{err: errors.New("refused")}, time.Second},
			"a step that changes the world":    {true, outcome{effective: true}, time.Second + afterEffect},
			"a step that is longer than a day": {true, outcome{detail: "never"}, time.Minute},
		} {
			l := loop{w: w, busy: c.busy, done: make(chan outcome, 1)}
			signal(w.loopNow)
			if c.busy && c.ended.detail != "never" {
				time.AfterFunc(time.Second, func() { l.done <- c.ended })
			}
			began := time.Now()
			if l.pause(t.Context(), time.Minute); time.Since(began) != c.after {
				t.Errorf("%s: paused for %v, want %v", name, time.Since(began), c.after)
			}
			unsignal(w.loopNow)
		}
	})
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
			w.renew(t.Context(), true)
			if wrote := recordOf(t, memory).Renewal > seen; wrote != c.writes {
				t.Errorf("renewed: %v, want %v", wrote, c.writes)
			}
			if c.before == nil && reads > 0 {
				t.Errorf("%d reads before the first attempt", reads)
			}
		})
	}
}
