package failover_test

import (
	"testing"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// left is the record of a released term that has stood still, in the eyes of a warden of the holder, for as long as the
// other site would have waited, and once more.
func left(r term.Record) term.Watch {
	return term.Watch{}.Observe(r, now.Add(-2*(lease+margin))).Observe(r, now)
}

// TestReleasedTermComesBack: the holder lets the other site go first, and takes a released term again only where it could
// serve it: whatever made it let go, or may have made the other site the writer, must be over (P15, P16).
func TestReleasedTermComesBack(t *testing.T) {
	for _, c := range []struct {
		name string
		with func(*failover.Observation)
		step failover.Step
	}{
		{"nobody took it, and the cause is gone", nil, failover.Acquire},
		{"the first term of all, given up before it was served", func(o *failover.Observation) {
			o.Store.Record.Term, o.Store.Record.ServedTerm, o.Database.Terms = 1, 0, nil
		}, failover.Acquire},
		{"the other site still has time to take it", func(o *failover.Observation) {
			o.Watch = term.Watch{}.Observe(o.Store.Record, now.Add(1-2*(lease+margin))).Observe(o.Store.Record, now)
		}, failover.Wait},
		{"the watch is about an older record", func(o *failover.Observation) { o.Store.Record.Renewal++ }, failover.Wait},
		{"the database is unreachable", func(o *failover.Observation) { o.Database.Reachable = false }, failover.Wait},
		{"the database is a standby", func(o *failover.Observation) { o.Database.Writer = false }, failover.Wait},
		{"the database lacks the term served last", func(o *failover.Observation) { o.Database.Terms = []term.Number{1} }, failover.Wait},
		{"the control plane is silent", func(o *failover.Observation) { o.Cluster.Known = false }, failover.Wait},
		{"the writer is moving", func(o *failover.Observation) { o.Cluster.Moving = true }, failover.Wait},
		{"the writer is the other site's", func(o *failover.Observation) { o.Cluster.Writer = "dr" }, failover.Wait},
		{"the application is still ill", func(o *failover.Observation) { o.App.HealthyTargets = 0 }, failover.Wait},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := serving()
			o.Store.Record.State, o.Trust = term.Releasing, term.Trust{}
			o.Watch = left(o.Store.Record)
			if c.with != nil {
				watched := o.Store.Record
				c.with(&o)
				if o.Store.Record.Term != watched.Term {
					o.Watch = left(o.Store.Record)
				}
			}
			d := failover.Decide(o)
			if d.Step != c.step {
				t.Fatalf("decided %s (%s), want %s", d.Step, d.Reason, c.step)
			}
			if d.Record == nil {
				return
			}
			checkWrite(t, o.Store.Record, *d.Record)
			if d.Record.Term != o.Store.Record.Term+1 || d.Record.Holder != o.Site || len(d.Record.TailOf) != 0 {
				t.Errorf("wrote %+v", d.Record)
			}
		})
	}
}
