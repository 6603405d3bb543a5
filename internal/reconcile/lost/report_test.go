package lost

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"holdfast/internal/drill/acquirer"
	"holdfast/internal/fence"
	"holdfast/internal/fence/fencetest"
	payd "holdfast/internal/payment/postgres"
	"holdfast/internal/pgserver/pgservertest"
	"holdfast/internal/reconcile"
	"holdfast/internal/term"
)

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func run(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func serve(t *testing.T, conn *pgx.Conn, n term.Number, site string) {
	t.Helper()
	if err := fence.RecordTerm(t.Context(), conn, n, site); err != nil {
		t.Fatal(err)
	}
	if err := fencetest.Extend(t.Context(), conn, n, time.Now().Add(time.Hour), 1); err != nil {
		t.Fatal(err)
	}
}

// pay writes a payment as payd does, with its bookings if it is approved.
func pay(t *testing.T, conn *pgx.Conn, name string, amount int64, status string) {
	t.Helper()
	run(t, conn, `INSERT INTO payd.payments (id, merchant, idempotency_key, charge_reference, amount, currency, payment_method,
			merchant_reference, status, decided_at)
		VALUES ('pay_' || $1, 'shop', $1, 'ch_' || $1, $2, 'EUR', 'tok', 'order-' || $1, $3, CASE WHEN $3 <> 'pending' THEN now() END)`, name, amount, status)
	if status == Approved {
		run(t, conn, `INSERT INTO payd.ledger_entries (payment_id, account, currency, amount)
			VALUES ('pay_' || $1, 'acquirer:EUR', 'EUR', $2), ('pay_' || $1, 'merchant:shop:EUR', 'EUR', -$2)`, name, amount)
	}
}

// startSites returns the old database, with a payment that both have, and the one that has taken over.
func startSites(t *testing.T) (old, survivor *pgx.Conn) {
	t.Helper()
	server, dsn := pgservertest.Start(t, map[string]string{"wal_level": "replica", "max_wal_senders": "10"})
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := payd.Migrate(t.Context(), pool, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	old = connect(t, dsn)
	serve(t, old, 1, "primary")
	run(t, old, `INSERT INTO payd.accounts (id, kind, merchant, currency)
		VALUES ('acquirer:EUR', 'acquirer_receivable', '', 'EUR'), ('merchant:shop:EUR', 'merchant_payable', 'shop', 'EUR')`)
	pay(t, old, "kept", 1, Approved)
	_, copied := pgservertest.Standby(t, server)
	survivor = connect(t, copied)
	run(t, survivor, "SELECT pg_promote()")
	serve(t, survivor, 2, "dr")
	return old, survivor
}

// TestEveryLostPaymentIsAccountedFor is a takeover with a tail in PostgreSQL, beside an acquirer that was asked.
func TestEveryLostPaymentIsAccountedFor(t *testing.T) {
	old, survivor := startSites(t)
	bank := httptest.NewServer(acquirer.New(acquirer.Options{Seed: 1}))
	defer bank.Close()
	for _, p := range []struct {
		name, old, survivor string
		// charged is the amount at the acquirer, 0 if it was never asked; every payment is of 100.
		charged int64
	}{
		{"told", Approved, "", 100},
		{"underway", pending, "", 100},
		{"begun", pending, "", 0},
		{"retried", Approved, Approved, 100},
		{"again", pending, pending, 100},
		{"other", Approved, "", 101},
		{"nobodys", "", "", 100},
		{"new", "", Approved, 100},
	} {
		if p.old != "" {
			pay(t, old, p.name, 100, p.old)
		}
		if p.charged > 0 {
			charge(t, bank, "ch_"+p.name, p.charged)
		}
		if p.survivor != "" {
			pay(t, survivor, p.name, 100, p.survivor)
		}
	}
	s, err := reconcile.ExportTail(t.Context(), reconcile.Options{Old: old, Survivor: survivor, Dir: t.TempDir(), Source: reconcile.KeptSnapshot})
	if err != nil {
		t.Fatal(err)
	}
	_, lines, err := reconcile.Load(s.Folder)
	if err != nil {
		t.Fatal(err)
	}
	exports := []Export{{s, lines}}
	asked, err := Fetch(t.Context(), bank.Client(), bank.URL, s.Boundary.From.Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	r := report(t, survivor, exports, asked)
	want := map[string]Action{
		"ch_told": DoBook, "ch_underway": DoSendAgain, "ch_begun": DoSendAgain, "ch_retried": DoNothing, "ch_again": DoWait,
		"ch_other": DoLook, "ch_nobodys": DoVoid,
	}
	for _, p := range r.Payments {
		if p.Action != want[p.Reference] {
			t.Errorf("%s: %s (%s), want %s", p.Reference, p.Action, p.Why, want[p.Reference])
		}
		delete(want, p.Reference)
	}
	if len(want) > 0 {
		t.Errorf("not in the report: %v", want)
	}
	if told := r.Payments[slices.IndexFunc(r.Payments, func(p Payment) bool { return p.Reference == "ch_told" })]; told.PaymentID != "pay_told" ||
		told.IdempotencyKey != "told" || told.Merchant != "shop" || !slices.Equal(told.SeenIn, []string{reconcile.KeptSnapshot, SeenAtAcquirer}) {
		t.Errorf("%+v", told)
	}
	if got := r.Totals["EUR"][DoSendAgain]; got != (Total{Payments: 2, Amount: 200}) {
		t.Errorf("to be sent again: %+v", got)
	}
	// The lease was to run for an hour, so the acquirer can't know yet what the old site charged under it.
	open := []reconcile.Span{{From: asked.Window.Until, Until: s.Boundary.Until.Add(time.Minute)}}
	if r.Complete || len(r.Gaps) != 1 || !slices.Equal(r.Gaps[0].Uncovered, open) {
		t.Errorf("complete %v, gaps %+v, want %v uncovered", r.Complete, r.Gaps, open)
	}
	rest := List{Window: reconcile.Span{From: asked.Window.Until, Until: s.Boundary.Until.Add(time.Hour)}}
	if r := report(t, survivor, exports, asked, rest); !r.Complete {
		t.Errorf("with the rest of the time: %v", r.IncompleteBecause)
	}
}

func report(t *testing.T, survivor *pgx.Conn, exports []Export, lists ...List) Report {
	t.Helper()
	references, err := References(exports, lists)
	if err != nil {
		t.Fatal(err)
	}
	book, err := ReadBook(t.Context(), survivor, references)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewReport(exports, lists, book, time.Minute, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Payments {
		if !strings.Contains(text.String(), p.Reference) || !strings.Contains(text.String(), p.Why) {
			t.Errorf("the text lacks %s:\n%s", p.Reference, text.String())
		}
	}
	return r
}

// TestReportOfAForeignApplication: without payd's tables the report has the rows, and is never complete by itself.
func TestReportOfAForeignApplication(t *testing.T) {
	line := func(id int) reconcile.Line {
		return reconcile.Line{
			Table: "public.notes", Kind: reconcile.Missing,
			Key: fmt.Appendf(nil, `{"id": %d}`, id), Old: fmt.Appendf(nil, `{"id": %d, "body": "x"}`, id),
		}
	}
	exports := []Export{
		{reconcile.Summary{Site: "primary", Term: 1}, reconcile.Sighting{Source: reconcile.OldVolume, Lines: []reconcile.Line{line(1), line(2)}}},
		{reconcile.Summary{Site: "primary", Term: 1}, reconcile.Sighting{Source: reconcile.KeptSnapshot, Lines: []reconcile.Line{line(2), line(3)}}},
	}
	r, err := NewReport(exports, nil, nil, DefaultSlack, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 3 || len(r.Rows[1].SeenIn) != 2 || r.Tables["public.notes"][reconcile.Missing] != 3 || len(r.Payments) != 0 || r.Complete {
		t.Errorf("%+v", r)
	}
}

func TestContradictionsAreLookedAt(t *testing.T) {
	row := func(status string) reconcile.Line {
		return reconcile.Line{
			Table: paymentsTable, Kind: reconcile.Missing, Key: []byte(`{"id":"pay_1"}`),
			Old: fmt.Appendf(nil, `{"id":"pay_1","charge_reference":"ch_1","amount":5,"currency":"EUR","status":%q}`, status),
		}
	}
	volume := reconcile.Sighting{Source: reconcile.OldVolume, Lines: []reconcile.Line{row(pending)}}
	snapshot := reconcile.Sighting{Source: reconcile.KeptSnapshot, Lines: []reconcile.Line{row(Approved)}}
	charged := Charge{Reference: "ch_1", Amount: 5, Currency: "EUR", Status: Approved}
	voided := charged
	voided.Status = Voided
	for name, c := range map[string]struct {
		exports []Export
		lists   []List
		book    Book
	}{
		"two exports": {[]Export{{Sighting: volume}, {Sighting: snapshot}}, nil, nil},
		"two charges": {[]Export{{Sighting: snapshot}}, []List{{Charges: []Charge{charged}}, {Charges: []Charge{voided}}}, nil},
		"the ledgers": {[]Export{{Sighting: snapshot}}, nil, Book{"ch_1": {PaymentID: "pay_1", Status: Approved, Amount: 6, Currency: "EUR", Booked: true}}},
		"the acquirer and the survivor": {
			nil, []List{{Charges: []Charge{charged}}}, Book{"ch_1": {PaymentID: "pay_1", Status: Approved, Amount: 5, Currency: "USD", Booked: true}},
		},
	} {
		r, err := NewReport(c.exports, c.lists, c.book, DefaultSlack, time.Now())
		if err != nil || len(r.Payments) != 1 || r.Payments[0].Action != DoLook {
			t.Errorf("%s: %+v, %v", name, r.Payments, err)
		}
	}
}
