package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/fence"
	"holdfast/internal/fence/fencetest"
	"holdfast/internal/pgserver"
	"holdfast/internal/pgserver/pgservertest"
	"holdfast/internal/term"
)

const schema = `
	CREATE TABLE payments (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), amount numeric(12,2) NOT NULL, made timestamptz NOT NULL DEFAULT now(), note text);
	CREATE TABLE entries (payment text, line int, amount bigint, PRIMARY KEY (payment, line));
	CREATE TABLE remarks (body text);
	CREATE TABLE unprotected (id int PRIMARY KEY)`

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func run(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func serve(t *testing.T, conn *pgx.Conn, n term.Number, site string) {
	t.Helper()
	if err := fence.RecordTerm(t.Context(), conn, n, site); err != nil {
		t.Fatal(err)
	}
	if err := fencetest.Extend(t.Context(), conn, n, time.Now().Add(time.Hour), 1); err != nil {
		t.Fatal(err)
	}
}

// startPair starts a server with the schema and serves term 1; common runs there before the standby is copied.
func startPair(t *testing.T, commitTimestamps string, common func(old *pgx.Conn)) (*pgserver.Server, *pgx.Conn) {
	t.Helper()
	server, dsn := pgservertest.Start(t, map[string]string{"track_commit_timestamp": commitTimestamps, "wal_level": "replica", "max_wal_senders": "10"})
	old := connect(t, dsn)
	if err := fence.EnsureSchema(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	run(t, old, schema)
	if err := fence.Protect(t.Context(), old, "payments", "entries", "remarks"); err != nil {
		t.Fatal(err)
	}
	serve(t, old, 1, "primary")
	common(old)
	return server, old
}

// fork copies the server as it is now and starts the copy as a server of its own, as a standby that was promoted would
// be: the same history up to here, and none after.
func fork(t *testing.T, server *pgserver.Server, commitTimestamps string) *pgx.Conn {
	t.Helper()
	survivor := copyOf(t, server, commitTimestamps)
	run(t, survivor, "SELECT pg_promote()")
	serve(t, survivor, 2, "dr")
	return survivor
}

// copyOf copies the server as it is now and starts the copy, read-only, as a server of its own.
func copyOf(t *testing.T, server *pgserver.Server, commitTimestamps string) *pgx.Conn {
	t.Helper()
	in, err := pgserver.Find()
	if err != nil {
		t.Fatal(err)
	}
	dir := pgservertest.Dir(t, in)
	data := filepath.Join(dir, "data")
	source := fmt.Sprintf("host=%s port=%d user=postgres password=%s", server.Host, server.Port, pgservertest.Password)
	if err := in.Run(t.Context(), dir, "pg_basebackup", "-d", source, "-D", data, "-c", "fast", "-X", "stream", "--no-sync"); err != nil {
		t.Fatal(err)
	}
	if err := in.WriteFile(filepath.Join(data, "standby.signal"), ""); err != nil {
		t.Fatal(err)
	}
	port := pgservertest.FreePort(t)
	pgservertest.Run(t, in, pgserver.Config{
		DataDir: data, Host: "127.0.0.1", Port: port, LogFile: filepath.Join(dir, "log"),
		Settings: map[string]string{"fsync": "off", "shared_buffers": "16MB", "track_commit_timestamp": commitTimestamps},
	})
	return connect(t, fmt.Sprintf("postgres://postgres:%s@127.0.0.1:%d/postgres?sslmode=disable", pgservertest.Password, port))
}

func readAll(t *testing.T, s Summary) map[string][]Line {
	t.Helper()
	all := map[string][]Line{}
	for _, table := range s.Tables {
		err := ReadLines(s.Folder, table, func(l Line) error { all[table.Name] = append(all[table.Name], l); return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestTailHasWhatOnlyTheOldDatabaseCommitted(t *testing.T) {
	for _, commitTimestamps := range []string{"on", "off"} {
		t.Run("track_commit_timestamp="+commitTimestamps, func(t *testing.T) {
			server, old := startPair(t, commitTimestamps, func(old *pgx.Conn) {
				run(t, old, "INSERT INTO payments (amount, note) SELECT n, 'kept' FROM generate_series(1, 1200) AS n")
				run(t, old, "INSERT INTO entries SELECT 'p' || n, l, n FROM generate_series(1, 30) AS n, generate_series(1, 2) AS l")
				run(t, old, "INSERT INTO remarks VALUES ('kept')")
			})
			survivor := fork(t, server, commitTimestamps)
			// The survivor goes on by itself, with more transactions than the old server makes.
			for n := range 30 {
				run(t, survivor, "INSERT INTO entries VALUES ('new', $1, 1)", n)
			}
			run(t, survivor, "UPDATE entries SET amount = 99 WHERE payment = 'p8' AND line = 1")
			// The tail, and the two things that must not count: an aborted transaction and an unprotected table.
			run(t, old, "INSERT INTO payments (id, amount, note) SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, n + 0.50, 'lost' FROM generate_series(1, 1100) AS n")
			run(t, old, "UPDATE entries SET amount = 70 WHERE payment = 'p7' AND line = 2")
			run(t, old, "INSERT INTO remarks VALUES ('lost')")
			run(t, old, "BEGIN; INSERT INTO entries VALUES ('aborted', 1, 1); ROLLBACK")
			run(t, old, "INSERT INTO unprotected VALUES (1)")
			// Sessions may render values differently.
			run(t, survivor, "SET timezone = 'Asia/Tokyo'; SET datestyle = 'German'")

			dir := t.TempDir()
			run(t, old, "BEGIN; UPDATE holdfast.write_lease SET valid_until = valid_until + interval '5 s'; ROLLBACK")
			s, err := ExportTail(t.Context(), Options{Old: old, Survivor: survivor, Dir: dir, Site: "primary"})
			if err != nil {
				t.Fatal(err)
			}
			if want := map[string]string{"on": ByCommitTimestamp, "off": FullCompare}[commitTimestamps]; s.Method != want {
				t.Errorf("method = %s (%s), want %s", s.Method, s.MethodBecause, want)
			}
			tail := readAll(t, s)
			if got := len(tail["public.payments"]); got != 1100 {
				t.Errorf("%d payments in the tail, want 1100", got)
			}
			for _, l := range tail["public.payments"] {
				if l.Kind != Missing || !strings.Contains(string(l.Old), `"lost"`) {
					t.Fatalf("unexpected line %s: %s", l.Kind, l.Old)
				}
			}
			if got := len(tail["public.remarks"]); got != 1 {
				t.Errorf("%d remarks in the tail, want 1", got)
			}
			checkEntries(t, tail["public.entries"])
			if _, found := tail["public.unprotected"]; found {
				t.Error("an unprotected table is in the tail")
			}
			if s.Missing != 1101 || s.Term != 1 {
				t.Errorf("missing = %d and term = %d, want 1101 and 1", s.Missing, s.Term)
			}
			checkBoundary(t, s, old)
		})
	}
}

// checkBoundary wants the gap to hold every commit that only the old database made, and to end with its lease, which an
// extension of 5 s that was rolled back has moved for the check at commit.
func checkBoundary(t *testing.T, s Summary, old *pgx.Conn) {
	t.Helper()
	var first, last, leaseEnds, began time.Time
	err := old.QueryRow(t.Context(), `
		SELECT min(p.made), max(p.made), (SELECT valid_until + interval '5 s' FROM holdfast.write_lease), (SELECT at FROM holdfast.terms WHERE term = 1)
		FROM payments AS p WHERE note = 'lost'`).Scan(&first, &last, &leaseEnds, &began)
	if err != nil {
		t.Fatal(err)
	}
	b := s.Boundary
	if b == nil || b.From.After(first) || b.Until.Before(last) || !b.Until.Equal(leaseEnds) {
		t.Errorf("the gap is %+v, want it to hold %v to %v and to end at %v", b, first, last, leaseEnds)
	}
	if s.Method == FullCompare && !b.From.Equal(began) {
		t.Errorf("without commit timestamps the gap begins at %v, want term 1's beginning %v", b.From, began)
	}
}

func checkEntries(t *testing.T, lines []Line) {
	t.Helper()
	var updatedByOld *Line
	for i, l := range lines {
		if l.Kind != Different {
			t.Errorf("entry %s is %s, want different", l.Key, l.Kind)
		}
		if strings.Contains(string(l.Key), `"p7"`) {
			updatedByOld = &lines[i]
		}
	}
	if updatedByOld == nil {
		t.Fatalf("the entry that the old database updated is not in the tail: %v", lines)
	}
	var before, after struct {
		Amount int64 `json:"amount"`
	}
	if err := errors.Join(json.Unmarshal(updatedByOld.Old, &before), json.Unmarshal(updatedByOld.Survivor, &after)); err != nil {
		t.Fatal(err)
	}
	if before.Amount != 70 || after.Amount != 7 {
		t.Errorf("old amount %d and survivor's %d, want 70 and 7", before.Amount, after.Amount)
	}
}

func TestCandidatesAreNarrowedByCommitTime(t *testing.T) {
	server, old := startPair(t, "on", func(old *pgx.Conn) {
		run(t, old, "INSERT INTO payments (amount, note) SELECT n, 'kept' FROM generate_series(1, 100) AS n")
		run(t, old, "SELECT pg_sleep(0.3)")
		run(t, old, "INSERT INTO remarks VALUES ('the last that both have')")
	})
	survivor := fork(t, server, "on")
	run(t, old, "INSERT INTO payments (amount, note) VALUES (1, 'lost')")
	s, err := ExportTail(t.Context(), Options{Old: old, Survivor: survivor, Dir: t.TempDir(), Site: "primary", Slack: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(s.Tables, func(table Table) bool { return table.Name == "public.payments" })
	if got := s.Tables[i]; got.Compared != 1 || got.Missing != 1 {
		t.Errorf("compared %d payments and missed %d, want 1 and 1 (of 101)", got.Compared, got.Missing)
	}
}

func TestExportIsIdempotentAndNoticesDamage(t *testing.T) {
	server, old := startPair(t, "off", func(old *pgx.Conn) {})
	survivor := fork(t, server, "off")
	run(t, old, "INSERT INTO payments (amount) VALUES (5)")
	o := Options{Old: old, Survivor: survivor, Dir: t.TempDir(), Site: "primary"}
	first, err := ExportTail(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ExportTail(t.Context(), o)
	if err != nil || !again.AlreadyExported || again.Missing != first.Missing || again.Folder != first.Folder {
		t.Errorf("second export = %+v, %v; want the first one again", again, err)
	}
	entries, err := os.ReadDir(o.Dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder of exports holds %v (%v), want one export", entries, err)
	}
	if err := os.WriteFile(filepath.Join(first.Folder, first.Tables[1].File), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ExportTail(t.Context(), o); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("export over a damaged one = %v, want a checksum error", err)
	}
}

// TestSnapshotOfTheOldVolume is the fresh path: no warden exported anything, the volume was copied aside before it was
// rebuilt, and is read there. It shows the same as the old volume would have.
func TestSnapshotOfTheOldVolume(t *testing.T) {
	server, old := startPair(t, "on", func(old *pgx.Conn) {
		run(t, old, "INSERT INTO payments (amount, note) SELECT n, 'kept' FROM generate_series(1, 20) AS n")
	})
	survivor := fork(t, server, "on")
	run(t, old, "INSERT INTO payments (amount, note) VALUES (7, 'lost')")
	dir := t.TempDir()
	fromVolume, err := ExportTail(t.Context(), Options{Old: old, Survivor: survivor, Dir: dir, Site: "primary"})
	if err != nil {
		t.Fatal(err)
	}
	snapshot := copyOf(t, server, "on")
	fromSnapshot, err := ExportTail(t.Context(), Options{Old: snapshot, Survivor: survivor, Dir: dir, Source: KeptSnapshot})
	if err != nil {
		t.Fatal(err)
	}
	if fromSnapshot.Site != "primary" || fromSnapshot.Folder == fromVolume.Folder || fromSnapshot.AlreadyExported {
		t.Errorf("the snapshot's export is %+v", fromSnapshot)
	}
	if want := *fromVolume.Boundary; *fromSnapshot.Boundary != want {
		t.Errorf("the snapshot's gap is %+v, the old volume's %+v", *fromSnapshot.Boundary, want)
	}
	var exports []Sighting
	for _, folder := range []string{fromVolume.Folder, fromSnapshot.Folder} {
		s, lines, err := Load(folder)
		if err != nil || len(s.SHA256) != 64 {
			t.Fatalf("%v, manifest %q", err, s.SHA256)
		}
		exports = append(exports, lines)
	}
	rows := Union(exports...)
	if len(rows) != 1 || len(rows[0].Versions) != 1 || !slices.Equal(rows[0].SeenIn, []string{OldVolume, KeptSnapshot}) {
		t.Errorf("the union is %+v, want the one lost payment, seen in both", rows)
	}
}

func TestExportRefusesASurvivorThatIsNotLater(t *testing.T) {
	server, old := startPair(t, "off", func(old *pgx.Conn) {})
	survivor := fork(t, server, "off")
	dir := t.TempDir()
	_, err := ExportTail(t.Context(), Options{Old: survivor, Survivor: old, Dir: dir, Site: "dr"})
	if !errors.Is(err, ErrNotLater) {
		t.Errorf("the wrong way round = %v, want ErrNotLater", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("a refused export left %v", entries)
	}
}

func TestInterruptedExportLeavesNothing(t *testing.T) {
	server, old := startPair(t, "off", func(old *pgx.Conn) {
		run(t, old, "INSERT INTO payments (amount) SELECT n FROM generate_series(1, 2000) AS n")
	})
	survivor := fork(t, server, "off")
	// A lock that nobody gives back: the comparison has to stop in the middle.
	blocker := connect(t, survivor.Config().ConnString())
	run(t, blocker, "BEGIN; LOCK TABLE payments IN ACCESS EXCLUSIVE MODE")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	dir := t.TempDir()
	if s, err := ExportTail(ctx, Options{Old: old, Survivor: survivor, Dir: dir, Site: "primary"}); err == nil {
		t.Errorf("an export past a locked table succeeded: %+v", s)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("an interrupted export left %v", entries)
	}
}
