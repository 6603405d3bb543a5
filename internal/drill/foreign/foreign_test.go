package foreign_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"holdfast/internal/fence"
	"holdfast/internal/reconcile"
	"holdfast/internal/topology"
	"holdfast/internal/twin"
	"holdfast/internal/twin/ecs"
	"holdfast/internal/twin/task"
)

const speed = 10

func TestMain(m *testing.M) {
	task.ReaperMain() // does not return if this process was started as a twin's reaper
	os.Exit(m.Run())
}

// entrypoint is the start script of the service's image: it gives the service the settings that it knows, from those of the
// task. On AWS the task definition would name them so in the first place.
const entrypoint = `#!/bin/sh
LISTEN="$HOLDFAST_TASK_ADDRESS:8080" \
DATABASE_URL="postgres://$DB_USER:$DB_PASSWORD@$DB_WRITER_HOST:$DB_PORT/$DB_NAME?sslmode=$DB_SSLMODE&connect_timeout=2" \
exec %s
`

// build makes the programs and returns the images, and the path of holdfast.
func build(t *testing.T) (images map[string]ecs.Image, holdfast string) {
	t.Helper()
	dir := t.TempDir()
	// Tasks run as a user of their own, who starts the script and must then find the service.
	for _, folder := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "holdfast/cmd/holdfast", "holdfast/internal/drill/foreign/notes")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the programs: %v\n%s", err, out)
	}
	script := filepath.Join(dir, "start")
	if err := os.WriteFile(script, fmt.Appendf(nil, entrypoint, filepath.Join(dir, "notes")), 0o755); err != nil {
		t.Fatal(err)
	}
	holdfast = filepath.Join(dir, "holdfast")
	return map[string]ecs.Image{"payd:twin": {Path: script}, "holdfast:twin": {Path: holdfast}}, holdfast
}

// deployment is the default one with the service's own health check; nothing else of it is changed.
func deployment(t *testing.T) topology.Topology {
	t.Helper()
	topo, err := topology.Default()
	if err != nil {
		t.Fatal(err)
	}
	for i, g := range topo.TargetGroups {
		if g.ARN == topo.Sites[0].AppTargetGroupARN || g.ARN == topo.Sites[1].AppTargetGroupARN {
			topo.TargetGroups[i].HealthCheck.Path = "/health"
		}
	}
	return topo
}

// TestForeignApplicationSurvivesALostRegion is the drill.
func TestForeignApplicationSurvivesALostRegion(t *testing.T) {
	images, holdfast := build(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	tw, err := twin.Up(ctx, twin.Options{Topology: deployment(t), Speed: speed, Images: images, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tw.Down(context.Background()); err != nil {
			t.Errorf("take the twin down: %v", err)
		}
	})
	first, second := tw.Sites()[0].Name, tw.Sites()[1].Name
	install(ctx, t, tw, holdfast)

	load := begin(ctx, tw)
	defer load.end()
	const before, after = 200, 100
	waitFor(ctx, t, "writes before the loss", func() error { return load.has(before, "") })
	if err := tw.LoseRegion(ctx, first); err != nil {
		t.Fatal(err)
	}
	lostAt := time.Now()
	// A write that is acknowledged from now on was acknowledged by the other site: nothing of the first one is left.
	waitFor(ctx, t, "writes after the loss", func() error { return load.has(after, "after the loss") })
	load.end()
	took := load.firstAfter(lostAt).Sub(lostAt)

	tails := len(tw.TailFolders())
	if err := tw.ReturnRegion(ctx, first); err != nil {
		t.Fatal(err)
	}
	attempts := attack(ctx, t, tw, first)
	waitFor(ctx, t, "the exported tail", func() error {
		if now := len(tw.TailFolders()); now <= tails {
			return fmt.Errorf("%d exports", now)
		}
		return nil
	})
	kept, saved := notes(ctx, t, tw, second), tail(t, tw)
	lost := 0
	for id := range load.acknowledged {
		switch {
		case kept[id]:
		case saved[id]:
			lost++
		default:
			t.Errorf("note %s was acknowledged, and is neither in the surviving database nor in the exported tail", id)
		}
	}
	for _, id := range attempts.ids {
		if kept[id] || saved[id] {
			t.Errorf("note %s, which was refused, is there all the same", id)
		}
	}
	if attempts.accepted > 0 || attempts.fence == 0 {
		t.Errorf("the old database: %+v; want no write accepted, and some refused by the fence", attempts)
	}
	t.Logf("%d notes acknowledged, the first after the loss %v after it; %d kept, %d in the exported tail; old database: %d attempts, refused by the fence %d, read-only %d",
		len(load.acknowledged), took.Round(10*time.Millisecond), len(load.acknowledged)-lost, lost, len(attempts.ids), attempts.fence, attempts.readOnly)
}

// install makes the service's table, as its own migrations would, and puts the fence onto it as the manual says.
func install(ctx context.Context, t *testing.T, tw *twin.Twin, holdfast string) {
	t.Helper()
	dsn := tw.DatabaseDSN(tw.Sites()[0].Name)
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "CREATE TABLE notes (id text PRIMARY KEY, text text NOT NULL, at timestamptz NOT NULL DEFAULT now())"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, holdfast, "fence", "install", "--tables", "public.notes")
	cmd.Env = append(os.Environ(), "DATABASE_URL="+dsn)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("holdfast fence install: %v\n%s", err, out)
	}
}

// load is a number of writers, and what they were told.
type load struct {
	tw     *twin.Twin
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu sync.Mutex
	// acknowledged notes by id, with the time of the answer.
	acknowledged map[string]time.Time
	since        map[string]int
	last         error
}

const writers = 6

// begin starts the writers. They follow the DNS name, and send each note once.
func begin(ctx context.Context, tw *twin.Twin) *load {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{tw: tw, cancel: cancel, acknowledged: map[string]time.Time{}, since: map[string]int{}}
	for w := range writers {
		l.done.Go(func() { l.write(ctx, w) })
	}
	return l
}

func (l *load) end() {
	l.cancel()
	l.done.Wait()
}

func (l *load) write(ctx context.Context, writer int) {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, l.tw.Resolver())
	}}
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		id := fmt.Sprintf("%d-%d", writer, n)
		err := l.send(ctx, resolver, client, id)
		l.mu.Lock()
		if l.last = err; err == nil {
			l.acknowledged[id] = time.Now()
		}
		l.mu.Unlock()
	}
}

func (l *load) send(ctx context.Context, resolver *net.Resolver, client *http.Client, id string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	addresses, err := resolver.LookupHost(ctx, l.tw.DNSName())
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"id": id, "text": "written under load"})
	if err != nil {
		return err
	}
	url := "http://" + net.JoinHostPort(addresses[0], strconv.Itoa(l.tw.AppPort())) + "/notes"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.GetBody = nil // each note is sent once
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	if response.StatusCode != http.StatusCreated {
		return fmt.Errorf("status %d: %s", response.StatusCode, bytes.TrimSpace(text))
	}
	return nil
}

// has reports whether so many notes were acknowledged since the first call with this mark.
func (l *load) has(count int, mark string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	began, known := l.since[mark]
	if !known {
		began = len(l.acknowledged)
		l.since[mark] = began
	}
	if n := len(l.acknowledged) - began; n < count {
		return fmt.Errorf("%d of %d; the last error was %w", n, count, l.last)
	}
	return nil
}

func (l *load) firstAfter(t time.Time) time.Time {
	var first time.Time
	for _, at := range l.acknowledged {
		if at.After(t) && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// attempts is what became of writes to the old database.
type attempts struct {
	ids                       []string
	fence, readOnly, accepted int
}

// attack writes to the old database, past every endpoint, from its first answer until it follows the new writer.
func attack(ctx context.Context, t *testing.T, tw *twin.Twin, site string) (a attempts) {
	t.Helper()
	waitFor(ctx, t, "the old database to follow the new one", func() error {
		conn, err := pgx.Connect(ctx, tw.DatabaseDSN(site))
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		var follows bool
		if err := conn.QueryRow(ctx, "SELECT pg_is_in_recovery() AND EXISTS (SELECT FROM pg_stat_wal_receiver)").Scan(&follows); err != nil {
			return err
		}
		id := fmt.Sprintf("attack-%d", len(a.ids))
		a.ids = append(a.ids, id)
		_, err = conn.Exec(ctx, "INSERT INTO notes (id, text) VALUES ($1, 'after the loss')", id)
		refusal := new(pgconn.PgError)
		switch {
		case err == nil:
			a.accepted++
		case errors.As(err, &refusal) && refusal.Code == fence.Refused:
			a.fence++
		case errors.As(err, &refusal) && refusal.Code == "25006": // read_only_sql_transaction
			a.readOnly++
		}
		if !follows {
			return fmt.Errorf("after %d attempts it does not follow", len(a.ids))
		}
		return nil
	})
	return a
}

// notes are the ids in a site's database.
func notes(ctx context.Context, t *testing.T, tw *twin.Twin, site string) map[string]bool {
	t.Helper()
	conn, err := pgx.Connect(ctx, tw.DatabaseDSN(site))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "SELECT id FROM notes")
	if err != nil {
		t.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, id := range ids {
		found[id] = true
	}
	return found
}

// tail are the ids in the exported tails, whose files are checked against their manifests.
func tail(t *testing.T, tw *twin.Twin) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, folder := range tw.TailFolders() {
		summary, err := reconcile.Verify(folder)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(summary.Tables, func(table reconcile.Table) bool { return table.Name == "public.notes" }) {
			t.Errorf("%s says nothing of public.notes", folder)
		}
		for _, table := range summary.Tables {
			err := reconcile.ReadLines(folder, table, func(line reconcile.Line) error {
				var key struct{ ID string }
				if err := json.Unmarshal(line.Key, &key); err != nil {
					return err
				}
				found[key.ID] = true
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return found
}

func waitFor(ctx context.Context, t *testing.T, what string, ready func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %v; the last obstacle: %v", what, ctx.Err(), err)
		case <-tick.C:
		}
	}
}
