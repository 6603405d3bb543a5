package warden

import (
	"slices"
	"testing"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
	"holdfast/internal/term/termtest"
)

// TestDatabaseThenControlPlaneThenRecord pins the order of an observation. With the control plane asked first, a
// warden saw "the writer is primary" from before its sibling's promotion next to "term 2 is in the lineage" from after
// it, took that for a move by hand and released the term.
func TestDatabaseThenControlPlaneThenRecord(t *testing.T) {
	w, _, db := servingWarden(t)
	var order []string
	db.sampled = func(int) { order = append(order, "database") }
	w.cluster.(*plane).asked = func() { order = append(order, "control plane") }
	w.stores[0].(*termtest.Replica).SetFault(func(op termtest.Operation) termtest.Fault {
		if op.Kind == "read" {
			order = append(order, "record")
		}
		return termtest.Fault{}
	})
	w.observe(t.Context())
	if want := []string{"database", "control plane", "record"}; !slices.Equal(order, want) {
		t.Errorf("asked %v, want %v", order, want)
	}
}

// TestSiblingTakesOverDuringAnObservation: whatever a sibling does between two answers, this warden does not see a move
// by hand.
func TestSiblingTakesOverDuringAnObservation(t *testing.T) {
	w, clock, db := servingWarden(t)
	memory := newStore(t, firstRecord())
	replica := memory.Replica("one")
	w.stores = []term.Store{replica}
	memory.Edit(func(r *term.Record) {
		r.ServedTerm, r.Wanted = 1, &term.Wanted{Site: "dr", By: "test", At: time.Unix(1, 0)}
	})
	w.renew(t.Context(), false)
	if err := replica.PutBeacon(t.Context(), term.Beacon{Deployment: "test", Site: "dr", Sequence: 1, DrainedTerm: 1}); err != nil {
		t.Fatal(err)
	}
	p := w.cluster.(*plane)
	// After this warden has sampled the database as the writer, its sibling seals, drains and moves the writer.
	p.asked = func() {
		db.state.Lease.SealedTerm, db.state.Lease.DrainedTerm = 1, 1
		p.view.Writer = "dr"
	}
	if d := failover.Decide(w.observe(t.Context())); d.Step != failover.Grant {
		t.Errorf("decided %s: %s; want the hand-over to go on", d.Step, d.Reason)
	}
	// The old writer restarts as a standby and does not answer for a moment.
	db.state.Lease.SealedTerm, db.state.Lease.DrainedTerm = 0, 0
	there := db.state
	db.sampled = func(number int) {
		if number%2 == 0 {
			db.state = nil
		}
	}
	p.asked = func() {}
	db.samples = 0
	if d := failover.Decide(w.observe(t.Context())); d.Step != failover.Grant {
		t.Errorf("decided %s: %s; want the hand-over to go on, which needs this database no more", d.Step, d.Reason)
	}
	// A writer that really was moved by hand is still noticed, once the control plane has said so for two periods.
	db.state, db.sampled = there, nil
	memory.Edit(func(r *term.Record) { r.Wanted = nil })
	if d := failover.Decide(w.observe(t.Context())); d.Step != failover.Wait {
		t.Errorf("decided %s: %s; want a second look", d.Step, d.Reason)
	}
	clock.now = clock.now.Add(2 * w.renewEvery())
	if d := failover.Decide(w.observe(t.Context())); d.Step != failover.Release {
		t.Errorf("decided %s: %s; want the term to be released", d.Step, d.Reason)
	}
}

// TestHurry: who waits for the other site looks as often as who is on its way, because clients wait with it; and both stop
// hurrying when it takes too long.
func TestHurry(t *testing.T) {
	began := time.Unix(1_000_000, 0)
	at := func(since time.Duration, change func(*failover.Observation)) failover.Observation {
		o := failover.Observation{
			Site: "primary", Peer: "dr", WallClock: began.Add(since), Settings: failover.Settings{HandoffTimeout: time.Minute, ForwardFor: 5 * time.Minute},
			Database: failover.DatabaseView{Reachable: true, LeaseTerm: 1, DrainedTerm: 1, Terms: []term.Number{1}, AskedIn: 2},
		}
		o.Store = failover.StoreView{Readable: true, Record: firstRecord()}
		r := &o.Store.Record
		r.Version, r.Term, r.Holder, r.ServedTerm, r.MovedAt = 9, 2, "dr", 1, began
		o.For.Handoff, o.For.Unserved = since, since
		if change != nil {
			change(&o)
		}
		return o
	}
	granted := func(o *failover.Observation) {
		r := &o.Store.Record
		r.Term, r.Holder, r.State, r.GrantedTo = 1, "primary", term.Granted, "dr"
	}
	for name, c := range map[string]struct {
		change func(*failover.Observation)
		want   bool
	}{
		"handed over, not served there yet":  {nil, true},
		"handed over and served":             {func(o *failover.Observation) { o.Store.Record.ServedTerm = 2 }, false},
		"taken over, which is not forwarded": {func(o *failover.Observation) { o.Database.DrainedTerm = 0 }, false},
		"granted":                            {granted, true},
		"acquired, not served yet":           {func(o *failover.Observation) { o.Store.Record.Holder = "primary" }, true},
		"serving": {func(o *failover.Observation) {
			o.Store.Record.Holder, o.Store.Record.ServedTerm, o.For = "primary", 2, failover.Durations{}
		}, false},
	} {
		hurried := func(since time.Duration) bool { // only then answers of a control plane are used again
			_, reuse := failover.Pace(at(since, c.change), false, time.Second)
			return reuse > 0
		}
		if hurried(time.Second) != c.want {
			t.Errorf("%s: hurried is not %v", name, c.want)
		}
		if hurried(time.Hour) {
			t.Errorf("%s: hurried for an hour", name)
		}
		if _, reuse := failover.Pace(at(time.Second, c.change), true, time.Second); reuse > 0 {
			t.Errorf("%s: hurried while a step is under way", name)
		}
	}
}
