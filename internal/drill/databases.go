package drill

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/drill/acquirer"
	"holdfast/internal/drill/splitbrain"
	"holdfast/internal/drill/verdict"
)

// databases is what the drill does with databases behind the twin's back.
type databases interface {
	// books opens a site's database for counting.
	books(ctx context.Context, dsn string) (books, error)
	// streaming reports whether the standby replays what the active site's database has written by now, and if not why.
	streaming(ctx context.Context, active, standby string) (bool, string, error)
	// attack starts to write to a database that must not take writes.
	attack(ctx context.Context, dsn string) attack
	// hold opens transactions on a database that takes writes, and leaves them open after their writes.
	hold(ctx context.Context, dsn string) (held, error)
}

type attack interface {
	Count() splitbrain.Count
	Stop() splitbrain.Count
}

// books reads one site's ledger.
type books interface {
	// kept returns which of the payments the ledger has: the payment and its balanced entries.
	kept(ctx context.Context, ids []string) (map[string]bool, error)
	// keptByKey is kept for payments whose id nobody was told; a key is the merchant and its idempotency key.
	keptByKey(ctx context.Context, keys [][2]string) (map[[2]string]bool, error)
	// booked returns the references of the charges that the ledger has, over the same amount.
	booked(ctx context.Context, charges []acquirer.Charge) (map[string]bool, error)
	// undecided is how many payments the ledger has that were neither charged nor turned down yet.
	undecided(ctx context.Context) (int, error)
	// planted is how many of the drill's own transactions the ledger has; none of them may get into it.
	planted(ctx context.Context) (int, error)
	// ledger adds all entries up.
	ledger(ctx context.Context) (verdict.Ledger, error)
	close()
}

type postgresDatabases struct{}

func (postgresDatabases) attack(ctx context.Context, dsn string) attack {
	return splitbrain.Start(ctx, dsn)
}

// heldTransactions is how many transactions are frozen with a database.
const heldTransactions = 8

func (postgresDatabases) hold(ctx context.Context, dsn string) (held, error) {
	return splitbrain.Hold(ctx, dsn, heldTransactions)
}

// streaming asks the standby's own WAL receiver, and compares positions: a receiver that has connected and replays
// nothing is not a standby.
func (postgresDatabases) streaming(ctx context.Context, active, standby string) (bool, string, error) {
	var recovering bool
	var receiver string
	const state = "SELECT pg_is_in_recovery(), coalesce((SELECT status FROM pg_stat_wal_receiver), 'none')"
	err := query(ctx, standby, state, nil, &recovering, &receiver)
	switch {
	case err != nil:
		return false, "the returned database does not answer", err
	case !recovering:
		return false, "the returned database is not a standby yet", nil
	case receiver != "streaming":
		return false, "the returned database's WAL receiver says " + receiver, nil
	}
	var written string
	if err := query(ctx, active, "SELECT pg_current_wal_flush_lsn()::text", nil, &written); err != nil {
		return false, "the active database does not say its position", err
	}
	return caughtUp(ctx, standby, written)
}

func caughtUp(ctx context.Context, standby, written string) (bool, string, error) {
	var caught bool
	var replayed string
	const position = `SELECT coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false),
		coalesce(pg_last_wal_replay_lsn()::text, 'nothing')`
	err := poll(ctx, pollEvery, func(ctx context.Context) (bool, string, error) {
		err := query(ctx, standby, position, []any{written}, &caught, &replayed)
		return caught, "", err
	})
	if err != nil {
		return false, fmt.Sprintf("the returned database has replayed %s, the active one had written %s", replayed, written), err
	}
	return true, "", nil
}

// query runs one statement, which returns one row, on a connection of its own.
func query(ctx context.Context, dsn, sql string, args []any, into ...any) error {
	conn, err := connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	return conn.QueryRow(ctx, sql, args...).Scan(into...)
}

func connect(ctx context.Context, dsn string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("connect to a database: %w", err)
	}
	config.ConnectTimeout = 3 * time.Second
	config.RuntimeParams["application_name"] = "holdfast-drill"
	return pgx.ConnectConfig(ctx, config)
}

func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}
