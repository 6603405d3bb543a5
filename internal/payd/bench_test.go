package payd

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/payment/acquirer/acquirertest"
	"holdfast/internal/pgserver/pgservertest"
)

const (
	// benchMerchants pay at the same time.
	benchMerchants = 8
	// benchWarmup payments come before each round: taking the fence off and putting it on makes PostgreSQL plan anew.
	benchWarmup = 200
)

// BenchmarkFence pays through a payd process with the fence and without it, in turns in one run, and says how many
// payments a second each way takes, and how much processor time of the database. "With" is all that the fence asks of a
// payment: the triggers on payd's tables, and the rest of the lease in payd's statements (P10). The server commits as in
// production (fsync on).
//
//   - machine: merchants, payd, database and an acquirer that answers at once share one machine, and its processors are
//     the limit. Nothing hides the cost.
//   - acquirer: the acquirer takes 20 ms, as one across a network does, and the machine has time left.
//
// To run it, on a machine with nothing else to do:
//
//	go test -run '^$' -bench Fence -benchtime 40x ./internal/payd
func BenchmarkFence(b *testing.B) {
	b.Run("machine", func(b *testing.B) { benchmarkFence(b, 0, 1000) })
	b.Run("acquirer", func(b *testing.B) { benchmarkFence(b, 20*time.Millisecond, 400) })
}

// benchmarkFence compares rounds of so many payments.
func benchmarkFence(b *testing.B, acquirerTakes time.Duration, round int64) {
	_, dsn := pgservertest.Start(b, map[string]string{"fsync": "on", "shared_buffers": "128MB"})
	acquirer := acquirertest.New(b, func(string, int) acquirertest.Fate {
		if acquirerTakes > 0 {
			<-time.After(acquirerTakes)
		}
		return acquirertest.Answer
	})
	p := start(b, environment(b, dsn, acquirer.URL))
	conn := connect(b, dsn)
	lease(b, conn, 1)
	p.mustPay(b, "first")
	m := &merchants{url: p.url, client: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: benchMerchants}, Timeout: time.Minute,
	}}
	b.Cleanup(m.client.CloseIdleConnections)
	f := readFence(b, conn)
	m.pay(b, round) // caches, connections, statistics
	var took, cpu [2]time.Duration
	var costs []float64
	for b.Loop() {
		var pair [2]time.Duration
		// The order changes from round to round, so that a machine that gets slower or faster favours neither.
		for i := range 2 {
			side := (i + len(costs)) % 2
			f.set(b, side == fenced)
			m.pay(b, benchWarmup)
			before := databaseTime(b, conn)
			pair[side] = m.pay(b, round)
			took[side] += pair[side]
			cpu[side] += databaseTime(b, conn) - before
		}
		costs = append(costs, 100*(pair[fenced].Seconds()/pair[bare].Seconds()-1))
	}
	payments := float64(int64(len(costs)) * round)
	b.ReportMetric(0, "ns/op")
	for side, name := range map[int]string{fenced: "fenced", bare: "bare"} {
		b.ReportMetric(payments/took[side].Seconds(), name+"-payments/s")
		b.ReportMetric(float64(cpu[side].Microseconds())/payments, name+"-db-µs/payment")
	}
	sort.Float64s(costs)
	b.ReportMetric(100*(took[fenced].Seconds()/took[bare].Seconds()-1), "%-cost")
	b.ReportMetric(costs[len(costs)/4], "%-cost-quartile1")
	b.ReportMetric(costs[len(costs)/2], "%-cost-median")
	b.ReportMetric(costs[len(costs)*3/4], "%-cost-quartile3")
}

// The two sides of the comparison.
const (
	bare = iota
	fenced
)

// merchants pay over connections that stay open.
type merchants struct {
	url    string
	client *http.Client
	paid   atomic.Int64
}

// pay makes payments and returns how long they took.
func (m *merchants) pay(b *testing.B, payments int64) time.Duration {
	b.Helper()
	last := m.paid.Load() + payments
	failed := make(chan error, benchMerchants)
	var all sync.WaitGroup
	started := time.Now()
	for range benchMerchants {
		all.Go(func() {
			for n := m.paid.Add(1); n <= last; n = m.paid.Add(1) {
				if err := m.payOne(n); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	all.Wait()
	took := time.Since(started)
	m.paid.Store(last)
	select {
	case err := <-failed:
		b.Fatal(err)
	default:
	}
	return took
}

func (m *merchants) payOne(n int64) error {
	body := fmt.Sprintf(`{"merchant":"shop","amount":700,"currency":"EUR","payment_method":"tok","merchant_reference":"bench-%d"}`, n)
	q, err := http.NewRequest(http.MethodPost, m.url+"/v1/payments", strings.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Idempotency-Key", fmt.Sprintf("bench-%d", n))
	r, err := m.client.Do(q)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusCreated {
		err = fmt.Errorf("payment %d: %s %s", n, r.Status, text)
	}
	return err
}

// installedFence takes the fence out of the database's way and puts it back.
type installedFence struct {
	conn      *pgx.Conn
	triggers  []string // ALTER TABLE statements, with a verb for what happens to the trigger
	remaining string   // the definition of holdfast.remaining_lease
}

func readFence(b *testing.B, conn *pgx.Conn) *installedFence {
	b.Helper()
	f := &installedFence{conn: conn}
	rows, err := conn.Query(b.Context(), `SELECT format('ALTER TABLE %s %%s TRIGGER %I', tgrelid::regclass, tgname)
		FROM pg_trigger WHERE tgname LIKE 'holdfast_write_lease%'`)
	if err == nil {
		f.triggers, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err == nil {
		err = conn.QueryRow(b.Context(), "SELECT pg_get_viewdef('holdfast.remaining_lease')").Scan(&f.remaining)
	}
	if err != nil || len(f.triggers) == 0 {
		b.Fatalf("%d triggers of the fence: %v", len(f.triggers), err)
	}
	return f
}

// set switches the triggers on or off. While they are off, what is left of the lease is a constant that the planner
// puts into payd's statements.
func (f *installedFence) set(b *testing.B, on bool) {
	b.Helper()
	verb, remaining := "DISABLE", "SELECT 60000::bigint AS ms"
	if on {
		verb, remaining = "ENABLE ALWAYS", f.remaining
	}
	statements := []string{"CREATE OR REPLACE VIEW holdfast.remaining_lease AS " + remaining}
	for _, t := range f.triggers {
		statements = append(statements, fmt.Sprintf(t, verb))
	}
	for _, s := range statements {
		if _, err := f.conn.Exec(b.Context(), s); err != nil {
			b.Fatal(err)
		}
	}
}

// databaseTime is the processor time that payd's connections have used on the server.
func databaseTime(b *testing.B, conn *pgx.Conn) time.Duration {
	b.Helper()
	rows, err := conn.Query(b.Context(), "SELECT pid FROM pg_stat_activity WHERE application_name = 'payd'")
	if err != nil {
		b.Fatal(err)
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		b.Fatal(err)
	}
	var sum time.Duration
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
		if err != nil {
			b.Skip(err) // a system without it
		}
		var used time.Duration
		if _, err := fmt.Sscan(string(text), &used); err != nil {
			b.Fatal(err)
		}
		sum += used
	}
	return sum
}
