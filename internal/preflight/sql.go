package preflight

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/internal/fence"
	"holdfast/internal/operator"
)

// Login implements [SQL] with real connections.
type Login struct {
	// Password reads the site's secret in the site's own region.
	Password func(ctx context.Context, site operator.Site) (string, error)
}

var _ SQL = Login{}

// connectLimit bounds one connection; a secondary's writer endpoint may not answer at all.
const connectLimit = 6 * time.Second

// connect logs in at the first of the site's endpoints that answers.
func (l Login) connect(ctx context.Context, site operator.Site) (*pgx.Conn, error) {
	password, err := l.Password(ctx, site)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSecret, err)
	}
	errs := []error{fmt.Errorf("%w: site %s", ErrUnreachable, site.Name)}
	for _, dsn := range site.DSNs(password) {
		attempt, cancel := context.WithTimeout(ctx, connectLimit)
		conn, err := pgx.Connect(attempt, dsn)
		cancel()
		if err == nil {
			return conn, nil
		}
		if refusal := new(pgconn.PgError); errors.As(err, &refusal) && (refusal.Code == "28P01" || refusal.Code == "28000") {
			return nil, fmt.Errorf("%w: %s", ErrPassword, refusal.Message)
		}
		errs = append(errs, err) // pgx hides the password
	}
	return nil, errors.Join(errs...)
}

// Look implements [SQL].
func (l Login) Look(ctx context.Context, site operator.Site) (DatabaseView, error) {
	conn, err := l.connect(ctx, site)
	if err != nil {
		return DatabaseView{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	view := DatabaseView{}
	if view.State, err = fence.Sample(ctx, conn); err != nil {
		return DatabaseView{}, fmt.Errorf("look at the database of site %s: %w", site.Name, err)
	}
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_version')").Scan(&view.ServerVersion); err != nil {
		return DatabaseView{}, fmt.Errorf("ask the database of site %s for its version: %w", site.Name, err)
	}
	if view.State.Installed {
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM holdfast.protected_tables").Scan(&view.ProtectedTables); err != nil {
			return DatabaseView{}, fmt.Errorf("count the tables behind the fence of site %s: %w", site.Name, err)
		}
	}
	return view, nil
}

// Clock implements [SQL].
func (l Login) Clock(ctx context.Context, site operator.Site) (Clock, error) {
	conn, err := l.connect(ctx, site)
	if err != nil {
		return nil, err
	}
	return databaseClock{conn}, nil
}

type databaseClock struct{ conn *pgx.Conn }

func (c databaseClock) Now(ctx context.Context) (now time.Time, err error) {
	err = c.conn.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now)
	return now, err
}

func (c databaseClock) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), connectLimit)
	defer cancel()
	_ = c.conn.Close(ctx)
}
