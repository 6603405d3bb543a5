package fence_test

import (
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
	for n, void := range []string{
		"UPDATE holdfast.write_lease SET valid_until = now() - interval '1s'", "UPDATE holdfast.write_lease SET server_started = 'epoch'",
		"UPDATE holdfast.write_lease SET server_started = server_started - interval '1 microsecond'",
		"UPDATE holdfast.write_lease SET sealed_term = term", "UPDATE holdfast.write_lease SET valid_until = 'infinity'",
	} {
		extend(t, conn, int64(2+n), 40*time.Second)
		if ms := remaining(); ms == 0 {
			t.Fatalf("before %s: no lease", void)
		}
		mustExec(t, conn, void)
		if ms := remaining(); ms != 0 {
			t.Errorf("after %s: %d ms", void, ms)
		}
		_, err := conn.Exec(testContext(t), fmt.Sprintf("INSERT INTO ledger VALUES (%d)", n))
		wantRefused(t, err)
	}
}

// testPublished: the check follows the lease's row with everything that can happen to it, also to one in a transaction that
// is open or fails: then it errs on the side that refuses, until the next extension.
func testPublished(t *testing.T, dsn string) {
	ctx := testContext(t)
	conn, own := fenced(t, dsn)
	other := connect(t, own)
	write := func() error {
		_, err := other.Exec(ctx, "INSERT INTO ledger SELECT coalesce(max(id), 0) + 1 FROM ledger")
		return err
	}
	within := func(sql string, then string) {
		t.Helper()
		extend(t, conn, 1, time.Minute)
		if err := write(); err != nil {
			t.Fatalf("before %s: %v", sql, err)
		}
		mustExec(t, conn, "BEGIN; "+sql)
		wantRefused(t, write())
		mustExec(t, conn, then)
		wantRefused(t, write())
	}
	within("UPDATE holdfast.write_lease SET sealed_term = 1", "ROLLBACK")
	if s := sample(t, conn); !s.LeaseValid() {
		t.Fatalf("the seal was rolled back, but the row says %+v", s.Lease)
	}
	mustExec(t, conn, "BEGIN; UPDATE holdfast.write_lease SET valid_until = '2100-01-01'; ROLLBACK")
	if end, err := fence.PublishedEnd(ctx, conn); err != nil || end.Year() != 2100 || sample(t, conn).Lease.ValidUntil.Year() == 2100 {
		t.Fatalf("after an extension that was rolled back commits pass until %v, %v", end, err)
	}
	mustExec(t, conn, "UPDATE holdfast.write_lease SET server_started = server_started + interval '1 s'") // logical replication
	wantRefused(t, write())
	if end, err := fence.PublishedEnd(ctx, conn); err != nil || end.Unix() != 0 {
		t.Fatalf("another server's lease is published until %v, %v", end, err)
	}
	within("SET LOCAL session_replication_role = replica; UPDATE holdfast.write_lease SET valid_until = 'epoch'", "COMMIT")
	within("DELETE FROM holdfast.write_lease", "ROLLBACK")
	extend(t, conn, 1, time.Minute)
	mustExec(t, conn, "BEGIN; TRUNCATE holdfast.write_lease; ROLLBACK") // its lock makes a refusal wait
	wantRefused(t, write())
	// What a role that may only read the lease can do to it: nothing, also not by the function that publishes it.
	extend(t, conn, 1, time.Minute)
	mustExec(t, conn, fmt.Sprintf("CREATE ROLE reader_%[1]d; SET ROLE reader_%[1]d", databases.Add(1)))
	const forged = `CREATE TEMP TABLE forged (term bigint, sealed_term bigint, valid_until timestamptz, server_started timestamptz);
		CREATE TRIGGER publish AFTER INSERT OR DELETE ON forged FOR EACH ROW EXECUTE FUNCTION holdfast.publish_lease();
		INSERT INTO forged VALUES (2, 1, '2100-01-01', pg_postmaster_start_time())`
	for _, sql := range []string{
		forged,
		"SELECT setval('holdfast.lease_until', 9000000000000000)", "SELECT nextval('holdfast.lease_until')",
		"ALTER SEQUENCE holdfast.lease_until RESTART", "UPDATE holdfast.write_lease SET valid_until = 'epoch'",
	} {
		if _, err := conn.Exec(ctx, sql); err == nil {
			t.Errorf("anybody may run %s", sql)
		}
	}
	// And neither has the lease's owner, when they write to a table that somebody has prepared.
	mustExec(t, conn, "RESET ROLE")
	if _, err := conn.Exec(ctx, forged); err == nil {
		t.Error("the lease is published from a table that is not the lease's")
	}
	if err := write(); err != nil {
		t.Errorf("after all that was refused: %v", err)
	}
}

// testMicroseconds: a start of a server that did not come back from its sequence as it was would void every lease.
func testMicroseconds(t *testing.T, dsn string) {
	conn, _ := fenced(t, dsn)
	if n := count(t, conn, `SELECT count(*)
		FROM (SELECT timestamptz '2020-01-01' + random() * interval '60 years' AS at FROM generate_series(1, 200000)) AS x
		WHERE holdfast.from_microseconds(holdfast.to_microseconds(at)) <> at`); n != 0 {
		t.Errorf("%d of 200,000 times are others after the way to a sequence and back", n)
	}
}
