package failover_test

import (
	"testing"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

func forwardSettings(o failover.Observation) failover.Observation {
	o.Settings.ForwardFor, o.Settings.CapacityFor, o.Settings.PilotTasks, o.Settings.PilotSet = 5*time.Minute, 15*time.Minute, 2, true
	o.App.MinimumTasks, o.App.MaximumTasks = 2, 10
	o.PeerTasks = 6
	return o
}

// moved is the standby's view some time after it has handed the term over.
func moved(ago time.Duration) failover.Observation {
	o := standby()
	o.Store.Record.MovedAt = o.WallClock.Add(-ago)
	o.Database.DrainedTerm, o.Database.AskedIn = 6, o.Store.Record.Term
	return o
}

func TestForward(t *testing.T) {
	divert, peer := failover.Forwarding{Divert: true}, failover.Forwarding{Divert: true, Peer: true}
	none := failover.Forwarding{}
	for _, c := range []struct {
		name  string
		from  failover.Observation
		with  func(*failover.Observation)
		want  failover.Forwarding
		known bool
	}{
		{"quiet active site", serving(), nil, none, true},
		{"quiet standby, nothing has ever moved", standby(), nil, none, true},
		{"a hand-over is wanted, but writes still pass", wanted(serving()), nil, failover.Forwarding{Moving: true}, true},
		{"sealed for the hand-over", wanted(serving()), func(o *failover.Observation) { o.Database.SealedTerm = 7 }, divert, true},
		{"sealed, and the database restarts as a replica", wanted(serving()), func(o *failover.Observation) {
			o.Database, o.For.Handoff = failover.DatabaseView{}, time.Second
		}, divert, true},
		{"sealed without a wish is taken back", serving(), func(o *failover.Observation) { o.Database.SealedTerm = 7 }, none, true},
		{"granted", serving(), func(o *failover.Observation) {
			o.Store.Record.State, o.Store.Record.GrantedTo = term.Granted, "dr"
		}, divert, true},
		{"released: nobody can be sent on to", serving(), func(o *failover.Observation) { o.Store.Record.State = term.Releasing }, none, true},
		{"moved, not served yet", moved(time.Second), func(o *failover.Observation) {
			o.Store.Record.Term, o.Database.DrainedTerm, o.Database.AskedIn = 8, 7, 8
		}, divert, true},
		{"moved and served, but the database was asked before that", moved(time.Second), func(o *failover.Observation) {
			o.Database.DrainedTerm, o.Database.AskedIn = 0, 6
		}, failover.Forwarding{Peer: true}, false},
		{"moved and served, and the database restarts as a replica", moved(time.Second), func(o *failover.Observation) {
			o.Database = failover.DatabaseView{}
		}, failover.Forwarding{Peer: true}, false},
		{"taken, not handed over", moved(time.Second), func(o *failover.Observation) { o.Database.DrainedTerm = 5 }, none, true},
		{"moved and served", moved(time.Second), nil, peer, true},
		{"moved and served, but the new holder lets go", moved(time.Second), func(o *failover.Observation) { o.Store.Record.State = term.Releasing }, divert, true},
		{"moved long ago", moved(5 * time.Minute), nil, none, true},
		{"the term is back here, to be served", moved(time.Second), func(o *failover.Observation) {
			o.Store.Record.Holder, o.Store.Record.Term = o.Site, 8
		}, none, true},
		{"store unreadable", moved(time.Second), func(o *failover.Observation) { o.Store.Readable = false }, none, false},
		{"record missing", moved(time.Second), func(o *failover.Observation) { o.Store.Missing = true }, none, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := forwardSettings(c.from)
			if c.with != nil {
				c.with(&o)
			}
			if got, known := failover.Forward(o); got != c.want || known != c.known {
				t.Errorf("got %+v, known %v; want %+v, known %v", got, known, c.want, c.known)
			}
		})
	}
	o := moved(time.Second)
	o.Settings.ForwardFor = 0
	if got, _ := failover.Forward(o); got.Divert {
		t.Error("forwards although it is told never to")
	}
}

func TestCapacity(t *testing.T) {
	halfway := func(o *failover.Observation) {
		r := o.Store.Record
		o.Watch = term.Watch{}.Observe(r, now.Add(-(lease+margin)/2)).Observe(r, now)
	}
	dark := func(o *failover.Observation) { o.Settings.PilotTasks, o.Settings.PilotSet = 0, false }
	arrived := func(ago time.Duration) failover.Observation {
		o := unserved()
		o.Store.Record.MovedAt = o.WallClock.Add(-ago)
		return o
	}
	for _, c := range []struct {
		name  string
		from  failover.Observation
		with  func(*failover.Observation)
		want  int
		known bool
	}{
		{"quiet standby keeps the pilot light", standby(), nil, 2, true},
		{"quiet active site", serving(), nil, 2, true},
		{"the holder is silent for half of the lease", standby(), halfway, 6, true},
		{"wanted here", wanted(standby()), nil, 6, true},
		{"released", standby(), func(o *failover.Observation) { o.Store.Record.State = term.Releasing }, 6, true},
		{"acquired", arrived(time.Second), nil, 6, true},
		{"acquired long ago and still not served", arrived(time.Hour), nil, 6, true},
		{"served for a minute", arrived(time.Minute), func(o *failover.Observation) { o.Store.Record.ServedTerm = 8 }, 6, true},
		{"served for long: given back", arrived(15 * time.Minute), func(o *failover.Observation) { o.Store.Record.ServedTerm = 8 }, 2, true},
		{"never more than autoscaling allows", standby(), func(o *failover.Observation) { halfway(o); o.PeerTasks = 50 }, 10, true},
		{"never less than the pilot light", standby(), func(o *failover.Observation) { halfway(o); o.PeerTasks = 1 }, 2, true},
		{"nothing runs there any more", wanted(standby()), func(o *failover.Observation) { o.PeerBeacon.RunningTasks = 0 }, 6, true},
		{"without a pilot light, quiet standby", standby(), dark, 0, false},
		{"without a pilot light, quiet active site", serving(), dark, 0, false},
		{"without a pilot light, raised for a move", wanted(standby()), dark, 6, true},
		{"without a pilot light, acquired", arrived(time.Second), dark, 6, true},
		{"without a pilot light, never lowered for a move", wanted(standby()), func(o *failover.Observation) { dark(o); o.App.MinimumTasks = 7 }, 7, true},
		{"without a pilot light, kept after the move", arrived(15 * time.Minute), func(o *failover.Observation) {
			dark(o)
			o.Store.Record.ServedTerm = 8
		}, 0, false},
		{"a pilot light of nothing, quiet standby", standby(), func(o *failover.Observation) { o.Settings.PilotTasks = 0 }, 0, true},
		{"a pilot light of nothing, quiet active site", serving(), func(o *failover.Observation) { o.Settings.PilotTasks = 0 }, 1, true},
		{"store unreadable", standby(), func(o *failover.Observation) { o.Store.Readable = false }, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := forwardSettings(c.from)
			if c.with != nil {
				c.with(&o)
			}
			if got, known := failover.Capacity(o); got != c.want || known != c.known {
				t.Errorf("got %d, known %v; want %d, known %v", got, known, c.want, c.known)
			}
		})
	}
}

// TestCapacityComesBeforeAPlannedMove: a site that shall take the term is not ready before it has the tasks for it; one
// that must take it is.
func TestCapacityComesBeforeAPlannedMove(t *testing.T) {
	o := wanted(forwardSettings(standby()))
	if ready, because := failover.Readiness(o); ready || because != "capacity: 2 healthy tasks, want 6 for the load of primary" {
		t.Errorf("ready %v: %s", ready, because)
	}
	o.App.HealthyTargets = 6
	if ready, because := failover.Readiness(o); !ready {
		t.Errorf("not ready with six tasks: %s", because)
	}
	o.App.HealthyTargets, o.Store.Record.Wanted = 2, nil
	if ready, because := failover.Readiness(o); !ready {
		t.Errorf("not ready for an unplanned takeover: %s", because)
	}
}

// TestCapacityOfTheSiteThatServed: what the other site wanted while it served stays what the load needs, however little it
// wants once the term has left it; and a scheduler that says nothing is not one that wants nothing.
func TestCapacityOfTheSiteThatServed(t *testing.T) {
	var m failover.Memory
	see := func(r term.Record, wants int) int {
		m.Learn("dr", r, 0, now)
		m.Beacons(nil, &term.Beacon{Site: "primary", DesiredTasks: wants}, now)
		o := failover.Observation{Now: now, Site: "dr", Peer: "primary"}
		m.Fill(&o)
		m.Observed(&o)
		return o.PeerTasks
	}
	served := record()
	unserved, moved, releasing := served, served, served
	unserved.Term++
	moved.Term, moved.Holder = 8, "dr"
	releasing.State = term.Releasing
	for _, c := range []struct {
		name        string
		record      term.Record
		wants, kept int
	}{
		{"not served yet: what the beacon says", unserved, 3, 3},
		{"served", served, 8, 8},
		{"its scheduler does not answer", served, 0, 8},
		{"it scales out", served, 9, 9},
		{"it lets go", releasing, 4, 9},
		{"moved here, and it scales in", moved, 1, 9},
	} {
		c.record.Version = m.Store.Record.Version + 1
		if got := see(c.record, c.wants); got != c.kept {
			t.Errorf("%s: %d tasks, want %d", c.name, got, c.kept)
		}
	}
	m = failover.Memory{}
	if got := see(moved, 4); got != 4 {
		t.Errorf("after a restart: %d tasks, want what the beacon says", got)
	}
}
