package drill

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"holdfast/internal/drill/acquirer"
	"holdfast/internal/fence"
	"holdfast/internal/fence/fencetest"
	"holdfast/internal/payment/postgres"
	"holdfast/internal/pgserver"
	"holdfast/internal/pgserver/pgservertest"
)

const somePayments = `
	INSERT INTO payd.payments (id, merchant, idempotency_key, charge_reference, amount, currency, payment_method, merchant_reference, status, decided_at)
	VALUES ('booked', 'm1', 'k1', 'c1', 500, 'USD', 'tok', 'o1', 'approved', now()),
	       ('unbooked', 'm1', 'k2', 'c2', 500, 'USD', 'tok', 'o2', 'approved', now()),
	       ('declined', 'm1', 'k3', 'c3', 500, 'USD', 'tok', 'o3', 'declined', now()),
	       ('pending', 'm1', 'k4', 'c4', 500, 'USD', 'tok', 'o4', 'pending', NULL);
	INSERT INTO payd.accounts (id, kind, currency) VALUES ('a', 'acquirer_receivable', 'USD'), ('b', 'merchant_payable', 'USD');
	INSERT INTO payd.ledger_entries (payment_id, account, currency, amount) VALUES ('booked', 'a', 'USD', 500), ('booked', 'b', 'USD', -500)`

// misbooked have entries that cancel out, over another amount or in another currency than the payment's.
const misbooked = `
	INSERT INTO payd.payments (id, merchant, idempotency_key, charge_reference, amount, currency, payment_method, merchant_reference, status, decided_at)
	VALUES ('little', 'm1', 'k5', 'c5', 500, 'USD', 'tok', 'o5', 'approved', now()),
	       ('foreign', 'm1', 'k6', 'c6', 500, 'USD', 'tok', 'o6', 'approved', now());
	INSERT INTO payd.accounts (id, kind, currency) VALUES ('ea', 'acquirer_receivable', 'EUR'), ('eb', 'merchant_payable', 'EUR');
	INSERT INTO payd.ledger_entries (payment_id, account, currency, amount) VALUES ('little', 'a', 'USD', 1), ('little', 'b', 'USD', -1),
		('foreign', 'ea', 'EUR', 500), ('foreign', 'eb', 'EUR', -500)`

// paydServer is a server with payd's own schema and a lease.
func paydServer(t *testing.T) (*pgserver.Server, string, *pgxpool.Pool) {
	t.Helper()
	server, dsn := pgservertest.Start(t, map[string]string{"max_wal_senders": "10"})
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if err := postgres.Migrate(t.Context(), pool, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if err := fence.RecordTerm(t.Context(), pool, 1, "primary"); err != nil {
		t.Fatal(err)
	}
	if err := fencetest.Extend(t.Context(), pool, 1, time.Now().Add(time.Hour), 1); err != nil {
		t.Fatal(err)
	}
	return server, dsn, pool
}

func TestBooksReadPaydsLedger(t *testing.T) {
	_, dsn, pool := paydServer(t)
	b, err := postgresDatabases{}.books(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	if ledger, err := b.ledger(t.Context()); err != nil || ledger.Balanced {
		t.Errorf("an empty ledger = %+v, %v; it shows nothing", ledger, err)
	}
	if _, err := pool.Exec(t.Context(), somePayments); err != nil {
		t.Fatal(err)
	}
	kept, err := b.kept(t.Context(), []string{"booked", "unbooked", "declined", "pending", "absent"})
	if err != nil || fmt.Sprint(kept) != "map[booked:true]" {
		t.Errorf("kept = %v, %v; want the booked one alone", kept, err)
	}
	byKey, err := b.keptByKey(t.Context(), [][2]string{{"m1", "k1"}, {"m1", "k2"}, {"m1", "k4"}, {"m2", "k1"}})
	if err != nil || fmt.Sprint(byKey) != "map[[m1 k1]:true]" {
		t.Errorf("kept by key = %v, %v; want the booked one alone", byKey, err)
	}
	charge := func(reference string, amount int64) acquirer.Charge {
		return acquirer.Charge{Reference: reference, Request: acquirer.Request{Amount: amount, Currency: "USD"}}
	}
	booked, err := b.booked(t.Context(), []acquirer.Charge{charge("c1", 500), charge("c2", 500), charge("c9", 500)})
	if err != nil || fmt.Sprint(booked) != "map[c1:true]" {
		t.Errorf("booked = %v, %v; want the booked charge alone", booked, err)
	}
	if booked, err := b.booked(t.Context(), []acquirer.Charge{charge("c1", 501)}); err != nil || len(booked) > 0 {
		t.Errorf("booked = %v, %v; want no charge over another amount", booked, err)
	}
	if ledger, err := b.ledger(t.Context()); err != nil || !ledger.Balanced || ledger.Entries != 2 || ledger.Sums["USD"] != 0 {
		t.Errorf("ledger = %+v, %v; want balanced with 2 entries", ledger, err)
	}
	if n, err := b.undecided(t.Context()); err != nil || n != 1 {
		t.Errorf("undecided = %d, %v; want the pending one", n, err)
	}
	if _, err := pool.Exec(t.Context(), misbooked); err != nil {
		t.Fatal(err)
	}
	kept, err = b.kept(t.Context(), []string{"booked", "little", "foreign"})
	if err != nil || fmt.Sprint(kept) != "map[booked:true]" {
		t.Errorf("kept = %v, %v; want no payment whose entries book something else", kept, err)
	}
	byKey, err = b.keptByKey(t.Context(), [][2]string{{"m1", "k1"}, {"m1", "k5"}, {"m1", "k6"}})
	if err != nil || fmt.Sprint(byKey) != "map[[m1 k1]:true]" {
		t.Errorf("kept by key = %v, %v; want no payment whose entries book something else", byKey, err)
	}
	if booked, err := b.booked(t.Context(), []acquirer.Charge{charge("c1", 500), charge("c5", 500), charge("c6", 500)}); err != nil || fmt.Sprint(booked) != "map[c1:true]" {
		t.Errorf("booked = %v, %v; want no charge whose entries book something else", booked, err)
	}
	if n, err := b.planted(t.Context()); err != nil || n != 0 {
		t.Errorf("planted = %d, %v; want none", n, err)
	}
	if _, err := pool.Exec(t.Context(), `
		INSERT INTO payd.accounts (id, kind, currency) VALUES ('split-brain-1', 'merchant_payable', 'USD');
		INSERT INTO payd.payments (id, merchant, idempotency_key, charge_reference, amount, currency, payment_method, merchant_reference)
			VALUES ('thawed-2', 'thawed-3', 'k', 'c', 5, 'USD', 'tok', 'o')`); err != nil {
		t.Fatal(err)
	}
	if n, err := b.planted(t.Context()); err != nil || n != 2 {
		t.Errorf("planted = %d, %v; want one of each mark", n, err)
	}
	// Two payments out of balance that add up to zero together: only a look at each one shows it.
	if _, err := pool.Exec(t.Context(), `ALTER TABLE payd.ledger_entries DISABLE TRIGGER balanced;
		INSERT INTO payd.ledger_entries (payment_id, account, currency, amount) VALUES ('x', 'a', 'USD', 7), ('y', 'a', 'USD', -7)`); err != nil {
		t.Fatal(err)
	}
	if ledger, err := b.ledger(t.Context()); err != nil || ledger.Balanced || ledger.UnbalancedPayments != 2 {
		t.Errorf("ledger = %+v, %v; want 2 unbalanced payments", ledger, err)
	}
}

func TestStreamingWantsAStandbyThatReplays(t *testing.T) {
	server, dsn, pool := paydServer(t)
	in, err := pgserver.Find()
	if err != nil {
		t.Fatal(err)
	}
	dir := pgservertest.Dir(t, in)
	data := filepath.Join(dir, "data")
	source := fmt.Sprintf("host=%s port=%d user=postgres password=%s", server.Host, server.Port, pgservertest.Password)
	if err := in.Run(t.Context(), dir, "pg_basebackup", "-d", source, "-D", data, "-c", "fast", "-X", "stream", "--no-sync"); err != nil {
		t.Fatal(err)
	}
	if err := in.WriteFile(filepath.Join(data, "standby.signal"), ""); err != nil {
		t.Fatal(err)
	}
	config := pgserver.Config{
		DataDir: data, Host: "127.0.0.1", Port: pgservertest.FreePort(t), LogFile: filepath.Join(dir, "log"),
		Settings: map[string]string{"fsync": "off", "shared_buffers": "16MB"},
	}
	standbyDSN := fmt.Sprintf("postgres://postgres:%s@127.0.0.1:%d/postgres?sslmode=disable", pgservertest.Password, config.Port)
	check := func() (bool, string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return postgresDatabases{}.streaming(ctx, dsn, standbyDSN)
	}
	if ok, why, err := check(); ok || err == nil {
		t.Errorf("a standby that is down: %v, %s, %v", ok, why, err)
	}
	if ok, why, _ := (postgresDatabases{}).streaming(t.Context(), dsn, dsn); ok || !strings.Contains(why, "not a standby") {
		t.Errorf("the writer itself: %v, %s", ok, why)
	}
	start := func() *pgserver.Server { return pgservertest.Run(t, in, config) }
	alone := start()
	if ok, why, _ := check(); ok || !strings.Contains(why, "WAL receiver says none") {
		t.Errorf("a standby that follows nobody: %v, %s", ok, why)
	}
	alone.Kill()
	config.Settings["primary_conninfo"] = source
	start()
	if _, err := pool.Exec(t.Context(), somePayments); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err = poll(ctx, pollEvery, func(context.Context) (bool, string, error) { return check() })
	if err != nil {
		t.Error(err)
	}
	if _, err := (postgresDatabases{}).books(t.Context(), standbyDSN); err == nil {
		t.Error("a standby was taken for the surviving ledger")
	}
}
