package failover_test

import (
	"reflect"
	"testing"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

const sec = term.Instant(time.Second)

// stamped is the record as a warden wrote it.
func stamped(n term.Number, version int64, nonce string) term.Record {
	r := record()
	r.Term, r.Version, r.Nonce, r.Renewal = n, version, nonce, version
	return r
}

// TestTrustComesFromTheOwnNonce: whatever way a confirmation takes, it counts from before the first attempt, and never
// shortens what is trusted already (P4).
func TestTrustComesFromTheOwnNonce(t *testing.T) {
	until := func(sent term.Instant) term.Instant { return sent.Add(lease - margin) }
	var m failover.Memory
	learn := func(r term.Record, at term.Instant, trusted bool, want term.Trust) {
		t.Helper()
		if got := m.Learn("primary", r, at-sec, at); got != trusted || m.Trust != want {
			t.Errorf("record %s, term %d at %v: gave trust %v, and now %+v; want %v, %+v", r.Nonce, r.Term, at, got, m.Trust, trusted, want)
		}
	}
	first, other, newer := stamped(7, 41, "mine"), stamped(7, 42, "sibling's"), stamped(7, 43, "mine too")
	learn(first, 2*sec, false, term.Trust{}) // nothing was sent
	m.Sent(first, 3*sec)
	m.Sent(newer, 6*sec)
	learn(first, 4*sec, true, term.Trust{Term: 7, Until: until(3 * sec)})
	learn(first, 5*sec, false, term.Trust{Term: 7, Until: until(3 * sec)}) // once
	learn(other, 6*sec, false, term.Trust{Term: 7, Until: until(3 * sec)})
	learn(newer, 9*sec, true, term.Trust{Term: 7, Until: until(6 * sec)})
	learn(first, 9*sec, false, term.Trust{Term: 7, Until: until(6 * sec)}) // an answer that was overtaken

	// A new term is trusted for what its own write gives, even if that is less than the last one had left.
	taken := stamped(8, 44, "taken")
	m.Sent(taken, 5*sec)
	learn(taken, 10*sec, true, term.Trust{Term: 8, Until: until(5 * sec)})
	learn(newer, 10*sec, false, term.Trust{Term: 8, Until: until(5 * sec)})

	lost := stamped(9, 45, "lost")
	lost.Holder = "dr"
	m.Sent(lost, 11*sec)
	learn(lost, 12*sec, false, term.Trust{Term: 8, Until: until(5 * sec)})
}

// TestOldRenewalsAreForgotten: what was sent more than a lease ago gives no trust any more, and takes no room.
func TestOldRenewalsAreForgotten(t *testing.T) {
	var m failover.Memory
	old, kept := stamped(7, 41, "old"), stamped(7, 41, "kept")
	m.Sent(old, 1)
	m.Sent(kept, 2)
	m.Sent(stamped(7, 42, "new"), term.Instant(lease)+2)
	if m.Learn("primary", old, 3, 4) {
		t.Error("a renewal gave trust that had been sent more than a lease before the newest")
	}
	if !m.Learn("primary", kept, 3, 4) {
		t.Error("a renewal gave no trust although it was sent just a lease before the newest")
	}
}

// TestAnswersThatOvertake: calls overlap, so what was asked for before the newest answer came may be older than it.
func TestAnswersThatOvertake(t *testing.T) {
	var m failover.Memory
	learn := func(version int64, asked, answered term.Instant, want int64) {
		t.Helper()
		m.Learn("dr", stamped(7, version, "x"), asked, answered)
		if m.Store.Record.Version != want || !m.Store.Readable {
			t.Errorf("version %d, asked at %d: now %d, readable %v; want %d", version, asked, m.Store.Record.Version, m.Store.Readable, want)
		}
	}
	learn(42, 10, 20, 42)
	learn(41, 19, 30, 42) // asked before the answer
	learn(43, 19, 30, 43) // so was this, and yet it is newer
	m.Unlearned("no answer", 35)
	learn(43, 29, 40, 43) // nothing newer: it is an answer all the same
	m.Missing("no record", 50)
	if m.Learn("dr", stamped(7, 42, "x"), 45, 51); !m.Store.Missing || m.Store.Readable {
		t.Errorf("an answer from before brought the record back: %+v", m.Store)
	}
	learn(1, 60, 70, 1) // a record that was created anew
}

// TestSilenceKeepsWhatIsKnown: what was known stays, is not called readable, and the time does not count as watched (P5).
func TestSilenceKeepsWhatIsKnown(t *testing.T) {
	r := stamped(7, 42, "x")
	for _, c := range []struct {
		name    string
		silence func(*failover.Memory, term.Instant)
		missing bool
	}{
		{"no answer", func(m *failover.Memory, at term.Instant) { m.Unlearned("no answer", at) }, false},
		{"no record", func(m *failover.Memory, at term.Instant) { m.Missing("no record", at) }, true},
	} {
		var m failover.Memory
		m.Learn("dr", r, 0, sec)
		m.Learn("dr", r, sec, 3*sec)
		c.silence(&m, 10*sec)
		if want := (failover.StoreView{Record: r, Missing: c.missing, Err: c.name}); !reflect.DeepEqual(m.Store, want) {
			t.Errorf("%s: %+v, want %+v", c.name, m.Store, want)
		}
		m.Learn("dr", r, 11*sec, 12*sec)
		if stood := m.Watch.Stood(); stood != 4*time.Second || m.Store.Missing || !m.Store.Readable {
			t.Errorf("%s, and then an answer: watched for %v, %+v", c.name, stood, m.Store)
		}
		c.silence(&m, 13*sec)
		m.Unlearned("no answer", 14*sec)
		if m.Store.Missing || m.Store.Err != "no answer" {
			t.Errorf("%s, and then none: %+v", c.name, m.Store)
		}
	}
}

// TestObservationIsWhatIsRemembered: an observation carries everything, and the other site's beacon with its age on the own
// clock.
func TestObservationIsWhatIsRemembered(t *testing.T) {
	m := failover.Memory{
		Store: failover.StoreView{Readable: true, Record: record()}, Trust: term.Trust{Term: 7, Until: 9},
		Watch: term.Watch{}.Observe(record(), 5), Database: serving().Database, Cluster: serving().Cluster, App: serving().App,
		TailExported: true, TailSaved: 6, SwitchoverRefused: 5,
	}
	own, peer := term.Beacon{Site: "primary", Sequence: 3}, term.Beacon{Site: "dr", Sequence: 8, DesiredTasks: 4}
	m.Beacons(&own, &peer, 20)
	peer.Sequence++
	m.Beacons(&own, &peer, 30)
	o := failover.Observation{Now: 70, Site: "primary", Peer: "dr"}
	want := o
	m.Fill(&o)
	want.Store, want.Trust, want.Watch = m.Store, m.Trust, m.Watch
	want.Database, want.Cluster, want.App = m.Database, m.Cluster, m.App
	want.TailExported, want.TailSaved, want.SwitchoverRefused = true, 6, 5
	want.PeerTasks = 4
	want.OwnBeacon, want.PeerBeacon, want.PeerBeaconSeen, want.PeerBeaconAge = own, peer, true, 40
	if !reflect.DeepEqual(o, want) {
		t.Errorf("%+v\nwant %+v", o, want)
	}
	// A beacon that is gone is no sign of life, and the own one is not what it was.
	m.Beacons(nil, nil, 40)
	again := failover.Observation{Now: 70}
	m.Fill(&again)
	if again.OwnBeacon.Sequence != 0 || again.PeerBeaconAge != 40 {
		t.Errorf("without beacons: own %+v, the other's age %v", again.OwnBeacon, again.PeerBeaconAge)
	}
	var fresh failover.Memory
	fresh.Fill(&again)
	if again.PeerBeaconSeen || again.PeerBeaconAge != 40 {
		t.Errorf("an age was made up for a beacon that nobody has seen: %+v", again)
	}
}

// TestConditionsAreTheHolders: a standby's copy shows the holder's seal and may be away, and neither is an outage or a
// hand-over of its own; a seal counts only while the term is held; a request lasts across a change of term.
func TestConditionsAreTheHolders(t *testing.T) {
	forOneSecond := func(o failover.Observation) failover.Durations {
		var m failover.Memory
		o.Now = now
		m.Observed(&o)
		later := failover.Observation{Now: now + sec}
		m.Fill(&later)
		return later.For
	}
	for _, c := range []struct {
		name string
		from failover.Observation
		with func(*failover.Observation)
		want failover.Durations
	}{
		{"standby with the replicated seal", standby(), func(o *failover.Observation) { o.Database.SealedTerm = 7 }, failover.Durations{}},
		{"standby without a database", standby(), func(o *failover.Observation) { o.Database = failover.DatabaseView{} }, failover.Durations{}},
		{"standby without an application", standby(), func(o *failover.Observation) { o.App = failover.AppView{Known: true} }, failover.Durations{}},
		{"standby of a term that is not served", standby(), func(o *failover.Observation) { o.Store.Record.Term = 8 }, failover.Durations{}},
		{"sealed", serving(), func(o *failover.Observation) { o.Database.SealedTerm = 7 }, failover.Durations{Handoff: time.Second}},
		{"sealed and released", serving(), func(o *failover.Observation) {
			o.Database.SealedTerm, o.Store.Record.State = 7, term.Releasing
		}, failover.Durations{}},
		{"moved away", serving(), func(o *failover.Observation) { o.Cluster.Writer = "dr" }, failover.Durations{WriterMoved: time.Second}},
	} {
		o := c.from
		c.with(&o)
		if got := forOneSecond(o); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	var m failover.Memory
	see := func(at term.Instant, with func(*failover.Observation)) failover.Durations {
		o := wanted(serving())
		o.Now = at
		with(&o)
		m.Observed(&o)
		filled := failover.Observation{Now: at}
		m.Fill(&filled)
		return filled.For
	}
	see(now, func(*failover.Observation) {})
	if d := see(now+sec, func(o *failover.Observation) { o.Store.Record.Term = 8 }); d.Wanted != time.Second {
		t.Errorf("wanted for %v after a change of term", d.Wanted)
	}
	see(now+2*sec, func(o *failover.Observation) { o.Database.SealedTerm = 7 })
	out := func(o *failover.Observation) { o.Database = failover.DatabaseView{} }
	if d := see(now+3*sec, out); d.Handoff != time.Second {
		t.Errorf("out of sight, a hand-over is %v old", d.Handoff)
	}
	if d := see(now+4*sec, both(out, func(o *failover.Observation) { o.Store.Record.State = term.Releasing })); d.Handoff != 0 {
		t.Errorf("released, a hand-over is %v old", d.Handoff)
	}
}
