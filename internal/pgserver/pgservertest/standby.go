package pgservertest

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"holdfast/internal/pgserver"
)

// Standby makes a streaming copy of the server and returns it with a connection string for the same superuser.
func Standby(t testing.TB, primary *pgserver.Server) (*pgserver.Server, string) {
	t.Helper()
	return startCopy(t, primary, "-R")
}

// Restored makes a server of its own from a backup of the running one, as a restore does, and returns it with a connection
// string for the same superuser.
func Restored(t testing.TB, original *pgserver.Server) (*pgserver.Server, string) {
	t.Helper()
	return startCopy(t, original)
}

func startCopy(t testing.TB, from *pgserver.Server, options ...string) (*pgserver.Server, string) {
	t.Helper()
	in, err := pgserver.Find()
	if err != nil {
		t.Fatal(err)
	}
	dir := Dir(t, in)
	data := filepath.Join(dir, "data")
	if err := in.MakeDir(data); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	source := fmt.Sprintf("host=%s port=%d user=postgres password=%s", from.Host, from.Port, Password)
	arguments := append([]string{"-D", data, "-d", source, "-c", "fast", "-X", "stream", "--no-sync"}, options...)
	if err := in.Run(ctx, dir, "pg_basebackup", arguments...); err != nil {
		t.Fatal(err)
	}
	copied := Run(t, in, pgserver.Config{
		DataDir: data, Host: "127.0.0.1", Port: FreePort(t),
		Settings: map[string]string{"fsync": "off", "shared_buffers": "16MB"}, LogFile: filepath.Join(dir, "log"),
	})
	dsn := fmt.Sprintf("postgres://postgres:%s@%s:%d/postgres?sslmode=disable", Password, copied.Host, copied.Port)
	return copied, dsn
}
