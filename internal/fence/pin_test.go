package fence_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"holdfast/internal/fence"
	"holdfast/internal/pgserver"
	"holdfast/internal/pgserver/pgservertest"
)

func pinOf(n int64, site string, lasts time.Duration) fence.Pin {
	return fence.Pin{
		Term: number(n), Site: site, For: lasts, Lease: 20 * time.Second, Margin: 2500 * time.Millisecond,
		By: "operator", Reason: "the term store is gone",
	}
}

// serves makes a database that serves the term for the site.
func serves(t *testing.T, db fence.DB, n int64, site string) {
	t.Helper()
	if err := fence.RecordTerm(testContext(t), db, number(n), site); err != nil {
		t.Fatal(err)
	}
	extend(t, db, n, time.Minute)
}

func testPin(t *testing.T, dsn string) {
	ctx := testContext(t)
	conn, _ := fenced(t, dsn)
	_, err := fence.SetPin(ctx, conn, pinOf(1, "primary", time.Hour))
	wantError(t, err, fence.ErrNotPinnable) // nothing is served here
	serves(t, conn, 4, "primary")
	for name, wrong := range map[string]fence.Pin{
		"an older term": pinOf(3, "primary", time.Hour), "a later term": pinOf(5, "primary", time.Hour),
		"the other site": pinOf(4, "dr", time.Hour), "too long": pinOf(4, "primary", fence.MaxPin+1), "no time": pinOf(4, "primary", 0),
	} {
		if _, err := fence.SetPin(ctx, conn, wrong); !errors.Is(err, fence.ErrNotPinnable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p, err := fence.SetPin(ctx, conn, pinOf(4, "primary", time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	s := sample(t, conn)
	if s.Pin != p || !s.Pin.Open() {
		t.Fatalf("the sample shows %+v, want %+v", s.Pin, p)
	}
	_, err = s.PinnedUntil("primary")
	wantError(t, err, fence.ErrNotPinnable) // not confirmed
	if err := fence.ConfirmPin(ctx, conn, p.ID, "the standby shows it"); err != nil {
		t.Fatal(err)
	}
	s = sample(t, conn)
	until, err := s.PinnedUntil("primary")
	if want := s.DatabaseTime.Add(17500 * time.Millisecond); err != nil || !until.Equal(want) {
		t.Fatalf("pinned until %v, %v, want %v", until, err, want)
	}
	_, err = s.PinnedUntil("dr")
	wantError(t, err, fence.ErrNotPinnable)
	if n, err := fence.EndPins(ctx, conn, "unpin"); n != 1 || err != nil {
		t.Fatalf("ended %d pins, %v", n, err)
	}
	wantError(t, fence.ConfirmPin(ctx, conn, p.ID, "again"), fence.ErrNotPinnable)
	_, err = sample(t, conn).PinnedUntil("primary")
	wantError(t, err, fence.ErrNotPinnable)
}

// testPinYields: what has come after the pin voids it, also one that was confirmed.
func testPinYields(t *testing.T, dsn string) {
	ctx := testContext(t)
	for name, later := range map[string]func(fence.DB) error{
		"a later term": func(db fence.DB) error { return fence.RecordTerm(ctx, db, 2, "primary") },
		"a seal":       func(db fence.DB) error { return fence.Seal(ctx, db, 1) },
		"another pin":  func(db fence.DB) error { _, err := fence.SetPin(ctx, db, pinOf(1, "primary", time.Hour)); return err },
	} {
		conn, _ := fenced(t, dsn)
		serves(t, conn, 1, "primary")
		p, err := fence.SetPin(ctx, conn, pinOf(1, "primary", time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if err := fence.ConfirmPin(ctx, conn, p.ID, "test"); err != nil {
			t.Fatal(err)
		}
		if _, err := sample(t, conn).PinnedUntil("primary"); err != nil {
			t.Fatal(err)
		}
		if err := later(conn); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if until, err := sample(t, conn).PinnedUntil("primary"); err == nil {
			t.Errorf("after %s the pin still gives a lease until %v", name, until)
		}
		wantError(t, fence.ConfirmPin(ctx, conn, p.ID, "again"), fence.ErrNotPinnable)
	}
}

// TestPinEndsByTheDatabasesClock: near its end a pin gives less than a lease, and in its last margin nothing.
func TestPinEndsByTheDatabasesClock(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := fence.State{DatabaseTime: now, ServerStarted: now.Add(-time.Hour), Terms: nil, Installed: true}
	s.Terms = append(s.Terms, 4)
	s.Pin = pinOf(4, "primary", time.Minute)
	s.Pin.ID, s.Pin.Confirmed, s.Pin.ServerStarted = 1, true, s.ServerStarted
	for age, want := range map[time.Duration]time.Duration{
		0: 17500 * time.Millisecond, 45 * time.Second: 12500 * time.Millisecond, 57 * time.Second: 500 * time.Millisecond,
		57500 * time.Millisecond: 0, time.Hour: 0,
	} {
		s.Pin.PinnedAt = now.Add(-age)
		until, err := s.PinnedUntil("primary")
		if got := until.Sub(now); (want == 0) != (err != nil) || want > 0 && got != want {
			t.Errorf("%v after it was set the pin gives %v (%v), want %v", age, got, err, want)
		}
	}
	s.Pin.PinnedAt, s.Pin.ServerStarted = now, now
	if _, err := s.PinnedUntil("primary"); !errors.Is(err, fence.ErrNotPinnable) {
		t.Errorf("a pin of another server: %v", err)
	}
}

// testSampleVersion1: a database that an older program installed is sampled all the same, and brought up to date.
func testSampleVersion1(t *testing.T, dsn string) {
	conn, _ := fenced(t, dsn)
	serves(t, conn, 1, "primary")
	mustExec(t, conn, "DROP TABLE holdfast.pins; DELETE FROM holdfast.schema_version WHERE version > 1")
	if s := sample(t, conn); !s.Installed || s.SchemaVersion != 1 || s.Lease.Term != 1 || !s.LeaseValid() || s.Pin.ID != 0 {
		t.Fatalf("version 1: %+v", s)
	}
	if err := fence.EnsureSchema(testContext(t), conn); err != nil {
		t.Fatal(err)
	}
	if _, err := fence.SetPin(testContext(t), conn, pinOf(1, "primary", time.Hour)); err != nil {
		t.Fatal(err)
	}
}

// TestPinReplicates: a copy shows the pin, and still does once it has been promoted.
func TestPinReplicates(t *testing.T) {
	t.Parallel()
	server, dsn := pgservertest.Start(t, nil)
	conn := connect(t, dsn)
	install(t, conn)
	serves(t, conn, 1, "primary")
	_, copied := pgservertest.Standby(t, server)
	other := connect(t, copied)
	p, err := fence.SetPin(testContext(t), conn, pinOf(1, "primary", time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if s := sample(t, other); s.Pin != p || !s.InRecovery {
			return fmt.Errorf("the copy shows %+v", s.Pin)
		}
		return nil
	})
	_, err = fence.SetPin(testContext(t), other, pinOf(1, "primary", time.Hour))
	wantError(t, err, fence.ErrStandby)
	_, err = fence.EndPins(testContext(t), other, "test")
	wantError(t, err, fence.ErrStandby)
	mustExec(t, other, "SELECT pg_promote()")
	if s := sample(t, other); s.Pin != p || s.InRecovery {
		t.Fatalf("after the promotion: %+v", s)
	}
	// The pin's clock is the old server's: the promoted copy gets nothing from it, whatever it is told.
	if err := fence.ConfirmPin(testContext(t), other, p.ID, "forged"); !errors.Is(err, fence.ErrNotPinnable) {
		t.Fatalf("confirmed on the copy: %v", err)
	}
}

// TestRestartVoidsThePin: the times of a pin are on the clock of the server that it was set on.
func TestRestartVoidsThePin(t *testing.T) {
	t.Parallel()
	server, dsn := pgservertest.Start(t, nil)
	conn := connect(t, dsn)
	install(t, conn)
	serves(t, conn, 1, "primary")
	p, err := fence.SetPin(testContext(t), conn, pinOf(1, "primary", time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := fence.ConfirmPin(testContext(t), conn, p.ID, "test"); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	in, err := pgserver.Find()
	if err != nil {
		t.Fatal(err)
	}
	pgservertest.Run(t, in, server.Config)
	s := sample(t, connect(t, dsn))
	if _, err := s.PinnedUntil("primary"); !s.Pin.Confirmed || !errors.Is(err, fence.ErrNotPinnable) {
		t.Fatalf("after a restart %+v gives a lease: %v", s.Pin, err)
	}
}
