package warden

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"holdfast/internal/failover"
	"holdfast/internal/fence"
	"holdfast/internal/fence/fencetest"
	"holdfast/internal/pgserver"
	"holdfast/internal/pgserver/pgservertest"
	"holdfast/internal/term"
	"holdfast/internal/term/termtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The leases of the tests are short enough to wait out and long enough for a busy machine.
const (
	testLease  = 4 * time.Second
	testMargin = time.Second
	// patience bounds every wait of a test.
	patience = 60 * time.Second
)

func firstRecord() term.Record {
	return term.Record{
		Deployment: "test", Version: 1, Term: 1, Holder: "primary", Renewal: 1, Nonce: "init",
		LeaseMS: testLease.Milliseconds(), MarginMS: testMargin.Milliseconds(), State: term.Held, TakeoverBudget: 3,
	}
}

func testSettings() failover.Settings {
	return failover.Settings{
		Mode: failover.Automatic, MaxLag: time.Minute, DatabaseThreshold: time.Minute, AppThreshold: time.Minute,
		HandoffTimeout: time.Minute, BeaconMaxAge: 10 * time.Second, CoolDown: time.Second,
	}
}

// plane is a database control plane that does what the test says.
type plane struct {
	mu   sync.Mutex
	view failover.ClusterView
	err  error
	// asked, if set, is called before every view is answered.
	asked   func()
	promote func(ctx context.Context, lossy bool) error
	move    func(ctx context.Context) error
	calls   []string
}

func (p *plane) View(context.Context) (failover.ClusterView, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked != nil {
		p.asked()
	}
	return p.view, p.err
}

func (p *plane) set(v failover.ClusterView) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.view = v
}

func (p *plane) called(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, name)
}

func (p *plane) count(name string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, c := range p.calls {
		if c == name {
			n++
		}
	}
	return n
}

func (p *plane) Promote(ctx context.Context, lossy bool) error {
	p.called(fmt.Sprintf("promote lossy=%t", lossy))
	return p.promote(ctx, lossy)
}

func (p *plane) MoveWriter(ctx context.Context) error {
	p.called("move-writer")
	return p.move(ctx)
}

// application is healthy unless a test says otherwise.
type application struct {
	mu   sync.Mutex
	view failover.AppView
}

func (a *application) View(context.Context) (failover.AppView, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.view, nil
}

// site is one site of a test: its wardens, its database's connection string, its fakes.
type site struct {
	name, peer string
	memory     *termtest.Memory
	dsn        string
	plane      *plane
	app        *application
}

func newSite(t *testing.T, memory *termtest.Memory, name, peer, dsn, writer string) *site {
	t.Helper()
	return &site{
		name: name, peer: peer, memory: memory, dsn: dsn,
		plane: &plane{view: failover.ClusterView{Known: true, Writer: writer, Member: true}},
		app:   &application{view: failover.AppView{Known: true, HealthyTargets: 2, RunningTasks: 2}},
	}
}

// running is a warden that runs until its test ends.
type running struct {
	*Warden
	url      string
	own, far *termtest.Replica
	journal  *buffer
	stop     func()
}

// start runs a warden of the site over two replicas of the store.
func (s *site) start(t *testing.T, number int, change ...func(*Options)) *running {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{
		url: "http://" + listener.Addr().String(), own: s.memory.Replica(s.name), far: s.memory.Replica(s.peer), journal: &buffer{},
	}
	db, err := NewPostgres(s.dsn, s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Config: Config{
			Deployment: "test", Site: s.name, PeerSite: s.peer, Warden: fmt.Sprintf("%s/%d", s.name, number),
			Settings: testSettings(), ExportDir: filepath.Join(t.TempDir(), "export"),
		},
		Stores: []term.Store{r.own, r.far}, Database: db, Cluster: s.plane, Application: s.app,
		Journal: slog.New(slog.NewJSONHandler(r.journal, nil)), Listener: listener,
	}
	for _, c := range change {
		c(&o)
	}
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Warden = w
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("warden %s: %v", w.cfg.Warden, err)
			}
		case <-time.After(patience):
			t.Errorf("warden %s did not stop", w.cfg.Warden)
		}
		db.Close()
		if t.Failed() {
			t.Logf("journal of %s:\n%s", w.cfg.Warden, r.journal)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// buffer is a journal's text, safe for use while it is written.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// done lists the steps that the journal calls done, in order.
func (b *buffer) done(t *testing.T) []string {
	t.Helper()
	var steps []string
	for line := range strings.Lines(b.String()) {
		var entry struct{ Msg, Step string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("journal line %q: %v", line, err)
		}
		if entry.Msg == "done" {
			steps = append(steps, entry.Step)
		}
	}
	return steps
}

// get asks one of the warden's endpoints.
func (r *running) get(t *testing.T, path string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := client.Get(r.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(body))
}

// eventually polls until check returns nil.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		<-tick.C
	}
}

func (r *running) becomes(t *testing.T, path string, code int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s of %s becomes %d", path, r.cfg.Warden, code), func() error {
		got, body := r.get(t, path)
		if got != code {
			return fmt.Errorf("%d %s", got, body)
		}
		return nil
	})
}

// staysInService asks /healthz again and again for longer than a lease.
func (r *running) staysInService(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(testLease + testMargin); time.Now().Before(end); <-tick.C {
		if code, body := r.get(t, "/healthz"); code != 200 {
			t.Fatalf("/healthz of %s: %d %s", r.cfg.Warden, code, body)
		}
	}
}

// newStore makes a store with a record.
func newStore(t *testing.T, r term.Record) *termtest.Memory {
	t.Helper()
	m := termtest.NewMemory()
	if err := m.Replica("init").Create(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	return m
}

func recordOf(t *testing.T, m *termtest.Memory) term.Record {
	t.Helper()
	r, ok := m.Record()
	if !ok {
		t.Fatal("the record is gone")
	}
	return r
}

// protectedTable makes a table behind the fence.
func protectedTable(t *testing.T, dsn string) {
	t.Helper()
	ctx := context.Background()
	conn := connect(t, dsn)
	defer conn.Close(ctx)
	if err := fence.EnsureSchema(ctx, conn); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "create table if not exists ledger (n bigint)"); err != nil {
		t.Fatal(err)
	}
	if err := fence.Protect(ctx, conn, "public.ledger"); err != nil {
		t.Fatal(err)
	}
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// commit tries to write to the protected table and returns the error.
func commit(t *testing.T, dsn string) error {
	t.Helper()
	ctx := context.Background()
	conn := connect(t, dsn)
	defer conn.Close(ctx)
	_, err := conn.Exec(ctx, "insert into ledger values (1)")
	if err != nil && !fence.IsRefused(err) {
		t.Fatalf("write to the ledger: %v", err)
	}
	return err
}

// standby starts a server whose history contains term 1 of the primary site, as replication would have brought it,
// and that is in recovery until it is promoted. What more the history contains is up to more.
func standby(t *testing.T, renewal int64, more ...func(fence.DB) error) (dsn string) {
	t.Helper()
	server, dsn := pgservertest.Start(t, nil)
	protectedTable(t, dsn)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn := connect(t, dsn)
	if err := fence.RecordTerm(ctx, conn, 1, "primary"); err != nil {
		t.Fatal(err)
	}
	if err := fencetest.Extend(ctx, conn, 1, time.Now().Add(time.Hour), renewal); err != nil {
		t.Fatal(err)
	}
	for _, write := range more {
		if err := write(conn); err != nil {
			t.Fatal(err)
		}
	}
	_ = conn.Close(ctx)
	if err := server.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	in, err := pgserver.Find()
	if err != nil {
		t.Fatal(err)
	}
	if err := in.WriteFile(filepath.Join(server.DataDir, "standby.signal"), ""); err != nil {
		t.Fatal(err)
	}
	pgservertest.Run(t, in, server.Config)
	return dsn
}

// promoteServer ends the server's recovery, as the control plane of a global database does.
func promoteServer(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "select pg_promote(true)")
	return err
}

func inOrder(steps []string, want ...string) error {
	from := 0
	for _, w := range want {
		i := slices.Index(steps[from:], w)
		if i < 0 {
			return fmt.Errorf("steps %v, want %v in this order", steps, want)
		}
		from += i + 1
	}
	return nil
}
