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

	"holdfast/internal/pgserver"
)

// Password is the superuser's password on every test server.
const Password = "test-only"

// startLimit bounds the making of a data directory, and a server's start.
const startLimit = time.Minute

// Start starts a fresh server with the given settings and returns it with a connection string for the superuser
// "postgres" and the database "postgres". Without PostgreSQL on the machine the test fails: "make setup" installs it.
func Start(t testing.TB, settings map[string]string) (*pgserver.Server, string) {
	t.Helper()
	in, err := pgserver.Find()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
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
	s := Run(t, in, pgserver.Config{DataDir: data, Host: "127.0.0.1", Port: FreePort(t), Settings: all, LogFile: filepath.Join(dir, "log")})
	return s, fmt.Sprintf("postgres://postgres:%s@%s:%d/postgres?sslmode=disable", Password, s.Host, s.Port)
}

// Run starts a server and waits until it takes connections; it is killed at the test's end.
func Run(t testing.TB, in pgserver.Installation, config pgserver.Config) *pgserver.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	s, err := in.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	if err := s.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return s
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
