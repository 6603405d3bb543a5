package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"holdfast/internal/fence"
	"holdfast/internal/payment"
	"holdfast/internal/pgserver/pgservertest"
	"holdfast/internal/term"
)

var databases atomic.Int64

func newDatabase(t testing.TB, dsn string) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", databases.Add(1))
	conn, err := pgx.Connect(testContext(t), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(testContext(t), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
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

func openSite(t testing.TB, writer, reader string) *Site {
	t.Helper()
	site, err := OpenSite(SiteOptions{Writer: writer, Reader: reader, ConnectTimeout: 10 * time.Second, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(site.Close)
	return site
}

// active is a site with a migrated database and a lease.
func active(t testing.TB, dsn string, lease time.Duration) (*Store, *Site) {
	t.Helper()
	dsn = newDatabase(t, dsn)
	site := openSite(t, dsn, dsn)
	ctx := testContext(t)
	if err := Migrate(ctx, site.Writer(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	extend(t, site.Writer(), 1, lease)
	if s := site.Look(ctx); s.Role != Active {
		t.Fatalf("the site is %+v", s)
	}
	return NewStore(site, 10*time.Second), site
}

func extend(t testing.TB, db fence.DB, n term.Number, d time.Duration) {
	t.Helper()
	ctx := testContext(t)
	s, err := fence.Sample(ctx, db)
	if err == nil {
		err = fence.ExtendOn(ctx, db, s.ServerStarted, n, s.DatabaseTime.Add(d), 1)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func exec(t testing.TB, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(testContext(t), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func count(t testing.TB, pool *pgxpool.Pool, sql string, args ...any) int {
	t.Helper()
	var n int
	if err := pool.QueryRow(testContext(t), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func order(n int) payment.Order {
	return payment.Order{Merchant: "shop", Key: fmt.Sprintf("key-%d", n), Amount: int64(100 + n), Currency: "EUR", PaymentMethod: "tok", MerchantReference: fmt.Sprintf("order-%d", n)}
}

var longClaim = payment.Claim{For: time.Hour}

func begin(t testing.TB, s *Store, o payment.Order, c payment.Claim) payment.Begun {
	t.Helper()
	b, err := s.Begin(testContext(t), o, c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// finish decides a payment and records it.
func finish(t testing.TB, s *Store, p payment.Payment, status payment.Status) (payment.Answer, error) {
	t.Helper()
	p.Status, p.AuthorizationCode = status, "A1"
	a, err := payment.Render(p)
	if err != nil {
		t.Fatal(err)
	}
	return s.Finish(testContext(t), p, payment.Entries(p), a)
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

// TestStore runs on one server, each test in its own database.
func TestStore(t *testing.T) {
	t.Parallel()
	_, dsn := pgservertest.Start(t, nil)
	for name, test := range map[string]func(*testing.T, string){
		"phases and replay":                  testPhases,
		"another order under the key":        testKeyReused,
		"claims":                             testClaims,
		"one finisher":                       testOneFinisher,
		"one beginner":                       testOneBeginner,
		"overdue":                            testOverdue,
		"no lease, no commit":                testNoLease,
		"covered until":                      testCoveredUntil,
		"the ledger defends itself":          testLedgerTriggers,
		"balance":                            testBalance,
		"migrate by many at once":            testMigrateConcurrently,
		"migrate only with the lease":        testMigrateDeposed,
		"migrate a fence of version 2":       testMigrateOldFence,
		"a schema of version 1 is refused":   testMigrateVersion1,
		"terminated connections are dropped": testTerminated,
		"random retries and crashes":         testProperties,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, dsn)
		})
	}
}

func testPhases(t *testing.T, dsn string) {
	store, site := active(t, dsn, time.Minute)
	ctx := testContext(t)
	o := order(1)
	b := begin(t, store, o, longClaim)
	if b.Answer != nil || b.Payment.ID != o.PaymentID() || b.Payment.Reference != o.Reference() || b.Payment.CreatedAt.IsZero() {
		t.Fatalf("begun: %+v", b)
	}
	got, err := store.Payment(ctx, b.Payment.ID)
	if err != nil || got.Status != payment.Pending || got.Order != o || !got.DecidedAt.IsZero() {
		t.Fatalf("got %+v, %v", got, err)
	}
	first, err := finish(t, store, b.Payment, payment.Approved)
	if err != nil || first.Replayed || first.Status != 201 || !first.Covered(term.Boot()) {
		t.Fatalf("finish: %+v, %v", first, err)
	}
	for range 2 {
		again := begin(t, store, o, longClaim)
		if again.Answer == nil || !again.Answer.Replayed || string(again.Answer.Body) != string(first.Body) || again.Answer.Status != first.Status ||
			again.Answer.PaymentID != b.Payment.ID || !again.Answer.Covered(term.Boot()) {
			t.Fatalf("replay: %+v", again)
		}
	}
	got, err = store.Payment(ctx, b.Payment.ID)
	if err != nil || got.Status != payment.Approved || got.AuthorizationCode != "A1" || got.DecidedAt.IsZero() {
		t.Fatalf("got %+v, %v", got, err)
	}
	if n := count(t, site.Writer(), "SELECT count(*) FROM payd.ledger_entries WHERE payment_id = $1", b.Payment.ID); n != 2 {
		t.Fatalf("%d entries", n)
	}
	_, err = store.Payment(ctx, "pay_unknown")
	wantError(t, err, payment.ErrNotFound)
	declined := begin(t, store, order(2), longClaim)
	if _, err := finish(t, store, declined.Payment, payment.Declined); err != nil {
		t.Fatal(err)
	}
	if n := count(t, site.Writer(), "SELECT count(*) FROM payd.ledger_entries"); n != 2 {
		t.Fatalf("%d entries after a decline", n)
	}
}

func testKeyReused(t *testing.T, dsn string) {
	store, _ := active(t, dsn, time.Minute)
	o := order(1)
	b := begin(t, store, o, payment.Claim{For: time.Millisecond})
	for _, decided := range []bool{false, true} {
		if decided {
			if _, err := finish(t, store, b.Payment, payment.Approved); err != nil {
				t.Fatal(err)
			}
		}
		for _, change := range []func(*payment.Order){
			func(o *payment.Order) { o.Amount++ }, func(o *payment.Order) { o.Currency = "USD" },
			func(o *payment.Order) { o.PaymentMethod += "x" }, func(o *payment.Order) { o.MerchantReference += "x" },
		} {
			other := o
			change(&other)
			_, err := store.Begin(testContext(t), other, longClaim)
			wantError(t, err, payment.ErrKeyReused)
		}
	}
	another := o
	another.Merchant = "another"
	if b := begin(t, store, another, longClaim); b.Payment.ID == o.PaymentID() {
		t.Fatal("two merchants share a key")
	}
}

func testClaims(t *testing.T, dsn string) {
	store, site := active(t, dsn, time.Minute)
	ctx := testContext(t)
	o := order(1)
	begin(t, store, o, longClaim)
	_, err := store.Begin(ctx, o, longClaim)
	wantError(t, err, payment.ErrInFlight)
	if err := store.Release(ctx, o.PaymentID()); err != nil {
		t.Fatal(err)
	}
	if b := begin(t, store, o, longClaim); b.Payment.ID != o.PaymentID() || b.Answer != nil {
		t.Fatalf("after a release: %+v", b)
	}
	_, err = store.Begin(ctx, o, longClaim)
	wantError(t, err, payment.ErrInFlight)
	// The claim was made on a server that is no longer the writer.
	exec(t, site.Writer(), "UPDATE payd.payments SET claimed_server = 'epoch'")
	begin(t, store, o, longClaim)
	if n := count(t, site.Writer(), "SELECT attempts FROM payd.payments"); n != 3 {
		t.Fatalf("%d attempts, want 3", n)
	}
}

// atOnce runs a function many times at once and returns the errors.
func atOnce(n int, f func() error) []error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = f() })
	}
	all.Wait()
	return errs
}

func testOneBeginner(t *testing.T, dsn string) {
	store, _ := active(t, dsn, time.Minute)
	ctx := testContext(t)
	for round := range 20 {
		var won atomic.Int64
		for _, err := range atOnce(8, func() error {
			_, err := store.Begin(ctx, order(round), longClaim)
			if err == nil {
				won.Add(1)
			}
			return err
		}) {
			if err != nil && !errors.Is(err, payment.ErrInFlight) {
				t.Fatal(err)
			}
		}
		if won.Load() != 1 {
			t.Fatalf("%d of 8 began", won.Load())
		}
	}
}

func testOneFinisher(t *testing.T, dsn string) {
	store, site := active(t, dsn, time.Minute)
	for round := range 20 {
		b := begin(t, store, order(round), longClaim)
		var firsts atomic.Int64
		bodies := sync.Map{}
		for _, err := range atOnce(8, func() error {
			a, err := finish(t, store, b.Payment, payment.Approved)
			if !a.Replayed {
				firsts.Add(1)
			}
			bodies.Store(string(a.Body), true)
			return err
		}) {
			if err != nil {
				t.Fatal(err)
			}
		}
		different := 0
		bodies.Range(func(any, any) bool { different++; return true })
		if firsts.Load() != 1 || different != 1 {
			t.Fatalf("%d finished first, %d different answers", firsts.Load(), different)
		}
		if n := count(t, site.Writer(), "SELECT count(*) FROM payd.ledger_entries WHERE payment_id = $1", b.Payment.ID); n != 2 {
			t.Fatalf("%d entries", n)
		}
	}
	// The first word counts.
	b := begin(t, store, order(100), longClaim)
	first, err := finish(t, store, b.Payment, payment.Declined)
	if err != nil {
		t.Fatal(err)
	}
	second, err := finish(t, store, b.Payment, payment.Approved)
	if err != nil || !second.Replayed || string(second.Body) != string(first.Body) {
		t.Fatalf("got %+v, %v", second, err)
	}
	if n := count(t, site.Writer(), "SELECT count(*) FROM payd.ledger_entries WHERE payment_id = $1", b.Payment.ID); n != 0 {
		t.Fatalf("%d entries for a declined payment", n)
	}
}

func testOverdue(t *testing.T, dsn string) {
	store, site := active(t, dsn, time.Minute)
	ctx := testContext(t)
	for n := range 30 {
		begin(t, store, order(n), longClaim)
	}
	if got, err := store.Overdue(ctx, 100, longClaim); err != nil || len(got) != 0 {
		t.Fatalf("claimed payments are overdue: %d, %v", len(got), err)
	}
	exec(t, site.Writer(), "UPDATE payd.payments SET claimed_until = clock_timestamp()")
	if _, err := finish(t, store, payment.Payment{ID: order(0).PaymentID(), Order: order(0)}, payment.Declined); err != nil {
		t.Fatal(err)
	}
	// Several workers at once get each payment once.
	var mu sync.Mutex
	seen := map[string]int{}
	for _, err := range atOnce(6, func() error {
		for {
			got, err := store.Overdue(ctx, 4, longClaim)
			if err != nil || len(got) == 0 {
				return err
			}
			mu.Lock()
			for _, p := range got {
				seen[p.ID]++
				if p.Order.Merchant != "shop" || p.Reference == "" || p.Order.Amount < 100 {
					err = fmt.Errorf("incomplete: %+v", p)
				}
			}
			mu.Unlock()
			if err != nil {
				return err
			}
		}
	}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != 29 {
		t.Fatalf("%d payments, want 29", len(seen))
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was claimed %d times", id, n)
		}
	}
	// On a new server the claims don't count.
	exec(t, site.Writer(), "UPDATE payd.payments SET claimed_server = 'epoch'")
	if got, err := store.Overdue(ctx, 100, longClaim); err != nil || len(got) != 29 {
		t.Fatalf("%d, %v", len(got), err)
	}
	// The pause grows, up to 16 claims.
	exec(t, site.Writer(), "UPDATE payd.payments SET attempts = 50, claimed_until = clock_timestamp()")
	if _, err := store.Overdue(ctx, 100, payment.Claim{For: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if n := count(t, site.Writer(), "SELECT count(*) FROM payd.payments WHERE claimed_until BETWEEN clock_timestamp() + interval '15 min' AND clock_timestamp() + interval '17 min'"); n != 29 {
		t.Fatalf("%d with the longest pause", n)
	}
}

func testNoLease(t *testing.T, dsn string) {
	store, site := active(t, dsn, time.Minute)
	ctx := testContext(t)
	b := begin(t, store, order(1), longClaim)
	done := begin(t, store, order(2), longClaim)
	if _, err := finish(t, store, done.Payment, payment.Approved); err != nil {
		t.Fatal(err)
	}
	if err := fence.Seal(ctx, site.Writer(), 1); err != nil {
		t.Fatal(err)
	}
	_, err := store.Begin(ctx, order(3), longClaim)
	wantError(t, err, payment.ErrNoLease)
	_, err = finish(t, store, b.Payment, payment.Approved)
	wantError(t, err, payment.ErrNoLease)
	exec(t, site.Writer(), "SELECT 1") // the connection is still good
	if _, err := store.Overdue(ctx, 10, longClaim); err != nil {
		t.Fatal(err) // nothing to claim, so nothing to commit
	}
	// A replay writes nothing and so is not refused, but nothing covers it either: the site may be replaced.
	again := begin(t, store, order(2), longClaim)
	if again.Answer == nil || again.Answer.Covered(term.Boot()) {
		t.Fatalf("a replay without a lease is covered: %+v", again)
	}
	if n := count(t, site.Writer(), "SELECT count(*) FROM payd.payments"); n != 2 {
		t.Fatalf("%d payments", n)
	}
	if s := site.Look(ctx); s.Role != Fenced || !errors.Is(s.Err, payment.ErrNoLease) || !s.Readable {
		t.Fatalf("the site is %+v", s)
	}
}

// testCoveredUntil: the lease is counted from before the pipeline was sent, on the own clock.
func testCoveredUntil(t *testing.T, dsn string) {
	store, site := active(t, dsn, time.Minute)
	store.now = func() term.Instant { return 1000 }
	exec(t, site.Writer(), "UPDATE holdfast.write_lease SET valid_until = clock_timestamp() + interval '20 s'")
	b := begin(t, store, order(1), longClaim)
	a, err := finish(t, store, b.Payment, payment.Approved)
	if err != nil {
		t.Fatal(err)
	}
	left := a.CoveredUntil.Sub(1000)
	if left > 20*time.Second || left < 5*time.Second {
		t.Fatalf("covered for %s, the lease had 20 s", left)
	}
}

func testLedgerTriggers(t *testing.T, dsn string) {
	store, site := active(t, dsn, time.Minute)
	b := begin(t, store, order(1), longClaim)
	if _, err := finish(t, store, b.Payment, payment.Approved); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ sql, code string }{
		"unbalanced":         {"INSERT INTO payd.ledger_entries VALUES ('p', 'acquirer:EUR', 'EUR', 5), ('p', 'merchant:shop:EUR', 'EUR', -4)", "23514"},
		"one-sided":          {"INSERT INTO payd.ledger_entries VALUES ('p', 'acquirer:EUR', 'EUR', 5)", "23514"},
		"over two payments":  {"INSERT INTO payd.ledger_entries VALUES ('p', 'acquirer:EUR', 'EUR', 5), ('q', 'merchant:shop:EUR', 'EUR', -5)", "23514"},
		"over currencies":    {"INSERT INTO payd.ledger_entries VALUES ('p', 'acquirer:EUR', 'EUR', 5), ('p', 'merchant:shop:EUR', 'USD', -5)", "23514"},
		"no such account":    {"INSERT INTO payd.ledger_entries VALUES ('p', 'acquirer:EUR', 'EUR', 5), ('p', 'x', 'EUR', -5)", "23503"},
		"account's currency": {"INSERT INTO payd.ledger_entries VALUES ('p', 'acquirer:EUR', 'USD', 5), ('p', 'merchant:shop:EUR', 'USD', -5)", "23503"},
		"twice":              {"INSERT INTO payd.ledger_entries SELECT payment_id, account, currency, amount FROM payd.ledger_entries", "23505"},
		"zero":               {"INSERT INTO payd.ledger_entries VALUES ('p', 'acquirer:EUR', 'EUR', 0)", "23514"},
		"update":             {"UPDATE payd.ledger_entries SET amount = amount * 2", "23001"},
		"delete":             {"DELETE FROM payd.ledger_entries", "23001"},
		"truncate":           {"TRUNCATE payd.ledger_entries", "23001"},
		"delete accounts":    {"DELETE FROM payd.accounts", "23001"},
		"status":             {"UPDATE payd.payments SET status = 'pending'", "23514"},
	} {
		var pgErr *pgconn.PgError
		if _, err := site.Writer().Exec(testContext(t), c.sql); !errors.As(err, &pgErr) || pgErr.Code != c.code {
			t.Errorf("%s: got %v, want SQLSTATE %s", name, err, c.code)
		}
	}
	if n := count(t, site.Writer(), "SELECT count(*) FROM payd.ledger_entries"); n != 2 {
		t.Fatalf("%d entries", n)
	}
}

func testBalance(t *testing.T, dsn string) {
	store, _ := active(t, dsn, time.Minute)
	ctx := testContext(t)
	if b, err := store.Balance(ctx, ""); err != nil || !b.Balanced || len(b.Currencies) != 0 {
		t.Fatalf("empty: %+v, %v", b, err)
	}
	var euros int64
	for n := range 6 {
		o := order(n)
		switch n % 3 {
		case 1:
			o.Currency = "JPY"
		case 2:
			o.Merchant = "other"
		}
		if o.Currency == "EUR" {
			euros += o.Amount
		}
		b := begin(t, store, o, longClaim)
		if _, err := finish(t, store, b.Payment, payment.Approved); err != nil {
			t.Fatal(err)
		}
	}
	b, err := store.Balance(ctx, "")
	if err != nil || !b.Balanced || len(b.Currencies) != 2 || len(b.Accounts) != 4 {
		t.Fatalf("%+v, %v", b, err)
	}
	if c := b.Currencies[0]; c.Currency != "EUR" || c.Debits != euros || c.Credits != euros || c.Payments != 4 {
		t.Fatalf("euros: %+v, want %d", c, euros)
	}
	b, err = store.Balance(ctx, "other")
	want := order(2).Amount + order(5).Amount
	if err != nil || !b.Balanced || len(b.Currencies) != 1 || b.Currencies[0].Debits != want || b.Accounts[1].Balance != -want || b.Accounts[1].Merchant != "other" {
		t.Fatalf("one merchant's: %+v, %v", b, err)
	}
}

func testMigrateConcurrently(t *testing.T, dsn string) {
	dsn = newDatabase(t, dsn)
	ctx := testContext(t)
	log := slog.New(slog.DiscardHandler)
	var sites []*Site
	for range 4 {
		sites = append(sites, openSite(t, dsn, dsn))
	}
	if s := sites[0].Look(ctx); s.Role != Fenced || s.Readable || !strings.Contains(s.Err.Error(), "version 0") {
		t.Fatalf("an empty database is %+v", s)
	}
	errs := make(chan error)
	for _, site := range sites {
		go func() { errs <- Migrate(ctx, site.Writer(), log) }()
	}
	for range sites {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if err := Migrate(ctx, sites[0].Writer(), log); err != nil {
		t.Fatal(err)
	}
	if n := count(t, sites[0].Writer(), "SELECT count(*) FROM holdfast.protected_tables WHERE always AND schema_name = 'payd'"); n != len(Tables) {
		t.Fatalf("%d of %d tables are protected", n, len(Tables))
	}
	if n := count(t, sites[0].Writer(), "SELECT max(version_id)::int FROM payd.schema_migrations"); n != SchemaVersion {
		t.Fatalf("version %d", n)
	}
}

// testMigrateOldFence: the warden may have brought the fence's schema up to date first; the tables still need new triggers.
func testMigrateOldFence(t *testing.T, dsn string) {
	store, site := active(t, dsn, time.Minute)
	exec(t, site.Writer(), `CREATE FUNCTION holdfast.check_write_lease() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
		DROP TRIGGER holdfast_write_lease ON payd.accounts;
		CREATE CONSTRAINT TRIGGER holdfast_write_lease AFTER INSERT OR UPDATE OR DELETE ON payd.accounts
			DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION holdfast.check_write_lease();
		ALTER TABLE payd.accounts ENABLE ALWAYS TRIGGER holdfast_write_lease`)
	const current = "SELECT count(*) FROM holdfast.protected_tables WHERE always AND up_to_date"
	if n := count(t, site.Writer(), current); n != len(Tables)-1 {
		t.Fatalf("%d of %d tables carry the new triggers before the migration: the test proves nothing", n, len(Tables))
	}
	if err := Migrate(testContext(t), site.Writer(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if n := count(t, site.Writer(), current); n != len(Tables) {
		t.Fatalf("%d of %d tables carry the new triggers", n, len(Tables))
	}
	b := begin(t, store, order(1), longClaim)
	if _, err := finish(t, store, b.Payment, payment.Approved); err != nil {
		t.Fatal(err)
	}
}

// testMigrateVersion1: what was never released is named, and left as it is.
func testMigrateVersion1(t *testing.T, dsn string) {
	_, site := active(t, dsn, time.Minute)
	exec(t, site.Writer(), "UPDATE payd.schema_migrations SET version_id = 1 WHERE version_id = 2")
	err := Migrate(testContext(t), site.Writer(), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "is of version 1, which was never released") {
		t.Fatalf("got %v", err)
	}
	if s := site.Look(testContext(t)); s.Role != Fenced || !strings.Contains(s.Err.Error(), "version 1, this program needs 2") {
		t.Fatalf("the site is %+v", s)
	}
}

// testMigrateDeposed: a database that has served may only be changed by the holder of the lease.
func testMigrateDeposed(t *testing.T, dsn string) {
	dsn = newDatabase(t, dsn)
	ctx := testContext(t)
	site := openSite(t, dsn, dsn)
	log := slog.New(slog.DiscardHandler)
	if err := fence.EnsureSchema(ctx, site.Writer()); err != nil {
		t.Fatal(err)
	}
	if err := fence.RecordTerm(ctx, site.Writer(), 1, "primary"); err != nil {
		t.Fatal(err)
	}
	wantError(t, Migrate(ctx, site.Writer(), log), payment.ErrNoLease)
	if n := count(t, site.Writer(), "SELECT count(*) FROM pg_namespace WHERE nspname = 'payd'"); n != 0 {
		t.Fatal("a site without a lease changed the schema")
	}
	extend(t, site.Writer(), 1, time.Minute)
	if err := Migrate(ctx, site.Writer(), log); err != nil {
		t.Fatal(err)
	}
}

func testTerminated(t *testing.T, dsn string) {
	store, site := active(t, dsn, time.Minute)
	ctx := testContext(t)
	for n := range 5 {
		begin(t, store, order(n), longClaim)
	}
	admin, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	var name string
	if err := site.Writer().QueryRow(ctx, "SELECT current_database()").Scan(&name); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name); err != nil {
		t.Fatal(err)
	}
	// One request may meet a dead connection; it must be the last one.
	if _, err := store.Begin(ctx, order(50), longClaim); err != nil {
		wantError(t, err, payment.ErrUnavailable)
	}
	for n := range 5 {
		begin(t, store, order(100+n), longClaim)
	}
}
