package fence_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/fence"
	"holdfast/internal/fence/fencetest"
	"holdfast/internal/pgserver/pgservertest"
)

func testSeal(t *testing.T, dsn string) {
	ctx := testContext(t)
	conn, _ := fenced(t, dsn)
	extend(t, conn, 4, time.Minute)
	wantError(t, fence.Seal(ctx, conn, 3), fence.ErrStaleTerm)
	mustExec(t, conn, "INSERT INTO ledger VALUES (1)")
	for range 2 {
		if err := fence.Seal(ctx, conn, 4); err != nil {
			t.Fatal(err)
		}
	}
	_, err := conn.Exec(ctx, "INSERT INTO ledger VALUES (2)")
	wantRefused(t, err)
	// The sibling warden's renewal was confirmed before it heard of the seal.
	wantError(t, fencetest.Extend(ctx, conn, 4, sample(t, conn).DatabaseTime.Add(time.Hour), 99), fence.ErrSealed)
	// Taking a seal back is the next term (P14).
	extend(t, conn, 5, time.Minute)
	mustExec(t, conn, "INSERT INTO ledger VALUES (2)")
	wantError(t, fence.Seal(ctx, conn, 4), fence.ErrStaleTerm)
	mustExec(t, conn, "INSERT INTO ledger VALUES (3)")
}

func testDrainRefuses(t *testing.T, dsn string) {
	ctx := testContext(t)
	conn, _ := fenced(t, dsn)
	extend(t, conn, 4, time.Minute)
	_, err := fence.Drain(ctx, conn, 4)
	wantError(t, err, fence.ErrNotSealed)
	// Whoever owns the schema has parted the check from the row: the term must not be handed over.
	mustExec(t, conn, "ALTER TABLE holdfast.write_lease DISABLE TRIGGER publish")
	if err := fence.Seal(ctx, conn, 4); err != nil {
		t.Fatal(err)
	}
	mustExec(t, conn, "INSERT INTO ledger VALUES (1)")
	_, err = fence.Drain(ctx, conn, 4)
	wantError(t, err, fence.ErrSealUnpublished)
	// What the error says to do.
	mustExec(t, conn, "ALTER TABLE holdfast.write_lease ENABLE ALWAYS TRIGGER publish")
	mustExec(t, conn, "UPDATE holdfast.write_lease SET term = term")
	_, err = conn.Exec(ctx, "INSERT INTO ledger VALUES (2)")
	wantRefused(t, err)
	position, err := fence.Drain(ctx, conn, 4)
	if err != nil || position == "" {
		t.Fatalf("got %q, %v", position, err)
	}
	if s := sample(t, conn); s.Lease.DrainedTerm != 4 {
		t.Fatalf("drained_term is %d", s.Lease.DrainedTerm)
	}
	extend(t, conn, 5, time.Minute)
	_, err = fence.Drain(ctx, conn, 4)
	wantError(t, err, fence.ErrStaleTerm)
}

func testDrainPrivilege(t *testing.T, dsn string) {
	ctx := testContext(t)
	admin := connect(t, dsn)
	role := fmt.Sprintf("owner_%d", databases.Add(1))
	mustExec(t, admin, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 'owner'", role))
	own := newDatabase(t, dsn)
	mustExec(t, admin, fmt.Sprintf("ALTER DATABASE %s OWNER TO %s", databaseOf(t, own), role))
	mustExec(t, connect(t, own), "GRANT CREATE ON SCHEMA public TO "+role)
	u, err := url.Parse(own)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "owner")
	// Everything else works as an ordinary role that owns the database.
	conn := connect(t, u.String())
	install(t, conn)
	extend(t, conn, 1, time.Minute)
	mustExec(t, conn, "INSERT INTO ledger VALUES (1)")
	if err := fence.Seal(ctx, conn, 1); err != nil {
		t.Fatal(err)
	}
	_, err = fence.Drain(ctx, conn, 1)
	wantError(t, err, fence.ErrPrivilege)
	if s := sample(t, conn); s.Lease.DrainedTerm != 0 {
		t.Fatal("a drain that could not see the others was recorded")
	}
	mustExec(t, admin, "GRANT pg_read_all_stats, pg_signal_backend TO "+role)
	if _, err := fence.Drain(ctx, conn, 1); err != nil {
		t.Fatal(err)
	}
}

func databaseOf(t *testing.T, dsn string) string {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return config.Database
}

// attack describes a transaction that is under way when the seal comes.
type attack struct {
	// isolation and prepare open the transaction before the seal; finish tries to land it after the seal.
	prepare []string
	finish  []string
}

// run starts the attack, seals, and shows both that the attack would have landed without a drain and that it does not
// land with one.
func (a attack) run(t *testing.T, dsn string) {
	t.Helper()
	for _, drain := range []bool{false, true} {
		conn, own := fenced(t, dsn)
		extend(t, conn, 2, time.Minute)
		attacker := connect(t, own)
		for _, sql := range a.prepare {
			mustExec(t, attacker, sql)
		}
		ctx := testContext(t)
		if err := fence.Seal(ctx, conn, 2); err != nil {
			t.Fatal(err)
		}
		if drain {
			if _, err := fence.DrainAfter(ctx, conn, 2, 50*time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		for _, sql := range a.finish {
			if _, err = attacker.Exec(ctx, sql); err != nil {
				break
			}
		}
		rows := count(t, conn, "SELECT count(*) FROM ledger")
		if !drain && (err != nil || rows != 1) {
			t.Fatalf("the attack does not work even without a drain (%v, %d rows): the test proves nothing", err, rows)
		}
		if drain && (err == nil || rows != 0) {
			t.Fatalf("the attack landed after seal and drain: %v, %d rows", err, rows)
		}
		if drained := sample(t, conn).Lease.DrainedTerm; (drained == 2) != drain {
			t.Fatalf("drained_term is %d with drain=%v", drained, drain)
		}
	}
}

// testAttackSnapshot: a transaction whose snapshot is older than the seal does not see the sealed row, and is refused all
// the same, without a drain.
func testAttackSnapshot(t *testing.T, dsn string) {
	conn, own := fenced(t, dsn)
	extend(t, conn, 2, time.Minute)
	old := connect(t, own)
	mustExec(t, old, "BEGIN ISOLATION LEVEL REPEATABLE READ")
	const sealed = "SELECT sealed_term FROM holdfast.write_lease"
	if n := count(t, old, sealed); n != 0 {
		t.Fatalf("term %d is sealed", n)
	}
	if err := fence.Seal(testContext(t), conn, 2); err != nil {
		t.Fatal(err)
	}
	mustExec(t, old, "INSERT INTO ledger VALUES (1)")
	if n := count(t, old, sealed); n != 0 {
		t.Fatal("the old snapshot shows the seal: the test proves nothing")
	}
	_, err := old.Exec(testContext(t), "COMMIT")
	wantRefused(t, err)
}

func testAttackImmediate(t *testing.T, dsn string) {
	attack{
		prepare: []string{"BEGIN", "SET CONSTRAINTS ALL IMMEDIATE", "INSERT INTO ledger VALUES (1)"},
		finish:  []string{"COMMIT"},
	}.run(t, dsn)
}

// testAttackImportedSnapshot: a younger transaction takes over the snapshot of an old one.
func testAttackImportedSnapshot(t *testing.T, dsn string) {
	conn, own := fenced(t, dsn)
	ctx := testContext(t)
	extend(t, conn, 2, time.Minute)
	old, young := connect(t, own), connect(t, own)
	mustExec(t, old, "BEGIN ISOLATION LEVEL REPEATABLE READ")
	var snapshot string
	if err := old.QueryRow(ctx, "SELECT pg_export_snapshot()").Scan(&snapshot); err != nil {
		t.Fatal(err)
	}
	if err := fence.Seal(ctx, conn, 2); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := fence.DrainAfter(ctx, conn, 2, 200*time.Millisecond)
		done <- err
	}()
	mustExec(t, young, "BEGIN ISOLATION LEVEL REPEATABLE READ")
	mustExec(t, young, fmt.Sprintf("SET TRANSACTION SNAPSHOT '%s'", snapshot))
	mustExec(t, young, "SELECT 1")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	_, err := young.Exec(ctx, "INSERT INTO ledger VALUES (1); COMMIT")
	if err == nil {
		t.Fatal("a transaction with an imported snapshot landed after seal and drain")
	}
	if n := count(t, connect(t, own), "SELECT count(*) FROM ledger"); n != 0 {
		t.Fatalf("%d rows landed", n)
	}
}

// testAttackPastCheck: the commit is held between its check and its commit record by a later deferred trigger that
// waits for an advisory lock.
func testAttackPastCheck(t *testing.T, dsn string) {
	for _, drain := range []bool{false, true} {
		conn, own := fenced(t, dsn)
		ctx := testContext(t)
		mustExec(t, conn, `CREATE TABLE later (id int);
			CREATE FUNCTION wait_for_lock() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NULL; END $$;
			CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON later DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_for_lock()`)
		extend(t, conn, 2, time.Minute)
		holder := connect(t, own)
		mustExec(t, holder, "SELECT pg_advisory_lock(42)")
		attacker := connect(t, own)
		committed := make(chan error, 1)
		go func() {
			_, err := attacker.Exec(ctx, "BEGIN; INSERT INTO ledger VALUES (1); INSERT INTO later VALUES (1); COMMIT")
			committed <- err
		}()
		eventually(t, func() error {
			if count(t, conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 42") != 1 {
				return errors.New("the commit does not wait for the lock")
			}
			return nil
		})
		if err := fence.Seal(ctx, conn, 2); err != nil {
			t.Fatal(err)
		}
		if drain {
			if _, err := fence.DrainAfter(ctx, conn, 2, 50*time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		mustExec(t, holder, "SELECT pg_advisory_unlock(42)")
		err := <-committed
		rows := count(t, conn, "SELECT count(*) FROM ledger")
		if !drain && (err != nil || rows != 1) {
			t.Fatalf("the attack does not work even without a drain (%v, %d rows): the test proves nothing", err, rows)
		}
		if drain && (err == nil || rows != 0) {
			t.Fatalf("the attack landed after seal and drain: %v, %d rows", err, rows)
		}
	}
}

// TestAttackCommitPrepared: a prepared transaction is not held by any backend, so a server that allows them is refused.
func TestAttackCommitPrepared(t *testing.T) {
	t.Parallel()
	_, dsn := pgservertest.Start(t, map[string]string{"max_prepared_transactions": "2"})
	conn, _ := fenced(t, dsn)
	ctx := testContext(t)
	s := sample(t, conn)
	if s.MaxPreparedTransactions != 2 {
		t.Fatalf("sampled %d", s.MaxPreparedTransactions)
	}
	wantError(t, fencetest.Extend(ctx, conn, 2, s.DatabaseTime.Add(time.Minute), 1), fence.ErrPreparedTransactions)
	// As if it had been extended before the setting was changed.
	mustExec(t, conn, "UPDATE holdfast.write_lease SET term = 2, valid_until = now() + interval '1 minute', server_started = pg_postmaster_start_time()")
	mustExec(t, conn, "BEGIN; INSERT INTO ledger VALUES (1); PREPARE TRANSACTION 'attack'")
	if err := fence.Seal(ctx, conn, 2); err != nil {
		t.Fatal(err)
	}
	_, err := fence.Drain(ctx, conn, 2)
	wantError(t, err, fence.ErrPreparedTransactions)
	if sample(t, conn).Lease.DrainedTerm != 0 {
		t.Fatal("drained_term is set although a prepared transaction can still land")
	}
	mustExec(t, conn, "COMMIT PREPARED 'attack'")
	if count(t, conn, "SELECT count(*) FROM ledger") != 1 {
		t.Fatal("the attack does not work: the test proves nothing")
	}
}

// testDrainSparesTheYoung: idle connections and transactions that began after the seal are left alone.
func testDrainSparesTheYoung(t *testing.T, dsn string) {
	conn, own := fenced(t, dsn)
	ctx := testContext(t)
	extend(t, conn, 2, time.Minute)
	idle := connect(t, own)
	mustExec(t, idle, "SELECT 1")
	// Its next statement takes a new snapshot and sees the seal.
	between := connect(t, own)
	mustExec(t, between, "BEGIN")
	mustExec(t, between, "SELECT count(*) FROM ledger")
	old := connect(t, own)
	mustExec(t, old, "BEGIN; INSERT INTO ledger VALUES (1)")
	if err := fence.Seal(ctx, conn, 2); err != nil {
		t.Fatal(err)
	}
	if _, err := fence.DrainAfter(ctx, conn, 2, 0); err != nil {
		t.Fatal(err)
	}
	mustExec(t, idle, "SELECT 1")
	mustExec(t, between, "INSERT INTO ledger VALUES (2)")
	_, err := between.Exec(ctx, "COMMIT")
	wantRefused(t, err)
	if _, err := old.Exec(ctx, "COMMIT"); err == nil {
		t.Fatal("an old transaction landed")
	}
}

// testDrainGrace: a transaction that ends by itself within the grace period is not cut off, and drained_term comes
// only after its commit.
func testDrainGrace(t *testing.T, dsn string) {
	conn, own := fenced(t, dsn)
	ctx := testContext(t)
	extend(t, conn, 2, time.Minute)
	slow := connect(t, own)
	mustExec(t, slow, "BEGIN; SET CONSTRAINTS ALL IMMEDIATE; INSERT INTO ledger VALUES (1)")
	if err := fence.Seal(ctx, conn, 2); err != nil {
		t.Fatal(err)
	}
	type result struct {
		position string
		err      error
	}
	done := make(chan result, 1)
	go func() {
		position, err := fence.DrainAfter(ctx, conn, 2, time.Minute)
		done <- result{position, err}
	}()
	watcher := connect(t, own)
	eventually(t, func() error { // the drain is polling
		if count(t, watcher, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_terminate_backend%' AND pid <> pg_backend_pid()") == 0 {
			return errors.New("the drain does not poll")
		}
		return nil
	})
	if sample(t, watcher).Lease.DrainedTerm != 0 {
		t.Fatal("drained_term is set while a transaction is under way")
	}
	var before, covered bool
	mustExec(t, slow, "COMMIT")
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	if err := watcher.QueryRow(ctx, "SELECT $1::pg_lsn <= pg_current_wal_insert_lsn(), drained_term = 2 FROM holdfast.write_lease", r.position).Scan(&before, &covered); err != nil || !before || !covered {
		t.Fatalf("position %s: %v %v %v", r.position, before, covered, err)
	}
	if n := count(t, watcher, "SELECT count(*) FROM ledger"); n != 1 {
		t.Fatalf("%d rows, want the one that ended in time", n)
	}
}

func testDrainContext(t *testing.T, dsn string) {
	conn, own := fenced(t, dsn)
	extend(t, conn, 2, time.Minute)
	slow := connect(t, own)
	mustExec(t, slow, "BEGIN; INSERT INTO ledger VALUES (1)")
	if err := fence.Seal(testContext(t), conn, 2); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, err := fence.DrainAfter(ctx, conn, 2, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	if sample(t, connect(t, own)).Lease.DrainedTerm != 0 {
		t.Fatal("a drain that did not end was recorded")
	}
}
