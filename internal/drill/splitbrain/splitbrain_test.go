package splitbrain

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"holdfast/internal/fence"
	"holdfast/internal/fence/fencetest"
	"holdfast/internal/payment/postgres"
	"holdfast/internal/pgserver"
	"holdfast/internal/pgserver/pgservertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// onePayment is what payd writes for an approved payment.
const onePayment = `
	INSERT INTO payd.payments (id, merchant, idempotency_key, charge_reference, amount, currency, payment_method, merchant_reference, status, decided_at)
		VALUES ('pay_1', 'm1', 'k1', 'ch_1', 500, 'USD', 'tok', 'o1', 'approved', now());
	INSERT INTO payd.accounts (id, kind, currency) VALUES ('a', 'acquirer_receivable', 'USD'), ('b', 'merchant_payable', 'USD');
	INSERT INTO payd.ledger_entries (payment_id, account, currency, amount) VALUES ('pay_1', 'a', 'USD', 500), ('pay_1', 'b', 'USD', -500)`

// serving starts a server with payd's own schema, a valid lease and one payment.
func serving(t *testing.T) (*pgserver.Server, string) {
	t.Helper()
	server, dsn := pgservertest.Start(t, nil)
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := postgres.Migrate(t.Context(), pool, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if err := fence.RecordTerm(t.Context(), pool, 1, "primary"); err != nil {
		t.Fatal(err)
	}
	if err := fencetest.Extend(t.Context(), pool, 1, time.Now().Add(time.Hour), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), onePayment); err != nil {
		t.Fatal(err)
	}
	return server, dsn
}

// attack attacks until every way was tried twice.
func attackUntilTried(t *testing.T, dsn string) Count {
	t.Helper()
	a := Start(t.Context(), dsn)
	deadline := time.Now().Add(60 * time.Second)
	for {
		c := a.Count()
		least := len(c.Ways)
		for _, n := range c.Ways {
			if n < 2 {
				least = 0
			}
		}
		if least == 2*len(ways)+1 || time.Now().After(deadline) {
			c = a.Stop()
			if least != 2*len(ways)+1 {
				t.Fatalf("not every way was tried twice: %+v", c)
			}
			return c
		}
		<-time.After(20 * time.Millisecond)
	}
}

func restart(t *testing.T, server *pgserver.Server, dsn string, before func(in pgserver.Installation)) {
	t.Helper()
	in, err := pgserver.Find()
	if err != nil {
		t.Fatal(err)
	}
	server.Kill()
	before(in)
	pgservertest.Run(t, in, server.Config)
}

// Without this, a refusal could mean that the statements are wrong.
func TestEveryWayCommitsUnderAValidLease(t *testing.T) {
	_, dsn := serving(t)
	c := attackUntilTried(t, dsn)
	if c.Accepted != c.Attempts || c.Accepted == 0 || c.Inconclusive != 0 {
		t.Errorf("%d of %d attempts were accepted, %d inconclusive: %v", c.Accepted, c.Attempts, c.Inconclusive, c.Samples)
	}
	if c.Answered.IsZero() || !c.ReadOnlySince.IsZero() {
		t.Errorf("answered at %v, read-only since %v", c.Answered, c.ReadOnlySince)
	}
}

func TestOldDatabaseThatComesBackRefusesEveryWay(t *testing.T) {
	server, dsn := serving(t)
	restart(t, server, dsn, func(pgserver.Installation) {})
	c := attackUntilTried(t, dsn)
	if c.Accepted != 0 || c.RefusedBy[Fenced] != c.Attempts || c.Attempts == 0 || c.Inconclusive != 0 {
		t.Errorf("%d of %d attempts were accepted, refusals %v, %d inconclusive: %v", c.Accepted, c.Attempts, c.RefusedBy, c.Inconclusive, c.Samples)
	}
}

func TestStandbyRefusesEveryWay(t *testing.T) {
	server, dsn := serving(t)
	restart(t, server, dsn, func(in pgserver.Installation) {
		if err := in.WriteFile(filepath.Join(server.DataDir, "standby.signal"), ""); err != nil {
			t.Fatal(err)
		}
	})
	c := attackUntilTried(t, dsn)
	if c.Accepted != 0 || c.RefusedBy[ReadOnly] != c.Attempts || c.Attempts == 0 || c.ReadOnlySince.IsZero() {
		t.Errorf("%d of %d attempts were accepted, refusals %v: %v", c.Accepted, c.Attempts, c.RefusedBy, c.Samples)
	}
}

func TestDatabaseThatIsDownIsNoAttempt(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	a := Start(ctx, "postgres://u:p@127.0.0.1:1/d?sslmode=disable")
	<-ctx.Done()
	if c := a.Stop(); c.Attempts != 0 || c.Inconclusive != 0 || !c.Answered.IsZero() {
		t.Errorf("a database that is down gave %+v", c)
	}
}
