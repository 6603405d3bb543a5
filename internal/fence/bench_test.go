package fence_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/fence"
	"holdfast/internal/pgserver/pgservertest"
)

// variants are ways to check at commit that were weighed against each other; ADRs 0016 and 0019 say which one won, and why.
var variants = []struct{ name, schema, sql string }{
	{"none", "", ""},
	{"fence", "", "SELECT holdfast.protect('ledger'), holdfast.protect('other')"},
	// Version 2: a WHEN clause that is true for the transaction's first row only.
	{"marked-transaction", schemaV2SQL, "SELECT holdfast.protect('ledger'), holdfast.protect('other')"},
	// Version 3: a query of the lease's row.
	{"version-3", schemaV3SQL, "SELECT holdfast.protect('ledger'), holdfast.protect('other')"},
	// What remains if nothing is checked.
	{"empty", "", "CREATE OR REPLACE FUNCTION holdfast.check_commit() RETURNS trigger LANGUAGE plpgsql VOLATILE AS $$ BEGIN RETURN NULL; END $$; SELECT holdfast.protect('ledger'), holdfast.protect('other')"},
	// One deferred row on a helper table for each statement.
	{"helper-row", "", `
		CREATE UNLOGGED TABLE queued (id int);
		CREATE FUNCTION queue() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO queued VALUES (1); RETURN NULL; END $$;
		CREATE TRIGGER q AFTER INSERT OR UPDATE OR DELETE ON ledger FOR EACH STATEMENT EXECUTE FUNCTION queue();
		CREATE TRIGGER q AFTER INSERT OR UPDATE OR DELETE ON other FOR EACH STATEMENT EXECUTE FUNCTION queue();
		CREATE CONSTRAINT TRIGGER c AFTER INSERT ON queued DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION holdfast.check_commit()`},
}

func benchmark(b *testing.B, run func(b *testing.B, conn *pgx.Conn)) {
	_, dsn := pgservertest.Start(b, nil)
	for _, v := range variants {
		b.Run(v.name, func(b *testing.B) {
			conn := connect(b, newDatabase(b, dsn))
			if v.schema != "" {
				mustExec(b, conn, v.schema)
			} else if err := fence.EnsureSchema(testContext(b), conn); err != nil {
				b.Fatal(err)
			}
			mustExec(b, conn, "CREATE TABLE ledger (id bigint GENERATED ALWAYS AS IDENTITY, amount bigint); CREATE TABLE other (id bigint)")
			if v.sql != "" {
				mustExec(b, conn, v.sql)
			}
			extend(b, conn, 1, time.Hour)
			before := backendCPU(b, conn)
			b.ResetTimer()
			run(b, conn)
			b.StopTimer()
			b.ReportMetric(float64(backendCPU(b, conn)-before)/float64(b.N), "backend-cpu-ns/op")
		})
	}
}

// backendCPU is the processor time that the server's process for this connection has used, in nanoseconds. Unlike the
// time on the clock it says something on a busy machine too.
func backendCPU(b *testing.B, conn *pgx.Conn) int64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", conn.PgConn().PID()))
	if err != nil {
		b.Skip(err) // a kernel without it
	}
	var ns int64
	if _, err := fmt.Sscan(string(text), &ns); err != nil {
		b.Fatal(err)
	}
	return ns
}

// BenchmarkCommit is a payment-like transaction: three statements, five rows, one round trip. fsync is off, so the
// difference is the check's own cost.
func BenchmarkCommit(b *testing.B) {
	benchmark(b, func(b *testing.B, conn *pgx.Conn) {
		ctx := b.Context()
		for b.Loop() {
			batch := &pgx.Batch{}
			batch.Queue("BEGIN")
			batch.Queue("INSERT INTO other VALUES (1), (2)")
			batch.Queue("INSERT INTO ledger (amount) VALUES (1), (-1)")
			batch.Queue("INSERT INTO other VALUES (3)")
			batch.Queue("COMMIT")
			if err := conn.SendBatch(ctx, batch).Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkManyRows is one transaction of 10,000 rows.
func BenchmarkManyRows(b *testing.B) {
	benchmark(b, func(b *testing.B, conn *pgx.Conn) {
		ctx := b.Context()
		for b.Loop() {
			if _, err := conn.Exec(ctx, "INSERT INTO ledger (amount) SELECT generate_series(1, 10000)"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
