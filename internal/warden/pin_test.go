package warden

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/fence"
	"holdfast/internal/fence/fencetest"
	"holdfast/internal/pgserver/pgservertest"
	"holdfast/internal/term"
)

func testPin(lasts time.Duration) fence.Pin {
	return fence.Pin{Term: 1, Site: "primary", For: lasts, Lease: testLease, Margin: testMargin, By: "test", Reason: "test"}
}

// setPin pins the database, and confirms the pin if confirm is set.
func setPin(ctx context.Context, db fence.DB, lasts time.Duration, confirm bool) error {
	p, err := fence.SetPin(ctx, db, testPin(lasts))
	if err != nil || !confirm {
		return err
	}
	return fence.ConfirmPin(ctx, db, p.ID, "test")
}

// TestPinnedSiteGoesOnWithoutTheStore: with the store gone the active site stops; pinned, it takes writes again, also
// under a warden that was started meanwhile and has never seen the record; the first answer of the store ends the pin for
// good, and the site goes on under its lease.
func TestPinnedSiteGoesOnWithoutTheStore(t *testing.T) {
	t.Parallel()
	_, dsn := pgservertest.Start(t, nil)
	protectedTable(t, dsn)
	memory := newStore(t, firstRecord())
	s := newSite(t, memory, "primary", "dr", dsn, "primary")
	w := s.start(t, 1)
	w.becomes(t, "/healthz", 200)
	w.own.Partition()
	w.far.Partition()
	w.becomes(t, "/healthz", 503)
	eventually(t, "the fence is shut", func() error {
		if commit(t, dsn) == nil {
			return errors.New("a write passes")
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn := connect(t, dsn)
	defer conn.Close(ctx)
	if err := setPin(ctx, conn, time.Hour, true); err != nil {
		t.Fatal(err)
	}
	w.becomes(t, "/healthz", 200)
	if err := commit(t, dsn); err != nil {
		t.Errorf("a pinned site refuses a write: %v", err)
	}
	w.staysInService(t) // for longer than one lease: the extensions go on
	w.stop()
	later := s.start(t, 2, func(o *Options) { o.Stores = []term.Store{deadStore{}} })
	later.becomes(t, "/healthz", 200)
	if code, body := later.get(t, "/targetz"); code != 200 {
		t.Errorf("/targetz of a pinned warden: %d %s", code, body)
	}
	later.stop()

	// The store answers again: the pin is ended for good, and the lease is the renewal's.
	back := s.start(t, 3)
	back.becomes(t, "/healthz", 200)
	eventually(t, "the pin is ended", func() error {
		state, err := fence.Sample(ctx, conn)
		if err == nil && state.Pin.Open() {
			err = errors.New("still open")
		}
		return err
	})
	if r := recordOf(t, memory); r.Term != 1 || r.Holder != "primary" {
		t.Errorf("record %+v", r)
	}
}

// deadStore never answers.
type deadStore struct{ term.Store }

var errDeadStore = errors.New("the store does not answer")

func (deadStore) Read(context.Context) (term.Record, error) { return term.Record{}, errDeadStore }

func (deadStore) Beacons(context.Context) (map[string]term.Beacon, error) { return nil, errDeadStore }
func (deadStore) PutBeacon(context.Context, term.Beacon) error            { return errDeadStore }
func (deadStore) Write(context.Context, term.Record) error                { return errDeadStore }
func (deadStore) Create(context.Context, term.Record) error               { return errDeadStore }

// TestPinRunsOut: a pin of some seconds gives leases that end with it, on the database's own clock.
func TestPinRunsOut(t *testing.T) {
	t.Parallel()
	_, dsn := pgservertest.Start(t, nil)
	protectedTable(t, dsn)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn := connect(t, dsn)
	defer conn.Close(ctx)
	if err := fence.RecordTerm(ctx, conn, 1, "primary"); err != nil {
		t.Fatal(err)
	}
	if err := fencetest.Extend(ctx, conn, 1, time.Now().Add(-time.Second), 1); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, newStore(t, firstRecord()), "primary", "dr", dsn, "primary")
	const lasts = 8 * time.Second
	if err := setPin(ctx, conn, lasts, true); err != nil {
		t.Fatal(err)
	}
	w := s.start(t, 1, func(o *Options) { o.Stores = []term.Store{deadStore{}} })
	w.becomes(t, "/healthz", 200)
	w.becomes(t, "/healthz", 503)
	state, err := fence.Sample(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	if end := state.Pin.PinnedAt.Add(lasts - testMargin); state.Lease.ValidUntil.After(end) || state.Lease.ValidUntil.Before(end.Add(-testLease)) {
		t.Errorf("the last lease ended at %v, the pin a margin before its end at %v", state.Lease.ValidUntil, end)
	}
}

// TestStandbyAbstains: the copy shows the other site's pin, so nobody takes the expired term, not even with an approval;
// once an operator vouches that the pinned site is gone, the standby takes over.
func TestStandbyAbstains(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	const renewal = 20
	// Not confirmed: the first sight of a pin is enough.
	dsn := standby(t, renewal, func(db fence.DB) error { return setPin(ctx, db, time.Hour, false) })
	memory := newStore(t, served(renewal))
	s := newSite(t, memory, "dr", "primary", dsn, "primary")
	s.plane.promote = func(ctx context.Context, _ bool) error {
		if err := promoteServer(ctx, dsn); err != nil {
			return err
		}
		s.plane.set(failover.ClusterView{Known: true, Writer: "dr", Member: true})
		return nil
	}
	approval := &term.Approval{Term: 1, By: "test", Expires: time.Now().Add(time.Hour), AllowDataLoss: true}
	if err := memory.Replica("operator").PutBeacon(ctx, term.Beacon{Deployment: "test", Site: "dr", Approval: approval}); err != nil {
		t.Fatal(err)
	}
	w := s.start(t, 1)
	eventually(t, "the pin's gate is all that is shut", func() error {
		status := w.Status()
		if status.StoodMS < (testLease+testMargin).Milliseconds() || len(status.Refusals) == 0 {
			return fmt.Errorf("stood %d ms, refusals %+v", status.StoodMS, status.Refusals)
		}
		if len(status.Refusals) != 1 || status.Refusals[0].Gate != "pin" || !strings.Contains(status.Refusals[0].Current, "primary is pinned") {
			t.Fatalf("refusals %+v", status.Refusals)
		}
		return nil
	})
	if r := recordOf(t, memory); r.Term != 1 {
		t.Fatalf("the standby took term %d under the other site's pin", r.Term)
	}
	memory.Edit(func(r *term.Record) { r.UnpinnedTerm = 1; r.Version++ })
	w.becomes(t, "/healthz", 200)
	if r := recordOf(t, memory); r.Term != 2 || r.Holder != "dr" {
		t.Errorf("record %+v", r)
	}
}
