package splitbrain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// thawed is how many of the transactions that are held have passed their check already.
const thawed = 2

// Held are transactions that have written and not committed, on a database that takes writes. They end in a COMMIT that
// is sent once the database may not commit any more, as when it was frozen past its lease. Most are checked by that COMMIT,
// and must be refused. A few have been checked before: those may still land, and nobody may be told.
type Held struct {
	attack   *Attack
	sessions []*session
	// checked are the sessions whose transactions have passed their check.
	checked []*session
	ctx     context.Context
	cancel  context.CancelFunc
	answers sync.WaitGroup
}

// Hold opens n transactions on the database behind dsn, each of which has written to a protected table, and a few more
// that have passed their check as well.
func Hold(ctx context.Context, dsn string, n int) (*Held, error) {
	ctx, cancel := context.WithCancel(ctx)
	h := &Held{attack: &Attack{count: newCount()}, ctx: ctx, cancel: cancel}
	for i := range n + thawed {
		s := &session{dsn: dsn}
		open := h.open
		if i < n {
			h.sessions = append(h.sessions, s)
		} else {
			h.checked = append(h.checked, s)
			open = h.openChecked
		}
		if err := open(s, i); err != nil {
			h.Stop()
			return nil, fmt.Errorf("hold a transaction: %w", err)
		}
	}
	return h, nil
}

// open begins a transaction in every other isolation level and writes.
func (h *Held) open(s *session, i int) error {
	begin := []string{"BEGIN READ WRITE", "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE"}[i%2]
	return h.begin(s, func(statements []string) []string { return []string{begin, statements[i%len(statements)]} })
}

// openChecked begins a transaction, writes, and has its check run at once. Its rows bear a mark of their own.
func (h *Held) openChecked(s *session, _ int) error {
	return h.begin(s, func(statements []string) []string {
		return []string{"BEGIN READ WRITE", strings.ReplaceAll(statements[0], Mark, ThawedMark), "SET CONSTRAINTS ALL IMMEDIATE"}
	})
}

// begin runs what is chosen of a plan, which leaves a transaction open.
func (h *Held) begin(s *session, choose func(statements []string) []string) error {
	ctx, cancel := context.WithTimeout(h.ctx, attemptTimeout)
	defer cancel()
	conn, err := s.open(ctx)
	if err != nil {
		return err
	}
	statements, _, err := plan(ctx, conn)
	if err != nil {
		return err
	}
	if len(statements) == 0 {
		return fmt.Errorf("no table is protected")
	}
	for _, sql := range choose(statements) {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// Commit sends COMMIT on every connection and returns at once.
func (h *Held) Commit() {
	for _, s := range h.sessions {
		h.answers.Go(func() { h.attack.noteHeld(commit(h.ctx, s.conn)) })
	}
	for _, s := range h.checked {
		h.answers.Go(func() { h.attack.noteThawed(commit(h.ctx, s.conn)) })
	}
}

// noteHeld counts what became of a transaction that had not passed its check.
func (a *Attack) noteHeld(err error) {
	a.note("transaction from before the freeze", err)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count.Held++
	if answered(err) {
		a.count.HeldAnswered++
	}
}

// noteThawed counts what became of a transaction that had passed its check.
func (a *Attack) noteThawed(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count.Thawed++
	if err == nil {
		a.count.ThawedLanded++
		a.sample("landed after the thaw: a transaction that had passed its check")
	}
}

// answered reports whether the database said what became of a commit.
func answered(err error) bool {
	var refusal *pgconn.PgError
	return err == nil || errors.As(err, &refusal) || errors.Is(err, errRolledBack)
}

// Count returns the count so far.
func (h *Held) Count() Count { return h.attack.Count() }

// Stop ends the waiting for answers, gives the transactions up that were not committed, and returns the count.
func (h *Held) Stop() Count {
	h.cancel()
	h.answers.Wait()
	for _, sessions := range [][]*session{h.sessions, h.checked} {
		for _, s := range sessions {
			s.close()
		}
	}
	return h.attack.Count()
}
