// Package pgservertest gives a test a real PostgreSQL server of its own, and takes it away at the end.
package pgservertest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/pgserver"
)

// Password is the superuser's password on every test server.
const Password = "test-only"

// Start starts a fresh server with the given settings and returns it with a connection string for the superuser
// "postgres" and the database "postgres". Without PostgreSQL on the machine the test fails: "make setup" installs it.
func Start(t testing.TB, settings map[string]string) (*pgserver.Server, string) {
	t.Helper()
	in, err := pgserver.Find()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	dir := Dir(t, in)
	data := filepath.Join(dir, "data")
	if err := initDB(ctx, in, data); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"fsync": "off", "shared_buffers": "16MB", "log_min_messages": "warning"}
	for k, v := range settings {
		all[k] = v
	}
	s, err := in.Start(pgserver.Config{DataDir: data, Host: "127.0.0.1", Port: FreePort(t), Settings: all, LogFile: filepath.Join(dir, "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	dsn := fmt.Sprintf("postgres://postgres:%s@%s:%d/postgres?sslmode=disable", Password, s.Host, s.Port)
	WaitQueryable(t, dsn)
	return s, dsn
}

// WaitQueryable waits until the server answers a query.
func WaitQueryable(t testing.TB, dsn string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	var last error
	for time.Now().Before(deadline) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		conn, err := pgx.Connect(ctx, dsn)
		if err == nil {
			_, err = conn.Exec(ctx, "select 1")
			_ = conn.Close(ctx)
		}
		cancel()
		if err == nil {
			return
		}
		last = err
		<-time.After(20 * time.Millisecond)
	}
	t.Fatalf("PostgreSQL did not become ready: %v", last)
}

// Dir makes a temporary folder that the server's user can reach (t.TempDir's parents are private to the caller).
func Dir(t testing.TB, in pgserver.Installation) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "holdfast-pg-")
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Own(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// FreePort returns a TCP port that was free a moment ago.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
