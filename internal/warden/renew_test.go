package warden

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"holdfast/internal/pgserver/pgservertest"
	"holdfast/internal/term/termtest"
)

// TestActiveSiteServesUntilItsTrustEnds: a fresh deployment comes into service; without the store, the database stops
// taking writes and /healthz turns 503 no later than the lease allows; with the store again, the site goes on.
func TestActiveSiteServesUntilItsTrustEnds(t *testing.T) {
	t.Parallel()
	_, dsn := pgservertest.Start(t, nil)
	protectedTable(t, dsn)
	if commit(t, dsn) == nil {
		t.Fatal("the fence lets a write pass before any lease")
	}
	memory := newStore(t, firstRecord())
	w := newSite(t, memory, "primary", "dr", dsn, "primary").start(t, 1)
	w.becomes(t, "/healthz", 200)
	if err := commit(t, dsn); err != nil {
		t.Errorf("a serving site refuses a write: %v", err)
	}
	if r := recordOf(t, memory); r.ServedTerm != 1 || r.Term != 1 {
		t.Errorf("record %+v", r)
	}
	if code, _ := w.get(t, "/targetz"); code != 200 {
		t.Errorf("/targetz of a serving warden: %d", code)
	}
	renewals := recordOf(t, memory).Renewal
	eventually(t, "the lease is renewed", func() error {
		if r := recordOf(t, memory).Renewal; r < renewals+3 {
			return fmt.Errorf("renewal %d", r)
		}
		return nil
	})

	w.own.Partition()
	w.far.Partition()
	cut := time.Now()
	for commit(t, dsn) == nil {
		if since := time.Since(cut); since > testLease {
			t.Fatalf("a write passed %v after the store was lost; the lease is %v", since, testLease)
		}
	}
	w.becomes(t, "/healthz", 503)
	if since := time.Since(cut); since > testLease+time.Second {
		t.Errorf("/healthz said 200 for %v after the store was lost; the lease is %v", since, testLease)
	}
	w.becomes(t, "/targetz", 503)

	w.own.Heal()
	w.far.Heal()
	w.becomes(t, "/healthz", 200)
	eventually(t, "writes pass again", func() error { return commit(t, dsn) })
	if r := recordOf(t, memory); r.Term != 1 {
		t.Errorf("the holder renewed and went on, but the term is %d", r.Term)
	}
}

// TestLostAnswersStillRenew: every write takes effect and every answer to one is lost. The nonce in the record is the
// proof (P4).
func TestLostAnswersStillRenew(t *testing.T) {
	t.Parallel()
	_, dsn := pgservertest.Start(t, nil)
	memory := newStore(t, firstRecord())
	lost := errors.New("the answer was lost")
	w := newSite(t, memory, "primary", "dr", dsn, "primary").start(t, 1, func(o *Options) {
		for _, s := range o.Stores {
			s.(*termtest.Replica).SetFault(func(op termtest.Operation) termtest.Fault {
				if op.Kind == "write" {
					return termtest.Fault{Lost: lost}
				}
				return termtest.Fault{}
			})
		}
	})
	w.becomes(t, "/healthz", 200)
	renewal := recordOf(t, memory).Renewal
	w.staysInService(t)
	if r := recordOf(t, memory).Renewal; r <= renewal {
		t.Errorf("renewal stayed at %d", r)
	}
}

// TestOwnReplicaDead: the own region's replica does not answer, the other's does; trust holds without a gap.
func TestOwnReplicaDead(t *testing.T) {
	t.Parallel()
	_, dsn := pgservertest.Start(t, nil)
	memory := newStore(t, firstRecord())
	w := newSite(t, memory, "primary", "dr", dsn, "primary").start(t, 1)
	w.becomes(t, "/healthz", 200)
	w.own.Partition()
	w.staysInService(t)
}

// TestTwoWardensShareATerm: both renew for themselves and both are in service; a conflict between them costs neither
// its trust.
func TestTwoWardensShareATerm(t *testing.T) {
	t.Parallel()
	_, dsn := pgservertest.Start(t, nil)
	memory := newStore(t, firstRecord())
	s := newSite(t, memory, "primary", "dr", dsn, "primary")
	one, two := s.start(t, 1), s.start(t, 2)
	one.becomes(t, "/healthz", 200)
	two.becomes(t, "/healthz", 200)
	one.stop()
	two.staysInService(t)
	if r := recordOf(t, memory); r.Term != 1 {
		t.Errorf("two wardens moved the term to %d", r.Term)
	}
}
