package fence_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"holdfast/internal/fence"
	"holdfast/internal/fence/fencetest"
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
	pgservertest.Run(t, in, server.Config)
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

// TestPromotedCopyHoldsNoLease: a real standby, promoted while the old server goes on under its lease.
func TestPromotedCopyHoldsNoLease(t *testing.T) {
	t.Parallel()
	server, dsn := pgservertest.Start(t, nil)
	conn := connect(t, dsn)
	_, copyDSN := pgservertest.Standby(t, server)
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
	wantError(t, fencetest.Extend(ctx, other, 1, time.Now().Add(time.Hour), 1), fence.ErrStandby)
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

// TestRestoredCopyHoldsNoLease: a backup of the running server, restored as a server of its own, holds the row with an end
// that is far away, while the original goes on under it.
func TestRestoredCopyHoldsNoLease(t *testing.T) {
	t.Parallel()
	server, dsn := pgservertest.Start(t, nil)
	conn := connect(t, dsn)
	install(t, conn)
	extend(t, conn, 1, time.Hour)
	ctx := testContext(t)
	if err := fence.RecordTerm(ctx, conn, 1, "primary"); err != nil {
		t.Fatal(err)
	}
	mustExec(t, conn, "INSERT INTO ledger VALUES (1)")
	_, copyDSN := pgservertest.Restored(t, server)
	other := connect(t, copyDSN)
	// The lineage is the original's, so nothing but the server tells the two apart.
	if s := sample(t, other); s.InRecovery || s.LeaseValid() || s.Lease.Term != 1 || len(s.Terms) != 1 || !s.Lease.ValidUntil.After(s.DatabaseTime) {
		t.Fatalf("after the restore: %+v", s)
	}
	if n := count(t, other, "SELECT count(*) FROM ledger"); n != 1 {
		t.Fatalf("the restored copy has %d rows of 1", n)
	}
	_, err := other.Exec(ctx, "INSERT INTO ledger VALUES (2)")
	wantRefused(t, err)
	mustExec(t, conn, "INSERT INTO ledger VALUES (2)") // the holder goes on
	// What was measured on the original does not extend the copy either.
	wantError(t, fence.ExtendOn(ctx, other, sample(t, conn).ServerStarted, 1, time.Now().Add(time.Hour), 2), fence.ErrServerChanged)
	_, err = other.Exec(ctx, "INSERT INTO ledger VALUES (3)")
	wantRefused(t, err)
}
