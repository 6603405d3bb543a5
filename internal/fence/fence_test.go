package fence_test

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"holdfast/internal/fence"
	"holdfast/internal/fence/fencetest"
	"holdfast/internal/pgserver/pgservertest"
)

var databases atomic.Int64

// newDatabase makes a database on the server and returns its connection string.
func newDatabase(t testing.TB, dsn string) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", databases.Add(1))
	admin := connect(t, dsn)
	mustExec(t, admin, "CREATE DATABASE "+name)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(testContext(t), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	})
	return conn
}

func mustExec(t testing.TB, db fence.DB, sql string, args ...any) {
	t.Helper()
	if _, err := db.Exec(testContext(t), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func sample(t testing.TB, db fence.DB) fence.State {
	t.Helper()
	s, err := fence.Sample(testContext(t), db)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// extend gives a lease of the duration from the database's present.
func extend(t testing.TB, db fence.DB, s int64, d time.Duration) {
	t.Helper()
	if err := fencetest.Extend(testContext(t), db, number(s), sample(t, db).DatabaseTime.Add(d), 1); err != nil {
		t.Fatal(err)
	}
}

// install puts the fence and a protected table "ledger" into the database.
func install(t testing.TB, db fence.DB) {
	t.Helper()
	ctx := testContext(t)
	if err := fence.EnsureSchema(ctx, db); err != nil {
		t.Fatal(err)
	}
	mustExec(t, db, "CREATE TABLE ledger (id bigint PRIMARY KEY, amount bigint NOT NULL DEFAULT 0)")
	if err := fence.Protect(ctx, db, "ledger"); err != nil {
		t.Fatal(err)
	}
}

func fenced(t testing.TB, dsn string) (*pgx.Conn, string) {
	t.Helper()
	own := newDatabase(t, dsn)
	conn := connect(t, own)
	install(t, conn)
	return conn, own
}

func count(t testing.TB, db fence.DB, sql string) int {
	t.Helper()
	var n int
	if err := db.QueryRow(testContext(t), sql).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func wantRefused(t testing.TB, err error) *pgconn.PgError {
	t.Helper()
	var pgErr *pgconn.PgError
	if !fence.IsRefused(err) || !errors.As(err, &pgErr) {
		t.Fatalf("got %v, want a refusal with SQLSTATE %s", err, fence.Refused)
	}
	if pgErr.Hint == "" || pgErr.Detail == "" {
		t.Fatalf("the refusal has no hint or detail: %+v", pgErr)
	}
	return pgErr
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

// eventually polls until the condition holds, and fails with its last complaint.
func eventually(t testing.TB, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(40 * time.Second)
	var last error
	for time.Now().Before(deadline) {
		if last = condition(); last == nil {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Fatalf("did not come to pass: %v", last)
}

// TestFence runs what needs no server of its own on one server, each in its own database.
func TestFence(t *testing.T) {
	t.Parallel()
	_, dsn := pgservertest.Start(t, nil)
	for name, test := range map[string]func(*testing.T, string){
		"schema is idempotent and brings an older one up to date": testEnsureSchema,
		"sample without the schema":                               testSampleBare,
		"protect":                                                 testProtect,
		"the application owns nothing":                            testApplicationRole,
		"refused without, after and with a void lease":            testRefused,
		"every row is checked":                                    testEveryRow,
		"savepoints":                                              testSavepoints,
		"a hostile search path and hardened defaults":             testHostileRole,
		"tables of version 2":                                     testTablesOfVersion2,
		"partitions, truncate, replica role":                      testOtherWaysToWrite,
		"extend":                                                  testExtend,
		"extend by two wardens at once":                           testExtendConcurrently,
		"record term":                                             testRecordTerm,
		"record a term at once":                                   testRecordTermAtOnce,
		"remaining lease":                                         testRemaining,
		"the check follows the lease":                             testPublished,
		"times in sequences":                                      testMicroseconds,
		"a lease of version 3 goes on":                            testLeaseOfVersion3,
		"seal":                                                    testSeal,
		"drain refuses":                                           testDrainRefuses,
		"drain without privilege":                                 testDrainPrivilege,
		"attack: old snapshot":                                    testAttackSnapshot,
		"attack: imported snapshot":                               testAttackImportedSnapshot,
		"attack: past its check":                                  testAttackPastCheck,
		"attack: constraints immediate":                           testAttackImmediate,
		"drain spares the young":                                  testDrainSparesTheYoung,
		"drain lets the quick end":                                testDrainGrace,
		"drain ends with its context":                             testDrainContext,
		"pin":                                                     testPin,
		"pin: what came later voids it":                           testPinYields,
		"sample a schema of version 1":                            testSampleVersion1,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, dsn)
		})
	}
}

func testEnsureSchema(t *testing.T, dsn string) {
	ctx := testContext(t)
	conn := connect(t, newDatabase(t, dsn))
	// What an early version may have left: no drained_term, no renewal.
	mustExec(t, conn, `CREATE SCHEMA holdfast;
		CREATE TABLE holdfast.write_lease (singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton), term bigint NOT NULL DEFAULT 0,
			valid_until timestamptz NOT NULL DEFAULT 'epoch', server_started timestamptz NOT NULL DEFAULT 'epoch', sealed_term bigint NOT NULL DEFAULT 0);
		INSERT INTO holdfast.write_lease (term, sealed_term) VALUES (7, 6)`)
	if s := sample(t, conn); s.Installed {
		t.Fatalf("a schema without a version passes for installed: %+v", s)
	}
	for range 2 {
		if err := fence.EnsureSchema(ctx, conn); err != nil {
			t.Fatal(err)
		}
	}
	s := sample(t, conn)
	if s.Lease.Term != 7 || s.Lease.SealedTerm != 6 || s.SchemaVersion != fence.SchemaVersion || !s.Installed {
		t.Fatalf("after the upgrade: %+v", s)
	}
	// Many at once, on a fresh database.
	pool, err := pgxpool.New(ctx, newDatabase(t, dsn))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	errs := make(chan error)
	for range 8 {
		go func() { errs <- fence.EnsureSchema(ctx, pool) }()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func testSampleBare(t *testing.T, dsn string) {
	conn := connect(t, newDatabase(t, dsn))
	s := sample(t, conn)
	if s.Installed || s.InRecovery || s.ServerStarted.IsZero() || s.DatabaseTime.IsZero() || s.MaxPreparedTransactions != 0 || s.LeaseValid() {
		t.Fatalf("got %+v", s)
	}
	ctx := testContext(t)
	wantError(t, fencetest.Extend(ctx, conn, 1, time.Now(), 1), fence.ErrNotInstalled)
	wantError(t, fence.Seal(ctx, conn, 1), fence.ErrNotInstalled)
	wantError(t, fence.RecordTerm(ctx, conn, 1, "primary"), fence.ErrNotInstalled)
	wantError(t, fence.Protect(ctx, conn, "pg_class"), fence.ErrNotInstalled)
	_, err := fence.Drain(ctx, conn, 1)
	wantError(t, err, fence.ErrNotInstalled)
}

func testProtect(t *testing.T, dsn string) {
	ctx := testContext(t)
	conn, own := fenced(t, dsn)
	mustExec(t, conn, `CREATE SCHEMA "Odd.Name"; CREATE TABLE "Odd.Name"."or;der" (id int)`)
	for range 2 {
		if err := fence.Protect(ctx, conn, `"Odd.Name"."or;der"`, "public.ledger"); err != nil {
			t.Fatal(err)
		}
	}
	tables, err := fence.Protected(ctx, conn)
	if err != nil || strings.Join(tables, " ") != "Odd.Name.or;der public.ledger" {
		t.Fatalf("protected: %v, %v", tables, err)
	}
	if n := count(t, conn, "SELECT count(*) FROM holdfast.protected_tables WHERE always"); n != 2 {
		t.Fatalf("%d of 2 triggers are ENABLE ALWAYS", n)
	}
	// Many processes start at once.
	pool, err := pgxpool.New(ctx, own)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	mustExec(t, conn, "CREATE TABLE contended (id int)")
	errs := make(chan error)
	for range 8 {
		go func() { errs <- fence.Protect(ctx, pool, "contended") }()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	mustExec(t, conn, "DROP TABLE contended")
	// A trigger that someone switched off is switched on again.
	mustExec(t, conn, "ALTER TABLE ledger DISABLE TRIGGER ALL")
	if err := fence.Protect(ctx, conn, "ledger"); err != nil {
		t.Fatal(err)
	}
	if n := count(t, conn, "SELECT count(*) FROM holdfast.protected_tables WHERE always"); n != 2 {
		t.Fatalf("after a DISABLE, %d of 2 triggers are ENABLE ALWAYS", n)
	}
	if err := fence.Protect(ctx, conn, "no_such_table"); err == nil || errors.Is(err, fence.ErrNotInstalled) {
		t.Fatalf("a missing table: got %v", err)
	}
	if err := fence.Protect(ctx, conn); err == nil {
		t.Fatal("no table at all: no error")
	}
}

func testApplicationRole(t *testing.T, dsn string) {
	conn, own := fenced(t, dsn)
	role := fmt.Sprintf("app_%d", databases.Add(1))
	mustExec(t, conn, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 'app'; GRANT INSERT, SELECT ON ledger TO %s", role, role))
	u, err := url.Parse(own)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "app")
	app := connect(t, u.String())
	// A search path of the role's own must not change what the functions mean.
	mustExec(t, app, "CREATE TEMP TABLE write_lease (term bigint); SET search_path = pg_temp, public")
	_, err = app.Exec(testContext(t), "INSERT INTO public.ledger VALUES (1)")
	wantRefused(t, err)
	extend(t, conn, 1, time.Minute)
	mustExec(t, app, "INSERT INTO public.ledger VALUES (1)")
	if ms := count(t, app, "SELECT holdfast.remaining_lease_ms()"); ms < 50_000 {
		t.Fatalf("remaining lease: %d ms", ms)
	}
	if _, err := app.Exec(testContext(t), "UPDATE holdfast.write_lease SET valid_until = 'infinity'"); err == nil {
		t.Fatal("the application's role may change the lease")
	}
	wantError(t, fencetest.Extend(testContext(t), app, 1, time.Now(), 1), fence.ErrPrivilege)
}

func testRefused(t *testing.T, dsn string) {
	conn, _ := fenced(t, dsn)
	ctx := testContext(t)
	_, err := conn.Exec(ctx, "INSERT INTO ledger VALUES (1)")
	if d := wantRefused(t, err).Detail; !strings.Contains(d, "no site has been given") {
		t.Error(d)
	}
	extend(t, conn, 3, time.Minute)
	mustExec(t, conn, "INSERT INTO ledger VALUES (1)")
	// Ended: a transaction that began under the lease is refused as well.
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, tx, "INSERT INTO ledger VALUES (2)")
	mustExec(t, tx, "UPDATE holdfast.write_lease SET valid_until = clock_timestamp()")
	if d := wantRefused(t, tx.Commit(ctx)).Detail; !strings.Contains(d, "the lease of term 3 ended") {
		t.Error(d)
	}
	mustExec(t, conn, "UPDATE holdfast.write_lease SET valid_until = 'infinity', server_started = server_started - interval '1 microsecond'")
	_, err = conn.Exec(ctx, "UPDATE ledger SET amount = 1")
	if d := wantRefused(t, err).Detail; !strings.Contains(d, "another server") {
		t.Error(d)
	}
	_, err = conn.Exec(ctx, "DELETE FROM ledger")
	wantRefused(t, err)
	mustExec(t, conn, "DELETE FROM holdfast.write_lease")
	_, err = conn.Exec(ctx, "INSERT INTO ledger VALUES (3)")
	wantRefused(t, err)
	if n := count(t, conn, "SELECT count(*) FROM ledger WHERE amount = 0"); n != 1 {
		t.Fatalf("%d rows, want 1", n)
	}
}

// countChecks replaces the check by one that counts its runs on the server.
func countChecks(t *testing.T, conn *pgx.Conn) {
	mustExec(t, conn, `CREATE SEQUENCE checks;
		CREATE OR REPLACE FUNCTION holdfast.check_commit() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN PERFORM nextval('public.checks'); RETURN NULL; END $$;
		CREATE TABLE other (id int)`)
	if err := fence.Protect(testContext(t), conn, "other"); err != nil {
		t.Fatal(err)
	}
}

func testEveryRow(t *testing.T, dsn string) {
	conn, _ := fenced(t, dsn)
	countChecks(t, conn)
	const writes = "INSERT INTO ledger SELECT generate_series(1, 10); UPDATE ledger SET amount = 1; INSERT INTO other VALUES (1); DELETE FROM ledger"
	for sql, want := range map[string]int{
		"SELECT 1": 0,
		"UPDATE ledger SET amount = 1 WHERE 1 = 0": 0,
		writes: 31,
		"SET CONSTRAINTS ALL IMMEDIATE; " + writes: 31,
		"INSERT INTO other VALUES (1); SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED; INSERT INTO other VALUES (1)": 2,
		"INSERT INTO other VALUES (1); SAVEPOINT a; INSERT INTO other VALUES (2); ROLLBACK TO a; INSERT INTO other VALUES (3)":    2,
	} {
		mustExec(t, conn, "SELECT setval('checks', 1, false)")
		mustExec(t, conn, "BEGIN; "+sql+"; COMMIT")
		if n := count(t, conn, "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM checks"); n != want {
			t.Errorf("%s: %d checks, want %d", sql, n, want)
		}
	}
}

func testSavepoints(t *testing.T, dsn string) {
	conn, _ := fenced(t, dsn)
	ctx := testContext(t)
	for name, sql := range map[string]string{
		"first write rolled back":   "BEGIN; SAVEPOINT a; INSERT INTO ledger VALUES (1); ROLLBACK TO a; INSERT INTO ledger VALUES (2); COMMIT",
		"first write in savepoint":  "BEGIN; SAVEPOINT a; INSERT INTO ledger VALUES (1); RELEASE a; COMMIT",
		"exception block":           "DO $$ BEGIN BEGIN INSERT INTO ledger VALUES (1); RAISE 'x'; EXCEPTION WHEN OTHERS THEN NULL; END; INSERT INTO ledger VALUES (2); END $$",
		"nested, outer rolled back": "BEGIN; SAVEPOINT a; SAVEPOINT b; INSERT INTO ledger VALUES (1); RELEASE b; ROLLBACK TO a; INSERT INTO ledger VALUES (2); COMMIT",
		"reset":                     "BEGIN; INSERT INTO ledger VALUES (1); RESET ALL; INSERT INTO ledger VALUES (2); COMMIT",
	} {
		_, err := conn.Exec(ctx, sql)
		if !fence.IsRefused(err) {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
		mustExec(t, conn, "ROLLBACK")
	}
	if n := count(t, conn, "SELECT count(*) FROM ledger"); n != 0 {
		t.Fatalf("%d rows got past the fence", n)
	}
}

// testHostileRole: the check runs with the search path and the rights of whoever commits. Operators, functions and tables
// of theirs, found before PostgreSQL's own, must not pass for them; and what PUBLIC is given by default may be less.
func testHostileRole(t *testing.T, dsn string) {
	own := newDatabase(t, dsn)
	conn := connect(t, own)
	mustExec(t, conn, "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
	install(t, conn)
	role := fmt.Sprintf("hostile_%d", databases.Add(1))
	mustExec(t, conn, fmt.Sprintf("CREATE ROLE %[1]s LOGIN PASSWORD 'app'; GRANT INSERT ON ledger TO %[1]s; CREATE SCHEMA evil AUTHORIZATION %[1]s", role))
	u, err := url.Parse(own)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "app")
	app := connect(t, u.String())
	mustExec(t, app, `
		CREATE FUNCTION evil.yes(timestamptz, timestamptz) RETURNS boolean LANGUAGE sql AS 'SELECT true';
		CREATE FUNCTION evil.yes(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT true';
		CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT ''-infinity''::timestamptz';
		CREATE FUNCTION evil.pg_postmaster_start_time() RETURNS timestamptz LANGUAGE sql AS 'SELECT ''epoch''::timestamptz';
		CREATE FUNCTION evil.refuse_commit() RETURNS void LANGUAGE sql AS '';
		CREATE OPERATOR evil.> (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = evil.yes);
		CREATE OPERATOR evil.= (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = evil.yes);
		CREATE OPERATOR evil.> (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.yes);
		CREATE TEMP TABLE write_lease AS SELECT 1::bigint AS term, 'infinity'::timestamptz AS valid_until,
			pg_postmaster_start_time() AS server_started, 0::bigint AS sealed_term;
		SET search_path = evil, pg_temp, pg_catalog`)
	if n := count(t, app, "SELECT count(*) FROM pg_catalog.pg_class WHERE relkind = 'r' AND relpages > 1000000 OR 1::bigint > 2::bigint"); n == 0 {
		t.Fatal("the hostile operators are not in force: the test proves nothing")
	}
	_, err = app.Exec(testContext(t), "INSERT INTO public.ledger VALUES (1)")
	wantRefused(t, err)
	if ms := count(t, app, "SELECT holdfast.remaining_lease_ms()"); ms != 0 {
		t.Fatalf("remaining lease: %d ms", ms)
	}
	extend(t, conn, 1, time.Minute)
	mustExec(t, app, "INSERT INTO public.ledger VALUES (1)")
	if err := fence.Seal(testContext(t), conn, 1); err != nil {
		t.Fatal(err)
	}
	_, err = app.Exec(testContext(t), "INSERT INTO public.ledger VALUES (2)")
	wantRefused(t, err)
}

//go:embed testdata/schema_v2.sql
var schemaV2SQL string

//go:embed testdata/schema_v3.sql
var schemaV3SQL string

// testLeaseOfVersion3: the schema is brought up to date under a lease that runs, and no commit is refused for that.
func testLeaseOfVersion3(t *testing.T, dsn string) {
	ctx := testContext(t)
	conn := connect(t, newDatabase(t, dsn))
	mustExec(t, conn, schemaV3SQL)
	mustExec(t, conn, "CREATE TABLE ledger (id bigint); SELECT holdfast.protect('ledger')")
	extend(t, conn, 1, time.Minute)
	mustExec(t, conn, "INSERT INTO ledger VALUES (1)")
	if err := fence.EnsureSchema(ctx, conn); err != nil {
		t.Fatal(err)
	}
	mustExec(t, conn, "INSERT INTO ledger VALUES (2)")
	if n := count(t, conn, "SELECT count(*) FROM holdfast.protected_tables WHERE always AND up_to_date"); n != 1 {
		t.Fatal("the table's triggers have to be replaced")
	}
	if err := fence.Seal(ctx, conn, 1); err != nil {
		t.Fatal(err)
	}
	_, err := conn.Exec(ctx, "INSERT INTO ledger VALUES (3)")
	wantRefused(t, err)
}

// testTablesOfVersion2: the triggers of a version 2, whose check ran once for a transaction that a setting marked, refuse
// as before under a later schema, until Protect replaces them.
func testTablesOfVersion2(t *testing.T, dsn string) {
	ctx := testContext(t)
	conn := connect(t, newDatabase(t, dsn))
	mustExec(t, conn, schemaV2SQL)
	mustExec(t, conn, `CREATE TABLE ledger (id bigint); CREATE TABLE parted (id int) PARTITION BY RANGE (id);
		CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10); CREATE TABLE fresh (id bigint);
		SELECT holdfast.protect('ledger'), holdfast.protect('parted')`)
	if err := fence.EnsureSchema(ctx, conn); err != nil {
		t.Fatal(err)
	}
	if err := fence.Protect(ctx, conn, "fresh"); err != nil {
		t.Fatal(err)
	}
	outdated := func(want int) {
		t.Helper()
		if n := count(t, conn, "SELECT count(*) FROM holdfast.protected_tables WHERE always AND NOT up_to_date"); n != want {
			t.Fatalf("%d tables carry the old triggers, want %d", n, want)
		}
		if n := count(t, conn, "SELECT count(*) FROM holdfast.protected_tables WHERE always"); n != 4 {
			t.Fatalf("%d tables are protected", n)
		}
		extend(t, conn, 1, time.Minute)
		mustExec(t, conn, "INSERT INTO ledger VALUES (1); INSERT INTO parted VALUES (1); INSERT INTO fresh VALUES (1)")
		mustExec(t, conn, "UPDATE holdfast.write_lease SET valid_until = clock_timestamp()")
		for _, sql := range []string{
			"INSERT INTO ledger VALUES (2)", "INSERT INTO fresh VALUES (2)", "INSERT INTO parted_1 VALUES (2)", "TRUNCATE ledger",
			"BEGIN; SAVEPOINT a; INSERT INTO ledger VALUES (2); ROLLBACK TO a; INSERT INTO fresh VALUES (2); COMMIT",
			"BEGIN; SAVEPOINT a; INSERT INTO fresh VALUES (2); ROLLBACK TO a; INSERT INTO ledger VALUES (2); COMMIT",
		} {
			_, err := conn.Exec(ctx, sql)
			if !fence.IsRefused(err) {
				t.Errorf("%s: got %v, want a refusal", sql, err)
			}
			mustExec(t, conn, "ROLLBACK")
		}
	}
	outdated(3)
	for range 2 {
		if err := fence.Protect(ctx, conn, "ledger", "parted"); err != nil {
			t.Fatal(err)
		}
		outdated(0)
	}
	if n := count(t, conn, "SELECT count(*) FROM pg_trigger WHERE tgfoid = 'holdfast.check_write_lease'::regproc"); n != 0 {
		t.Fatalf("%d old triggers are left", n)
	}
}

func testOtherWaysToWrite(t *testing.T, dsn string) {
	conn, _ := fenced(t, dsn)
	ctx := testContext(t)
	mustExec(t, conn, "CREATE TABLE parted (id int) PARTITION BY RANGE (id); CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10)")
	if err := fence.Protect(ctx, conn, "parted"); err != nil {
		t.Fatal(err)
	}
	mustExec(t, conn, "CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20)")
	for _, sql := range []string{
		"INSERT INTO parted VALUES (1)", "INSERT INTO parted_1 VALUES (1)", "INSERT INTO parted VALUES (11)", "INSERT INTO parted_2 VALUES (11)",
		"TRUNCATE ledger", "TRUNCATE parted",
		"INSERT INTO ledger VALUES (1) ON CONFLICT (id) DO UPDATE SET amount = 2",
		"MERGE INTO ledger USING (VALUES (1)) AS v (id) ON ledger.id = v.id WHEN NOT MATCHED THEN INSERT VALUES (v.id)",
		"CREATE TABLE copy_source AS SELECT 1 AS id; WITH w AS (INSERT INTO ledger SELECT id FROM copy_source RETURNING 1) SELECT count(*) FROM w",
		"BEGIN; SET LOCAL session_replication_role = replica; INSERT INTO ledger VALUES (1); COMMIT",
		"BEGIN; SET LOCAL session_replication_role = replica; INSERT INTO parted_2 VALUES (11); COMMIT",
		"SET CONSTRAINTS ALL IMMEDIATE; INSERT INTO ledger VALUES (1)",
		"BEGIN; SET CONSTRAINTS ALL IMMEDIATE; INSERT INTO ledger VALUES (1)",
		"BEGIN; INSERT INTO ledger VALUES (1); SET CONSTRAINTS ALL IMMEDIATE",
		"BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO ledger VALUES (1); COMMIT",
		"DO $$ BEGIN INSERT INTO ledger VALUES (1); COMMIT; END $$",
	} {
		if _, err := conn.Exec(ctx, sql); !fence.IsRefused(err) {
			t.Errorf("%s: got %v, want a refusal", sql, err)
		}
		mustExec(t, conn, "ROLLBACK")
	}
	_, err := conn.CopyFrom(ctx, pgx.Identifier{"ledger"}, []string{"id"}, pgx.CopyFromRows([][]any{{int64(1)}, {int64(2)}}))
	wantRefused(t, err)
}
