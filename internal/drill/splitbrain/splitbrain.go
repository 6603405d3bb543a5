// Package splitbrain tries to make a database commit that must not: after a takeover it attacks the old active site's
// database, directly and in many ways, with copies of rows that the application itself had written, so that nothing
// but the fence (or a read-only server) can be the reason for a refusal.
package splitbrain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The attack's bounds.
const (
	connectTimeout = 2 * time.Second
	// attemptTimeout is how long one transaction may take; without an answer it does not count.
	attemptTimeout = 3 * time.Second
	// pauseDown and pauseUp lie between two rounds while the server does not answer, and while it does: it is not to miss the
	// server's first moment, and then not to take the machine from what is rehearsed on it.
	pauseDown  = 50 * time.Millisecond
	pauseUp    = 500 * time.Millisecond
	maxSamples = 20
)

// The marks that the new keys of a written row begin with, as far as they are text.
const (
	// Mark is that of transactions that may not commit.
	Mark = "split-brain-"
	// ThawedMark is that of transactions that had passed their check before a freeze, and may.
	ThawedMark = "thawed-"
)

// insufficientPrivilege is the SQLSTATE of what the role may not do.
const insufficientPrivilege = "42501"

// The SQLSTATEs that say no for the right reason.
const (
	// Fenced is the write fence's own.
	Fenced = "HF001"
	// ReadOnly is a server in recovery, or one that was made read-only.
	ReadOnly = "25006"
)

// Count is what the attack has come to.
type Count struct {
	// Attempts are transactions that the fence or a read-only server refused, or that were committed.
	Attempts int
	Accepted int
	// RefusedBy counts refusals by SQLSTATE, Ways attempts by the way that was tried.
	RefusedBy, Ways map[string]int
	// Inconclusive failed for another reason; Samples has the first few errors, and every acceptance.
	Inconclusive int
	// Unanswered are commits that were sent and whose answer was lost. Only rows with [Mark] tell what became of them.
	Unanswered int
	// Held are the transactions that were to commit after a freeze without having passed their check before it;
	// HeldAnswered of them were answered.
	Held, HeldAnswered int
	// Thawed are those that had passed their check before the freeze; ThawedLanded of them said that they committed.
	Thawed, ThawedLanded int
	Samples              []string
	// Answered is when the database first answered, ReadOnlySince when it first was in recovery; zero if never.
	Answered, ReadOnlySince time.Time
}

// Attack is a running attack. Make it with Start.
type Attack struct {
	dsn    string
	cancel context.CancelFunc
	done   chan struct{}

	// denied are the ways that the role may not try; only the attack's own goroutine uses it.
	denied map[string]bool

	mu    sync.Mutex
	count Count
}

// Start attacks the database behind dsn until Stop, or until ctx ends. It is started while the database is still
// down, so that its first moment is not missed.
func Start(ctx context.Context, dsn string) *Attack {
	ctx, cancel := context.WithCancel(ctx)
	a := &Attack{
		dsn: dsn, cancel: cancel, done: make(chan struct{}), denied: map[string]bool{},
		count: newCount(),
	}
	go a.run(ctx)
	return a
}

// Stop ends the attack and returns its count.
func (a *Attack) Stop() Count {
	a.cancel()
	<-a.done
	return a.Count()
}

// Count returns the count so far.
func (a *Attack) Count() Count {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.count
	c.RefusedBy, c.Ways = copied(c.RefusedBy), copied(c.Ways)
	c.Samples = append([]string(nil), c.Samples...)
	return c
}

func newCount() Count { return Count{RefusedBy: map[string]int{}, Ways: map[string]int{}} }

// Plus is the sum of two counts; the times are the first ones.
func (c Count) Plus(other Count) Count {
	sum := newCount()
	for _, part := range []Count{c, other} {
		sum.Attempts += part.Attempts
		sum.Accepted += part.Accepted
		sum.Inconclusive += part.Inconclusive
		sum.Unanswered += part.Unanswered
		sum.Held += part.Held
		sum.HeldAnswered += part.HeldAnswered
		sum.Thawed += part.Thawed
		sum.ThawedLanded += part.ThawedLanded
		for state, n := range part.RefusedBy {
			sum.RefusedBy[state] += n
		}
		for way, n := range part.Ways {
			sum.Ways[way] += n
		}
		sum.Samples = append(sum.Samples, part.Samples...)
		if sum.Answered.IsZero() {
			sum.Answered = part.Answered
		}
		if sum.ReadOnlySince.IsZero() {
			sum.ReadOnlySince = part.ReadOnlySince
		}
	}
	return sum
}

func copied(m map[string]int) map[string]int {
	c := make(map[string]int, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

func (a *Attack) run(ctx context.Context) {
	defer close(a.done)
	old := &session{dsn: a.dsn}  // kept for the whole attack
	held := &session{dsn: a.dsn} // keeps a transaction open from one round to the next
	defer old.close()
	defer held.close()
	for ctx.Err() == nil {
		pause := a.round(ctx, old, held)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// round tries every way once.
func (a *Attack) round(ctx context.Context, old, held *session) (pause time.Duration) {
	conn, err := old.open(ctx)
	if err != nil {
		return pauseDown
	}
	statements, recovering, err := plan(ctx, conn)
	if err != nil {
		old.close()
		return pauseDown
	}
	a.answered(recovering)
	if recovering {
		statements = statements[:min(1, len(statements))] // a standby refuses all alike, and has a volume to catch up
	}
	for _, statement := range statements {
		a.tryAll(ctx, old, statement)
	}
	if len(statements) > 0 {
		a.tryHeld(ctx, held, statements[0])
	}
	return pauseUp
}

// tryAll tries a statement in every way, in the kept session and in one of its own.
func (a *Attack) tryAll(ctx context.Context, old *session, statement string) {
	fresh := &session{dsn: a.dsn} // one for all ways: to connect costs more than all of them
	defer fresh.close()
	for _, way := range ways {
		if ctx.Err() != nil {
			return
		}
		if a.denied[way.name] {
			continue
		}
		a.try(ctx, old, way, "old session", statement)
		a.try(ctx, fresh, way, "new session", statement)
	}
}

func (a *Attack) answered(recovering bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.count.Answered.IsZero() {
		a.count.Answered = time.Now()
	}
	if recovering && a.count.ReadOnlySince.IsZero() {
		a.count.ReadOnlySince = time.Now()
	}
}

// way is one way to write. Its statements come before and after the write; the last one commits.
type way struct {
	name   string
	before []string
	// autocommit: the write is a transaction by itself.
	autocommit bool
	after      []string
}

var ways = []way{
	{name: "autocommit", before: []string{"SET default_transaction_read_only = off"}, autocommit: true},
	{name: "plain", before: []string{"BEGIN READ WRITE"}},
	{name: "repeatable read", before: []string{"BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE", "SELECT 1 FROM holdfast.write_lease"}},
	{name: "serializable", before: []string{"BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE"}},
	{name: "constraints deferred", before: []string{"BEGIN READ WRITE", "SET CONSTRAINTS ALL DEFERRED"}},
	{name: "constraints immediate", before: []string{"BEGIN READ WRITE", "SET CONSTRAINTS ALL IMMEDIATE"}},
	{name: "constraints immediate late", before: []string{"BEGIN READ WRITE"}, after: []string{"SET CONSTRAINTS ALL IMMEDIATE"}},
	{name: "replica role", before: []string{"BEGIN READ WRITE", "SET LOCAL session_replication_role = replica"}},
	{name: "savepoint", before: []string{"BEGIN READ WRITE", "SAVEPOINT a"}, after: []string{"RELEASE SAVEPOINT a"}},
}

func (a *Attack) try(ctx context.Context, s *session, w way, kind, statement string) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	conn, err := s.open(ctx)
	if err != nil {
		return
	}
	err = write(ctx, conn, w, statement)
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) && refusal.Code == insufficientPrivilege {
		a.denied[w.name] = true // the role may not even try; once is enough
	}
	a.note(kind+", "+w.name, err)
	if conn.PgConn().TxStatus() != 'I' {
		if _, err := conn.Exec(ctx, "ROLLBACK"); err != nil {
			s.close()
		}
	}
}

// write runs one transaction; nil means that the database committed it.
func write(ctx context.Context, conn *pgx.Conn, w way, statement string) error {
	for _, sql := range w.before {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	tag, err := conn.Exec(ctx, statement)
	if err != nil {
		if w.autocommit {
			return unanswered(err)
		}
		return err
	}
	if tag.RowsAffected() == 0 {
		return errNothingWritten
	}
	for _, sql := range w.after {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	if w.autocommit {
		return nil
	}
	return commit(ctx, conn)
}

var (
	errNothingWritten = errors.New("the statement wrote no row")
	errRolledBack     = errors.New("COMMIT was answered with ROLLBACK")
	// errNoAnswer: the database may have committed, or not.
	errNoAnswer = errors.New("the commit was sent and not answered")
)

func commit(ctx context.Context, conn *pgx.Conn) error {
	if conn.IsClosed() {
		return pgconn.ErrConnClosed
	}
	tag, err := conn.Exec(ctx, "COMMIT")
	if err == nil && tag.String() != "COMMIT" {
		return errRolledBack
	}
	return unanswered(err)
}

// unanswered marks the error of a commit that came back with nothing from the database. pgconn.SafeToRetry does not tell
// whether it went out: where the connection breaks under the answer, that says the same as of one that was closed before.
func unanswered(err error) error {
	var refusal *pgconn.PgError
	if err == nil || errors.As(err, &refusal) {
		return err
	}
	return fmt.Errorf("%w: %w", errNoAnswer, err)
}

// tryHeld commits the transaction that was opened a round before, and opens the next one.
func (a *Attack) tryHeld(ctx context.Context, s *session, statement string) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	if s.conn != nil && !s.conn.IsClosed() && s.conn.PgConn().TxStatus() == 'T' {
		a.note("held transaction", commit(ctx, s.conn))
	}
	conn, err := s.open(ctx)
	if err != nil {
		return
	}
	if conn.PgConn().TxStatus() != 'I' {
		s.close()
		return
	}
	if _, err := conn.Exec(ctx, "BEGIN READ WRITE"); err != nil {
		a.note("held transaction", err)
		s.close()
		return
	}
	if _, err := conn.Exec(ctx, statement); err != nil {
		a.note("held transaction", err)
		s.close()
	}
}

// note counts one outcome.
func (a *Attack) note(way string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var refusal *pgconn.PgError
	state := ""
	if errors.As(err, &refusal) {
		state = stateOf(refusal)
	}
	switch {
	case err == nil:
		a.count.Attempts++
		a.count.Accepted++
		a.count.Ways[way]++
		a.sample("accepted: " + way)
	case state == Fenced || state == ReadOnly:
		a.count.Attempts++
		a.count.RefusedBy[state]++
		a.count.Ways[way]++
	case state != "" && !strings.HasPrefix(state, "57"), errors.Is(err, errNothingWritten), errors.Is(err, errRolledBack):
		a.count.Inconclusive++
		a.sample(way + ": " + err.Error())
	case errors.Is(err, errNoAnswer):
		a.count.Unanswered++
	}
	// Anything else is a connection that broke before the commit, or a server on its way down (class 57), which says so
	// instead of committing: nothing to count.
}

// stateOf is the SQLSTATE of a refusal. A standby refuses some ways at BEGIN already, with another one than for a write.
func stateOf(refusal *pgconn.PgError) string {
	const featureNotSupported = "0A000"
	standby := strings.Contains(refusal.Message, "recovery") || strings.Contains(refusal.Message, "hot standby")
	if refusal.Code == featureNotSupported && standby {
		return ReadOnly
	}
	return refusal.Code
}

func (a *Attack) sample(text string) {
	if len(a.count.Samples) < maxSamples && !slices.Contains(a.count.Samples, text) {
		a.count.Samples = append(a.count.Samples, text)
	}
}

// session is a connection that is opened again when it broke.
type session struct {
	dsn  string
	conn *pgx.Conn
}

func (s *session) open(ctx context.Context) (*pgx.Conn, error) {
	if s.conn != nil && !s.conn.IsClosed() {
		return s.conn, nil
	}
	config, err := pgx.ParseConfig(s.dsn)
	if err != nil {
		return nil, err
	}
	config.ConnectTimeout = connectTimeout
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	config.RuntimeParams["application_name"] = "holdfast-drill-split-brain"
	config.RuntimeParams["statement_timeout"] = "2000"
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	s.conn = conn
	return conn, nil
}

func (s *session) close() {
	if s.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.conn.Close(ctx)
	s.conn = nil
}
