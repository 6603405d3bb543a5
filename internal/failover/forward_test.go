package failover_test

import (
	"testing"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

func forwardSettings(o failover.Observation) failover.Observation {
	o.Settings.ForwardFor, o.Settings.CapacityFor, o.Settings.PilotTasks = 5*time.Minute, 15*time.Minute, 2
	o.App.MinimumTasks, o.App.MaximumTasks = 2, 10
	o.PeerBeacon.RunningTasks = 6
	return o
}

// moved is the standby's view some time after it has handed the term over.
func moved(ago time.Duration) failover.Observation {
	o := standby()
	o.Store.Record.MovedAt = o.WallClock.Add(-ago)
	o.Database.DrainedTerm = 6
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
		{"a hand-over is wanted, but writes still pass", wanted(serving()), nil, none, true},
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
			o.Store.Record.Term, o.Database.DrainedTerm = 8, 7
		}, divert, true},
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
		{"never more than autoscaling allows", standby(), func(o *failover.Observation) { halfway(o); o.PeerBeacon.RunningTasks = 50 }, 10, true},
		{"never less than the pilot light", standby(), func(o *failover.Observation) { halfway(o); o.PeerBeacon.RunningTasks = 0 }, 2, true},
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
	if ready, because := failover.Readiness(o); ready || because != "capacity: 2 healthy tasks, want the 6 that primary runs" {
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
