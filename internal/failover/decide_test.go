package failover_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

const lease, margin = 20 * time.Second, 2500 * time.Millisecond

// covered is how far the holder's lease may reach, on the database's clock, which shows covered - lease/2 now.
var covered = time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)

// now is the observing warden's boot clock in every case.
var now = term.Instant(time.Hour)

func record() term.Record {
	return term.Record{
		Deployment: "d", Version: 40, Term: 7, Holder: "primary", Renewal: 30, Nonce: "n",
		LeaseMS: lease.Milliseconds(), MarginMS: margin.Milliseconds(), State: term.Held, ServedTerm: 7, CoveredUntil: covered, TakeoverBudget: 3,
	}
}

func settings() failover.Settings {
	return failover.Settings{
		Mode: failover.Automatic, MaxLag: 5 * time.Minute, DatabaseThreshold: time.Minute,
		AppThreshold: time.Minute, BalancerThreshold: time.Minute, HandoffTimeout: 5 * time.Minute, BeaconMaxAge: 30 * time.Second,
	}
}

// serving is the active site in its quiet state.
func serving() failover.Observation {
	r := record()
	return failover.Observation{
		Now: now, WallClock: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Site: "primary", Peer: "dr", Warden: "primary/1",
		Settings: settings(), Store: failover.StoreView{Readable: true, Record: r}, Trust: term.Trust{Term: 7, Until: now.Add(time.Second)},
		Database:   failover.DatabaseView{Reachable: true, Writer: true, Terms: []term.Number{1, 7}, LeaseTerm: 7, Renewal: 30, ValidUntil: covered, LeaseValid: true, Time: covered.Add(-lease / 2), Asked: now},
		Cluster:    failover.ClusterView{Known: true, Writer: "primary", Member: true},
		App:        failover.AppView{Known: true, HealthyTargets: 2, RunningTasks: 2},
		PeerBeacon: term.Beacon{Site: "dr", Ready: true, LineageTerm: 7}, PeerBeaconSeen: true, PeerBeaconAge: time.Second,
	}
}

// standby is the other site in its quiet state.
func standby() failover.Observation {
	o := serving()
	o.Site, o.Peer, o.Warden = "dr", "primary", "dr/1"
	o.Trust = term.Trust{}
	o.Database.Writer, o.Database.LeaseValid = false, false
	o.PeerBeacon.Site = "primary"
	return o
}

func expired(r term.Record) term.Watch {
	return term.Watch{}.Observe(r, now.Add(-lease-margin)).Observe(r, now)
}

func stoodFor(r term.Record, d time.Duration) term.Watch {
	return term.Watch{}.Observe(r, now.Add(-d)).Observe(r, now)
}

// unserved is the other site right after it took the term.
func unserved() failover.Observation {
	o := standby()
	o.Store.Record.Term, o.Store.Record.Holder = 8, "dr"
	o.Trust = term.Trust{Term: 8, Until: now.Add(time.Second)}
	o.PeerBeaconSeen = false
	return o
}

func wanted(o failover.Observation) failover.Observation {
	o.Store.Record.Wanted = &term.Wanted{Site: "dr", By: "operator"}
	return o
}

// decision is one case: an observation, and what it leads to.
type decision struct {
	name string
	from failover.Observation
	with func(*failover.Observation)
	step failover.Step
	why  string
}

// quietCases: nothing happens, or nothing may happen.
func quietCases() []decision {
	return []decision{
		{"quiet active site", serving(), nil, failover.Wait, "serving"},
		{"quiet standby", standby(), nil, failover.Wait, "standby"},
		{"store unreadable", standby(), func(o *failover.Observation) { o.Store.Readable = false; o.Watch = expired(o.Store.Record) }, failover.Wait, "cannot be read"},
		{"record missing never starts anything", standby(), func(o *failover.Observation) { o.Store.Missing = true }, failover.Wait, "holdfast init"},
		{"record below the database", standby(), func(o *failover.Observation) {
			o.Database.Terms = []term.Number{1, 7, 9}
			o.Watch = expired(o.Store.Record)
		}, failover.Wait, "above the record's term"},
	}
}

// expiryCases: a site without the term.
func expiryCases() []decision {
	return []decision{
		{"expiry", standby(), func(o *failover.Observation) { o.Watch = expired(o.Store.Record) }, failover.Acquire, "stood still"},
		{"expiry, not watched long enough", standby(), func(o *failover.Observation) {
			o.Watch = term.Watch{}.Observe(o.Store.Record, now.Add(-lease)).Observe(o.Store.Record, now)
		}, failover.Wait, "standby"},
		{"expiry, manual mode", standby(), func(o *failover.Observation) { o.Watch = expired(o.Store.Record); o.Settings.Mode = failover.Manual }, failover.Wait, "gate is shut"},
		{"expiry, database lacks the term served last", standby(), func(o *failover.Observation) {
			o.Watch = expired(o.Store.Record)
			o.Database.Terms = []term.Number{1}
		}, failover.Wait, "gate is shut"},
		{"expiry, lag too large", standby(), func(o *failover.Observation) {
			o.Store.Record.CoveredUntil = covered.Add(5 * time.Minute)
			o.Watch = expired(o.Store.Record)
		}, failover.Wait, "gate is shut"},
		{"expiry in the middle of a hand-over, everything is here", standby(), func(o *failover.Observation) {
			o.Store.Record.CoveredUntil = covered.Add(time.Hour)
			o.Database.SealedTerm, o.Database.DrainedTerm = 7, 7
			o.Watch = expired(o.Store.Record)
		}, failover.Acquire, "stood still"},
		{"expiry, nothing was reported", standby(), func(o *failover.Observation) {
			o.Store.Record.CoveredUntil = time.Time{}
			o.Watch = expired(o.Store.Record)
		}, failover.Wait, "gate is shut"},
		{"expiry, lag unknown", standby(), func(o *failover.Observation) { o.Watch = expired(o.Store.Record); o.Database.LeaseTerm = 6 }, failover.Wait, "gate is shut"},
		{"expiry, approved with data loss", standby(), func(o *failover.Observation) {
			o.Watch = expired(o.Store.Record)
			o.Settings.Mode, o.Database.LeaseTerm = failover.Approval, 6
			o.OwnBeacon.Approval = &term.Approval{Term: 7, Expires: o.WallClock.Add(time.Minute), AllowDataLoss: true}
		}, failover.Acquire, "stood still"},
		{"an approval of another term counts for nothing", standby(), func(o *failover.Observation) {
			o.Watch = expired(o.Store.Record)
			o.Settings.Mode = failover.Approval
			o.OwnBeacon.Approval = &term.Approval{Term: 6, Expires: o.WallClock.Add(time.Minute), AllowDataLoss: true}
		}, failover.Wait, "gate is shut"},
		{"granted", standby(), func(o *failover.Observation) {
			o.Store.Record.State, o.Store.Record.GrantedTo, o.Database.DrainedTerm = term.Granted, "dr", 7
		}, failover.Acquire, "granted"},
		{"granted, but the end of the term is not here", standby(), func(o *failover.Observation) {
			o.Store.Record.State, o.Store.Record.GrantedTo = term.Granted, "dr"
		}, failover.Wait, "standby"},
		{"granted, and the holder died before the end of the term was here", standby(), func(o *failover.Observation) {
			o.Store.Record.State, o.Store.Record.GrantedTo = term.Granted, "dr"
			o.Watch = expired(o.Store.Record)
		}, failover.Acquire, "stood still"},
		{"writer moved here by hand", standby(), func(o *failover.Observation) { o.Database.Writer = true; o.Cluster.Writer = "dr" }, failover.Want, "by hand"},
		{"a stale copy promoted by hand leaves nobody eligible", standby(), func(o *failover.Observation) {
			o.Database.Writer, o.Cluster.Writer, o.Database.Terms = true, "dr", []term.Number{1}
		}, failover.Wait, "standby"},
	}
}

// unservedCases: a site that has just acquired the term.
func unservedCases() []decision {
	return []decision{
		{"acquired, no trust yet", unserved(), func(o *failover.Observation) { o.Trust = term.Trust{} }, failover.Wait, "own renewal"},
		{"acquired, not the writer", unserved(), nil, failover.Promote, "silent"},
		{"acquired, other site silent for less than a hand-over would wait", unserved(), func(o *failover.Observation) {
			o.PeerBeaconSeen, o.PeerBeaconAge = true, lease+margin
		}, failover.Promote, "silent"},
		{"acquired, other site alive", unserved(), func(o *failover.Observation) {
			o.PeerBeaconSeen, o.PeerBeaconAge = true, time.Second
		}, failover.Promote, "hand its writer over"},
		{"acquired, other site alive, and its region refuses the switchover", unserved(), func(o *failover.Observation) {
			o.PeerBeaconSeen, o.PeerBeaconAge, o.SwitchoverRefused = true, time.Second, 8
		}, failover.Promote, "does not let this site ask"},
		{"acquired, and the refusal was in an earlier term", unserved(), func(o *failover.Observation) {
			o.PeerBeaconSeen, o.PeerBeaconAge, o.SwitchoverRefused = true, time.Second, 6
		}, failover.Promote, "hand its writer over"},
		{"acquired, and the switchover takes too long", unserved(), func(o *failover.Observation) {
			o.PeerBeaconSeen, o.PeerBeaconAge, o.For.Unserved = true, time.Second, o.Settings.HandoffTimeout/4
		}, failover.Promote, "not come about in time"},
		{"acquired, not to be served, and the other site is there", unserved(), func(o *failover.Observation) {
			o.PeerBeaconSeen, o.PeerBeaconAge, o.For.Unserved = true, time.Second, 5*time.Minute
		}, failover.Release, "in time"},
		{"acquired, an old volume that the control plane does not count", unserved(), func(o *failover.Observation) {
			o.Database.Writer = true
		}, failover.Wait, "not the global writer"},
		{"acquired, own writer instance down", unserved(), func(o *failover.Observation) {
			o.Cluster.Writer = "dr"
		}, failover.Wait, "does not answer"},
		{"acquired, writer moving", unserved(), func(o *failover.Observation) { o.Cluster.Moving = true }, failover.Wait, "changing its writer"},
		{"acquired, writer", unserved(), func(o *failover.Observation) { o.Database.Writer = true; o.Cluster.Writer = "dr" }, failover.RecordTerm, "writer"},
		{"acquired, writer while the old one is still being made a secondary", unserved(), func(o *failover.Observation) {
			o.Database.Writer, o.Cluster.Writer, o.Cluster.Moving = true, "dr", true
		}, failover.RecordTerm, "writer"},
		{"acquired, a server that takes writes while the writer moves away from it", unserved(), func(o *failover.Observation) {
			o.Database.Writer, o.Cluster.Moving = true, true
		}, failover.Wait, "changing its writer"},
		{"recorded, no lease yet", unserved(), func(o *failover.Observation) {
			o.Database.Writer, o.Cluster.Writer, o.Database.Terms = true, "dr", []term.Number{1, 7, 8}
		}, failover.Wait, "write lease"},
		{"recorded, leased", unserved(), func(o *failover.Observation) {
			o.Database.Writer, o.Cluster.Writer, o.Database.Terms = true, "dr", []term.Number{1, 7, 8}
			o.Database.LeaseTerm, o.Database.LeaseValid = 8, true
		}, failover.Serve, "takes writes"},
		{"recorded, and the writer moved away by hand", unserved(), func(o *failover.Observation) {
			o.Database.Terms = []term.Number{1, 7, 8}
			o.Cluster.Writer, o.For.WriterMoved = "primary", lease
		}, failover.Release, "by hand"},
	}
}

// servingCases: the active site.
func servingCases() []decision {
	return []decision{
		{"writer moved away by hand while serving", serving(), func(o *failover.Observation) {
			o.Database.Writer, o.Cluster.Writer, o.For.WriterMoved = false, "dr", lease
		}, failover.Release, "by hand"},
		{"one answer that names the other writer may be old", serving(), func(o *failover.Observation) { o.Cluster.Writer = "dr" }, failover.Wait, "looking again"},
		{"database dead", serving(), func(o *failover.Observation) { o.Database = failover.DatabaseView{}; o.For.DatabaseDown = time.Minute }, failover.Release, "unreachable"},
		{"database dead, nobody to take over", serving(), func(o *failover.Observation) {
			o.Database = failover.DatabaseView{}
			o.For.DatabaseDown, o.PeerBeacon.Ready = time.Minute, false
		}, failover.Wait, "gate is shut"},
		{"database reads, and its writes stall", serving(), func(o *failover.Observation) {
			o.Database.LeaseValid, o.For.DatabaseDown = false, time.Minute
		}, failover.Release, "does not take its write lease"},
		{"database reads, and its writes stall, nobody to take over", serving(), func(o *failover.Observation) {
			o.Database.LeaseValid, o.For.DatabaseDown, o.PeerBeaconSeen = false, time.Minute, false
		}, failover.Wait, "gate is shut"},
		{"a lease that is over without trust says nothing about the database", serving(), func(o *failover.Observation) {
			o.Database.LeaseValid, o.For.DatabaseDown, o.Trust = false, time.Minute, term.Trust{}
		}, failover.Wait, "serving"},
		{"application dead", serving(), func(o *failover.Observation) { o.App.HealthyTargets = 0; o.For.BalancerDown = time.Minute }, failover.Want, "no healthy target"},
		{"application dead, budget spent", serving(), func(o *failover.Observation) {
			o.App.HealthyTargets, o.For.BalancerDown, o.Store.Record.TakeoverBudget = 0, time.Minute, 0
		}, failover.Wait, "gate is shut"},
	}
}

// switchoverCases: a planned hand-over.
func switchoverCases() []decision {
	return []decision{
		{"switchover: seal", wanted(serving()), nil, failover.Seal, "operator"},
		{"switchover: ready, but not in view of the request", wanted(serving()), func(o *failover.Observation) {
			o.Store.Record.Wanted = &term.Wanted{Site: "dr", By: "operator", At: time.Unix(2000, 0)}
			o.PeerBeacon.Request = time.Unix(1000, 0)
		}, failover.Wait, "not ready"},
		{"switchover: ready in view of the request", wanted(serving()), func(o *failover.Observation) {
			o.Store.Record.Wanted = &term.Wanted{Site: "dr", By: "operator", At: time.Unix(2000, 0)}
			o.PeerBeacon.Request = time.Unix(2000, 0)
		}, failover.Seal, "operator"},
		{"switchover: target not ready", wanted(serving()), func(o *failover.Observation) { o.PeerBeacon.Ready = false }, failover.Wait, "not ready"},
		{"switchover: target never ready", wanted(serving()), func(o *failover.Observation) { o.PeerBeacon.Ready = false; o.For.Wanted = time.Hour }, failover.ClearWanted, "in time"},
		{"switchover: drain", wanted(serving()), func(o *failover.Observation) { o.Database.SealedTerm = 7 }, failover.Drain, "sealed"},
		{"switchover: target has not replayed", wanted(serving()), func(o *failover.Observation) { o.Database.SealedTerm, o.Database.DrainedTerm = 7, 7 }, failover.Wait, "replayed"},
		{"switchover: move", wanted(serving()), func(o *failover.Observation) {
			o.Database.SealedTerm, o.Database.DrainedTerm, o.PeerBeacon.DrainedTerm = 7, 7, 7
		}, failover.MoveWriter, "replayed"},
		{"switchover: grant only after seal and drain", wanted(serving()), func(o *failover.Observation) {
			o.Database.Writer, o.Cluster.Writer, o.Database.SealedTerm, o.Database.DrainedTerm = false, "dr", 7, 7
			o.PeerBeacon.DrainedTerm = 7
		}, failover.Grant, "writer has moved"},
		{"switchover: grant while the old writer restarts", wanted(serving()), func(o *failover.Observation) {
			o.Database, o.Cluster.Writer, o.Cluster.Moving = failover.DatabaseView{}, "dr", true
			o.PeerBeacon.DrainedTerm = 7
		}, failover.Grant, "writer has moved"},
		{"switchover: no grant while the control plane names the own site", wanted(serving()), func(o *failover.Observation) {
			o.Database, o.Cluster.Moving, o.PeerBeacon.DrainedTerm = failover.DatabaseView{}, true, 7
		}, failover.Wait, "unreachable"},
		{"switchover: a drain of an older term is no proof", wanted(serving()), func(o *failover.Observation) {
			o.Database, o.Cluster.Writer, o.PeerBeacon.DrainedTerm = failover.DatabaseView{}, "dr", 6
		}, failover.Wait, "unreachable"},
		{"switchover: writer moved by hand before the target had everything is no grant", wanted(serving()), func(o *failover.Observation) {
			o.Database.Writer, o.Cluster.Writer, o.Database.SealedTerm, o.Database.DrainedTerm = false, "dr", 7, 7
			o.For.WriterMoved = lease
		}, failover.Release, "by hand"},
		{"switchover: database dead, budget spent", wanted(serving()), func(o *failover.Observation) {
			o.Database, o.For.DatabaseDown, o.Store.Record.TakeoverBudget = failover.DatabaseView{}, time.Minute, 0
		}, failover.Release, "is wanted"},
		{"switchover: the database's writes stall", wanted(serving()), func(o *failover.Observation) {
			o.Database.LeaseValid, o.For.DatabaseDown = false, time.Minute
		}, failover.Release, "is wanted"},
		{"switchover: the seal never comes about", wanted(serving()), func(o *failover.Observation) {
			o.For.Wanted = 5 * time.Minute
		}, failover.ClearWanted, "not sealed in time"},
		{"switchover: writer moved without a drain is no grant", wanted(serving()), func(o *failover.Observation) {
			o.Database.Writer, o.Cluster.Writer, o.Database.SealedTerm, o.For.WriterMoved = false, "dr", 7, lease
		}, failover.Release, "by hand"},
		{"switchover: too slow", wanted(serving()), func(o *failover.Observation) { o.Database.SealedTerm = 7; o.For.Handoff = time.Hour }, failover.TakeBack, "in time"},
		{"grant not taken", serving(), func(o *failover.Observation) {
			o.Store.Record.State, o.Store.Record.GrantedTo, o.For.Handoff = term.Granted, "dr", time.Hour
		}, failover.TakeBack, "not taken"},
		{"the database comes from a copy without the term", serving(), func(o *failover.Observation) {
			o.Database.Terms, o.Database.LeaseValid, o.For.DatabaseDown, o.PeerBeacon.Ready = []term.Number{1}, false, time.Minute, false
		}, failover.Release, "older copy"},
		{"a look at the database from before the term was in it", serving(), func(o *failover.Observation) {
			o.Database.Terms, o.Database.LeaseValid, o.For.DatabaseDown = []term.Number{1}, false, time.Second
		}, failover.Wait, "serving, but"},
		{"sealed without a wish", serving(), func(o *failover.Observation) { o.Database.SealedTerm = 7 }, failover.TakeBack, "no hand-over"},
		{"wanted here", serving(), func(o *failover.Observation) { o.Store.Record.Wanted = &term.Wanted{Site: "primary"} }, failover.ClearWanted, "is the active one"},
	}
}

// releasedCases: a term given up, and an old volume.
func releasedCases() []decision {
	return []decision{
		{"releasing", serving(), func(o *failover.Observation) { o.Store.Record.State = term.Releasing }, failover.Wait, "releasing"},
		{"released, nobody took it, and the cause is not gone", serving(), func(o *failover.Observation) {
			o.Store.Record.State, o.Watch, o.App.HealthyTargets = term.Releasing, stoodFor(o.Store.Record, 2*(lease+margin)), 0
		}, failover.Wait, "not gone"},
		{"released, nobody took it, and the cause is gone", serving(), func(o *failover.Observation) {
			o.Store.Record.State, o.Watch = term.Releasing, stoodFor(o.Store.Record, 2*(lease+margin))
		}, failover.Acquire, "cause is gone"},
		{"old volume after the return", standby(), func(o *failover.Observation) {
			o.Store.Record.Term, o.Store.Record.ServedTerm = 8, 8
			o.Database.Writer = true
		}, failover.ExportTail, "old volume"},
		{"old volume, other site lost too, and an operator accepts the loss", standby(), func(o *failover.Observation) {
			o.Store.Record.Term, o.Store.Record.ServedTerm = 8, 8
			o.Database.Writer = true
			o.Watch = expired(o.Store.Record)
			o.OwnBeacon.Approval = &term.Approval{Term: 8, Expires: o.WallClock.Add(time.Minute), AllowDataLoss: true}
		}, failover.Acquire, "stood still"},
		{"old volume, tail exported", standby(), func(o *failover.Observation) {
			o.Store.Record.Term, o.Store.Record.ServedTerm = 8, 8
			o.Database.Writer, o.TailExported = true, true
		}, failover.Wait, "standby"},
	}
}

func TestDecide(t *testing.T) {
	cases := slices.Concat(quietCases(), expiryCases(), unservedCases(), servingCases(), switchoverCases(), releasedCases())
	for _, c := range cases {
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
			if len(d.Refusals) == 0 && gatesSpeak(d.Reason) {
				t.Errorf("%q names no gate, nor what would open it", d.Reason)
			}
			for _, r := range d.Refusals {
				if r.Gate == "" || r.Current == "" || r.Wanted == "" || r.Remedy == "" {
					t.Errorf("refusal %+v leaves something unsaid", r)
				}
			}
		})
	}
}

// gatesSpeak says whether a reason to wait is one that something has to be done about.
func gatesSpeak(reason string) bool {
	return slices.ContainsFunc([]string{"gate is shut", "cannot be read", "holdfast init", "above the record's term", "not gone"}, func(part string) bool {
		return strings.Contains(reason, part)
	})
}

// checkWrite holds for every write of the record, whatever the decision (P2).
func checkWrite(t *testing.T, before, after term.Record) {
	t.Helper()
	switch {
	case after.Version != before.Version+1:
		t.Errorf("version %d follows %d", after.Version, before.Version)
	case after.Validate() != nil:
		t.Errorf("wrote an invalid record: %v", after.Validate())
	case after.Holder != before.Holder && after.Term != before.Term+1:
		t.Errorf("the holder changed from term %d to term %d", before.Term, after.Term)
	case before.State != term.Held && after.State == term.Held && after.Term == before.Term:
		t.Errorf("state %s was cleared within term %d", before.State, before.Term)
	}
}

func TestRenew(t *testing.T) {
	cases := []struct {
		name string
		with func(*failover.Observation)
		want bool
	}{
		{"holder", nil, true},
		{"holder whose trust ran out, nothing sealed (P6)", func(o *failover.Observation) { o.Trust = term.Trust{} }, true},
		{"holder whose trust ran out over a seal", func(o *failover.Observation) { o.Trust = term.Trust{}; o.Database.SealedTerm = 7 }, false},
		{"sealed, still trusted: the hand-over needs its term", func(o *failover.Observation) { o.Database.SealedTerm = 7 }, true},
		{"granted", func(o *failover.Observation) { o.Store.Record.State, o.Store.Record.GrantedTo = term.Granted, "dr" }, false},
		{"releasing", func(o *failover.Observation) { o.Store.Record.State = term.Releasing }, false},
		{"other holder", func(o *failover.Observation) { o.Store.Record.Holder = "dr" }, false},
		{"unreadable", func(o *failover.Observation) { o.Store.Readable = false }, false},
		{"record below the database (P1)", func(o *failover.Observation) { o.Database.Terms = []term.Number{9} }, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := serving()
			if c.with != nil {
				c.with(&o)
			}
			next, ok := failover.Renew(o)
			if ok != c.want {
				t.Fatalf("renews: %v, want %v", ok, c.want)
			}
			if ok && (next.Renewal != o.Store.Record.Renewal+1 || next.Version != o.Store.Record.Version+1 || next.Term != o.Store.Record.Term) {
				t.Errorf("renewal wrote %+v over %+v", next, o.Store.Record)
			}
		})
	}
}

// TestRenewalReportsReach: the record says how far a lease may reach before a lease does, as long as the database takes
// writes, and no earlier than that.
func TestRenewalReportsReach(t *testing.T) {
	reach := covered.Add(lease/2 - margin)
	cases := []struct {
		name      string
		from      failover.Observation
		with      func(*failover.Observation)
		want      time.Time
		dueAtOnce bool
	}{
		{"serving", serving(), nil, reach, false},
		{"the sample is a second old", serving(), func(o *failover.Observation) { o.Database.Asked = now.Add(-time.Second) }, reach.Add(time.Second), false},
		{"after an outage of the store longer than the lease", serving(), func(o *failover.Observation) {
			o.Trust = term.Trust{}
			o.Database.Time, o.Database.LeaseValid = covered.Add(time.Minute), false
		}, covered.Add(time.Minute + lease - margin), true},
		{"the database does not answer", serving(), func(o *failover.Observation) { o.Database = failover.DatabaseView{} }, covered, false},
		{"a clock that was put back moves nothing", serving(), func(o *failover.Observation) { o.Database.Time = covered.Add(-time.Hour) }, covered, false},
		{"acquired, not the writer yet", unserved(), nil, covered, false},
		{"promoted, on another database's clock", unserved(), func(o *failover.Observation) {
			o.Database.Writer, o.Database.Time = true, covered.Add(-time.Hour)
		}, covered.Add(-time.Hour + lease - margin), false},
		{"promoted after the lease had run out", unserved(), func(o *failover.Observation) {
			o.Database.Writer, o.Database.Time = true, covered.Add(margin)
		}, covered.Add(lease), true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := c.from
			if c.with != nil {
				c.with(&o)
			}
			next, ok := failover.Renew(o)
			if !ok || !next.CoveredUntil.Equal(c.want) {
				t.Errorf("renews %v with %v, want %v", ok, next.CoveredUntil, c.want)
			}
			if due := failover.Uncovered(o); due != c.dueAtOnce {
				t.Errorf("a renewal is due at once: %v, want %v", due, c.dueAtOnce)
			}
			if o.Store.Record = next; failover.Uncovered(o) {
				t.Error("a renewal is due at once after the renewal")
			}
		})
	}
}

// TestLeaseUntil: a lease reaches to the end of the trust, and no further than the record has said.
func TestLeaseUntil(t *testing.T) {
	clock := covered.Add(-10 * time.Second)
	cases := []struct {
		name  string
		trust term.Trust
		after term.Instant
		want  time.Duration
		ok    bool
	}{
		{"the trust ends first", term.Trust{Term: 7, Until: now.Add(5 * time.Second)}, now, 5 * time.Second, true},
		{"a slow answer shortens it", term.Trust{Term: 7, Until: now.Add(5 * time.Second)}, now.Add(time.Second), 4 * time.Second, true},
		{"the report ends first", term.Trust{Term: 7, Until: now.Add(time.Minute)}, now, 10 * time.Second, true},
		{"the trust is over", term.Trust{Term: 7, Until: now}, now, 0, false},
		{"the trust is in another term", term.Trust{Term: 6, Until: now.Add(time.Minute)}, now, 0, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			until, ok := failover.LeaseUntil(record(), c.trust, clock, c.after)
			if ok != c.ok || ok && !until.Equal(clock.Add(c.want)) {
				t.Errorf("reaches %v past the database's clock (%v), want %v (%v)", until.Sub(clock), ok, c.want, c.ok)
			}
		})
	}
	if _, ok := failover.LeaseUntil(record(), term.Trust{Term: 7, Until: now.Add(time.Minute)}, covered, now); ok {
		t.Error("a lease is given whose reported end has passed")
	}
}

func TestJudge(t *testing.T) {
	cases := []struct {
		name            string
		with            func(*failover.Observation)
		serving, target bool
	}{
		{"active", nil, true, true},
		{"trust ran out", func(o *failover.Observation) { o.Now = o.Now.Add(2 * time.Second) }, false, false},
		{"trust in an older term", func(o *failover.Observation) { o.Trust.Term = 6 }, false, false},
		{"not served yet", func(o *failover.Observation) { o.Store.Record.ServedTerm = 6 }, false, true},
		{"database not the writer", func(o *failover.Observation) { o.Database.Writer = false }, false, true},
		{"lease over", func(o *failover.Observation) { o.Database.LeaseValid = false }, false, true},
		{"sealed", func(o *failover.Observation) { o.Database.SealedTerm = 7 }, false, true},
		{"application dead", func(o *failover.Observation) { o.App.HealthyTargets = 0 }, false, true},
		{"application's control plane silent", func(o *failover.Observation) { o.App = failover.AppView{} }, true, true},
		{"standby", func(o *failover.Observation) { o.Store.Record.Holder = "dr" }, false, true},
		{"store unreadable, trust holds", func(o *failover.Observation) { o.Store.Readable = false }, true, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := serving()
			if c.with != nil {
				c.with(&o)
			}
			h := failover.Judge(o)
			if h.Serving != c.serving || h.Target != c.target {
				t.Fatalf("got %+v, want serving %v, target %v", h, c.serving, c.target)
			}
			if !h.Serving && h.Reason == "" {
				t.Error("a refusal without a reason")
			}
		})
	}
}

// TestTailOfATakeover: a takeover that may have lost the end of a term says so in the record, until the site whose volume
// has it has exported it (P20).
func TestTailOfATakeover(t *testing.T) {
	o := standby()
	o.Watch = expired(o.Store.Record)
	if d := failover.Decide(o); len(d.Record.TailOf) != 0 {
		t.Errorf("a takeover from a site that may still hand its writer over has tail_of %d", d.Record.TailOf)
	}
	o.PeerBeaconSeen = false
	if d := failover.Decide(o); !slices.Equal(d.Record.TailOf, []term.Number{7}) {
		t.Errorf("a takeover without the drain has tail_of %d", d.Record.TailOf)
	}
	late := unserved() // the other site was there when the term was taken, and is not any more
	d := failover.Decide(late)
	if d.Step != failover.Promote || !d.Lossy || d.Record == nil || !slices.Equal(d.Record.TailOf, []term.Number{7}) {
		t.Fatalf("a promotion that may lose data: %+v", d)
	}
	checkWrite(t, late.Store.Record, *d.Record)
	refused := unserved() // it is still there, but its region does not take the switchover from here
	refused.PeerBeaconSeen, refused.PeerBeaconAge = true, time.Second
	if d := failover.Decide(refused); d.Lossy || d.Record != nil {
		t.Errorf("before the refusal: %+v", d)
	}
	refused.SwitchoverRefused = 8
	if d := failover.Decide(refused); !d.Lossy || d.Record == nil || !slices.Equal(d.Record.TailOf, []term.Number{7}) {
		t.Errorf("after the refusal: %+v", d)
	}
	late.Store.Record.TailOf = []term.Number{3} // the end of an earlier term is not forgotten over it
	if d := failover.Decide(late); d.Record == nil || !slices.Equal(d.Record.TailOf, []term.Number{3, 7}) {
		t.Errorf("with another end missing: %+v", d.Record)
	}
	late.Store.Record.TailOf = []term.Number{7}
	if d := failover.Decide(late); d.Step != failover.Promote || d.Record != nil {
		t.Errorf("it is written once: %+v", d)
	}
	o.Database.SealedTerm, o.Database.DrainedTerm = 7, 7
	if d := failover.Decide(o); len(d.Record.TailOf) != 0 {
		t.Errorf("a takeover with the drain has tail_of %d", d.Record.TailOf)
	}
	old := standby()
	old.Store.Record.Term, old.Store.Record.ServedTerm, old.Store.Record.TailOf = 8, 8, []term.Number{3, 7}
	if d := failover.Decide(old); d.Step != failover.Wait {
		t.Errorf("before the export: %s", d.Step)
	}
	old.TailSaved = 7
	d = failover.Decide(old)
	if d.Step != failover.ClearTail || !slices.Equal(d.Record.TailOf, []term.Number{3}) {
		t.Fatalf("after the export: %s, %+v", d.Step, d.Record)
	}
	checkWrite(t, old.Store.Record, *d.Record)
	old.Watch = expired(old.Store.Record)
	old.Database.Terms = []term.Number{1, 7, 8}
	old.Database.LeaseTerm = 8
	if d := failover.Decide(old); d.Step != failover.Acquire {
		t.Errorf("an expired term comes first: %s %v", d.Step, d.Refusals)
	}
}

// TestTailOfAWriterThatCameByItself: whoever moved the writer, before a term is served the record says what its database
// may lack; unless it lacks nothing (P16, P20).
func TestTailOfAWriterThatCameByItself(t *testing.T) {
	arrived := func() failover.Observation {
		o := unserved()
		o.PeerBeaconSeen, o.PeerBeaconAge = true, time.Second // so that nothing was written with the takeover
		o.Database.Writer, o.Cluster.Writer = true, "dr"
		return o
	}
	for _, c := range []struct {
		name string
		with func(*failover.Observation)
		tail []term.Number
	}{
		{"moved by hand", func(*failover.Observation) {}, []term.Number{7}},
		{"after another loss", func(o *failover.Observation) { o.Store.Record.TailOf = []term.Number{3} }, []term.Number{3, 7}},
		{"said already", func(o *failover.Observation) { o.Store.Record.TailOf = []term.Number{7} }, nil},
		{"with the drain", func(o *failover.Observation) { o.Database.SealedTerm, o.Database.DrainedTerm = 7, 7 }, nil},
		{"by a switchover that still goes on", func(o *failover.Observation) { o.Cluster.Moving, o.Cluster.Lossless = true, true }, nil},
		{"by a failover that still goes on", func(o *failover.Observation) { o.Cluster.Moving = true }, []term.Number{7}},
		{"by a switchover that is over", func(o *failover.Observation) { o.Cluster.Lossless = true }, []term.Number{7}},
		{"never moved: the server that had the lease", func(o *failover.Observation) { o.Database.LeaseHere = true }, nil},
		{"never moved, but an older lease", func(o *failover.Observation) {
			o.Database.LeaseHere, o.Database.LeaseTerm = true, 6
		}, []term.Number{7}},
		{"after a term that may have taken writes unserved", func(o *failover.Observation) {
			o.Store.Record.ServedTerm, o.Database.SealedTerm, o.Database.DrainedTerm = 6, 6, 6
		}, []term.Number{7}},
		{"the very first term", func(o *failover.Observation) {
			o.Store.Record.Term, o.Trust.Term, o.Store.Record.ServedTerm, o.Database.Terms = 1, 1, 0, nil
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := arrived()
			c.with(&o)
			d := failover.Decide(o)
			if d.Step != failover.RecordTerm {
				t.Fatalf("decided %s (%s)", d.Step, d.Reason)
			}
			if c.tail == nil {
				if d.Record != nil {
					t.Errorf("wrote tail_of %d", d.Record.TailOf)
				}
				return
			}
			if d.Record == nil || !slices.Equal(d.Record.TailOf, c.tail) {
				t.Fatalf("wrote %+v, want tail_of %d", d.Record, c.tail)
			}
			checkWrite(t, o.Store.Record, *d.Record)
		})
	}
}
