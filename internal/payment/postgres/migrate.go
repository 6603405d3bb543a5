package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"holdfast/internal/fence"
	"holdfast/internal/payment"
)

//go:embed migrations/*.sql
var migrations embed.FS

// SchemaVersion is the version of the schema "payd" that this program needs: the newest migration.
const SchemaVersion = 2

// unreleasedVersion kept idempotency keys in a table of their own (ADR 0018).
const unreleasedVersion = 1

const versionTable = "payd.schema_migrations"

// Tables are the tables behind the write fence.
var Tables = []string{"payd.payments", "payd.accounts", "payd.ledger_entries"}

const (
	// migrationLock is an advisory lock that goose holds for the whole migration.
	migrationLock = 5217480117322002
	// lockTries at one per second is how long another process's migration is waited for.
	lockTries = 30
)

// Migrate installs the write fence and brings the schema "payd" up to date, under an advisory lock. It returns
// [fence.ErrStandby] on a standby, and [payment.ErrNoLease] if there is something to do on a database that has served
// but holds no lease now: a site that was replaced must not change its copy.
func Migrate(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	state, err := fence.Sample(ctx, pool)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if state.InRecovery {
		return fmt.Errorf("migrate: %w", fence.ErrStandby)
	}
	if upToDate(ctx, pool, state) {
		return nil
	}
	if version, err := schemaVersion(ctx, pool); err == nil && version == unreleasedVersion {
		return fmt.Errorf("migrate: the schema \"payd\" is of version %d, which was never released and can't be brought to %d: "+
			"if it holds nothing to keep, drop it (DROP SCHEMA payd CASCADE)", version, SchemaVersion)
	}
	if len(state.Terms) > 0 && !state.LeaseValid() {
		return fmt.Errorf("migrate: %w", payment.ErrNoLease)
	}
	if err := fence.EnsureSchema(ctx, pool); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if err := up(ctx, pool, log); err != nil {
		return err
	}
	if err := fence.Protect(ctx, pool, Tables...); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

func schemaVersion(ctx context.Context, pool *pgxpool.Pool) (version int64, err error) {
	err = pool.QueryRow(ctx, "SELECT coalesce(max(version_id), 0) FROM "+versionTable+" WHERE is_applied").Scan(&version)
	return version, err
}

// upToDate: fence, schema and protection are all there. Any doubt is a no.
func upToDate(ctx context.Context, pool *pgxpool.Pool, state fence.State) bool {
	if !state.Installed || state.SchemaVersion < fence.SchemaVersion {
		return false
	}
	version, err := schemaVersion(ctx, pool)
	if err != nil || version < SchemaVersion {
		return false
	}
	var protected int
	err = pool.QueryRow(ctx, "SELECT count(*) FROM holdfast.protected_tables "+
		"WHERE always AND up_to_date AND schema_name || '.' || table_name = ANY ($1)", Tables).Scan(&protected)
	return err == nil && protected == len(Tables)
}

func up(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) (err error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	// goose's own table lives in the schema, so the schema comes first.
	create := fmt.Sprintf("SELECT pg_advisory_xact_lock(%d); CREATE SCHEMA IF NOT EXISTS payd", migrationLock)
	if _, err := pool.Exec(ctx, create); err != nil {
		return fmt.Errorf("migrate: create the schema: %w", err)
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(migrationLock), lock.WithLockTimeout(1, lockTries),
		lock.WithUnlockTimeout(1, 3))
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	db := stdlib.OpenDBFromPool(pool)
	defer func() { err = errors.Join(err, db.Close()) }()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithTableName(versionTable),
		goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	for _, r := range results {
		log.Info("migrated the schema", "version", r.Source.Version, "took", r.Duration)
	}
	return nil
}
