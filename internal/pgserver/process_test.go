package pgserver_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/pgserver"
	"holdfast/internal/pgserver/pgservertest"
)

func TestKilledServerLeavesNothingBehindAndStartsAgain(t *testing.T) {
	s, _ := pgservertest.Start(t, nil)
	segment := sharedMemory(t, s.DataDir)
	s.Kill()
	if _, err := os.Stat(filepath.Join(s.DataDir, "postmaster.pid")); !os.IsNotExist(err) {
		t.Errorf("the lock file is still there: %v", err)
	}
	segments, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(segments)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == segment {
			t.Errorf("shared memory segment %s is still there", segment)
		}
	}
	in, err := pgserver.Find()
	if err != nil {
		t.Fatal(err)
	}
	next := pgservertest.Run(t, in, s.Config)
	s.Kill() // somebody else who has seen it end
	wantLockFile(t, next)

	// The same of one that ended by itself, and is killed for the first time when another has taken its place.
	if err := next.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	<-next.Exited()
	last := pgservertest.Run(t, in, s.Config)
	next.Kill()
	wantLockFile(t, last)
}

func wantLockFile(t *testing.T, s *pgserver.Server) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(s.DataDir, "postmaster.pid")); err != nil {
		t.Errorf("the next server's lock file: %v", err)
	}
}

// sharedMemory reads the id of a server's segment from its lock file.
func sharedMemory(t *testing.T, dataDir string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	if len(lines) < 7 || len(strings.Fields(lines[6])) != 2 {
		t.Fatalf("lock file %q names no segment", data)
	}
	return strings.Fields(lines[6])[1]
}

func TestFrozenServerAnswersAfterTheThaw(t *testing.T) {
	s, dsn := pgservertest.Start(t, nil)
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := s.Freeze(); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := conn.Exec(ctx, "select 1")
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Fatalf("a frozen server answers (%v)", err)
	case <-time.After(300 * time.Millisecond):
	}
	if err := s.Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestStoppedServersVolumeCanBeReadAndSetUp(t *testing.T) {
	s, dsn := pgservertest.Start(t, nil)
	in, err := pgserver.Find()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	data, err := in.ControlData(ctx, s.DataDir)
	if err != nil || data["Database cluster state"] != "shut down" {
		t.Errorf("state %q (%v), want shut down", data["Database cluster state"], err)
	}
	if err := in.Single(ctx, s.DataDir, []string{"create role clerk", "grant pg_monitor\nto clerk"}); err != nil {
		t.Fatal(err)
	}
	if err := in.Single(ctx, s.DataDir, []string{"create role clerk"}); err == nil || !strings.Contains(err.Error(), "already exists") {
		t.Errorf("a statement that fails gives %v", err)
	}
	pgservertest.Run(t, in, s.Config)
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var member bool
	if err := conn.QueryRow(ctx, "select pg_has_role('clerk', 'pg_monitor', 'member')").Scan(&member); err != nil || !member {
		t.Errorf("clerk is a member of pg_monitor: %v (%v)", member, err)
	}
}

func TestServerThatCannotStartSaysWhy(t *testing.T) {
	s, _ := pgservertest.Start(t, nil)
	in, err := pgserver.Find()
	if err != nil {
		t.Fatal(err)
	}
	dir := pgservertest.Dir(t, in)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	data := filepath.Join(dir, "data")
	if err := in.InitDB(ctx, data, "postgres", "secret", "--wal-segsize=4"); err != nil {
		t.Fatal(err)
	}
	cfg := s.Config
	cfg.DataDir, cfg.LogFile = data, filepath.Join(dir, "log")
	second, err := in.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Kill)
	select {
	case <-second.Exited():
	case <-ctx.Done():
		t.Fatal("a server whose port is taken runs")
	}
	for _, part := range []string{"Address already in use", "another program uses the address and port"} {
		if err := second.StartError(); !strings.Contains(err.Error(), part) {
			t.Errorf("error %v does not say %q", err, part)
		}
	}
}
