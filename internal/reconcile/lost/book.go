package lost

import (
	"context"
	_ "embed"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Entry is what the surviving ledger says of a payment.
type Entry struct {
	PaymentID string
	Reference string
	Status    string
	Amount    int64
	Currency  string
	// Booked: it has ledger entries, and they add up to zero.
	Booked bool
}

// Book is the surviving ledger's part that concerns a report, by charge reference.
type Book map[string]Entry

// lookupBatch is how many references are looked up at a time. They are not indexed, so every batch reads the table.
const lookupBatch = 50_000

//go:embed book.sql
var bookSQL string

// HasPayments says whether a database has payd's tables.
func HasPayments(ctx context.Context, conn *pgx.Conn) (bool, error) {
	var there bool
	err := conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", paymentsTable).Scan(&there)
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", paymentsTable, err)
	}
	return there, nil
}

// ReadBook looks payments up by their charge references. It is to be read after the acquirer's list: payd commits a payment
// before it charges, so a charge in the list that is not in the book then was lost.
func ReadBook(ctx context.Context, conn *pgx.Conn, references []string) (Book, error) {
	book := Book{}
	for batch := range slices.Chunk(references, lookupBatch) {
		rows, err := conn.Query(ctx, bookSQL, batch)
		if err != nil {
			return nil, fmt.Errorf("look payments up in the surviving ledger: %w", err)
		}
		var e Entry
		_, err = pgx.ForEachRow(rows, []any{&e.PaymentID, &e.Reference, &e.Status, &e.Amount, &e.Currency, &e.Booked}, func() error {
			book[e.Reference] = e
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("look payments up in the surviving ledger: %w", err)
		}
	}
	return book, nil
}
