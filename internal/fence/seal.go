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

// DefaultGrace is how long [Drain] lets transactions that are older than the seal end by themselves.
const DefaultGrace = 500 * time.Millisecond

// pollEvery is how often Drain looks whether the old transactions are gone.
const pollEvery = 20 * time.Millisecond

//go:embed sql/seal.sql
var sealSQL string

// Seal stops writing for good under the term and all before it: from its commit on, no transaction passes its check under
// them, and no extension of them is accepted (P9). Those that had passed it before are [Drain]'s. Sealing again changes
// nothing. A term below the row's is [ErrStaleTerm].
func Seal(ctx context.Context, db DB, n term.Number) error {
	operation := fmt.Sprintf("seal term %d", n)
	var current term.Number
	var sealed bool
	if err := db.QueryRow(ctx, sealSQL, n).Scan(&current, &sealed); err != nil {
		return explain(operation, err)
	}
	if !sealed {
		return fmt.Errorf("%s: %w (%d)", operation, ErrStaleTerm, current)
	}
	return nil
}

// Drain is [DrainAfter] with [DefaultGrace].
func Drain(ctx context.Context, db DB, n term.Number) (position string, err error) {
	return DrainAfter(ctx, db, n, DefaultGrace)
}

//go:embed sql/drain_check.sql
var drainCheckSQL string

//go:embed sql/drain_list.sql
var drainListSQL string

//go:embed sql/drain_left.sql
var drainLeftSQL string

//go:embed sql/drain_done.sql
var drainDoneSQL string

// rounds is how often Drain lists what is older than the seal. The second round finds a transaction that imported its
// snapshot from one of the first (pg_export_snapshot).
const rounds = 2

// DrainAfter waits until every transaction and snapshot that is older than the seal of the term is gone; those that
// are still there after the grace period are terminated. Then it reads the position that contains everything ever
// committed under the term, and only then sets drained_term. Errors: [ErrNotSealed], [ErrSealUnpublished], [ErrStaleTerm] if
// a later term holds the lease, [ErrPreparedTransactions], [ErrPrivilege]; when ctx ends first nothing is recorded.
func DrainAfter(ctx context.Context, db DB, n term.Number, grace time.Duration) (position string, err error) {
	operation := fmt.Sprintf("drain term %d", n)
	var sealed, current term.Number
	var prepared int
	var published, allowed bool
	var boundary string
	// This statement sees the seal, so whatever begins after it sees it too. It also takes a transaction id, the
	// boundary: every snapshot or transaction that could have missed the seal has a smaller one.
	err = db.QueryRow(ctx, drainCheckSQL).Scan(&current, &sealed, &published, &prepared, &allowed, &boundary)
	switch {
	case err != nil:
		return "", explain(operation, err)
	case sealed < n:
		return "", fmt.Errorf("%s: %w (only terms up to %d are)", operation, ErrNotSealed, sealed)
	case current > n:
		return "", fmt.Errorf("%s: %w (%d)", operation, ErrStaleTerm, current)
	case !published:
		return "", fmt.Errorf("%s: %w", operation, ErrSealUnpublished)
	case prepared != 0:
		return "", fmt.Errorf("%s: %w", operation, ErrPreparedTransactions)
	case !allowed:
		return "", fmt.Errorf("%s: %w", operation, ErrPrivilege)
	}
	for range rounds {
		old, err := listOld(ctx, db, boundary)
		if err != nil {
			return "", explain(operation, err)
		}
		if len(old.pids) == 0 {
			break
		}
		if err := old.wait(ctx, db, grace); err != nil {
			return "", explain(operation, err)
		}
	}
	err = db.QueryRow(ctx, drainDoneSQL, n).Scan(&position)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("%s: %w", operation, ErrStaleTerm)
	}
	return position, explain(operation, err)
}

// oldTransactions are transactions by backend and start. A backend whose start differs serves another one by now.
type oldTransactions struct {
	pids          []int32
	backendStarts []*time.Time
	starts        []*time.Time
}

func listOld(ctx context.Context, db DB, boundary string) (oldTransactions, error) {
	var old oldTransactions
	rows, err := db.Query(ctx, drainListSQL, boundary)
	if err != nil {
		return old, err
	}
	defer rows.Close()
	for rows.Next() {
		var pid int32
		var backendStart, start *time.Time
		if err := rows.Scan(&pid, &backendStart, &start); err != nil {
			return old, err
		}
		old.pids = append(old.pids, pid)
		old.backendStarts = append(old.backendStarts, backendStart)
		old.starts = append(old.starts, start)
	}
	return old, rows.Err()
}

// wait polls until the transactions are gone, and terminates their backends once the grace period is over. The signal
// is repeated: a backend takes notice of it only between steps, and a stopped one when it goes on.
func (o oldTransactions) wait(ctx context.Context, db DB, grace time.Duration) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	began := time.Now()
	for {
		left := 0
		terminate := time.Since(began) >= grace
		if err := db.QueryRow(ctx, drainLeftSQL, o.pids, o.backendStarts, o.starts, terminate).Scan(&left); err != nil {
			return err
		}
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d transactions older than the seal are still there: %w", left, ctx.Err())
		case <-tick.C:
		}
	}
}
