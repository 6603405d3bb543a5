package payd

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
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"holdfast/internal/fence"
	"holdfast/internal/payment"
	"holdfast/internal/payment/acquirer/acquirertest"
	"holdfast/internal/pgserver"
	"holdfast/internal/pgserver/pgservertest"
	"holdfast/internal/term"
)

// childVariable makes the test binary be payd.
const childVariable = "PAYD_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(child())
	}
	goleak.VerifyTestMain(m)
}

// child is cmd/payd's main, with the address on a line of its own.
func child() int {
	c, err := ReadConfig(os.Getenv)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	a, err := New(c, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("address " + a.Addr())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := a.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// process is a payd that runs as a process of its own.
type process struct {
	cmd    *exec.Cmd
	url    string
	exited chan error
	log    *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// environment is payd's, for a server and an acquirer.
func environment(t testing.TB, dsn, acquirerURL string) map[string]string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"PAYD_SITE": "primary", "PAYD_PORT": "0", "PAYD_ACQUIRER_URL": acquirerURL, "HOLDFAST_TASK_ADDRESS": "127.0.0.1",
		"DB_WRITER_HOST": u.Hostname(), "DB_READER_HOST": u.Hostname(), "DB_PORT": u.Port(), "DB_NAME": strings.TrimPrefix(u.Path, "/"),
		"DB_USER": "postgres", "DB_PASSWORD": pgservertest.Password, "DB_SSLMODE": "disable",
		"PAYD_PROBE_INTERVAL": "50ms", "PAYD_RECOVERY_INTERVAL": "100ms", "PAYD_CLAIM": "300ms", "PAYD_DRAIN_DELAY": "300ms",
		"PAYD_DB_CONNECT_TIMEOUT": "10s", "PAYD_DB_TIMEOUT": "10s", "PAYD_REQUEST_TIMEOUT": "20s",
	}
}

func start(t testing.TB, env map[string]string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(self), exited: make(chan error, 1), log: &lockedBuffer{}}
	p.cmd.Env = append(os.Environ(), childVariable+"=1")
	for k, v := range env {
		p.cmd.Env = append(p.cmd.Env, k+"="+v)
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out := &lockedBuffer{}
	p.cmd.Stdout, p.cmd.Stderr = out, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.exited <- p.cmd.Wait() }()
	t.Cleanup(func() { p.kill(t) })
	address := regexp.MustCompile(`(?m)^address (\S+)\n`)
	eventually(t, func() error {
		if m := address.FindStringSubmatch(out.String()); m != nil {
			p.url = "http://" + m[1]
			return nil
		}
		return fmt.Errorf("payd has not started: %s", p.log)
	})
	return p
}

// kill is SIGKILL; it returns when the process is gone.
func (p *process) kill(t testing.TB) {
	t.Helper()
	_ = p.cmd.Process.Kill()
	p.wait(t)
}

func (p *process) wait(t testing.TB) error {
	t.Helper()
	select {
	case err := <-p.exited:
		p.exited <- err
		return err
	case <-time.After(20 * time.Second):
		t.Fatalf("payd does not end: %s", p.log)
		return nil
	}
}

func eventually(t testing.TB, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(40 * time.Second)
	var last error
	for time.Now().Before(deadline) {
		if last = condition(); last == nil {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Fatalf("did not come to pass: %v", last)
}

// reply is an answer with its body.
type reply struct {
	status int
	header http.Header
	body   string
}

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 25 * time.Second}

func (p *process) do(method, path, key, body string) (reply, error) {
	q, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	q.Header.Set("Content-Type", "application/json")
	if key != "" {
		q.Header.Set("Idempotency-Key", key)
	}
	r, err := client.Do(q)
	if err != nil {
		return reply{}, err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return reply{r.StatusCode, r.Header, string(text)}, err
}

func (p *process) pay(key string) (reply, error) {
	return p.do(http.MethodPost, "/v1/payments", key, `{"merchant":"shop","amount":700,"currency":"EUR","payment_method":"tok","merchant_reference":"`+key+`"}`)
}

// mustPay retries, as a merchant does, until the payment is made.
func (p *process) mustPay(t testing.TB, key string) reply {
	t.Helper()
	var r reply
	eventually(t, func() error {
		var err error
		if r, err = p.pay(key); err == nil && r.status != 201 {
			err = fmt.Errorf("%d %s", r.status, r.body)
		}
		return err
	})
	return r
}

func connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// lease waits for the schema and gives a lease.
func lease(t testing.TB, conn *pgx.Conn, n term.Number) {
	t.Helper()
	eventually(t, func() error {
		s, err := fence.Sample(t.Context(), conn)
		if err != nil {
			return err
		}
		return fence.ExtendOn(t.Context(), conn, s.ServerStarted, n, s.DatabaseTime.Add(time.Hour), 1)
	})
}

func count(t testing.TB, conn *pgx.Conn, sql string, args ...any) int {
	t.Helper()
	var n int
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestFromAnEmptyDatabase: start, migrations, refusal without a lease, payment, replay, reads, metrics, end.
func TestFromAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	_, dsn := pgservertest.Start(t, nil)
	acquirer := acquirertest.New(t, nil)
	p := start(t, environment(t, dsn, acquirer.URL))
	eventually(t, func() error {
		if r, err := p.do("GET", "/readyz", "", ""); err != nil || r.status != 200 {
			return fmt.Errorf("readyz: %d %s %v", r.status, r.body, err)
		}
		return nil
	})
	r, err := p.pay("key-1")
	if err != nil || r.status != 503 || !strings.Contains(r.body, "/problems/no-lease") || r.header.Get("Retry-After") == "" {
		t.Fatalf("without a lease: %+v, %v", r, err)
	}
	conn := connect(t, dsn)
	lease(t, conn, 1)
	first := p.mustPay(t, "key-1")
	again := p.mustPay(t, "key-1")
	if again.body != first.body || again.header.Get("Idempotent-Replayed") != "true" || first.header.Get("Idempotent-Replayed") != "" {
		t.Fatalf("first %+v, then %+v", first, again)
	}
	r, err = p.do("POST", "/v1/payments", "key-1", `{"merchant":"shop","amount":701,"currency":"EUR","payment_method":"tok","merchant_reference":"key-1"}`)
	if err != nil || r.status != 422 || !strings.Contains(r.body, "/problems/key-reused") {
		t.Fatalf("another order: %+v, %v", r, err)
	}
	r, err = p.do("GET", first.header.Get("Location"), "", "")
	if err != nil || r.status != 200 || strings.TrimSpace(r.body) != first.body {
		t.Fatalf("read: %+v, %v; want %s", r, err, first.body)
	}
	var b payment.Balance
	r, err = p.do("GET", "/v1/ledger/balance", "", "")
	if err := errors.Join(err, json.Unmarshal([]byte(r.body), &b)); err != nil || !b.Balanced || len(b.Currencies) != 1 || b.Currencies[0].Debits != 700 {
		t.Fatalf("balance: %+v, %v", r, err)
	}
	r, err = p.do("GET", "/metrics", "", "")
	if err != nil || !strings.Contains(r.body, `payd_payments_decided_total{recovered="false",site="primary",status="approved"} 1`) ||
		!strings.Contains(r.body, `payd_database_role{role="active",site="primary"} 1`) {
		t.Fatalf("metrics: %v\n%s", err, r.body)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.wait(t); err != nil {
		t.Fatalf("%v: %s", err, p.log)
	}
	if strings.Contains(p.log.String(), pgservertest.Password) {
		t.Fatal("the password is in the log")
	}
}

// TestKilledBetweenPhases: payd dies with the charge sent, before or after the acquirer recorded it. Another one brings
// the payment to its end exactly once, whether or not the merchant comes back.
func TestKilledBetweenPhases(t *testing.T) {
	t.Parallel()
	_, dsn := pgservertest.Start(t, nil)
	conn := connect(t, dsn)
	for _, c := range []struct {
		name string
		fate acquirertest.Fate
		// retry: the merchant sends the order again; otherwise the recovery worker is alone.
		retry bool
	}{
		{"charged-worker", acquirertest.Lose, false},
		{"charged-retry", acquirertest.Lose, true},
		{"not-charged-worker", acquirertest.Drop, false},
		{"not-charged-retry", acquirertest.Drop, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			reached, release := make(chan struct{}, 8), make(chan struct{})
			acquirer := acquirertest.New(t, func(_ string, call int) acquirertest.Fate {
				if call > 1 {
					return acquirertest.Answer
				}
				reached <- struct{}{}
				<-release // until payd is dead
				return c.fate
			})
			env := environment(t, dsn, acquirer.URL)
			p := start(t, env)
			lease(t, conn, 1)
			eventually(t, func() error {
				go func() { _, _ = p.pay(c.name) }() // it will not be answered, or by a 503 while payd wakes up
				select {
				case <-reached:
					return nil
				case <-time.After(200 * time.Millisecond):
					return errors.New("the charge was not sent")
				}
			})
			p.kill(t)
			close(release)
			id := payment.Order{Merchant: "shop", Key: c.name}.PaymentID()
			if n := count(t, conn, "SELECT count(*) FROM payd.payments WHERE id = $1 AND status = 'pending'", id); n != 1 {
				t.Fatal("the payment is not pending after the crash")
			}
			next := start(t, env)
			if c.retry {
				next.mustPay(t, c.name)
			}
			eventually(t, func() error {
				if n := count(t, conn, "SELECT count(*) FROM payd.payments WHERE id = $1 AND status = 'approved'", id); n != 1 {
					return errors.New("the payment is not finished")
				}
				return nil
			})
			first := next.mustPay(t, c.name)
			if again := next.mustPay(t, c.name); again.body != first.body || first.header.Get("Idempotent-Replayed") != "true" {
				t.Fatalf("%+v, then %+v", first, again)
			}
			if all := acquirer.Charges(); len(all) != 1 {
				t.Fatalf("%d charges", len(all))
			}
			if n := count(t, conn, "SELECT count(*) FROM payd.ledger_entries WHERE payment_id = $1", id); n != 2 {
				t.Fatalf("%d entries", n)
			}
			next.kill(t)
		})
	}
}

// TestDrain: after SIGTERM /readyz turns bad while requests are still served, the one under way is answered, and the
// process ends by itself.
func TestDrain(t *testing.T) {
	t.Parallel()
	_, dsn := pgservertest.Start(t, nil)
	reached, release := make(chan struct{}), make(chan struct{})
	acquirer := acquirertest.New(t, nil)
	p := start(t, environment(t, dsn, acquirer.URL))
	conn := connect(t, dsn)
	lease(t, conn, 1)
	p.mustPay(t, "before")
	acquirer.SetFate(func(string, int) acquirertest.Fate {
		close(reached)
		<-release
		return acquirertest.Answer
	})
	answered := make(chan reply, 1)
	go func() {
		r, err := p.pay("during")
		if err != nil {
			r.body = err.Error()
		}
		answered <- r
	}()
	<-reached
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		r, err := p.do("GET", "/readyz", "", "")
		if err != nil {
			t.Fatalf("connections are refused before /readyz has turned bad: %v", err)
		}
		if r.status != 503 || !strings.Contains(r.body, "draining") {
			return fmt.Errorf("readyz: %d %s", r.status, r.body)
		}
		return nil
	})
	eventually(t, func() error {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err == nil {
			_ = conn.Close()
			return errors.New("connections are still accepted")
		}
		return nil
	})
	close(release)
	if r := <-answered; r.status != 201 {
		t.Fatalf("the request under way: %d %s", r.status, r.body)
	}
	if err := p.wait(t); err != nil {
		t.Fatalf("%v: %s", err, p.log)
	}
}

// TestNoDatabase: payd starts, says that it is not ready and why, refuses payments with a retryable problem, and goes on
// by itself once the database is there.
func TestNoDatabase(t *testing.T) {
	t.Parallel()
	server, dsn := pgservertest.Start(t, nil)
	server.Kill()
	acquirer := acquirertest.New(t, nil)
	p := start(t, environment(t, dsn, acquirer.URL))
	r, err := p.do("GET", "/readyz", "", "")
	if err != nil || r.status != 503 {
		t.Fatalf("readyz: %+v, %v", r, err)
	}
	if r, err = p.do("GET", "/livez", "", ""); err != nil || r.status != 200 {
		t.Fatalf("livez: %+v, %v", r, err)
	}
	r, err = p.pay("key")
	if err != nil || r.status != 503 || !strings.Contains(r.body, "/problems/database-unavailable") {
		t.Fatalf("pay: %+v, %v", r, err)
	}
	in := installation(t)
	pgservertest.Run(t, in, server.Config)
	lease(t, connect(t, dsn), 1)
	p.mustPay(t, "key")
}

// copyOf makes a streaming copy of a server and returns its connection string.
func copyOf(t testing.TB, server *pgserver.Server, dsn string) string {
	t.Helper()
	in := installation(t)
	dir := pgservertest.Dir(t, in)
	data := filepath.Join(dir, "data")
	if err := in.MakeDir(data); err != nil {
		t.Fatal(err)
	}
	source := fmt.Sprintf("host=%s port=%d user=postgres password=%s", server.Host, server.Port, pgservertest.Password)
	if err := in.Run(t.Context(), dir, "pg_basebackup", "-D", data, "-d", source, "-c", "fast", "-X", "stream", "-R", "--no-sync"); err != nil {
		t.Fatal(err)
	}
	config := server.Config
	config.DataDir, config.Port, config.LogFile = data, pgservertest.FreePort(t), filepath.Join(dir, "log")
	copied := pgservertest.Run(t, in, config)
	return strings.Replace(dsn, fmt.Sprintf(":%d/", server.Port), fmt.Sprintf(":%d/", copied.Port), 1)
}

// TestTakeover: two sites, each with its payd. The standby serves reads and refuses payments; after the takeover it
// answers with the same bytes, and finishes what the old site had under way.
func TestTakeover(t *testing.T) {
	t.Parallel()
	server, dsn := pgservertest.Start(t, nil)
	acquirer := acquirertest.New(t, nil)
	primary := start(t, environment(t, dsn, acquirer.URL))
	conn := connect(t, dsn)
	lease(t, conn, 1)
	first := primary.mustPay(t, "kept")

	copyDSN := copyOf(t, server, dsn)
	dr := start(t, environment(t, copyDSN, acquirer.URL))
	eventually(t, func() error {
		r, err := dr.do("GET", first.header.Get("Location"), "", "")
		if err == nil && (r.status != 200 || strings.TrimSpace(r.body) != first.body || r.header.Get("Payd-Role") != "standby") {
			err = fmt.Errorf("%d %s %s", r.status, r.header, r.body)
		}
		return err
	})
	if r, err := dr.do("GET", "/readyz", "", ""); err != nil || r.status != 200 {
		t.Fatalf("the standby's readyz: %+v, %v", r, err)
	}
	r, err := dr.pay("refused")
	if err != nil || r.status != 503 || !strings.Contains(r.body, "/problems/standby") || r.header.Get("Retry-After") == "" {
		t.Fatalf("pay at the standby: %+v, %v", r, err)
	}

	// The last thing that the primary does is to send a charge whose answer it never gets.
	acquirer.SetFate(func(string, int) acquirertest.Fate { return acquirertest.Fail })
	if r, err := primary.pay("under-way"); err != nil || r.status != 503 || !strings.Contains(r.body, "/problems/acquirer-unavailable") {
		t.Fatalf("%+v, %v", r, err)
	}
	id := payment.Order{Merchant: "shop", Key: "under-way"}.PaymentID()
	other := connect(t, copyDSN)
	eventually(t, func() error {
		if count(t, other, "SELECT count(*) FROM payd.payments WHERE id = $1", id) != 1 {
			return errors.New("the pending payment has not come")
		}
		return nil
	})
	server.Kill()
	primary.kill(t)
	acquirer.SetFate(nil)
	if _, err := other.Exec(t.Context(), "SELECT pg_promote()"); err != nil {
		t.Fatal(err)
	}
	lease(t, other, 2)
	if again := dr.mustPay(t, "kept"); again.body != first.body || again.header.Get("Idempotent-Replayed") != "true" {
		t.Fatalf("%+v, before %+v", again, first)
	}
	eventually(t, func() error {
		if count(t, other, "SELECT count(*) FROM payd.payments WHERE id = $1 AND status = 'approved'", id) != 1 {
			return errors.New("the payment under way is not finished")
		}
		return nil
	})
	if all := acquirer.Charges(); len(all) != 2 {
		t.Fatalf("%d charges, want 2", len(all))
	}
}
