package payd

import (
	"fmt"
	"io"
	"net/http"
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
	// benchMerchants pay at the same time; benchRound is how many payments a round has.
	benchMerchants = 8
	benchRound     = 1000
)

// BenchmarkFence pays through a payd process with the write fence on its tables and without it, in turns in one run,
// and says how many payments a second each way takes. The server commits as in production (fsync on).
//
//	go test -run '^$' -bench Fence -benchtime 20x ./internal/payd
func BenchmarkFence(b *testing.B) {
	_, dsn := pgservertest.Start(b, map[string]string{"fsync": "on", "shared_buffers": "128MB"})
	acquirer := acquirertest.New(b, nil)
	p := start(b, environment(b, dsn, acquirer.URL))
	conn := connect(b, dsn)
	lease(b, conn, 1)
	p.mustPay(b, "first")
	m := &merchants{url: p.url, client: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: benchMerchants}, Timeout: time.Minute,
	}}
	b.Cleanup(m.client.CloseIdleConnections)
	m.round(b) // caches, connections, statistics
	var with, without time.Duration
	rounds := 0
	for b.Loop() {
		// The order changes from round to round, so that a machine that gets slower or faster favours neither.
		for i := range 2 {
			fenced := (i+rounds)%2 == 0
			setTriggers(b, conn, fenced)
			took := m.round(b)
			if fenced {
				with += took
			} else {
				without += took
			}
		}
		rounds++
	}
	rate := func(took time.Duration) float64 { return float64(rounds*benchRound) / took.Seconds() }
	b.ReportMetric(rate(with), "fenced-payments/s")
	b.ReportMetric(rate(without), "bare-payments/s")
	b.ReportMetric(100*(with.Seconds()/without.Seconds()-1), "%-fence-cost")
}

// merchants pay over connections that stay open.
type merchants struct {
	url    string
	client *http.Client
	paid   atomic.Int64
}

// round makes a round of payments and returns how long it took.
func (m *merchants) round(b *testing.B) time.Duration {
	b.Helper()
	last := m.paid.Load() + benchRound
	failed := make(chan error, benchMerchants)
	var all sync.WaitGroup
	started := time.Now()
	for range benchMerchants {
		all.Go(func() {
			for n := m.paid.Add(1); n <= last; n = m.paid.Add(1) {
				if err := m.pay(n); err != nil {
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

func (m *merchants) pay(n int64) error {
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

// setTriggers switches the fence's triggers on the protected tables on or off.
func setTriggers(b *testing.B, conn *pgx.Conn, on bool) {
	b.Helper()
	rows, err := conn.Query(b.Context(), "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE tgname LIKE 'holdfast_write_lease%'")
	if err != nil {
		b.Fatal(err)
	}
	statements, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var table, trigger string
		err := row.Scan(&table, &trigger)
		action := "DISABLE"
		if on {
			action = "ENABLE ALWAYS"
		}
		return fmt.Sprintf("ALTER TABLE %s %s TRIGGER %s", table, action, trigger), err
	})
	if err != nil || len(statements) == 0 {
		b.Fatalf("%d triggers of the fence: %v", len(statements), err)
	}
	for _, s := range statements {
		if _, err := conn.Exec(b.Context(), s); err != nil {
			b.Fatal(err)
		}
	}
}
