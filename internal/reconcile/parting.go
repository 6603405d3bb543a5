package reconcile

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// The search for the last common transaction goes back in steps, and not for ever.
const (
	partingStep  = 5_000
	partingSteps = 400
)

// partingOfHistories returns the commit time of the newest transaction that both databases know with the same commit
// timestamp. Past the fork both give the same transaction ids to different transactions, whose timestamps differ; so
// the pair is common history, and whatever only the old database committed came later than it (but for the slack).
// A non-empty because says why that can't be told, and every row has to be compared.
func (o Options) partingOfHistories(ctx context.Context, s Summary) (at time.Time, because string, err error) {
	if s.Old.SystemIdentifier != s.Survivor.SystemIdentifier {
		return time.Time{}, "the databases are not copies of one another", nil
	}
	for _, conn := range []*pgx.Conn{o.Old, o.Survivor} {
		var on bool
		if err := conn.QueryRow(ctx, "SELECT current_setting('track_commit_timestamp')::bool").Scan(&on); err != nil {
			return time.Time{}, "", fmt.Errorf("read track_commit_timestamp: %w", err)
		}
		if !on {
			return time.Time{}, "track_commit_timestamp is off", nil
		}
	}
	var next int64
	if err := o.Old.QueryRow(ctx, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").Scan(&next); err != nil {
		return time.Time{}, "", fmt.Errorf("read the old database's transaction counter: %w", err)
	}
	for range partingSteps {
		first := max(3, next-partingStep) // 3 is the first transaction id of a cluster
		mine, err := commitTimes(ctx, o.Old, first, next)
		if err != nil {
			return time.Time{}, "", err
		}
		theirs, err := commitTimes(ctx, o.Survivor, first, next)
		if err != nil {
			return time.Time{}, "", err
		}
		for id := next; id >= first; id-- {
			if a, known := mine[id]; known && a.Equal(theirs[id]) {
				return a, "", nil
			}
		}
		if next = first - 1; next < 3 {
			break
		}
	}
	return time.Time{}, "no transaction has a commit timestamp that both databases know", nil
}

// commitTimes returns the commit timestamps of the transactions from first to last that have one.
func commitTimes(ctx context.Context, conn *pgx.Conn, first, last int64) (map[int64]time.Time, error) {
	rows, err := conn.Query(ctx, `
		SELECT id, at FROM (
			SELECT id, pg_xact_commit_timestamp((id % 4294967296)::text::xid) AS at
			FROM generate_series($1::bigint, $2::bigint) AS id
			WHERE id % 4294967296 > 2
		) AS t WHERE at IS NOT NULL`, first, last)
	if err != nil {
		return nil, fmt.Errorf("read commit timestamps: %w", err)
	}
	times := map[int64]time.Time{}
	var id int64
	var at time.Time
	if _, err := pgx.ForEachRow(rows, []any{&id, &at}, func() error { times[id] = at; return nil }); err != nil {
		return nil, fmt.Errorf("read commit timestamps: %w", err)
	}
	return times, nil
}
