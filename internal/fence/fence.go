package fence

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/internal/term"
)

// Refused is the SQLSTATE of a commit that the fence refused. The transaction is rolled back and may be retried.
const Refused = "HF001"

// Errors that callers tell apart with errors.Is.
var (
	// ErrStandby: the database is in recovery, so nothing was changed.
	ErrStandby = errors.New("the database is a standby (in recovery)")
	// ErrNotInstalled: the schema "holdfast" is missing.
	ErrNotInstalled = errors.New("the write fence is not installed in this database: run 'holdfast fence install'")
	// ErrSealed: the term was sealed, and is never extended again (P9).
	ErrSealed = errors.New("the term is sealed")
	// ErrStaleTerm: the database has already seen a later term.
	ErrStaleTerm = errors.New("the database has seen a later term")
	// ErrNotSealed: Drain was called for a term that is not sealed.
	ErrNotSealed = errors.New("the term is not sealed")
	// ErrSealUnpublished: the lease's row is sealed, and what commits are checked by still lets them pass, until the lease runs out.
	ErrSealUnpublished = errors.New("the term is sealed in holdfast.write_lease, and commits still pass: is the trigger that publishes the lease disabled? " +
		"ALTER TABLE holdfast.write_lease ENABLE ALWAYS TRIGGER publish, and UPDATE holdfast.write_lease SET term = term publish it at once")
	// ErrServerChanged: the server restarted, or another one answers, since the sample was taken.
	ErrServerChanged = errors.New("another server answers than the one that was sampled")
	// ErrPreparedTransactions: max_prepared_transactions is not 0, and COMMIT PREPARED goes past the fence.
	ErrPreparedTransactions = errors.New("max_prepared_transactions is not 0, and COMMIT PREPARED would go past the fence: " +
		"set it to 0 and restart the server")
	// ErrPrivilege: the role may not see or end other roles' transactions, or may not change the lease.
	ErrPrivilege = errors.New("the database role may not do this (watching and ending other sessions takes " +
		"pg_read_all_stats and pg_signal_backend; changing the lease, its owner)")
)

// DB is what the fence needs of a connection; *pgx.Conn and *pgxpool.Pool satisfy it.
type DB interface {
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, arguments ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, arguments ...any) pgx.Row
}

// Lease is the row of holdfast.write_lease.
type Lease struct {
	Term term.Number
	// ValidUntil is a time on the database's own clock.
	ValidUntil time.Time
	// ServerStarted is the start of the postmaster that the lease was given to.
	ServerStarted time.Time
	SealedTerm    term.Number
	DrainedTerm   term.Number
	Renewal       int64
}

// State is what one [Sample] saw.
type State struct {
	// InRecovery says that the server is a standby.
	InRecovery bool
	// DatabaseTime is the server's clock at some instant during the call. Read the own clock after the call: then
	// every delay shortens what is derived from the two (P8).
	DatabaseTime  time.Time
	ServerStarted time.Time
	// Position is the server's WAL position (written on a writer, replayed on a standby), empty if it will not say.
	Position string
	// MaxPreparedTransactions must be 0.
	MaxPreparedTransactions int
	// Installed says that the schema is there; without it Lease and Terms are zero.
	Installed     bool
	SchemaVersion int
	Lease         Lease
	// Terms are the terms in holdfast.terms, ascending, and ServedBy is the site that recorded the newest of them.
	Terms    []term.Number
	ServedBy string
	// Pin is the newest pin, whatever became of it.
	Pin Pin
}

// LeaseValid reports whether commits passed at DatabaseTime.
func (s State) LeaseValid() bool {
	return s.Installed && !s.InRecovery && s.Lease.Term > s.Lease.SealedTerm &&
		s.LeaseHere() && s.Lease.ValidUntil.After(s.DatabaseTime)
}

// LeaseHere reports whether the row was given to this server since it started, however long ago.
func (s State) LeaseHere() bool {
	return s.Installed && s.Lease.ServerStarted.Equal(s.ServerStarted)
}

// IsRefused reports whether the error is a commit that the fence refused.
func IsRefused(err error) bool { return sqlState(err) == Refused }

//go:embed sql/sample.sql
var sampleSQL string

//go:embed sql/sample_v1.sql
var sampleV1SQL string

//go:embed sql/sample_bare.sql
var sampleBareSQL string

// Sample reads everything that the warden wants to know of a database, in one round trip. It works on a standby, with an
// older schema, and without one (each with one round trip more).
func Sample(ctx context.Context, db DB) (State, error) {
	s, err := sampleSchema(ctx, db, sampleSQL, true)
	if missing(err) {
		s, err = sampleSchema(ctx, db, sampleV1SQL, false)
	}
	if missing(err) {
		s = State{}
		err = db.QueryRow(ctx, sampleBareSQL).Scan(&s.InRecovery, &s.DatabaseTime, &s.ServerStarted, &s.MaxPreparedTransactions)
	}
	if err != nil {
		return State{}, fmt.Errorf("sample the database: %w", err)
	}
	return s, nil
}

func sampleSchema(ctx context.Context, db DB, sql string, pins bool) (State, error) {
	s := State{Installed: true}
	var (
		terms                    []int64
		forMS, leaseMS, marginMS int64
		confirmed, ended         *time.Time
		p                        = &s.Pin
		into                     = []any{
			&s.InRecovery, &s.DatabaseTime, &s.ServerStarted, &s.MaxPreparedTransactions,
			&s.Position, &s.SchemaVersion, &s.Lease.Term, &s.Lease.ValidUntil, &s.Lease.ServerStarted,
			&s.Lease.SealedTerm, &s.Lease.DrainedTerm, &s.Lease.Renewal, &terms, &s.ServedBy,
		}
	)
	if pins {
		into = append(into, &p.ID, &p.Term, &p.Site, &p.PinnedAt, &p.ServerStarted, &forMS, &leaseMS, &marginMS, &p.By, &p.Reason,
			&confirmed, &ended)
	}
	if err := db.QueryRow(ctx, sql).Scan(into...); err != nil {
		return State{}, err
	}
	for _, n := range terms {
		s.Terms = append(s.Terms, term.Number(n))
	}
	if p.ID == 0 {
		s.Pin = Pin{}
		return s, nil
	}
	p.For, p.Lease, p.Margin = milliseconds(forMS), milliseconds(leaseMS), milliseconds(marginMS)
	p.Confirmed = confirmed != nil
	if ended != nil {
		p.EndedAt = *ended
	}
	return s, nil
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// explain names the operation and turns what PostgreSQL says into the package's errors.
func explain(operation string, err error) error {
	switch {
	case err == nil:
		return nil
	case missing(err):
		return fmt.Errorf("%s: %w (%w)", operation, ErrNotInstalled, err)
	case sqlState(err) == "25006": // read_only_sql_transaction
		return fmt.Errorf("%s: %w (%w)", operation, ErrStandby, err)
	case sqlState(err) == "42501": // insufficient_privilege
		return fmt.Errorf("%s: %w (%w)", operation, ErrPrivilege, err)
	}
	return fmt.Errorf("%s: %w", operation, err)
}

// missing: invalid_schema_name, undefined_table, undefined_function or undefined_column, so the schema is not there,
// or is older than this program.
func missing(err error) bool {
	switch sqlState(err) {
	case "3F000", "42P01", "42883", "42703":
		return true
	}
	return false
}

func sqlState(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code
	}
	return ""
}
