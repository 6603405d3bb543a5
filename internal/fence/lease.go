package fence

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/term"
)

//go:embed sql/extend.sql
var extendSQL string

//go:embed sql/why.sql
var whySQL string

// ExtendOn lets commits pass under the term until validUntil, a time on the database's own clock that the caller derived
// from a [Sample] (P8), on the server that was sampled: if the one that answers was started at another time than
// serverStarted it returns [ErrServerChanged] and changes nothing, because after an instance failover the clock is another
// one. For one term and server validUntil and renewal never move backwards, so a late, older extension changes nothing.
// Errors: [ErrSealed], [ErrStaleTerm], [ErrPreparedTransactions], [ErrStandby], [ErrNotInstalled].
func ExtendOn(ctx context.Context, db DB, serverStarted time.Time, n term.Number, validUntil time.Time, renewal int64) error {
	operation := fmt.Sprintf("extend the write lease of term %d", n)
	var current, sealed term.Number
	var started time.Time
	var prepared int
	err := db.QueryRow(ctx, extendSQL, n, validUntil, renewal, serverStarted).Scan(&current)
	if err == nil {
		return nil
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return explain(operation, err)
	}
	// Nothing was updated: ask why. The answer may be newer than the refusal; it is only for the error.
	err = db.QueryRow(ctx, whySQL).Scan(&current, &sealed, &started, &prepared)
	switch {
	case err != nil:
		return explain(operation, err)
	case prepared != 0:
		return fmt.Errorf("%s: %w", operation, ErrPreparedTransactions)
	case !started.Equal(serverStarted):
		return fmt.Errorf("%s: %w (started %s, sampled %s)", operation, ErrServerChanged,
			started.Format(time.RFC3339Nano), serverStarted.Format(time.RFC3339Nano))
	case n <= sealed:
		return fmt.Errorf("%s: %w (up to term %d)", operation, ErrSealed, sealed)
	}
	return fmt.Errorf("%s: %w (%d)", operation, ErrStaleTerm, current)
}

// PublishedEnd is the end that commits are checked against, on the database's clock. It is later than [Lease.ValidUntil] if
// the last extension was rolled back, and earlier if the term is sealed. Zero if the schema is older than version 4, or no
// lease was ever given.
func PublishedEnd(ctx context.Context, db DB) (time.Time, error) {
	var end *time.Time
	err := db.QueryRow(ctx, "SELECT holdfast.from_microseconds(pg_catalog.pg_sequence_last_value('holdfast.lease_until'::regclass))").Scan(&end)
	switch {
	case missing(err) || err == nil && end == nil:
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, fmt.Errorf("read the end of the write lease: %w", err)
	}
	return *end, nil
}

//go:embed sql/record_term.sql
var recordTermSQL string

// RecordTerm adds the term to the database's lineage with the site that serves it. Recording the same again changes
// nothing; a term below the newest one, or one that another site recorded, is [ErrStaleTerm].
func RecordTerm(ctx context.Context, db DB, n term.Number, site string) error {
	operation := fmt.Sprintf("record term %d of site %s", n, site)
	var recorded string
	var newest term.Number
	// A sibling that records the same term at the same moment is waited for, but its row is not in the statement's snapshot:
	// the second statement sees it.
	for range 2 {
		if err := db.QueryRow(ctx, recordTermSQL, n, site).Scan(&recorded, &newest); err != nil {
			return explain(operation, err)
		}
		if recorded != "" || newest > n {
			break
		}
	}
	if recorded != site {
		return fmt.Errorf("%s: %w (the newest is %d; this term's site is %q)", operation, ErrStaleTerm, newest, recorded)
	}
	return nil
}
