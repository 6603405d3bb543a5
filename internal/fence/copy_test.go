package fence_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"holdfast/internal/fence"
	"holdfast/internal/pgserver"
	"holdfast/internal/pgserver/pgservertest"
)

// TestRestartVoidsTheLease: a server that restarts comes up with the old row, which must not count.
func TestRestartVoidsTheLease(t *testing.T) {
	t.Parallel()
	server, dsn := pgservertest.Start(t, nil)
	conn := connect(t, dsn)
	install(t, conn)
	extend(t, conn, 1, time.Hour)
	mustExec(t, conn, "INSERT INTO ledger VALUES (1)")
	server.Kill()
	in, err := pgserver.Find()
	if err != nil {
		t.Fatal(err)
	}
	again, err := in.Start(server.Config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Kill)
	pgservertest.WaitQueryable(t, dsn)
	conn = connect(t, dsn)
	s := sample(t, conn)
	if s.Lease.Term != 1 || s.LeaseValid() {
		t.Fatalf("after a restart: %+v", s)
	}
	_, err = conn.Exec(testContext(t), "INSERT INTO ledger VALUES (2)")
	wantRefused(t, err)
	extend(t, conn, 1, time.Minute)
	mustExec(t, conn, "INSERT INTO ledger VALUES (2)")
}

// standby makes a streaming copy of the server and returns its connection string.
func standby(t *testing.T, primary *pgserver.Server) string {
	t.Helper()
	in, err := pgserver.Find()
	if err != nil {
		t.Fatal(err)
	}
	dir := pgservertest.Dir(t, in)
	data := filepath.Join(dir, "data")
	if err := in.MakeDir(data); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	source := fmt.Sprintf("host=%s port=%d user=postgres password=%s", primary.Host, primary.Port, pgservertest.Password)
	if err := in.Run(ctx, dir, "pg_basebackup", "-D", data, "-d", source, "-c", "fast", "-X", "stream", "-R", "--no-sync"); err != nil {
		t.Fatal(err)
	}
	copied, err := in.Start(pgserver.Config{
		DataDir: data, Host: "127.0.0.1", Port: pgservertest.FreePort(t),
		Settings: map[string]string{"fsync": "off", "shared_buffers": "16MB"}, LogFile: filepath.Join(dir, "log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(copied.Kill)
	dsn := fmt.Sprintf("postgres://postgres:%s@%s:%d/postgres?sslmode=disable", pgservertest.Password, copied.Host, copied.Port)
	pgservertest.WaitQueryable(t, dsn)
	return dsn
}

// TestPromotedCopyHoldsNoLease: a real standby, promoted while the old server goes on under its lease.
func TestPromotedCopyHoldsNoLease(t *testing.T) {
	t.Parallel()
	server, dsn := pgservertest.Start(t, nil)
	conn := connect(t, dsn)
	copyDSN := standby(t, server)
	other := connect(t, copyDSN)

	// Without the schema.
	if s := sample(t, other); !s.InRecovery || s.Installed {
		t.Fatalf("a standby without the schema: %+v", s)
	}
	wantError(t, fence.EnsureSchema(testContext(t), other), fence.ErrStandby)
	install(t, conn)
	extend(t, conn, 1, time.Hour)
	if err := fence.RecordTerm(testContext(t), conn, 1, "primary"); err != nil {
		t.Fatal(err)
	}
	mustExec(t, conn, "INSERT INTO ledger VALUES (1)")
	eventually(t, func() error {
		if s := sample(t, other); len(s.Terms) != 1 || s.Lease.Term != 1 || s.Position == "" || s.LeaseValid() {
			return fmt.Errorf("the standby shows %+v", s)
		}
		if count(t, other, "SELECT count(*) FROM ledger") != 1 {
			return errors.New("the row has not come")
		}
		return nil
	})
	ctx := testContext(t)
	wantError(t, fence.EnsureSchema(ctx, other), fence.ErrStandby)
	wantError(t, fence.Extend(ctx, other, 1, time.Now().Add(time.Hour), 1), fence.ErrStandby)
	wantError(t, fence.Seal(ctx, other, 1), fence.ErrStandby)
	wantError(t, fence.RecordTerm(ctx, other, 2, "dr"), fence.ErrStandby)
	_, err := fence.Drain(ctx, other, 1)
	wantError(t, err, fence.ErrStandby)

	mustExec(t, other, "SELECT pg_promote()")
	if s := sample(t, other); s.InRecovery || s.LeaseValid() || s.Lease.Term != 1 {
		t.Fatalf("after the promotion: %+v", s)
	}
	_, err = other.Exec(ctx, "INSERT INTO ledger VALUES (2)")
	wantRefused(t, err)
	mustExec(t, conn, "INSERT INTO ledger VALUES (2)") // the holder goes on
	extend(t, other, 2, time.Minute)
	mustExec(t, other, "INSERT INTO ledger VALUES (3)")
}
