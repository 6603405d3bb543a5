package failover_test

import (
	"strings"
	"testing"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

const pinFor = time.Hour

func pin() failover.PinView {
	return failover.PinView{
		ID: 3, Term: 7, Site: "primary", Confirmed: true, For: pinFor, Lease: lease, Margin: margin,
		PinnedAt: covered, Until: now.Add(pinFor - margin),
	}
}

// pinned is the holder that lost the store, and was pinned.
func pinned() failover.Observation {
	o := serving()
	o.Store.Readable, o.Store.Err = false, "no answer"
	o.Trust = term.Trust{Term: 7, Until: now.Add(-time.Minute)}
	o.Database.Pin = pin()
	return o
}

// abstaining is the standby whose watch is over, and whose database shows the pin.
func abstaining() failover.Observation {
	o := standby()
	o.Watch = expired(o.Store.Record)
	o.Database.Pin = pin()
	o.Database.Pin.Until = 0
	return o
}

// TestPinned: the pin carries a site through the store's silence, and each thing that speaks against it ends that.
func TestPinned(t *testing.T) {
	for name, c := range map[string]struct {
		with func(*failover.Observation)
		want bool
	}{
		"pinned":                            {nil, true},
		"restarted, the record is unknown":  {func(o *failover.Observation) { o.Store.Record = term.Record{} }, true},
		"not confirmed":                     {func(o *failover.Observation) { o.Database.Pin.Confirmed = false }, false},
		"ended":                             {func(o *failover.Observation) { o.Database.Pin.Ended = true }, false},
		"expired":                           {func(o *failover.Observation) { o.Now = o.Database.Pin.Until }, false},
		"of an older term":                  {func(o *failover.Observation) { o.Database.Pin.Term = 6 }, false},
		"of the other site":                 {func(o *failover.Observation) { o.Database.Pin.Site = "dr" }, false},
		"of another server":                 {func(o *failover.Observation) { o.Database.Pin.Until = 0 }, false},
		"sealed since":                      {func(o *failover.Observation) { o.Database.SealedTerm = 7 }, false},
		"the store answers":                 {func(o *failover.Observation) { o.Store.Readable = true }, false},
		"the store answers: no record":      {func(o *failover.Observation) { o.Store.Missing = true }, false},
		"the record known is another's":     {func(o *failover.Observation) { o.Store.Record.Holder, o.Store.Record.Term = "dr", 8 }, false},
		"the record known is releasing":     {func(o *failover.Observation) { o.Store.Record.State = term.Releasing }, false},
		"the database is a standby":         {func(o *failover.Observation) { o.Database.Writer = false }, false},
		"the database is gone":              {func(o *failover.Observation) { o.Database = failover.DatabaseView{} }, false},
		"a later term is in the lineage":    {func(o *failover.Observation) { o.Database.Terms = []term.Number{1, 7, 8} }, false},
		"the record known is a later one's": {func(o *failover.Observation) { o.Store.Record.Term = 8 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := pinned()
			if c.with != nil {
				c.with(&o)
			}
			if got := failover.Pinned(o); got != c.want {
				t.Errorf("pinned: %v, want %v", got, c.want)
			}
			if h := failover.Judge(o); h.Serving != c.want {
				t.Errorf("judged %+v, want serving %v", h, c.want)
			}
			if _, renews := failover.Renew(o); renews && !o.Store.Readable {
				t.Error("renews a record that it can't read")
			}
		})
	}
}

func TestPinnedSiteStillAnswersForItsHealth(t *testing.T) {
	o := pinned()
	o.App.HealthyTargets = 0
	if h := failover.Judge(o); h.Serving || !h.Target {
		t.Errorf("without an application: %+v", h)
	}
	o = pinned()
	o.Database.LeaseValid = false
	if h := failover.Judge(o); h.Serving {
		t.Errorf("without a write lease: %+v", h)
	}
}

// TestPinAttacks: what has been tried against the pin, each with the step that must come of it.
func TestPinAttacks(t *testing.T) {
	acquired := func(o failover.Observation) failover.Observation {
		o.Store.Record.Term, o.Store.Record.Holder = 8, "dr"
		o.Trust, o.PeerBeaconSeen = term.Trust{Term: 8, Until: now.Add(time.Second)}, false
		return o
	}
	for _, c := range []decision{
		{"the watch is over, and the pin was seen", abstaining(), nil, failover.Wait, "pinned"},
		{"seen before it was confirmed", abstaining(), func(o *failover.Observation) { o.Database.Pin.Confirmed = false }, failover.Wait, "pinned"},
		{"seen late: the whole time counts from the first sight", abstaining(), func(o *failover.Observation) { o.For.PinSeen = pinFor }, failover.Wait, "pinned"},
		{"the clocks drift: no sooner than the slowest holder's", abstaining(), func(o *failover.Observation) {
			o.For.PinSeen = pinFor + pinFor/50
		}, failover.Wait, "pinned"},
		{"the abstention is over", abstaining(), func(o *failover.Observation) {
			o.For.PinSeen = o.Database.Pin.Abstention()
			o.OwnBeacon.Approval = &term.Approval{Term: 7, Expires: o.WallClock.Add(time.Minute), AllowDataLoss: true}
		}, failover.Acquire, "stood still"},
		{"an approval does not lift a pin", abstaining(), func(o *failover.Observation) {
			o.OwnBeacon.Approval = &term.Approval{Term: 7, Expires: o.WallClock.Add(time.Minute), AllowDataLoss: true}
		}, failover.Wait, "pinned"},
		{"a grant from before does not either", abstaining(), func(o *failover.Observation) {
			o.Store.Record.State, o.Store.Record.GrantedTo, o.Database.DrainedTerm = term.Granted, "dr", 7
		}, failover.Wait, "pinned"},
		{"ended, but the last lease may run", abstaining(), func(o *failover.Observation) {
			o.Database.Pin.Ended, o.For.PinSeen, o.For.PinEnded = true, 2*pinFor, lease
		}, failover.Wait, "pinned"},
		{"ended for long enough", abstaining(), func(o *failover.Observation) {
			o.Database.Pin.Ended, o.Database.Pin.EndedAt, o.For.PinEnded = true, covered, lease+margin
		}, failover.Acquire, "stood still"},
		{"of an older term than the copy has", abstaining(), func(o *failover.Observation) { o.Database.Pin.Term = 1 }, failover.Acquire, "stood still"},
		{"lifted by an operator who has stopped the site", abstaining(), func(o *failover.Observation) {
			o.Store.Record.UnpinnedTerm = 7
			o.OwnBeacon.Approval = &term.Approval{Term: 7, Expires: o.WallClock.Add(time.Minute), AllowDataLoss: true}
		}, failover.Acquire, "stood still"},
		{"lifting a pin of an older term lifts nothing", abstaining(), func(o *failover.Observation) { o.Store.Record.UnpinnedTerm = 6 }, failover.Wait, "pinned"},
		{"a frozen warden took the term over an old observation: it does not promote", acquired(abstaining()), nil, failover.Wait, "pinned"},
		{"and a promoted copy does not record the term", acquired(abstaining()), func(o *failover.Observation) {
			o.Database.Writer, o.Cluster.Writer = true, "dr"
		}, failover.Wait, "pinned"},
		{"the store is back with another holder: the pin ends first", pinned(), func(o *failover.Observation) {
			o.Store.Readable, o.Store.Record.Holder, o.Store.Record.Term = true, "dr", 8
		}, failover.EndPin, "store answers"},
		{"the store is back as it was: the pin ends first", pinned(), func(o *failover.Observation) { o.Store.Readable = true }, failover.EndPin, "store answers"},
		{"the store is back without its record", pinned(), func(o *failover.Observation) { o.Store.Missing = true }, failover.EndPin, "store answers"},
		{"pinned, the store is silent", pinned(), nil, failover.Wait, "pinned to term 7"},
		{"pinned, and run out", pinned(), func(o *failover.Observation) { o.Now = o.Database.Pin.Until }, failover.Wait, "cannot be read"},
		{"the writer was moved here by hand under a pin of the other site", abstaining(), func(o *failover.Observation) {
			o.Watch, o.Database.Writer, o.Cluster.Writer = term.Watch{}, true, "dr"
		}, failover.Want, "by hand"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := c.from
			if c.with != nil {
				c.with(&o)
			}
			d := failover.Decide(o)
			said := d.Reason
			for _, r := range d.Refusals {
				said += "; " + r.Current
			}
			if d.Step != c.step || !strings.Contains(said, c.why) {
				t.Fatalf("got %s (%s), want %s (…%s…); refusals %v", d.Step, d.Reason, c.step, c.why, d.Refusals)
			}
			if again := failover.Decide(o); again.Step != d.Step {
				t.Errorf("decided %s the second time", again.Step)
			}
		})
	}
}

// TestAbstentionOutlivesThePin: whatever the two clocks do within the bound of 1 %, the standby stands still for longer
// than the pin gives leases.
func TestAbstentionOutlivesThePin(t *testing.T) {
	for _, d := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour} {
		p := pin()
		p.For = d
		holderEnds := time.Duration(float64(p.For-p.Margin) / 0.99)
		standbyBegins := time.Duration(float64(p.Abstention()) / 1.01)
		if standbyBegins <= holderEnds {
			t.Errorf("a pin of %v gives leases for %v, and the standby stands still for %v", d, holderEnds, standbyBegins)
		}
	}
}

// TestLagUnderAPin: what the holder committed without reporting counts as lacking.
func TestLagUnderAPin(t *testing.T) {
	o := abstaining()
	if lag, known := failover.Lag(o); !known || lag < pinFor {
		t.Errorf("an open pin of %v gives the lag %v, %v", pinFor, lag, known)
	}
	o.Database.Pin.Ended, o.Database.Pin.EndedAt = true, covered.Add(time.Minute)
	if lag, known := failover.Lag(o); !known || lag != time.Minute+lease {
		t.Errorf("a pin that ended a minute after what has come gives the lag %v, %v", lag, known)
	}
	o.Database.ValidUntil = covered.Add(2 * time.Minute)
	if lag, known := failover.Lag(o); !known || lag != lease {
		t.Errorf("a pin that ended before what has come gives the lag %v, %v", lag, known)
	}
	o.Store.Record.CoveredUntil = covered.Add(5 * time.Minute)
	if lag, known := failover.Lag(o); !known || lag != 3*time.Minute+lease {
		t.Errorf("a pin that ended before the last report gives the lag %v, %v", lag, known)
	}
	o.Database.Reachable = false
	if lag, known := failover.Lag(o); known {
		t.Errorf("a database out of sight has the lag %v", lag)
	}
}

// TestOwnPinKeepsNobodyStill: a pin is about the other site.
func TestOwnPinKeepsNobodyStill(t *testing.T) {
	o := pinned()
	if reason, abstains := failover.Abstains(o); abstains {
		t.Errorf("the pinned site abstains: %s", reason)
	}
	o = abstaining()
	o.Database.Reachable = false
	if reason, abstains := failover.Abstains(o); abstains {
		t.Errorf("a site abstains for what its database showed before it went out of sight: %s", reason)
	}
}

// TestPinIsRememberedAcrossTerms: the time since a pin was first seen goes on while the database can't be reached, and
// across terms; another pin starts its own.
func TestPinIsRememberedAcrossTerms(t *testing.T) {
	var m failover.Memory
	see := func(at term.Instant, change func(*failover.Observation)) failover.Durations {
		o := abstaining()
		o.Now = at
		change(&o)
		m.Database = o.Database
		m.Observed(&o)
		filled := failover.Observation{Now: at}
		m.Fill(&filled)
		return filled.For
	}
	see(now, func(*failover.Observation) {})
	if d := see(now.Add(10), func(o *failover.Observation) { o.Database = failover.DatabaseView{} }); d.PinSeen != 10 {
		t.Errorf("while the database is away: %v", d.PinSeen)
	}
	if d := see(now.Add(20), func(o *failover.Observation) { o.Store.Record.Term = 8 }); d.PinSeen != 20 || d.PinEnded != 0 {
		t.Errorf("in the next term: %+v", d)
	}
	see(now.Add(30), func(o *failover.Observation) { o.Database.Pin.Ended = true })
	if d := see(now.Add(40), func(o *failover.Observation) { o.Database.Pin.Ended = true }); d.PinEnded != 10 {
		t.Errorf("after its end: %+v", d)
	}
	if d := see(now.Add(45), func(o *failover.Observation) { o.Store.Record.Term, o.Database.Pin.Ended = 9, true }); d.PinEnded != 15 {
		t.Errorf("after its end, in another term: %+v", d)
	}
	if d := see(now.Add(50), func(o *failover.Observation) { o.Database.Pin.ID = 4 }); d.PinSeen != 0 || d.PinEnded != 0 {
		t.Errorf("another pin: %+v", d)
	}
}
