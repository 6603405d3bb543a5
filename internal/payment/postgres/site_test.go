package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"holdfast/internal/fence"
	"holdfast/internal/payment"
	"holdfast/internal/pgserver"
	"holdfast/internal/pgserver/pgservertest"
	"holdfast/internal/term"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestJudge(t *testing.T) {
	refused := errors.New("connection refused")
	ready := probe{version: SchemaVersion, started: time.Unix(1, 0), remaining: time.Second}
	for name, c := range map[string]struct {
		writer, reader probe
		want           Role
		readable       bool
		err            error
	}{
		"active":                         {ready, ready, Active, true, nil},
		"active, reader gone":            {ready, probe{err: refused}, Active, true, nil},
		"no lease":                       {probe{version: SchemaVersion}, ready, Fenced, true, payment.ErrNoLease},
		"not migrated":                   {probe{remaining: time.Second}, probe{}, Fenced, false, nil},
		"standby: writer refuses":        {probe{err: refused}, probe{recovery: true, version: SchemaVersion}, Standby, true, payment.ErrStandby},
		"standby: the endpoint lags":     {probe{recovery: true, version: SchemaVersion}, probe{recovery: true, version: SchemaVersion}, Standby, true, payment.ErrStandby},
		"standby of an empty database":   {probe{err: refused}, probe{recovery: true}, Standby, false, payment.ErrStandby},
		"nothing answers":                {probe{err: refused}, probe{err: refused}, Down, false, payment.ErrUnavailable},
		"the reader alone":               {probe{err: refused}, ready, Down, true, payment.ErrUnavailable},
		"the writer endpoint has a copy": {probe{recovery: true, version: SchemaVersion}, probe{err: refused}, Down, false, payment.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			got := judge(c.writer, c.reader)
			if got.Role != c.want || got.Readable != c.readable || (got.Err == nil) != (c.want == Active) || c.err != nil && !errors.Is(got.Err, c.err) {
				t.Fatalf("got %+v, want %s, readable %v, %v", got, c.want, c.readable, c.err)
			}
		})
	}
}

// TestSlowLook: one look that times out does not make an active site dead, the second does; a refusal counts at once.
func TestSlowLook(t *testing.T) {
	site := &Site{}
	site.status.Store(&Status{Role: Active})
	down := Status{Role: Down}
	slow := probe{err: fmt.Errorf("look: %w", context.DeadlineExceeded)}
	if !site.doubtful(down, slow) {
		t.Error("the first slow look counts")
	}
	if site.doubtful(down, slow) {
		t.Error("the second slow look does not count")
	}
	site.doubtful(Status{Role: Active}, probe{})
	if !site.doubtful(down, slow) {
		t.Error("a good look in between is forgotten")
	}
	if site.doubtful(down, probe{err: errors.New("connection refused")}) {
		t.Error("a refusal is doubted")
	}
	site.status.Store(&Status{Role: Fenced})
	if site.doubtful(down, slow) {
		t.Error("a site that takes no payments is given time")
	}
}

// copyOf makes a streaming copy of a server and returns its connection string.
func copyOf(t *testing.T, primary *pgserver.Server) string {
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
	server := pgservertest.Run(t, in, pgserver.Config{
		DataDir: data, Host: "127.0.0.1", Port: pgservertest.FreePort(t),
		Settings: map[string]string{"fsync": "off", "shared_buffers": "16MB", "wal_retrieve_retry_interval": "100ms"}, LogFile: filepath.Join(dir, "log"),
	})
	return fmt.Sprintf("postgres://postgres:%s@%s:%d/postgres?sslmode=disable", pgservertest.Password, server.Host, server.Port)
}

func eventually(t testing.TB, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(40 * time.Second)
	var last error
	for time.Now().Before(deadline) {
		if last = condition(); last == nil {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Fatalf("did not come to pass: %v", last)
}

// TestRegionLost: the standby site serves reads, is promoted, and goes on where the old one stopped. A payment that was
// answered there is answered with the same bytes here; one that was under way is taken up at once.
func TestRegionLost(t *testing.T) {
	t.Parallel()
	server, dsn := pgservertest.Start(t, nil)
	ctx := testContext(t)
	log := slog.New(slog.DiscardHandler)
	site := openSite(t, dsn, dsn)
	if err := Migrate(ctx, site.Writer(), log); err != nil {
		t.Fatal(err)
	}
	extend(t, site.Writer(), 1, time.Hour)
	site.Look(ctx)
	store := NewStore(site, 10*time.Second)
	done := begin(t, store, order(1), longClaim)
	answer, err := finish(t, store, done.Payment, payment.Approved)
	if err != nil {
		t.Fatal(err)
	}
	under := begin(t, store, order(2), longClaim)

	copyDSN := copyOf(t, server)
	// As on Aurora, the standby's writer endpoint refuses connections until the takeover.
	nowhere, err := url.Parse(copyDSN)
	if err != nil {
		t.Fatal(err)
	}
	nowhere.Host = fmt.Sprintf("127.0.0.1:%d", pgservertest.FreePort(t))
	early := openSite(t, nowhere.String(), copyDSN)
	if s := early.Look(ctx); s.Role != Standby || !s.Readable {
		t.Fatalf("the standby site is %+v", s)
	}
	earlyStore := NewStore(early, 10*time.Second)
	if p, err := earlyStore.Payment(ctx, done.Payment.ID); err != nil || p.Status != payment.Approved {
		t.Fatalf("read at the standby: %+v, %v", p, err)
	}
	if b, err := earlyStore.Balance(ctx, ""); err != nil || len(b.Currencies) != 1 {
		t.Fatalf("balance at the standby: %+v, %v", b, err)
	}
	_, err = earlyStore.Begin(ctx, order(3), longClaim)
	wantError(t, err, payment.ErrStandby)

	other := openSite(t, copyDSN, copyDSN)
	otherStore := NewStore(other, 10*time.Second)
	if s := other.Look(ctx); s.Role != Standby {
		t.Fatalf("the standby site is %+v", s)
	}
	wantError(t, Migrate(ctx, other.readerProbe, log), fence.ErrStandby)
	server.Kill()
	exec(t, other.readerProbe, "SELECT pg_promote()")
	if s := other.Look(ctx); s.Role != Fenced || !errors.Is(s.Err, payment.ErrNoLease) {
		t.Fatalf("after the promotion: %+v", s)
	}
	_, err = otherStore.Begin(ctx, order(3), longClaim)
	wantError(t, err, payment.ErrNoLease)
	extend(t, other.Writer(), 2, time.Hour)
	if s := other.Look(ctx); s.Role != Active {
		t.Fatalf("with a lease: %+v", s)
	}
	replay := begin(t, otherStore, order(1), longClaim)
	if replay.Answer == nil || string(replay.Answer.Body) != string(answer.Body) || !replay.Answer.Covered(term.Boot()) {
		t.Fatalf("replay after the takeover: %+v", replay)
	}
	if b := begin(t, otherStore, order(2), longClaim); b.Payment.ID != under.Payment.ID || b.Payment.Reference != under.Payment.Reference {
		t.Fatalf("taken up: %+v", b)
	}
}

// TestWriterRestarts: the pools find the server again, and the old lease does not count.
func TestWriterRestarts(t *testing.T) {
	t.Parallel()
	server, dsn := pgservertest.Start(t, nil)
	ctx := testContext(t)
	site := openSite(t, dsn, dsn)
	if err := Migrate(ctx, site.Writer(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	extend(t, site.Writer(), 1, time.Hour)
	before := site.Look(ctx)
	store := NewStore(site, 10*time.Second)
	begin(t, store, order(1), longClaim)
	server.Kill()
	if s := site.Look(ctx); s.Role != Down {
		t.Fatalf("with a dead server: %+v", s)
	}
	_, err := store.Begin(ctx, order(2), longClaim)
	wantError(t, err, payment.ErrUnavailable)
	in, err := pgserver.Find()
	if err != nil {
		t.Fatal(err)
	}
	again, err := in.Start(server.Config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Kill)
	eventually(t, func() error {
		if s := site.Look(ctx); s.Role != Fenced || s.ServerStarted.Equal(before.ServerStarted) {
			return fmt.Errorf("the site is %+v", s)
		}
		return nil
	})
	extend(t, site.Writer(), 1, time.Hour)
	if b := begin(t, store, order(1), longClaim); b.Payment.ID == "" {
		t.Fatalf("a claim made on the server before the restart counts: %+v", b)
	}
}

// TestDemotedWriter: connections to a server that came back as a standby are dropped at once, though they work.
func TestDemotedWriter(t *testing.T) {
	t.Parallel()
	server, dsn := pgservertest.Start(t, nil)
	copyDSN := copyOf(t, server)
	ctx := testContext(t)
	site := openSite(t, copyDSN, copyDSN)
	_, err := NewStore(site, 10*time.Second).Begin(ctx, order(1), longClaim)
	if err == nil || !strings.Contains(err.Error(), "not") {
		t.Fatalf("got %v", err)
	}
	if s := site.Look(ctx); s.Role != Standby {
		t.Fatalf("got %+v", s)
	}
	// A connection that was made while it was a writer: the first write says that it no longer is.
	writer := openSite(t, dsn, dsn)
	if err := Migrate(ctx, writer.Writer(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	extend(t, writer.Writer(), 1, time.Hour)
	store := NewStore(writer, 10*time.Second)
	begin(t, store, order(1), longClaim)
	exec(t, writer.Writer(), "ALTER DATABASE postgres SET default_transaction_read_only = on")
	exec(t, writer.Writer(), "SET default_transaction_read_only = on")
	_, err = store.Begin(ctx, order(2), longClaim)
	wantError(t, err, payment.ErrStandby)
	eventually(t, func() error { // the pool closes them in the background
		if n := writer.Writer().Stat().TotalConns(); n != 0 {
			return fmt.Errorf("%d connections to the old writer are kept", n)
		}
		return nil
	})
}

// TestLoadedSiteKeepsItsConnections: neither a lease that lapses and comes back nor a transaction that is late says that the
// writer has moved, and a site that connected anew for it would be loaded still more.
func TestLoadedSiteKeepsItsConnections(t *testing.T) {
	t.Parallel()
	_, dsn := pgservertest.Start(t, nil)
	store, site := active(t, dsn, time.Hour)
	ctx := testContext(t)
	idle := func(n int) {
		t.Helper()
		for _, c := range acquire(t, site, n) {
			c.Release()
		}
	}
	const connections = 4
	idle(connections)
	pids := backends(t, site)
	if len(pids) < connections {
		t.Fatalf("%d connections", len(pids))
	}
	exec(t, site.Writer(), "UPDATE holdfast.write_lease SET valid_until = 'epoch'")
	if s := site.Look(ctx); s.Role != Fenced {
		t.Fatalf("without a lease: %+v", s)
	}
	extend(t, site.Writer(), 2, time.Hour)
	if s := site.Look(ctx); s.Role != Active {
		t.Fatalf("with a lease again: %+v", s)
	}
	idle(connections)
	if again := backends(t, site); !slices.Equal(again, pids) {
		t.Fatalf("connections %v after a lapse of the lease, %v before", again, pids)
	}

	lock, err := site.Writer().Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec(ctx, "LOCK TABLE payd.payments"); err != nil {
		t.Fatal(err)
	}
	_, err = NewStore(site, 200*time.Millisecond).Begin(ctx, order(1), longClaim)
	wantError(t, err, payment.ErrUnavailable)
	if err := lock.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	begin(t, store, order(2), longClaim)
	idle(connections)
	kept := 0
	for _, pid := range backends(t, site) {
		if slices.Contains(pids, pid) {
			kept++
		}
	}
	if kept != connections-1 {
		t.Errorf("%d of %d connections outlived one that was late", kept, connections)
	}
}

// TestWriterIsConnectedToBeforeItsLease: who has waited for a hand-over finds connections made.
func TestWriterIsConnectedToBeforeItsLease(t *testing.T) {
	t.Parallel()
	_, dsn := pgservertest.Start(t, nil)
	_, site := active(t, dsn, time.Hour)
	exec(t, site.Writer(), "UPDATE holdfast.write_lease SET valid_until = 'epoch'")
	next := openSite(t, dsn, dsn) // as after a promotion: it has seen no writer yet
	ctx, cancel := context.WithCancel(testContext(t))
	var watch sync.WaitGroup
	watch.Go(func() { next.Watch(ctx) })
	defer watch.Wait()
	defer cancel()
	eventually(t, func() error {
		if n := next.Writer().Stat().IdleConns(); int(n) != next.options.MaxConnections/warmShare {
			return fmt.Errorf("%d of %d connections are made and free", n, next.options.MaxConnections/warmShare)
		}
		return nil
	})
	if s := next.Status(); s.Role != Fenced {
		t.Errorf("without a lease: %+v", s)
	}
}

// acquire takes so many connections at once.
func acquire(t *testing.T, site *Site, n int) (held []*pgxpool.Conn) {
	t.Helper()
	for range n {
		c, err := site.Writer().Acquire(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	return held
}

// backends are the server's processes of the writer pool's idle connections.
func backends(t *testing.T, site *Site) (pids []uint32) {
	t.Helper()
	for _, c := range site.Writer().AcquireAllIdle(testContext(t)) {
		pids = append(pids, c.Conn().PgConn().PID())
		c.Release()
	}
	slices.Sort(pids)
	return pids
}
