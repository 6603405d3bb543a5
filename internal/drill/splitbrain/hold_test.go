package splitbrain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// scan runs a query with one answer on a connection of its own.
func scan(t *testing.T, dsn, sql string, into any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if err := conn.QueryRow(t.Context(), sql).Scan(into); err != nil {
		t.Fatal(err)
	}
}

// holdUntilItEnds holds transactions under a lease that it waits out. The lease is lengthened until a slow machine gets them
// open in time; it must not be shortened afterwards, which an old snapshot does not see.
func holdUntilItEnds(t *testing.T, dsn string, n int) *Held {
	t.Helper()
	for seconds := 1; ; seconds *= 2 {
		var set time.Time
		scan(t, dsn, fmt.Sprintf("UPDATE holdfast.write_lease SET valid_until = clock_timestamp() + interval '%d s' RETURNING valid_until", seconds), &set)
		h, err := Hold(t.Context(), dsn, n)
		if err == nil {
			until(t, "the lease is over", func() (over bool) {
				scan(t, dsn, "SELECT valid_until < clock_timestamp() FROM holdfast.write_lease", &over)
				return over
			})
			return h
		}
		var refusal *pgconn.PgError
		if !errors.As(err, &refusal) || refusal.Code != Fenced || seconds > 60 {
			t.Fatal(err)
		}
	}
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(90 * time.Second); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// Past the lease, what had not passed its check is refused, and what had passed it lands: the check is over for it.
func TestHeldTransactionsEndAfterTheLease(t *testing.T) {
	_, dsn := serving(t)
	const n = 4
	h := holdUntilItEnds(t, dsn, n)
	defer h.Stop()
	h.Commit()
	until(t, "everything is answered", func() bool { return h.Count().HeldAnswered == n && h.Count().Thawed == thawed })
	c := h.Stop()
	if c.Held != n || c.HeldAnswered != n || c.Accepted != 0 || c.RefusedBy[Fenced] != n || c.Unanswered != 0 {
		t.Errorf("%+v, want all %d held transactions refused by the fence", c, n)
	}
	if c.Thawed != thawed || c.ThawedLanded != thawed {
		t.Errorf("%+v, want %d checked transactions, landed", c, thawed)
	}
	var landed, refused int
	scan(t, dsn, "SELECT count(*) FROM payd.payments WHERE id LIKE '"+ThawedMark+"%'", &landed)
	scan(t, dsn, "SELECT count(*) FROM payd.payments WHERE id LIKE '"+Mark+"%'", &refused)
	if landed != thawed || refused != 0 {
		t.Errorf("the table has %d rows of checked transactions and %d of refused ones, want %d and 0", landed, refused, thawed)
	}
}

func TestHeldTransactionsThatNobodyAnswers(t *testing.T) {
	server, dsn := serving(t)
	h, err := Hold(t.Context(), dsn, 2)
	if err != nil {
		t.Fatal(err)
	}
	server.Kill()
	h.Commit()
	if c := h.Stop(); c.Held != 2 || c.HeldAnswered != 0 || c.Thawed != thawed || c.ThawedLanded != 0 {
		t.Errorf("%+v, want 2 held transactions without an answer", c)
	}
}

// muted passes a database's connections on until it is told to keep the answers back.
type muted struct{ atomic.Bool }

// proxy returns the DSN of the same database behind it.
func (m *muted) proxy(t *testing.T, dsn string) string {
	t.Helper()
	target, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	database, done := target.Host, make(chan struct{})
	go func() {
		defer close(done)
		client, err := listener.Accept()
		if err != nil {
			return
		}
		defer client.Close()
		server, err := net.Dial("tcp", database)
		if err != nil {
			return
		}
		go func() {
			defer server.Close() // ends the other direction
			_, _ = io.Copy(server, client)
		}()
		buffer := make([]byte, 32<<10)
		for {
			n, err := server.Read(buffer)
			if err != nil || m.Load() {
				return
			}
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	target.Host = listener.Addr().String()
	return target.String()
}

// A commit whose answer was lost is no attempt, but it is not forgotten either: its row bears the mark.
func TestCommitWhoseAnswerIsLost(t *testing.T) {
	_, dsn := serving(t)
	m := new(muted)
	s := &session{dsn: m.proxy(t, dsn)}
	defer s.close()
	conn, err := s.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	statements, _, err := plan(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"BEGIN", statements[0]} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	m.Store(true)
	err = commit(t.Context(), conn)
	if !errors.Is(err, errNoAnswer) {
		t.Errorf("COMMIT without an answer: %v", err)
	}
	a := &Attack{count: newCount()}
	a.note("plain", err)
	if c := a.Count(); c.Unanswered != 1 || c.Attempts != 0 || c.Accepted != 0 || c.Inconclusive != 0 {
		t.Errorf("%+v, want one commit without an answer", c)
	}
	var committed int
	scan(t, dsn, "SELECT count(*) FROM payd.payments WHERE id LIKE '"+Mark+"%'", &committed)
	if committed != 1 {
		t.Errorf("%d rows with the mark, want the one that was committed", committed)
	}
}
