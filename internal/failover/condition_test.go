package failover_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// ownWriter is a site that has acquired the term and whose database is the writer; with the term recorded as well, and
// under a lease, it is about to serve.
func ownWriter(o *failover.Observation) { o.Database.Writer, o.Cluster.Writer = true, "dr" }

func recorded(o *failover.Observation) {
	ownWriter(o)
	o.Database.Terms, o.Database.LeaseTerm, o.Database.LeaseValid = []term.Number{1, 7, 8}, 8, true
}

func both(first, second func(*failover.Observation)) func(*failover.Observation) {
	return func(o *failover.Observation) { first(o); second(o) }
}

// conditionsOfServing: what keeps an acquired term from being served, or ends it.
func conditionsOfServing() []decision {
	unreachable := func(o *failover.Observation) { o.Database = failover.DatabaseView{Err: "refused"} }
	late := func(o *failover.Observation) { o.For.Unserved = o.Settings.HandoffTimeout }
	return []decision{
		{"database unreachable", unserved(), unreachable, failover.Wait, "unreachable"},
		{"database unreachable for just too short", unserved(), both(unreachable, func(o *failover.Observation) {
			o.For.DatabaseDown = o.Settings.DatabaseThreshold - 1
		}), failover.Wait, "unreachable"},
		{"database unreachable for its threshold", unserved(), both(unreachable, func(o *failover.Observation) {
			o.For.DatabaseDown = o.Settings.DatabaseThreshold
		}), failover.Release, "unreachable"},
		{"late, and nobody else is there", unserved(), both(ownWriter, late), failover.RecordTerm, "writer"},
		{"late, and the other site is there", unserved(), both(both(ownWriter, late), func(o *failover.Observation) {
			o.PeerBeaconSeen, o.PeerBeaconAge = true, time.Second
		}), failover.Release, "in time"},
		{"late, and the other site is wanted", unserved(), both(both(ownWriter, late), func(o *failover.Observation) {
			o.Store.Record.Wanted = &term.Wanted{Site: "primary"}
		}), failover.Release, "in time"},
		{"late, and this site is wanted", unserved(), both(both(ownWriter, late), func(o *failover.Observation) {
			o.Store.Record.Wanted = &term.Wanted{Site: "dr"}
		}), failover.RecordTerm, "writer"},
		{"the writer is moving here, and the database is a standby still", unserved(), func(o *failover.Observation) {
			o.Cluster.Moving, o.Cluster.Writer = true, "dr"
		}, failover.Wait, "changing its writer"},
		{"the control plane is silent", unserved(), func(o *failover.Observation) { o.Cluster = failover.ClusterView{} }, failover.Wait, "does not say"},
		{"recorded, and a standby again", unserved(), both(recorded, func(o *failover.Observation) { o.Database.Writer = false }), failover.Wait, "take writes yet"},
		{"recorded, under an older term's lease", unserved(), both(recorded, func(o *failover.Observation) { o.Database.LeaseTerm = 7 }), failover.Wait, "write lease"},
		{"recorded, the lease is over", unserved(), both(recorded, func(o *failover.Observation) { o.Database.LeaseValid = false }), failover.Wait, "write lease"},
		{"recorded, and the control plane named the other writer a moment ago", unserved(), both(recorded, func(o *failover.Observation) {
			o.Cluster.Writer, o.For.WriterMoved = "primary", lease/4-1
		}), failover.Wait, "looking again"},
		{"recorded, and it has done so for two periods", unserved(), both(recorded, func(o *failover.Observation) {
			o.Cluster.Writer, o.For.WriterMoved = "primary", lease/4
		}), failover.Release, "by hand"},
		{"the application's control plane is silent", serving(), func(o *failover.Observation) {
			o.App, o.For.BalancerDown, o.For.AppDown = failover.AppView{}, time.Hour, time.Hour
		}, failover.Wait, "serving"},
		{"the balancer's targets do not run as tasks", serving(), func(o *failover.Observation) {
			o.App.RunningTasks, o.For.AppDown = 0, time.Hour
		}, failover.Wait, "serving"},
		{"a database that nobody watches", serving(), func(o *failover.Observation) {
			o.Database, o.For.DatabaseDown, o.Settings.DatabaseThreshold = failover.DatabaseView{}, time.Hour, 0
		}, failover.Wait, "serving"},
	}
}

// midway is the holder in the middle of a hand-over, sealed and drained, with its target there.
func midway() failover.Observation {
	o := wanted(serving())
	o.Database.SealedTerm, o.Database.DrainedTerm, o.Database.LeaseValid = 7, 7, false
	return o
}

// conditionsOfHandover: what must be known before a hand-over goes on (P14).
func conditionsOfHandover() []decision {
	outOfSight := func(o *failover.Observation) {
		o.Database, o.For.Handoff = failover.DatabaseView{Err: "restarting"}, o.Settings.HandoffTimeout
	}
	return []decision{
		{"no trust", wanted(serving()), func(o *failover.Observation) { o.Trust = term.Trust{} }, failover.Wait, "own renewal"},
		{"no trust, midway", midway(), func(o *failover.Observation) {
			o.Trust, o.PeerBeacon.DrainedTerm = term.Trust{}, 7
		}, failover.Wait, "own renewal"},
		{"the control plane is silent", wanted(serving()), func(o *failover.Observation) { o.Cluster.Known = false }, failover.Wait, "control plane"},
		{"the writer is moving", midway(), func(o *failover.Observation) {
			o.Cluster.Moving, o.PeerBeacon.DrainedTerm = true, 7
		}, failover.Wait, "control plane"},
		{"nobody knows who the writer is", midway(), func(o *failover.Observation) {
			o.Cluster, o.PeerBeacon.DrainedTerm = failover.ClusterView{}, 7
		}, failover.Wait, "control plane"},
		{"handed over, and nobody knows who the writer is", midway(), func(o *failover.Observation) {
			o.Cluster.Known, o.Cluster.Writer, o.PeerBeacon.DrainedTerm = false, "dr", 7
		}, failover.Wait, "control plane"},
		{"the database was away for long, and is well", wanted(serving()), func(o *failover.Observation) {
			o.For.DatabaseDown = o.Settings.DatabaseThreshold
		}, failover.Seal, "operator"},
		{"the target was heard of too long ago", wanted(serving()), func(o *failover.Observation) {
			o.PeerBeaconAge = o.Settings.BeaconMaxAge + 1
		}, failover.Wait, "not ready"},
		{"the target was heard of just in time", wanted(serving()), func(o *failover.Observation) {
			o.PeerBeaconAge = o.Settings.BeaconMaxAge
		}, failover.Seal, "operator"},
		{"the own database takes no writes", wanted(serving()), func(o *failover.Observation) { o.Database.Writer = false }, failover.Wait, "does not take writes"},
		{"the target is there and drained, but says that it is not ready", midway(), func(o *failover.Observation) {
			o.PeerBeacon.DrainedTerm, o.PeerBeacon.Ready = 7, false
		}, failover.MoveWriter, "replayed"},
		{"the other site shows a drain that is not here", wanted(serving()), func(o *failover.Observation) {
			o.Database.Writer, o.Cluster.Writer, o.Database.SealedTerm, o.For.WriterMoved = false, "dr", 7, lease
			o.PeerBeacon.DrainedTerm = 7
		}, failover.Release, "by hand"},
		{"the request is gone after the writer has moved", midway(), func(o *failover.Observation) {
			o.Store.Record.Wanted = nil
			o.Database.Writer, o.Cluster.Writer, o.PeerBeacon.DrainedTerm, o.For.WriterMoved = false, "dr", 7, lease
		}, failover.Release, "by hand"},
		{"the database is out of sight: nobody knows that it is sealed", midway(), outOfSight, failover.Wait, "unreachable"},
		{"the database is out of sight for its threshold", midway(), both(outOfSight, func(o *failover.Observation) {
			o.For.DatabaseDown = o.Settings.DatabaseThreshold
		}), failover.Release, "is wanted"},
		{"the database is out of sight for its threshold, and so is the target", midway(), both(outOfSight, func(o *failover.Observation) {
			o.For.DatabaseDown, o.PeerBeaconAge = o.Settings.DatabaseThreshold, time.Hour
		}), failover.Wait, "unreachable"},
	}
}

// oldVolume is the first holder with its old volume, while dr serves the next term.
func oldVolume() failover.Observation {
	o := standby()
	o.Site, o.Peer, o.Warden, o.PeerBeacon.Site = "primary", "dr", "primary/1", "dr"
	o.Store.Record.Term, o.Store.Record.ServedTerm, o.Store.Record.Holder = 8, 8, "dr"
	o.Database.Writer, o.Cluster.Writer = true, "dr"
	return o
}

// conditionsOfStandby: a site without the term.
func conditionsOfStandby() []decision {
	movedHere := func(o *failover.Observation) { o.Database.Writer, o.Cluster.Writer = true, "dr" }
	granted := func(o *failover.Observation) {
		o.Store.Record.State, o.Store.Record.GrantedTo, o.Database.DrainedTerm = term.Granted, "dr", 7
	}
	return []decision{
		{"granted to another", standby(), both(granted, func(o *failover.Observation) { o.Store.Record.GrantedTo = "elsewhere" }), failover.Wait, "standby"},
		{"granted, and the term served last is not here", standby(), both(granted, func(o *failover.Observation) {
			o.Database.Terms = []term.Number{1}
		}), failover.Wait, "standby"},
		{"granted, and the database is out of sight", standby(), both(granted, func(o *failover.Observation) {
			o.Database = failover.DatabaseView{}
		}), failover.Wait, "standby"},
		{"the writer was moved here, as is wanted already", standby(), both(movedHere, func(o *failover.Observation) {
			o.Store.Record.Wanted = &term.Wanted{Site: "dr"}
		}), failover.Wait, "standby"},
		{"the writer was moved here, and the other site is wanted", standby(), both(movedHere, func(o *failover.Observation) {
			o.Store.Record.Wanted = &term.Wanted{Site: "primary"}
		}), failover.Want, "by hand"},
		{"the control plane names this site, the database is a standby", standby(), both(movedHere, func(o *failover.Observation) {
			o.Database.Writer = false
		}), failover.Wait, "standby"},
		{"the writer is moving here", standby(), both(movedHere, func(o *failover.Observation) { o.Cluster.Moving = true }), failover.Wait, "standby"},
		{"the control plane is silent", standby(), both(movedHere, func(o *failover.Observation) { o.Cluster.Known = false }), failover.Wait, "standby"},
		{"a writer, but not the global one", standby(), both(movedHere, func(o *failover.Observation) { o.Cluster.Writer = "primary" }), failover.Wait, "standby"},
		{"old volume", oldVolume(), nil, failover.ExportTail, "old volume"},
		{"old volume, and the other site does not serve yet", oldVolume(), func(o *failover.Observation) { o.Store.Record.ServedTerm = 7 }, failover.Wait, "standby"},
		{"old volume, rebuilt as a standby", oldVolume(), func(o *failover.Observation) { o.Database.Writer = false }, failover.Wait, "standby"},
		{"old volume, with the term by now", oldVolume(), func(o *failover.Observation) { o.Database.Terms = []term.Number{1, 7, 8} }, failover.Wait, "standby"},
		{"old volume, the control plane is silent", oldVolume(), func(o *failover.Observation) { o.Cluster.Known = false }, failover.Wait, "standby"},
		{"old volume, and an operator accepts the loss before the other site is silent", oldVolume(), func(o *failover.Observation) {
			o.OwnBeacon.Approval = approved(*o, true, true)
		}, failover.ExportTail, "old volume"},
		{"an approval that has expired", silentHolder(), func(o *failover.Observation) {
			o.Settings.Mode, o.OwnBeacon.Approval = failover.Approval, approved(*o, true, true)
			o.OwnBeacon.Approval.Expires = o.WallClock
		}, failover.Wait, "gate is shut"},
		{"an approval that accepts no loss opens no gate for data", silentHolder(), func(o *failover.Observation) {
			o.Database.LeaseTerm, o.OwnBeacon.Approval = 6, approved(*o, true, false)
		}, failover.Wait, "gate is shut"},
		{"a lag that is just allowed", silentHolder(), func(o *failover.Observation) {
			o.Settings.MaxLag = lease
		}, failover.Acquire, "stood still"},
		{"a lag just beyond", silentHolder(), func(o *failover.Observation) {
			o.Settings.MaxLag = lease - 1
		}, failover.Wait, "gate is shut"},
		{"no task, but the scheduler is silent", silentHolder(), func(o *failover.Observation) { o.App = failover.AppView{} }, failover.Acquire, "stood still"},
		{"no task, but the scheduler's answer is half of one", silentHolder(), func(o *failover.Observation) {
			o.App = failover.AppView{Known: true, Err: "no answer"}
		}, failover.Acquire, "stood still"},
		{"tasks that are not healthy yet", silentHolder(), func(o *failover.Observation) { o.App.HealthyTargets = 0 }, failover.Acquire, "stood still"},
		{"healthy targets that no scheduler runs", silentHolder(), func(o *failover.Observation) { o.App.RunningTasks = 0 }, failover.Acquire, "stood still"},
		{"the record makes no sense", silentHolder(), func(o *failover.Observation) { o.Store.Record.LeaseMS = 0 }, failover.Wait, "lease_ms"},
	}
}

// TestConditions: every condition of a decision, with the case that only it tells apart.
func TestConditions(t *testing.T) {
	for _, c := range slices.Concat(conditionsOfServing(), conditionsOfHandover(), conditionsOfStandby()) {
		t.Run(c.name, func(t *testing.T) {
			o := c.from
			if c.with != nil {
				c.with(&o)
			}
			d := failover.Decide(o)
			if d.Step != c.step || !strings.Contains(d.Reason, c.why) {
				t.Fatalf("got %s (%s), want %s (…%s…); refusals %v", d.Step, d.Reason, c.step, c.why, d.Refusals)
			}
			if d.Record != nil {
				checkWrite(t, o.Store.Record, *d.Record)
			}
		})
	}
}

// TestRefusalsComeWithTheExpiry: a site that exports its old volume says what it would take to get the term only once the
// other one is silent.
func TestRefusalsComeWithTheExpiry(t *testing.T) {
	o := oldVolume()
	if d := failover.Decide(o); len(d.Refusals) != 0 {
		t.Errorf("while the other site serves: %v", d.Refusals)
	}
	o.Watch = expired(o.Store.Record)
	checkRefusal(t, failover.Decide(o), "lineage")
}

// TestTheDrainOfAnOlderTermIsNoGate: a site that took its term back after the drain may have committed for as long as it was
// covered, although it never said that it serves.
func TestTheDrainOfAnOlderTermIsNoGate(t *testing.T) {
	o := standby()
	o.Database.SealedTerm, o.Database.DrainedTerm = 7, 7
	o.Watch = expired(o.Store.Record)
	if lag, known := failover.Lag(o); !known || lag != 0 {
		t.Errorf("drained: lag %v, known %v", lag, known)
	}
	o.Store.Record.Term, o.Store.Record.CoveredUntil = 8, o.Database.ValidUntil.Add(time.Hour)
	o.Watch = expired(o.Store.Record)
	if lag, known := failover.Lag(o); !known || lag != time.Hour+lease {
		t.Errorf("acquired again and covered for an hour: lag %v, known %v", lag, known)
	}
	checkRefusal(t, failover.Decide(o), "lag")
	o.Database.DrainedTerm = 8
	if lag, known := failover.Lag(o); !known || lag != 0 {
		t.Errorf("drained again: lag %v, known %v", lag, known)
	}
}

// TestPromoteWithTheDrain: a promotion over a database that has everything can't lose a tail, whatever else it risks; and
// how long the other site counts as there.
func TestPromoteWithTheDrain(t *testing.T) {
	o := unserved()
	o.Database.DrainedTerm = 7
	if d := failover.Decide(o); d.Step != failover.Promote || !d.Lossy || d.Record != nil {
		t.Errorf("with the drain: %+v", d)
	}
	for age, lossy := range map[time.Duration]bool{3 * lease / 8: false, 3*lease/8 + 1: true} {
		o.PeerBeaconSeen, o.PeerBeaconAge = true, age
		if d := failover.Decide(o); d.Step != failover.Promote || d.Lossy != lossy {
			t.Errorf("with a beacon that is %v old: %+v", age, d)
		}
	}
}

// TestMovedAway: "not the writer" means something only for a term that the own database has been the writer of, and only
// from a control plane that answers (P16).
func TestMovedAway(t *testing.T) {
	for _, c := range []struct {
		name string
		with func(*failover.Observation)
		want bool
	}{
		{"served", nil, true},
		{"recorded, not served", func(o *failover.Observation) {
			o.Store.Record.ServedTerm = 6
		}, true},
		{"served, and rebuilt from a copy that lacks the term", func(o *failover.Observation) { o.Database.Terms = []term.Number{1} }, true},
		{"neither served nor recorded", func(o *failover.Observation) {
			o.Store.Record.ServedTerm, o.Database.Terms = 6, []term.Number{1, 6}
		}, false},
		{"not the holder", func(o *failover.Observation) { o.Store.Record.Holder = "dr" }, false},
		{"the database is unreachable", func(o *failover.Observation) { o.Database.Reachable = false }, false},
		{"the control plane is silent", func(o *failover.Observation) { o.Cluster.Known = false }, false},
		{"the writer is moving", func(o *failover.Observation) { o.Cluster.Moving = true }, false},
		{"the writer is here", func(o *failover.Observation) { o.Cluster.Writer = "primary" }, false},
	} {
		o := serving()
		o.Cluster.Writer = "dr"
		if c.with != nil {
			c.with(&o)
		}
		if got := failover.MovedAway(o); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestReadiness: what a standby's beacon says, and why not (P14).
func TestReadiness(t *testing.T) {
	for _, c := range []struct {
		name string
		from failover.Observation
		with func(*failover.Observation)
		why  string
	}{
		{"standby", standby(), nil, ""},
		{"store unreadable", standby(), func(o *failover.Observation) { o.Store.Readable = false }, "cannot be read"},
		{"holder", serving(), nil, ""},
		{"holder without trust", serving(), func(o *failover.Observation) { o.Trust = term.Trust{} }, "no trust"},
		{"database unreachable", standby(), func(o *failover.Observation) { o.Database = failover.DatabaseView{Err: "refused"} }, "refused"},
		{"control plane silent", standby(), func(o *failover.Observation) { o.Cluster = failover.ClusterView{Err: "throttled", Member: true} }, "throttled"},
		{"detached", standby(), func(o *failover.Observation) { o.Cluster.Member = false }, "not a member"},
		{"old volume", oldVolume(), nil, "left behind"},
		{"the writer was moved here by hand", standby(), func(o *failover.Observation) { o.Database.Writer, o.Cluster.Writer = true, "dr" }, ""},
		{"no healthy target", standby(), func(o *failover.Observation) { o.App.HealthyTargets = 0 }, "no healthy target"},
		{"nobody knows the targets", standby(), func(o *failover.Observation) { o.App.Known = false }, "no healthy target"},
		{"lineage", standby(), func(o *failover.Observation) { o.Database.Terms = []term.Number{1} }, "lineage"},
		{"lag", standby(), func(o *failover.Observation) { o.Database.LeaseTerm = 6 }, "lag"},
		{"pinned by the other site", abstaining(), nil, "pinned"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := c.from
			if c.with != nil {
				c.with(&o)
			}
			if ready, because := failover.Readiness(o); ready != (c.why == "") || !strings.Contains(because, c.why) {
				t.Errorf("ready %v (%s), want (%s)", ready, because, c.why)
			}
		})
	}
}

// TestJudgeSaysWhy: each reason by itself keeps a site that would otherwise serve from saying 200 (P13).
func TestJudgeSaysWhy(t *testing.T) {
	for _, c := range []struct {
		why  string
		with func(*failover.Observation)
	}{
		{"no usable term record", func(o *failover.Observation) { o.Store.Missing = true }},
		{"no usable term record", func(o *failover.Observation) { o.Store.Record.Version = 0 }},
		{"held by dr", func(o *failover.Observation) { o.Store.Record.Holder = "dr" }},
		{"releasing", func(o *failover.Observation) { o.Store.Record.State = term.Releasing }},
		{"unreachable: refused", func(o *failover.Observation) { o.Database.Reachable, o.Database.Err = false, "refused" }},
		{"not the writer of this term", func(o *failover.Observation) { o.Database.Terms = []term.Number{1} }},
	} {
		o := serving()
		c.with(&o)
		if h := failover.Judge(o); h.Serving || !strings.Contains(h.Reason, c.why) {
			t.Errorf("%+v, want …%s…", h, c.why)
		}
	}
	// Trust that a site keeps from before it lost the term: it is a standby, whatever else it shows.
	o := serving()
	o.Store.Record.Holder = "dr"
	if h := failover.Judge(o); !h.Target {
		t.Errorf("a standby's warden leaves the balancer: %+v", h)
	}
	o = pinned()
	o.App = failover.AppView{}
	if h := failover.Judge(o); !h.Serving {
		t.Errorf("pinned, with a silent control plane of the application: %+v", h)
	}
}

// TestPinEndsWithTheStore: the store's first answer ends the own pin, and nobody else's.
func TestPinEndsWithTheStore(t *testing.T) {
	for _, c := range []struct {
		name string
		with func(*failover.Observation)
		want bool
	}{
		{"own", nil, true},
		{"of the other site", func(o *failover.Observation) { o.Database.Pin.Site = "dr" }, false},
		{"ended already", func(o *failover.Observation) { o.Database.Pin.Ended = true }, false},
		{"none", func(o *failover.Observation) { o.Database.Pin = failover.PinView{Site: "primary"} }, false},
		{"in a database that is a copy", func(o *failover.Observation) { o.Database.Writer = false }, false},
		{"in a database out of sight", func(o *failover.Observation) { o.Database.Reachable = false }, false},
	} {
		o := pinned()
		o.Store.Readable = true
		if c.with != nil {
			c.with(&o)
		}
		if d := failover.Decide(o); (d.Step == failover.EndPin) != c.want {
			t.Errorf("%s: %s (%s)", c.name, d.Step, d.Reason)
		}
	}
}

// TestUncovered: a renewal out of turn is for the holder whose database takes writes that the record does not cover.
func TestUncovered(t *testing.T) {
	for _, c := range []struct {
		name string
		with func(*failover.Observation)
		want bool
	}{
		{"the report has run out", nil, true},
		{"the store is silent", func(o *failover.Observation) { o.Store.Readable = false }, false},
		{"not the holder", func(o *failover.Observation) { o.Store.Record.Holder = "dr" }, false},
		{"released", func(o *failover.Observation) { o.Store.Record.State = term.Releasing }, false},
		{"the database is out of sight", func(o *failover.Observation) { o.Database.Reachable = false }, false},
		{"the database takes no writes", func(o *failover.Observation) { o.Database.Writer = false }, false},
		{"sealed", func(o *failover.Observation) { o.Database.SealedTerm = 7 }, false},
	} {
		o := serving()
		o.Database.Time = covered.Add(time.Minute)
		if c.with != nil {
			c.with(&o)
		}
		if got := failover.Uncovered(o); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestNoTasks: only a scheduler that answers can say that there are none.
func TestNoTasks(t *testing.T) {
	for _, c := range []struct {
		app  failover.AppView
		want bool
	}{
		{failover.AppView{Known: true}, true},
		{failover.AppView{Known: true, RunningTasks: 1}, false},
		{failover.AppView{Known: true, Err: "throttled"}, false},
		{failover.AppView{}, false},
	} {
		if got := failover.NoTasks(failover.Observation{App: c.app}); got != c.want {
			t.Errorf("%+v: %v", c.app, got)
		}
	}
}
