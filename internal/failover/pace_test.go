package failover_test

import (
	"testing"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

func TestOnlyRenewed(t *testing.T) {
	seen := term.Record{Version: 4, Term: 7, Renewal: 9, Holder: "primary", State: term.Held, ServedTerm: 7, Wanted: &term.Wanted{Site: "dr", At: time.Unix(1000, 0)}}
	for name, c := range map[string]struct {
		change func(*term.Record)
		want   bool
	}{
		"a renewal":           {func(r *term.Record) { r.Version, r.Renewal = r.Version+1, r.Renewal+1 }, true},
		"a take-over":         {func(r *term.Record) { r.Term, r.Holder = 8, "dr" }, false},
		"a grant":             {func(r *term.Record) { r.State = term.Granted }, false},
		"coming into service": {func(r *term.Record) { r.ServedTerm = 8 }, false},
		"an end of a request": {func(r *term.Record) { r.Wanted = nil }, false},
		"another request":     {func(r *term.Record) { r.Wanted = &term.Wanted{Site: "dr", At: time.Unix(1001, 0)} }, false},
		"a tail":              {func(r *term.Record) { r.TailOf = []term.Number{6} }, false},
	} {
		now := seen
		if c.change(&now); failover.OnlyRenewed(seen, now) != c.want {
			t.Errorf("%s: %v", name, !c.want)
		}
	}
}

// TestARequestIsNews: the site that is asked to give the term waits for the beacon that has seen the request.
func TestARequestIsNews(t *testing.T) {
	o := wanted(standby())
	o.Store.Record.Wanted.At = time.Unix(1000, 0)
	if at := failover.Request(o); !at.Equal(time.Unix(1000, 0)) || !failover.News(term.Beacon{}, term.Beacon{Request: at}) {
		t.Errorf("the request of %v is no news", at)
	}
	if at := failover.Request(wanted(serving())); !at.IsZero() {
		t.Errorf("the site that gives the term has taken a request of %v into account", at)
	}
}

// TestTheEndOfAWatchIsNotSleptPast: both who reads the record and who decides on it are there when the watch ends, and not a
// moment before.
func TestTheEndOfAWatchIsNotSleptPast(t *testing.T) {
	const period = lease / 8
	watched := func(left time.Duration) failover.Observation {
		o := standby()
		o.Watch = term.Watch{}.Observe(o.Store.Record, now.Add(left-lease-margin)).Observe(o.Store.Record, now)
		return o
	}
	for _, c := range []struct {
		name       string
		o          failover.Observation
		look, pace time.Duration
	}{
		{"long before the end", watched(lease), lease / 80, period},
		{"in the last period", watched(period / 2), lease / 80, period/2 + 10*time.Millisecond},
		{"right before the end", watched(time.Millisecond), 11 * time.Millisecond, 11 * time.Millisecond},
		{"after the end, with a gate shut", watched(0), lease / 80, period},
		{"the store is silent", func() failover.Observation {
			o := watched(time.Millisecond)
			o.Store.Readable = false
			return o
		}(), lease / 80, period},
	} {
		look := failover.NextLook(&c.o.Store, c.o.Watch)
		pace, _ := failover.Pace(c.o, false, period)
		if look != c.look || pace != c.pace {
			t.Errorf("%s: the next read after %v, the next observation after %v; want %v, %v", c.name, look, pace, c.look, c.pace)
		}
	}
	if pace, _ := failover.Pace(serving(), false, period); pace != period {
		t.Errorf("a holder observes every %v, want %v", pace, period)
	}
}

// TestJoins: a term that a sibling has acquired for the site needs a renewal of every warden's own, and only that.
func TestJoins(t *testing.T) {
	standby := term.Record{Term: 7, Holder: "primary", State: term.Held}
	acquired := term.Record{Term: 8, Holder: "dr", State: term.Held}
	for name, c := range map[string]struct {
		site          string
		before, after term.Record
		want          bool
	}{
		"a sibling acquired it":       {"dr", standby, acquired, true},
		"at the start of the process": {"dr", term.Record{}, acquired, true},
		"the other site lost it":      {"primary", standby, acquired, false},
		"nothing but a renewal":       {"dr", acquired, acquired, false},
		"acquired and released":       {"dr", standby, term.Record{Term: 8, Holder: "dr", State: term.Releasing}, false},
	} {
		if failover.Joins(c.site, c.before, c.after) != c.want {
			t.Errorf("%s: %v", name, !c.want)
		}
	}
}
