package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/pgserver"
)

const (
	// startLimit bounds a server's start, crash recovery included.
	startLimit = 60 * time.Second
	// stopLimit bounds a fast shutdown, which waits for the standbys to confirm the last byte.
	stopLimit = 8 * time.Second
	// connectLimit bounds one connection to a server on this machine.
	connectLimit = 3 * time.Second
	// poll is how often a server is asked whether what was asked of it is done.
	poll = 20 * time.Millisecond
)

// start starts an instance's server in the part that its cluster's role and its own place give it, and waits until it
// takes connections. It does nothing if the server runs. The caller holds the cluster's work token.
func (a *Aurora) start(ctx context.Context, in *instance) error {
	a.mu.Lock()
	conninfo, volume := a.upstream(in), in.volume
	a.mu.Unlock()
	if volume == "" {
		return fmt.Errorf("start instance %s: it has no volume", in.spec.Identifier)
	}
	if err := a.writeRole(volume, conninfo); err != nil {
		return fmt.Errorf("start instance %s: %w", in.spec.Identifier, err)
	}
	server, err := a.fork(in)
	if err != nil {
		return fmt.Errorf("start instance %s: %w", in.spec.Identifier, err)
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := server.WaitReady(ctx); err != nil {
		a.detach(in)
		server.Kill()
		return fmt.Errorf("start instance %s: %w", in.spec.Identifier, err)
	}
	a.set(func() { in.ready = in.server == server })
	return nil
}

// fork starts the process under the lock, so that losing or freezing the Region can't miss it.
func (a *Aurora) fork(in *instance) (*pgserver.Server, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := in.cluster.region
	switch {
	case a.stopping:
		return nil, errStopped
	case in.server != nil:
		return in.server, nil
	case !r.up:
		return nil, errRegionDown
	case r.frozen:
		return nil, errRegionFrozen
	case in.lost:
		return nil, errZoneLost
	case in.deleting:
		return nil, errNotRunning
	}
	settings := a.settings()
	maps.Copy(settings, in.cluster.parameters)
	if in != in.cluster.head {
		settings["wal_retrieve_retry_interval"] = readerRetry
	}
	server, err := a.opt.Installation.Start(pgserver.Config{
		DataDir: in.volume, Host: in.host, Port: in.port, Settings: settings, LogFile: in.logFile,
	})
	if err != nil {
		return nil, err
	}
	in.server, in.ready = server, false
	a.spawnLocked(func() { a.watch(in, server) })
	a.broadcast()
	return server, nil
}

// detach takes a server from its instance, so that its end is no crash. It returns nil if there is none.
func (a *Aurora) detach(in *instance) *pgserver.Server {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.detachLocked(in)
}

func (a *Aurora) detachLocked(in *instance) *pgserver.Server {
	server := in.server
	in.server, in.ready = nil, false
	a.broadcast()
	return server
}

// stop stops an instance's server on purpose and reports whether it ended in order: everything flushed, and sent to
// the standbys that were connected.
func (a *Aurora) stop(in *instance) error {
	server := a.detach(in)
	if server == nil {
		return fmt.Errorf("stop instance %s: %w", in.spec.Identifier, errNotRunning)
	}
	ctx, cancel := context.WithTimeout(a.ctx, stopLimit)
	defer cancel()
	err := server.Stop(ctx)
	server.Kill() // it has ended; this only tidies up
	if err != nil {
		return fmt.Errorf("stop instance %s: %w", in.spec.Identifier, err)
	}
	return nil
}

// repoint makes a running standby follow another server without a restart.
func (a *Aurora) repoint(in *instance) error {
	a.mu.Lock()
	conninfo, volume, server := a.upstream(in), in.volume, in.server
	a.mu.Unlock()
	if server == nil || conninfo == "" {
		return nil
	}
	if err := a.writeRole(volume, conninfo); err != nil {
		return fmt.Errorf("point instance %s elsewhere: %w", in.spec.Identifier, err)
	}
	return server.Reload()
}

// connect opens a connection of the service's own user to an instance.
func (a *Aurora) connect(ctx context.Context, in *instance) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	url := dsn(adminUser, a.secrets.admin, in.host, in.port, "postgres") + "&default_query_exec_mode=simple_protocol"
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connect to instance %s: %w", in.spec.Identifier, err)
	}
	return conn, nil
}

// ask connects, runs one query that answers one value, and closes.
func ask[T any](ctx context.Context, a *Aurora, in *instance, query string, args ...any) (T, error) {
	var value T
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	conn, err := a.connect(ctx, in)
	if err != nil {
		return value, err
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, query, args...).Scan(&value); err != nil {
		return value, fmt.Errorf("ask instance %s: %w", in.spec.Identifier, err)
	}
	return value, nil
}

func dsn(user, password, host string, port int, database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(user, password), Host: net.JoinHostPort(host, strconv.Itoa(port)),
		Path: "/" + database, RawQuery: "sslmode=require",
	}
	return u.String()
}

// eventually repeats an attempt until it succeeds or ctx ends; the error then holds the last one.
func eventually(ctx context.Context, interval time.Duration, attempt func() error) error {
	for {
		err := attempt()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(interval):
		}
	}
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
