package fence_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"holdfast/internal/fence"
	"holdfast/internal/fence/fencetest"
	"holdfast/internal/term"
)

func number(n int64) term.Number { return term.Number(n) }

func testExtend(t *testing.T, dsn string) {
	ctx := testContext(t)
	conn, _ := fenced(t, dsn)
	base := sample(t, conn).DatabaseTime.Truncate(time.Microsecond)
	at := func(seconds int) time.Time { return base.Add(time.Duration(seconds) * time.Second) }
	steps := []struct {
		name        string
		term        term.Number
		until       int
		renewal     int64
		err         error
		wantUntil   int
		wantRenewal int64
	}{
		{"first", 3, 20, 10, nil, 20, 10},
		{"later", 3, 30, 11, nil, 30, 11},
		{"an older one arrives late and does not shorten", 3, 25, 9, nil, 30, 11},
		{"the same again", 3, 30, 11, nil, 30, 11},
		{"an older term", 2, 100, 50, fence.ErrStaleTerm, 30, 11},
		{"a new term starts afresh, also earlier", 4, 10, 1, nil, 10, 1},
		{"the old term arrives late", 3, 40, 12, fence.ErrStaleTerm, 10, 1},
	}
	for _, s := range steps {
		err := fencetest.Extend(ctx, conn, s.term, at(s.until), s.renewal)
		if !errors.Is(err, s.err) {
			t.Fatalf("%s: got %v, want %v", s.name, err, s.err)
		}
		got := sample(t, conn)
		if !got.Lease.ValidUntil.Equal(at(s.wantUntil)) || got.Lease.Renewal != s.wantRenewal || !got.LeaseValid() {
			t.Fatalf("%s: lease %+v, want until %v and renewal %d", s.name, got.Lease, at(s.wantUntil), s.wantRenewal)
		}
	}
	// The row says that another server had it: nothing of it counts.
	mustExec(t, conn, "UPDATE holdfast.write_lease SET server_started = 'epoch'")
	if s := sample(t, conn); s.LeaseValid() {
		t.Fatalf("another server's lease passes for valid: %+v", s)
	}
	if err := fencetest.Extend(ctx, conn, 4, at(5), 2); err != nil {
		t.Fatal(err)
	}
	if s := sample(t, conn); !s.Lease.ValidUntil.Equal(at(5)) || !s.Lease.ServerStarted.Equal(s.ServerStarted) {
		t.Fatalf("on a new server the old deadline counts: %+v", s.Lease)
	}
	started := sample(t, conn).ServerStarted
	wantError(t, fence.ExtendOn(ctx, conn, started.Add(-time.Second), 4, at(50), 3), fence.ErrServerChanged)
	if err := fence.ExtendOn(ctx, conn, started, 4, at(50), 3); err != nil {
		t.Fatal(err)
	}
	mustExec(t, conn, "UPDATE holdfast.write_lease SET sealed_term = 4")
	wantError(t, fencetest.Extend(ctx, conn, 4, at(60), 4), fence.ErrSealed)
	if s := sample(t, conn); !s.Lease.ValidUntil.Equal(at(50)) || s.LeaseValid() {
		t.Fatalf("a sealed term was extended, or passes for valid: %+v", s.Lease)
	}
}

// testExtendConcurrently lets two wardens extend while a third reads: the deadline and the renewal never go back.
func testExtendConcurrently(t *testing.T, dsn string) {
	conn, own := fenced(t, dsn)
	ctx := testContext(t)
	pool, err := pgxpool.New(ctx, own)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	base := sample(t, conn).DatabaseTime.Truncate(time.Microsecond).Add(time.Minute)
	const extensions = 300
	done := make(chan error, 2)
	for warden := range 2 {
		go func() {
			for i := range extensions {
				// Each warden's own answers come in a disorder of their own.
				step := i ^ (1 + warden)
				if err := fencetest.Extend(ctx, pool, 5, base.Add(time.Duration(step)*time.Second), int64(step)); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	var last fence.Lease
	for running := 2; running > 0; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			running--
		default:
		}
		lease := sample(t, conn).Lease
		if lease.ValidUntil.Before(last.ValidUntil) && last.Term == lease.Term || lease.Renewal < last.Renewal {
			t.Fatalf("the lease went back from %+v to %+v", last, lease)
		}
		last = lease
	}
	if want := base.Add((extensions + 1) * time.Second); last.ValidUntil.After(want) || last.ValidUntil.Before(base.Add((extensions-4)*time.Second)) {
		t.Fatalf("ends at %v, want just below %v", last.ValidUntil, want)
	}
}

func testRecordTerm(t *testing.T, dsn string) {
	ctx := testContext(t)
	conn, _ := fenced(t, dsn)
	for _, step := range []struct {
		term term.Number
		site string
		err  error
	}{
		{3, "primary", nil}, {3, "primary", nil}, {3, "dr", fence.ErrStaleTerm}, {5, "dr", nil}, {4, "primary", fence.ErrStaleTerm}, {5, "dr", nil},
	} {
		if err := fence.RecordTerm(ctx, conn, step.term, step.site); !errors.Is(err, step.err) {
			t.Fatalf("record term %d of %s: got %v, want %v", step.term, step.site, err, step.err)
		}
	}
	if s := sample(t, conn); !slices.Equal(s.Terms, []term.Number{3, 5}) || s.Position == "" {
		t.Fatalf("got %+v", s)
	}
	if n := count(t, conn, "SELECT count(*) FROM holdfast.terms WHERE position <> '' AND at > now() - interval '1 minute'"); n != 2 {
		t.Fatalf("%d of 2 terms have position and time", n)
	}
}

// Two wardens of a site record a term at once. The one that waits for the other's transaction has recorded it too.
func testRecordTermAtOnce(t *testing.T, dsn string) {
	ctx := testContext(t)
	first, own := fenced(t, dsn)
	second, watcher := connect(t, own), connect(t, own)
	tx, err := first.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := fence.RecordTerm(ctx, tx, 1, "primary"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- fence.RecordTerm(ctx, second, 1, "primary") }()
	eventually(t, func() error {
		if count(t, watcher, fmt.Sprintf("SELECT count(*) FROM pg_stat_activity WHERE pid = %d AND wait_event_type = 'Lock'", second.PgConn().PID())) == 0 {
			return errors.New("the second does not wait for the first")
		}
		return nil
	})
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func testRemaining(t *testing.T, dsn string) {
	conn, _ := fenced(t, dsn)
	remaining := func() int { return count(t, conn, "SELECT holdfast.remaining_lease_ms()") }
	if ms := remaining(); ms != 0 {
		t.Fatalf("without a lease: %d ms", ms)
	}
	extend(t, conn, 1, 40*time.Second)
	if ms := remaining(); ms <= 30_000 || ms > 40_000 {
		t.Fatalf("with 40 s: %d ms", ms)
	}
	for _, void := range []string{"valid_until = now() - interval '1s'", "sealed_term = 1", "server_started = 'epoch'"} {
		func() {
			tx, err := conn.Begin(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback(context.Background()) }()
			mustExec(t, tx, "UPDATE holdfast.write_lease SET "+void)
			if ms := count(t, tx, "SELECT holdfast.remaining_lease_ms()"); ms != 0 {
				t.Errorf("with %s: %d ms", void, ms)
			}
		}()
	}
}
