package splitbrain

import (
	"context"
	"fmt"
	"sync"
)

// Held are transactions that have written and not committed, on a database that takes writes. They end in a COMMIT that
// is sent once the database may not commit any more, as when it was frozen past its lease.
type Held struct {
	attack   *Attack
	sessions []*session
	ctx      context.Context
	cancel   context.CancelFunc
	answers  sync.WaitGroup
}

// Hold opens n transactions on the database behind dsn, each of which has written to a protected table.
func Hold(ctx context.Context, dsn string, n int) (*Held, error) {
	ctx, cancel := context.WithCancel(ctx)
	h := &Held{attack: &Attack{count: newCount()}, ctx: ctx, cancel: cancel}
	for i := range n {
		s := &session{dsn: dsn}
		h.sessions = append(h.sessions, s)
		if err := h.open(s, i); err != nil {
			h.Stop()
			return nil, fmt.Errorf("hold a transaction: %w", err)
		}
	}
	return h, nil
}

// open begins a transaction in every other isolation level and writes.
func (h *Held) open(s *session, i int) error {
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
	begin := []string{"BEGIN READ WRITE", "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE"}[i%2]
	for _, sql := range []string{begin, statements[i%len(statements)]} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// Commit sends COMMIT on every connection and returns at once.
func (h *Held) Commit() {
	for _, s := range h.sessions {
		h.answers.Go(func() { h.attack.note("transaction from before the freeze", commit(h.ctx, s.conn)) })
	}
}

// Stop ends the waiting for answers, gives the transactions up that were not committed, and returns the count.
func (h *Held) Stop() Count {
	h.cancel()
	h.answers.Wait()
	for _, s := range h.sessions {
		s.close()
	}
	return h.attack.Count()
}
