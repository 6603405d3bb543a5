package failover_test

import (
	"reflect"
	"testing"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// written is a step that writes the record: from an observation, and what differs from the record read besides the version.
type written struct {
	name   string
	from   failover.Observation
	with   func(*failover.Observation)
	step   failover.Step
	change func(o failover.Observation, r *term.Record)
}

func silentHolder() failover.Observation {
	o := standby()
	o.Watch = expired(o.Store.Record)
	return o
}

func changesOfTerm() []written {
	taken := func(o failover.Observation, r *term.Record) {
		r.Term, r.Holder, r.MovedAt = 8, "dr", o.WallClock
	}
	backAgain := func(_ failover.Observation, r *term.Record) {
		r.Term, r.State, r.GrantedTo, r.Wanted = 8, term.Held, "", nil
	}
	return []written{
		{"a silent holder's term", silentHolder(), nil, failover.Acquire, taken},
		{"a silent holder's, in the middle of a hand-over, and its site is silent too", silentHolder(), func(o *failover.Observation) {
			o.Store.Record.Wanted, o.PeerBeaconSeen = &term.Wanted{Site: "dr"}, false
		}, failover.Acquire, func(o failover.Observation, r *term.Record) {
			taken(o, r)
			r.Wanted, r.TailOf = nil, []term.Number{7}
		}},
		{"a granted term", wanted(standby()), func(o *failover.Observation) {
			o.Store.Record.State, o.Store.Record.GrantedTo, o.Database.DrainedTerm = term.Granted, "dr", 7
		}, failover.Acquire, func(o failover.Observation, r *term.Record) {
			taken(o, r)
			r.State, r.GrantedTo, r.Wanted = term.Held, "", nil
		}},
		{"a grant that is not taken is taken back", wanted(serving()), func(o *failover.Observation) {
			o.Store.Record.State, o.Store.Record.GrantedTo, o.For.Handoff = term.Granted, "dr", time.Hour
		}, failover.TakeBack, backAgain},
		{"a seal that comes to nothing is taken back", wanted(serving()), func(o *failover.Observation) {
			o.Database.SealedTerm, o.For.Handoff = 7, time.Hour
		}, failover.TakeBack, backAgain},
		{"a released term", serving(), func(o *failover.Observation) {
			o.Store.Record.State, o.PeerBeaconSeen = term.Releasing, false
			o.Watch = left(o.Store.Record)
		}, failover.Acquire, func(o failover.Observation, r *term.Record) {
			r.Term, r.State, r.MovedAt = 8, term.Held, o.WallClock
		}},
	}
}

// changesWithinTerm: of those, only a hand-over for health takes from the budget (P19).
func changesWithinTerm() []written {
	released := func(_ failover.Observation, r *term.Record) { r.State, r.Wanted = term.Releasing, nil }
	ill := func(o *failover.Observation) { o.App.HealthyTargets, o.For.BalancerDown = 0, time.Minute }
	asked := func(o failover.Observation, r *term.Record) {
		r.Wanted = &term.Wanted{Site: "dr", By: "warden primary/1", Reason: "the balancer finds no healthy target", At: o.WallClock}
	}
	spent := func(with func(*failover.Observation)) func(*failover.Observation) {
		return func(o *failover.Observation) {
			with(o)
			o.Store.Record.TakeoverBudget = 0
			o.PeerBeacon.Approval = approved(*o, false, false)
		}
	}
	gone := func(o *failover.Observation) {
		o.Database, o.For.DatabaseDown = failover.DatabaseView{Err: "refused"}, time.Minute
	}
	return []written{
		{"served", unserved(), func(o *failover.Observation) {
			o.Database.Writer, o.Cluster.Writer, o.Database.Terms = true, "dr", []term.Number{1, 7, 8}
			o.Database.LeaseTerm, o.Database.LeaseValid = 8, true
		}, failover.Serve, func(_ failover.Observation, r *term.Record) { r.ServedTerm = 8 }},
		{"granted", wanted(serving()), func(o *failover.Observation) {
			o.Database.Writer, o.Cluster.Writer, o.Database.SealedTerm, o.Database.DrainedTerm = false, "dr", 7, 7
			o.PeerBeacon.DrainedTerm = 7
		}, failover.Grant, func(_ failover.Observation, r *term.Record) { r.State, r.GrantedTo = term.Granted, "dr" }},
		{"released, for the writer was moved by hand", wanted(serving()), func(o *failover.Observation) {
			o.Database.Writer, o.Cluster.Writer, o.For.WriterMoved = false, "dr", lease
		}, failover.Release, released},
		{"released for health", serving(), gone, failover.Release, func(o failover.Observation, r *term.Record) {
			released(o, r)
			r.TakeoverBudget = 2
		}},
		{"released for health, approved over a spent budget", serving(), spent(gone), failover.Release, released},
		{"wanted for health", serving(), ill, failover.Want, func(o failover.Observation, r *term.Record) {
			asked(o, r)
			r.TakeoverBudget = 2
		}},
		{"wanted for health, approved over a spent budget", serving(), spent(ill), failover.Want, asked},
		{"wanted, for the writer was moved here by hand", standby(), func(o *failover.Observation) {
			o.Database.Writer, o.Cluster.Writer = true, "dr"
		}, failover.Want, func(o failover.Observation, r *term.Record) {
			r.Wanted = &term.Wanted{Site: "dr", By: "warden dr/1", Reason: "the writer was moved here by hand (P16)", At: o.WallClock}
		}},
		{"wanted where it is", serving(), func(o *failover.Observation) {
			o.Store.Record.Wanted = &term.Wanted{Site: "primary"}
		}, failover.ClearWanted, func(_ failover.Observation, r *term.Record) { r.Wanted = nil }},
		{"wanted by a site that never got ready", wanted(serving()), func(o *failover.Observation) {
			o.PeerBeacon.Ready, o.For.Wanted = false, o.Settings.HandoffTimeout
		}, failover.ClearWanted, func(_ failover.Observation, r *term.Record) { r.Wanted = nil }},
		{"a promotion that may lose data", unserved(), nil, failover.Promote, func(_ failover.Observation, r *term.Record) { r.TailOf = []term.Number{7} }},
		{"the term is recorded where data may be missing", unserved(), func(o *failover.Observation) {
			o.Database.Writer, o.Cluster.Writer = true, "dr"
		}, failover.RecordTerm, func(_ failover.Observation, r *term.Record) { r.TailOf = []term.Number{7} }},
		{"the tail is saved", standby(), func(o *failover.Observation) {
			o.Store.Record.TailOf, o.TailSaved = []term.Number{5, 6}, 6
		}, failover.ClearTail, func(_ failover.Observation, r *term.Record) { r.TailOf = []term.Number{5} }},
	}
}

// TestWhatIsWritten: a step changes what it is for, and every other field is as it was read (P2).
func TestWhatIsWritten(t *testing.T) {
	for _, c := range append(changesOfTerm(), changesWithinTerm()...) {
		t.Run(c.name, func(t *testing.T) {
			o := c.from
			if c.with != nil {
				c.with(&o)
			}
			d := failover.Decide(o)
			if d.Step != c.step || d.Record == nil {
				t.Fatalf("decided %s (%s, %v), want %s and what it writes", d.Step, d.Reason, d.Refusals, c.step)
			}
			want := o.Store.Record
			want.Version++
			c.change(o, &want)
			if !reflect.DeepEqual(*d.Record, want) {
				t.Errorf("wrote %+v (wanted %+v)\nwant  %+v (wanted %+v)", *d.Record, d.Record.Wanted, want, want.Wanted)
			}
			checkWrite(t, o.Store.Record, *d.Record)
		})
	}
}
