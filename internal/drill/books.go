package drill

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/drill/acquirer"
	"holdfast/internal/drill/splitbrain"
	"holdfast/internal/drill/verdict"
)

// bookedEntries is the condition that the entries of the payment p book its amount: in its currency they add up to zero,
// and the debits to what was charged.
const bookedEntries = `(
	SELECT sum(e.amount) = 0 AND sum(e.amount) FILTER (WHERE e.amount > 0) = p.amount AND bool_and(e.currency = p.currency)
	FROM payd.ledger_entries AS e WHERE e.payment_id = p.id)`

// keptSQL finds payments whose money is booked: the payment is approved and so are its entries. $1 are payment ids.
const keptSQL = `
	SELECT p.id FROM payd.payments AS p
	WHERE p.id = ANY ($1::text[]) AND p.status = 'approved'
	  AND ` + bookedEntries

// keptByKeySQL is the same for payments that are known by merchant ($1) and idempotency key ($2).
const keptByKeySQL = `
	SELECT p.merchant, p.idempotency_key FROM payd.payments AS p
	JOIN unnest($1::text[], $2::text[]) AS k (merchant, idempotency_key) USING (merchant, idempotency_key)
	WHERE p.status = 'approved'
	  AND ` + bookedEntries

// bookedSQL is the same for payments that are known by charge reference ($1), amount ($2) and currency ($3).
const bookedSQL = `
	SELECT p.charge_reference FROM payd.payments AS p
	JOIN unnest($1::text[], $2::bigint[], $3::text[]) AS c (charge_reference, amount, currency) USING (charge_reference, amount, currency)
	WHERE p.status = 'approved'
	  AND ` + bookedEntries

// plantedSQL counts the transactions whose new keys begin with one of the marks $1. A key of two columns has the mark in one.
const plantedSQL = `
	SELECT count(*) FROM (
		SELECT id FROM payd.payments WHERE id LIKE ANY ($1::text[])
		UNION SELECT id FROM payd.accounts WHERE id LIKE ANY ($1::text[])
		UNION SELECT payment_id FROM payd.ledger_entries WHERE payment_id LIKE ANY ($1::text[])
	) AS planted`

// undecidedSQL counts payments that somebody has yet to finish.
const undecidedSQL = "SELECT count(*) FROM payd.payments WHERE status = 'pending'"

// ledgerSQL adds all entries up, per currency; debits are positive.
const ledgerSQL = "SELECT currency, sum(amount)::bigint, count(*) FROM payd.ledger_entries GROUP BY currency"

// unbalancedSQL counts payments whose own entries do not balance, which the sums per currency could hide.
const unbalancedSQL = `
	SELECT count(*) FROM (
		SELECT FROM payd.ledger_entries GROUP BY payment_id, currency HAVING sum(amount) <> 0
	) AS unbalanced`

// postgresBooks reads payd's tables.
type postgresBooks struct{ conn *pgx.Conn }

func (postgresDatabases) books(ctx context.Context, dsn string) (books, error) {
	conn, err := connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	var recovering bool
	if err := conn.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&recovering); err != nil || recovering {
		closeConn(conn)
		if err == nil {
			err = fmt.Errorf("the database is a standby, not the writer")
		}
		return nil, err
	}
	return postgresBooks{conn}, nil
}

func (b postgresBooks) close() { closeConn(b.conn) }

// lookupBatch bounds one look-up.
const lookupBatch = 5_000

func (b postgresBooks) kept(ctx context.Context, ids []string) (map[string]bool, error) {
	found := make(map[string]bool, len(ids))
	for start := 0; start < len(ids); start += lookupBatch {
		rows, err := b.conn.Query(ctx, keptSQL, ids[start:min(start+lookupBatch, len(ids))])
		if err != nil {
			return nil, err
		}
		var id string
		if _, err := pgx.ForEachRow(rows, []any{&id}, func() error { found[id] = true; return nil }); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (b postgresBooks) keptByKey(ctx context.Context, keys [][2]string) (map[[2]string]bool, error) {
	found := make(map[[2]string]bool, len(keys))
	for start := 0; start < len(keys); start += lookupBatch {
		var merchants, idempotency []string
		for _, key := range keys[start:min(start+lookupBatch, len(keys))] {
			merchants, idempotency = append(merchants, key[0]), append(idempotency, key[1])
		}
		rows, err := b.conn.Query(ctx, keptByKeySQL, merchants, idempotency)
		if err != nil {
			return nil, err
		}
		var key [2]string
		if _, err := pgx.ForEachRow(rows, []any{&key[0], &key[1]}, func() error { found[key] = true; return nil }); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (b postgresBooks) booked(ctx context.Context, charges []acquirer.Charge) (map[string]bool, error) {
	found := make(map[string]bool, len(charges))
	for batch := range slices.Chunk(charges, lookupBatch) {
		var references, currencies []string
		var amounts []int64
		for _, c := range batch {
			references, amounts, currencies = append(references, c.Reference), append(amounts, c.Amount), append(currencies, c.Currency)
		}
		rows, err := b.conn.Query(ctx, bookedSQL, references, amounts, currencies)
		if err != nil {
			return nil, err
		}
		var reference string
		if _, err := pgx.ForEachRow(rows, []any{&reference}, func() error { found[reference] = true; return nil }); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (b postgresBooks) undecided(ctx context.Context) (n int, err error) {
	err = b.conn.QueryRow(ctx, undecidedSQL).Scan(&n)
	return n, err
}

func (b postgresBooks) planted(ctx context.Context) (n int, err error) {
	err = b.conn.QueryRow(ctx, plantedSQL, []string{splitbrain.Mark + "%", splitbrain.ThawedMark + "%"}).Scan(&n)
	return n, err
}

func (b postgresBooks) ledger(ctx context.Context) (verdict.Ledger, error) {
	ledger := verdict.Ledger{Balanced: true, Sums: map[string]int64{}}
	rows, err := b.conn.Query(ctx, ledgerSQL)
	if err != nil {
		return verdict.Ledger{Sums: map[string]int64{}}, err
	}
	var currency string
	var sum, entries int64
	_, err = pgx.ForEachRow(rows, []any{&currency, &sum, &entries}, func() error {
		ledger.Sums[currency] = sum
		ledger.Entries += entries
		ledger.Balanced = ledger.Balanced && sum == 0
		return nil
	})
	if err != nil {
		return verdict.Ledger{Sums: map[string]int64{}}, err
	}
	if err := b.conn.QueryRow(ctx, unbalancedSQL).Scan(&ledger.UnbalancedPayments); err != nil {
		return verdict.Ledger{Sums: map[string]int64{}}, err
	}
	ledger.Balanced = ledger.Balanced && ledger.UnbalancedPayments == 0 && ledger.Entries > 0
	return ledger, nil
}
