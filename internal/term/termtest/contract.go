package termtest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"holdfast/internal/term"
)

// Deployment and Sites are what the suite's records and beacons carry; a store that is bound to one deployment and a
// list of sites must be bound to these.
const Deployment = "contract"

// Sites are the site names of the suite's beacons.
var Sites = []string{"primary", "dr"}

// callLimit bounds every call of the suite.
const callLimit = 30 * time.Second

// Run checks a store against the contract of [term.Store]. newStore makes an empty store for one subtest and returns
// two views of it (two replicas, or the same one twice).
func Run(t *testing.T, newStore func(t *testing.T) (one, other term.Store)) {
	for _, c := range []struct {
		name  string
		check func(t *testing.T, one, other term.Store)
	}{
		{"a missing record is ErrNoRecord, not an empty one", missingRecord},
		{"the first record is created once, with version 1", createOnce},
		{"every field survives a round trip", roundTrip},
		{"a write that names an old version is a conflict and changes nothing", staleVersion},
		{"a write onto nothing is a conflict", writeOntoNothing},
		{"a delayed write after an aborted hand-over is a conflict although term and holder match", abortedHandOver},
		{"a record that no correct writer produces is refused", invalidRecord},
		{"of many writers of one version exactly one wins", manyWriters},
		{"beacons are kept apart from each other and from the record", beacons},
		{"a call whose context has ended fails and writes nothing", endedContext},
	} {
		t.Run(c.name, func(t *testing.T) {
			one, other := newStore(t)
			c.check(t, one, other)
		})
	}
}

// First is a valid first record.
func First() term.Record {
	return term.Record{
		Deployment: Deployment, Version: 1, Term: 7, Holder: Sites[0], Renewal: 3, Nonce: "first",
		LeaseMS: 20_000, MarginMS: 2_500, State: term.Held, ServedTerm: 6,
		MovedAt: time.Date(2026, 11, 22, 10, 0, 0, 123_000_000, time.UTC), TakeoverBudget: 2,
	}
}

func limit(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	t.Cleanup(cancel)
	return ctx
}

func mustCreate(t *testing.T, s term.Store) term.Record {
	t.Helper()
	if err := s.Create(limit(t), First()); err != nil {
		t.Fatalf("Create: %v", err)
	}
	return mustRead(t, s)
}

func mustRead(t *testing.T, s term.Store) term.Record {
	t.Helper()
	r, err := s.Read(limit(t))
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return r
}

func same(t *testing.T, got, want term.Record) {
	t.Helper()
	if !got.MovedAt.Equal(want.MovedAt) {
		t.Errorf("moved_at is %v, want %v", got.MovedAt, want.MovedAt)
	}
	got.MovedAt, want.MovedAt = time.Time{}, time.Time{}
	if (got.Wanted == nil) != (want.Wanted == nil) {
		t.Fatalf("wanted is %+v, want %+v", got.Wanted, want.Wanted)
	}
	if got.Wanted != nil {
		if !got.Wanted.At.Equal(want.Wanted.At) {
			t.Errorf("wanted.at is %v, want %v", got.Wanted.At, want.Wanted.At)
		}
		g, w := *got.Wanted, *want.Wanted
		g.At, w.At = time.Time{}, time.Time{}
		got.Wanted, want.Wanted = &g, &w
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, want %+v", got, want)
	}
}

func missingRecord(t *testing.T, one, _ term.Store) {
	if r, err := one.Read(limit(t)); !errors.Is(err, term.ErrNoRecord) {
		t.Errorf("Read of an empty store: %+v, %v; want ErrNoRecord", r, err)
	}
	got, err := one.Beacons(limit(t))
	if err != nil || len(got) != 0 {
		t.Errorf("Beacons of an empty store: %v, %v; want none", got, err)
	}
}

func createOnce(t *testing.T, one, other term.Store) {
	first := First()
	first.Version = 9 // Create must write 1 whatever it is given
	if err := one.Create(limit(t), first); err != nil {
		t.Fatalf("Create: %v", err)
	}
	same(t, mustRead(t, other), First())
	again := First()
	again.Holder = Sites[1]
	if err := other.Create(limit(t), again); !errors.Is(err, term.ErrConflict) {
		t.Errorf("second Create: %v, want ErrConflict", err)
	}
	same(t, mustRead(t, one), First())
}

func roundTrip(t *testing.T, one, other term.Store) {
	r := mustCreate(t, one)
	r.Version++
	r.State, r.GrantedTo = term.Granted, Sites[1]
	r.Wanted = &term.Wanted{Site: Sites[1], By: "someone", Reason: "planned: 'ünïcode'", At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	if err := one.Write(limit(t), r); err != nil {
		t.Fatalf("Write: %v", err)
	}
	same(t, mustRead(t, other), r)
	r.Version++
	r.State, r.GrantedTo, r.Wanted = term.Held, "", nil
	if err := other.Write(limit(t), r); err != nil {
		t.Fatalf("Write that clears fields: %v", err)
	}
	same(t, mustRead(t, one), r)
}

func staleVersion(t *testing.T, one, other term.Store) {
	r := mustCreate(t, one)
	won := r
	won.Version, won.Renewal, won.Nonce = r.Version+1, r.Renewal+1, "won"
	if err := one.Write(limit(t), won); err != nil {
		t.Fatalf("Write: %v", err)
	}
	for _, version := range []int64{r.Version + 1, r.Version + 3, r.Version + 100} {
		late := r
		late.Version, late.Nonce = version, "late"
		if err := other.Write(limit(t), late); !errors.Is(err, term.ErrConflict) {
			t.Errorf("Write of version %d over %d: %v, want ErrConflict", version, won.Version, err)
		}
	}
	same(t, mustRead(t, other), won)
}

func writeOntoNothing(t *testing.T, one, other term.Store) {
	for _, version := range []int64{1, 2} {
		r := First()
		r.Version = version
		if err := one.Write(limit(t), r); !errors.Is(err, term.ErrConflict) {
			t.Errorf("Write of version %d onto nothing: %v, want ErrConflict", version, err)
		}
	}
	if _, err := other.Read(limit(t)); !errors.Is(err, term.ErrNoRecord) {
		t.Errorf("Read afterwards: %v, want ErrNoRecord", err)
	}
}

// abortedHandOver pins P2's attack: a renewal prepared before a grant arrives after the grant was taken back by
// clearing the field. Term, holder and state are the same again, only the version tells.
func abortedHandOver(t *testing.T, one, other term.Store) {
	r := mustCreate(t, one)
	delayed := r
	delayed.Version, delayed.Renewal, delayed.Nonce = r.Version+1, r.Renewal+1, "delayed"
	granted := r
	granted.Version, granted.State, granted.GrantedTo = r.Version+1, term.Granted, Sites[1]
	cleared := r
	cleared.Version = r.Version + 2
	for _, w := range []term.Record{granted, cleared} {
		if err := one.Write(limit(t), w); err != nil {
			t.Fatalf("Write of version %d: %v", w.Version, err)
		}
	}
	if err := other.Write(limit(t), delayed); !errors.Is(err, term.ErrConflict) {
		t.Errorf("delayed Write: %v, want ErrConflict", err)
	}
	same(t, mustRead(t, one), cleared)
}

func invalidRecord(t *testing.T, one, other term.Store) {
	r := mustCreate(t, one)
	bad := r
	bad.Version, bad.Holder = r.Version+1, ""
	if err := one.Write(limit(t), bad); err == nil || errors.Is(err, term.ErrConflict) {
		t.Errorf("Write of a record without a holder: %v, want a refusal", err)
	}
	same(t, mustRead(t, other), r)
}

func manyWriters(t *testing.T, one, other term.Store) {
	r := mustCreate(t, one)
	const writers, rounds = 8, 5
	for round := range rounds {
		errs := make([]error, writers)
		var wg sync.WaitGroup
		ctx := limit(t)
		for i := range writers {
			wg.Go(func() {
				next := r
				next.Version, next.Renewal, next.Nonce = r.Version+1, r.Renewal+1, fmt.Sprintf("%d/%d", round, i)
				errs[i] = []term.Store{one, other}[i%2].Write(ctx, next)
			})
		}
		wg.Wait()
		now := mustRead(t, other)
		if now.Version != r.Version+1 {
			t.Fatalf("round %d: version is %d, want %d", round, now.Version, r.Version+1)
		}
		confirmed := 0
		for i, err := range errs {
			mine := now.Nonce == fmt.Sprintf("%d/%d", round, i)
			switch {
			case err == nil && !mine:
				t.Errorf("round %d: writer %d was told that it won, and %q is in the record", round, i, now.Nonce)
			case errors.Is(err, term.ErrConflict) && mine:
				t.Errorf("round %d: writer %d won and was told of a conflict", round, i)
			case err == nil:
				confirmed++
			}
		}
		if confirmed > 1 {
			t.Errorf("round %d: %d writers won", round, confirmed)
		}
		r = now
	}
}

func beacons(t *testing.T, one, other term.Store) {
	r := mustCreate(t, one)
	want := map[string]term.Beacon{}
	for i, site := range Sites {
		b := term.Beacon{
			Deployment: Deployment, Site: site, Sequence: int64(41 + i), Warden: site + "/1", Ready: i == 0, NotReadyBecause: "because " + site,
			LineageTerm: 6, DrainedTerm: 5, CoveredUntil: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), ReplayedPosition: "0/3000148", ObservedWriter: Sites[0],
			Mode: "approval", MaxLagMS: 30_000,
			DesiredTasks: 3, RunningTasks: 2, HealthyTargets: 1, At: time.Date(2026, 11, 22, 10, 0, i, 0, time.UTC),
			Approval: &term.Approval{Term: 7, By: "someone", Expires: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)},
		}
		want[site] = b
		if err := one.PutBeacon(limit(t), b); err != nil {
			t.Fatalf("PutBeacon: %v", err)
		}
	}
	replaced := term.Beacon{Deployment: Deployment, Site: Sites[1], Sequence: 43, Warden: "dr/2"}
	if err := other.PutBeacon(limit(t), replaced); err != nil {
		t.Fatalf("PutBeacon again: %v", err)
	}
	want[Sites[1]] = replaced
	got, err := other.Beacons(limit(t))
	if err != nil {
		t.Fatalf("Beacons: %v", err)
	}
	for _, m := range []map[string]term.Beacon{got, want} {
		for site, b := range m {
			b.At = b.At.UTC()
			if b.Approval != nil {
				a := *b.Approval
				a.Expires = a.Expires.UTC()
				b.Approval = &a
			}
			m[site] = b
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Beacons: %+v, want %+v", got, want)
	}
	same(t, mustRead(t, one), r)
}

func endedContext(t *testing.T, one, other term.Store) {
	r := mustCreate(t, one)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	next := r
	next.Version, next.Nonce = r.Version+1, "too late"
	if err := one.Write(ctx, next); err == nil || errors.Is(err, term.ErrConflict) {
		t.Errorf("Write after the end of its context: %v, want the context's error", err)
	}
	if _, err := one.Read(ctx); err == nil {
		t.Error("Read after the end of its context succeeded")
	}
	same(t, mustRead(t, other), r)
}
