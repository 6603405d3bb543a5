package failover_test

import (
	"slices"
	"testing"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// returned is the first holder after its region came back, while dr has got as far with the takeover as the record and
// the control plane say, and has fallen silent itself. The old volume still runs as a writer.
func returned(served term.Number, writer string) failover.Observation {
	o := serving()
	o.Store.Record.Term, o.Store.Record.Holder, o.Store.Record.ServedTerm = 8, "dr", served
	o.Trust, o.PeerBeaconSeen = term.Trust{}, false
	o.Watch = expired(o.Store.Record)
	o.Cluster.Writer = writer
	return o
}

// takenAgain is the same site after it has taken the next term.
func takenAgain(writer string) failover.Observation {
	o := returned(7, writer)
	o.Store.Record.Term, o.Store.Record.Holder = 9, "primary"
	o.Trust, o.Watch = term.Trust{Term: 9, Until: now.Add(time.Second)}, term.Watch{}
	return o
}

// handingOver is the holder in the middle of a switchover, sealed and drained; orphaned the target of one whose holder has
// fallen silent.
func handingOver() failover.Observation {
	o := wanted(serving())
	o.Database.SealedTerm, o.Database.DrainedTerm, o.Database.LeaseValid = 7, 7, false
	o.PeerBeaconSeen = false
	return o
}

func orphaned(with func(*failover.Observation)) failover.Observation {
	o := wanted(standby())
	o.PeerBeaconSeen = false
	o.Watch = expired(o.Store.Record)
	if with != nil {
		with(&o)
	}
	return o
}

// second is a second failure: a step comes of it, or a gate is shut.
type second struct {
	name string
	from failover.Observation
	step failover.Step
	gate string
}

// duringTakeover: dr has taken the term over, and dies; the first holder is back.
func duringTakeover() []second {
	return []second{
		{"the new holder died before it promoted", returned(7, "primary"), failover.Acquire, ""},
		{"and the first one, still the writer, goes on in the next term", takenAgain("primary"), failover.RecordTerm, ""},
		{"the new holder died after it promoted", returned(7, "dr"), failover.Acquire, ""},
		{"and the first one's volume is not the global writer", takenAgain("dr"), failover.Wait, "membership"},
		{"the new holder died after it served: its term is not here", returned(8, "dr"), failover.ExportTail, "lineage"},
		{"and the tail is exported", func() failover.Observation {
			o := returned(8, "dr")
			o.TailExported = true
			return o
		}(), failover.Wait, "lineage"},
		{"it died while the first one was being rebuilt", func() failover.Observation {
			o := returned(8, "dr")
			o.Database.Writer, o.Database.LeaseValid = false, false
			return o
		}(), failover.Wait, "lineage"},
		{"it died after the first one had caught up", func() failover.Observation {
			o := returned(8, "dr")
			o.Database.Writer, o.Database.LeaseValid = false, false
			o.Database.Terms, o.Database.LeaseTerm = []term.Number{1, 7, 8}, 8
			return o
		}(), failover.Acquire, ""},
		{"it died and left nobody a database", func() failover.Observation {
			o := returned(8, "dr")
			o.Database = failover.DatabaseView{Err: "refused"}
			return o
		}(), failover.Wait, "database"},
	}
}

// duringSwitchover: one of the two dies in the middle of a planned hand-over.
func duringSwitchover() []second {
	return []second{
		{"the holder died after the seal, before it had come here", orphaned(nil), failover.Acquire, ""},
		{"the holder died after the drain", orphaned(func(o *failover.Observation) {
			o.Database.SealedTerm, o.Database.DrainedTerm = 7, 7
		}), failover.Acquire, ""},
		{"the holder died after it had moved the writer", orphaned(func(o *failover.Observation) {
			o.Database.SealedTerm, o.Database.DrainedTerm, o.Database.Writer, o.Cluster.Writer = 7, 7, true, "dr"
		}), failover.Acquire, ""},
		{"the holder died while the writer moved", orphaned(func(o *failover.Observation) {
			o.Database.SealedTerm, o.Database.DrainedTerm, o.Cluster.Moving = 7, 7, true
		}), failover.Acquire, ""},
		{"and nothing is promoted until the move has ended", func() failover.Observation {
			o := unserved()
			o.Cluster.Moving = true
			return o
		}(), failover.Wait, ""},
		{"the target died before the writer moved", handingOver(), failover.Wait, "peer beacon"},
		{"and does not come back", func() failover.Observation {
			o := handingOver()
			o.For.Handoff = o.Settings.HandoffTimeout
			return o
		}(), failover.TakeBack, ""},
		{"taken back: the holder serves the next term", func() failover.Observation {
			o := handingOver()
			o.Store.Record.Term, o.Store.Record.Wanted, o.Trust = 8, nil, term.Trust{Term: 8, Until: now.Add(time.Second)}
			return o
		}(), failover.RecordTerm, ""},
		{"the target died after the writer had moved to it", func() failover.Observation {
			o := handingOver()
			o.PeerBeacon.DrainedTerm, o.Database.Writer, o.Cluster.Writer = 7, false, "dr"
			return o
		}(), failover.Grant, ""},
		{"the grant is never taken", func() failover.Observation {
			o := handingOver()
			o.Store.Record.State, o.Store.Record.GrantedTo = term.Granted, "dr"
			o.Database.Writer, o.Cluster.Writer, o.For.Handoff = false, "dr", o.Settings.HandoffTimeout
			return o
		}(), failover.TakeBack, ""},
		{"taken back: the writer is fetched from the silent site", func() failover.Observation {
			o := handingOver()
			o.Store.Record.Term, o.Store.Record.Wanted, o.Trust = 8, nil, term.Trust{Term: 8, Until: now.Add(time.Second)}
			o.Database.Writer, o.Cluster.Writer = false, "dr"
			return o
		}(), failover.Promote, ""},
		{"the holder's database died after the seal", func() failover.Observation {
			o := handingOver()
			o.Database, o.For.DatabaseDown = failover.DatabaseView{Err: "refused"}, time.Minute
			o.PeerBeaconSeen, o.PeerBeaconAge = true, time.Second
			return o
		}(), failover.Release, ""},
	}
}

// TestSecondFailure: somebody dies while a takeover, a switchover or a return is under way. Each row has a way on, or a gate
// that says what an operator has to decide.
func TestSecondFailure(t *testing.T) {
	for _, c := range slices.Concat(duringTakeover(), duringSwitchover()) {
		t.Run(c.name, func(t *testing.T) {
			d := failover.Decide(c.from)
			if d.Step != c.step {
				t.Fatalf("decided %s (%s, %v), want %s", d.Step, d.Reason, d.Refusals, c.step)
			}
			if d.Record != nil {
				checkWrite(t, c.from.Store.Record, *d.Record)
			}
			if c.gate != "" {
				checkRefusal(t, d, c.gate)
			}
			// The third failure: without the store nobody does anything.
			o := c.from
			o.Store.Readable, o.Store.Err = false, "no answer"
			if d := failover.Decide(o); d.Step != failover.Wait {
				t.Errorf("without the store it decided %s", d.Step)
			}
		})
	}
}
