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
