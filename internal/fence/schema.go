package fence

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
)

// SchemaVersion is the version of the schema that this package installs.
const SchemaVersion = 4

//go:embed sql/schema.sql
var schemaSQL string

// EnsureSchema installs the schema, or brings an older one up to date, in one transaction under an advisory lock. It
// does nothing if the schema is already of this version or of a later one, and returns [ErrStandby], having done
// nothing, on a standby. The triggers of an older version stay in force; [Protect] replaces them.
func EnsureSchema(ctx context.Context, db DB) error {
	var inRecovery bool
	if err := db.QueryRow(ctx, "SELECT pg_catalog.pg_is_in_recovery()").Scan(&inRecovery); err != nil {
		return fmt.Errorf("install the write fence: %w", err)
	}
	if inRecovery {
		return fmt.Errorf("install the write fence: %w", ErrStandby)
	}
	var version int
	err := db.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM holdfast.schema_version").Scan(&version)
	if err != nil && !missing(err) {
		return fmt.Errorf("read the write fence's version: %w", err)
	}
	if err == nil && version >= SchemaVersion {
		return nil
	}
	// Without arguments the whole file goes out as one simple query, which PostgreSQL runs as one transaction.
	if _, err := db.Exec(ctx, schemaSQL); err != nil {
		return fmt.Errorf("install the write fence, version %d: %w", SchemaVersion, err)
	}
	return nil
}

// Protect puts the fence on tables (named as in SQL, "schema.table" or found by the search path), or replaces an older
// version's triggers, which waits at most 10 s for the transactions that use the table. It is idempotent. The caller must
// own the tables; the roles that write to them need no right on the schema but those that it gives PUBLIC.
func Protect(ctx context.Context, db DB, tables ...string) error {
	if len(tables) == 0 {
		return errors.New("protect: no table named")
	}
	for _, table := range tables {
		if _, err := db.Exec(ctx, "SELECT holdfast.protect($1::text::regclass)", table); err != nil {
			if sqlState(err) == "42P01" {
				return fmt.Errorf("protect table %s: %w", table, err)
			}
			return explain("protect table "+table, err)
		}
	}
	return nil
}

// Protected lists the tables that carry the fence, as "schema.table", in order.
func Protected(ctx context.Context, db DB) ([]string, error) {
	rows, err := db.Query(ctx, "SELECT schema_name || '.' || table_name FROM holdfast.protected_tables ORDER BY 1")
	if err != nil {
		return nil, explain("list the protected tables", err)
	}
	defer rows.Close()
	var tables []string
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			return nil, explain("list the protected tables", err)
		}
		tables = append(tables, table)
	}
	return tables, explain("list the protected tables", rows.Err())
}
