package failover

import (
	"testing"
	"time"

	"holdfast/internal/term"
)

func TestPeerBeaconAge(t *testing.T) {
	var p peerBeacon
	b := term.Beacon{Sequence: 7}
	p.observe(&b, 100)
	if p.seen {
		t.Error("a beacon of unknown age counts as a sign of life")
	}
	p.observe(&b, 200)
	if p.seen {
		t.Error("a beacon that stands still counts as a sign of life")
	}
	b.Sequence = 8
	p.observe(&b, 300)
	if !p.seen || p.moved != 300 {
		t.Errorf("after it moved: %+v", p)
	}
	p.observe(&b, 400)
	if p.moved != 300 {
		t.Errorf("moved at %v", p.moved)
	}
	var late peerBeacon
	late.observe(nil, 100)
	late.observe(&b, 200)
	if !late.seen || late.moved != 200 {
		t.Errorf("a beacon that appears is a sign of life: %+v", late)
	}
}

// at is the quiet active site at an instant of its own clock, changed.
func at(now time.Duration, change func(*Observation)) Observation {
	o := Observation{Now: term.Instant(now), Site: "primary", Peer: "dr"}
	o.Store.Record = term.Record{
		Deployment: "test", Version: 1, Term: 1, Holder: "primary", LeaseMS: 20_000, MarginMS: 2_500, State: term.Held, TakeoverBudget: 3,
	}
	o.Store.Record.ServedTerm = 1
	o.Database = DatabaseView{Reachable: true, Writer: true}
	o.App = AppView{Known: true, HealthyTargets: 1}
	if change != nil {
		change(&o)
	}
	return o
}

// stalled is the active site over a database that answers and takes no lease.
func stalled(now time.Duration, trusted bool) Observation {
	return at(now, func(o *Observation) {
		o.Store.Readable = true
		if trusted {
			o.Trust = term.Trust{Term: 1, Until: o.Now + 1}
		}
	})
}

func TestDurations(t *testing.T) {
	for _, row := range []struct {
		name  string
		steps []Observation
		want  Durations
	}{
		{"quiet", []Observation{at(1, nil), at(9, nil)}, Durations{}},
		{"database unreachable", []Observation{
			at(1, func(o *Observation) { o.Database.Reachable = false }), at(9, func(o *Observation) { o.Database.Reachable = false }),
		}, Durations{DatabaseDown: 8}},
		{"database back", []Observation{at(1, func(o *Observation) { o.Database.Reachable = false }), at(9, nil)}, Durations{}},
		{"only a reader answers", []Observation{
			at(1, func(o *Observation) { o.Database.Writer = false }), at(9, func(o *Observation) { o.Database.Writer = false }),
		}, Durations{DatabaseDown: 8}},
		{"the write lease is over under trust", []Observation{stalled(1, true), stalled(9, true)}, Durations{DatabaseDown: 8}},
		{"the write lease is over, and so is the trust", []Observation{stalled(1, false), stalled(9, false)}, Durations{}},
		{"a promotion is no outage", []Observation{
			at(1, func(o *Observation) { o.Database.Writer = false; o.Store.Record.ServedTerm = 0 }),
			at(9, func(o *Observation) { o.Database.Writer = false; o.Store.Record.ServedTerm = 0 }),
		}, Durations{Unserved: 8}},
		{"the gate starts with the first serving", []Observation{
			at(1, func(o *Observation) { o.App.HealthyTargets = 0; o.Store.Record.ServedTerm = 0 }),
			at(5, func(o *Observation) { o.App.HealthyTargets = 0 }), at(9, func(o *Observation) { o.App.HealthyTargets = 0 }),
		}, Durations{AppDown: 4, BalancerDown: 4}},
		{"an outage before the first serving does not count", []Observation{
			at(1, func(o *Observation) { o.Database.Reachable = false; o.Store.Record.ServedTerm = 0 }),
			at(5, func(o *Observation) { o.Database.Reachable = false }), at(9, func(o *Observation) { o.Database.Reachable = false }),
		}, Durations{DatabaseDown: 4}},
		{"an unknown application changes nothing", []Observation{
			at(1, func(o *Observation) { o.App.HealthyTargets = 0 }), at(5, func(o *Observation) { o.App = AppView{} }),
			at(9, func(o *Observation) { o.App.HealthyTargets = 0 }),
		}, Durations{AppDown: 8, BalancerDown: 8}},
		{"wanted", []Observation{
			at(1, func(o *Observation) { o.Store.Record.Wanted = &term.Wanted{Site: "dr"} }),
			at(9, func(o *Observation) { o.Store.Record.Wanted = &term.Wanted{Site: "dr"} }),
		}, Durations{Wanted: 8}},
		{"wanted anew", []Observation{
			at(1, func(o *Observation) { o.Store.Record.Wanted = &term.Wanted{Site: "dr", By: "a"} }),
			at(7, func(o *Observation) { o.Store.Record.Wanted = &term.Wanted{Site: "dr", By: "b"} }),
			at(9, func(o *Observation) { o.Store.Record.Wanted = &term.Wanted{Site: "dr", By: "b"} }),
		}, Durations{Wanted: 2}},
		{"sealed, then out of sight", []Observation{
			at(1, func(o *Observation) { o.Database.SealedTerm = 1 }), at(9, func(o *Observation) { o.Database = DatabaseView{} }),
		}, Durations{Handoff: 8, DatabaseDown: 0}},
		{"granted", []Observation{
			at(1, func(o *Observation) { o.Database.SealedTerm = 1 }),
			at(9, func(o *Observation) { o.Store.Record.State, o.Store.Record.GrantedTo = term.Granted, "dr" }),
		}, Durations{Handoff: 8}},
		{"taken back", []Observation{
			at(1, func(o *Observation) { o.Database.SealedTerm = 1 }), at(9, func(o *Observation) { o.Store.Record.Term = 2; o.Database.SealedTerm = 1 }),
		}, Durations{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var c conditions
			var got Durations
			for _, o := range row.steps {
				c.observe(&o)
				got = c.at(o.Now)
			}
			if got != row.want {
				t.Errorf("%+v, want %+v", got, row.want)
			}
		})
	}
}
