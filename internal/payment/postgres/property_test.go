package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast/internal/payment"
	"holdfast/internal/payment/acquirer"
	"holdfast/internal/payment/acquirer/acquirertest"
)

var errCrash = errors.New("the process died here")

// crashing dies at one point: before or after one of the phases.
type crashing struct {
	payment.Store
	payment.Acquirer
	at string
}

func (c *crashing) die(at string) error {
	if c.at != at {
		return nil
	}
	c.at = ""
	return errCrash
}

func (c *crashing) Begin(ctx context.Context, o payment.Order, claim payment.Claim) (payment.Begun, error) {
	b, err := c.Store.Begin(ctx, o, claim)
	return b, errors.Join(err, c.die("begun"))
}

func (c *crashing) Charge(ctx context.Context, charge payment.Charge) (payment.Outcome, error) {
	if err := c.die("charging"); err != nil {
		return payment.Outcome{}, err
	}
	o, err := c.Acquirer.Charge(ctx, charge)
	return o, errors.Join(err, c.die("charged"))
}

func (c *crashing) Finish(ctx context.Context, p payment.Payment, entries []payment.Entry, a payment.Answer) (payment.Answer, error) {
	a, err := c.Store.Finish(ctx, p, entries, a)
	return a, errors.Join(err, c.die("finished"))
}

// Release is not called by a process that died.
func (c *crashing) Release(context.Context, string) error { return nil }

// world is one run of the property test: a merchant of its own, a service that dies, and what the merchant was told.
type world struct {
	merchant string
	service  *payment.Service
	died     *crashing
	fate     *atomic.Int64
	// first holds the first answer by key; amounts those of the orders that came first.
	first   map[string]string
	amounts map[string]int64
}

func (w *world) order(n int, amount int64) payment.Order {
	o := order(n)
	o.Merchant, o.Amount = w.merchant, amount
	if n == 4 {
		o.PaymentMethod = "declined"
	}
	return o
}

// draw decides what goes wrong next.
func (w *world) draw(t *rapid.T) {
	w.fate.Store(int64(rapid.IntRange(int(acquirertest.Answer), int(acquirertest.Fail)).Draw(t, "fate")))
	w.died.at = rapid.SampledFrom([]string{"", "", "begun", "charging", "charged", "finished"}).Draw(t, "dies at")
}

// send sends one of a few orders, now and then with another body, and checks the answer.
func (w *world) send(ctx context.Context, t *rapid.T) {
	o := w.order(rapid.IntRange(1, 4).Draw(t, "key"), int64(rapid.IntRange(1, 2).Draw(t, "amount")))
	w.draw(t)
	a, err := w.service.Create(ctx, o)
	if known, seen := w.amounts[o.Key]; seen && known != o.Amount {
		if !errors.Is(err, payment.ErrKeyReused) {
			t.Fatalf("another order under %s: %+v, %v", o.Key, a, err)
		}
		return
	}
	w.amounts[o.Key] = o.Amount
	if err != nil {
		return
	}
	if answer, ok := w.first[o.Key]; ok && (answer != string(a.Body) || !a.Replayed) {
		t.Fatalf("first %s, then %s (replayed %v)", answer, a.Body, a.Replayed)
	}
	w.first[o.Key] = string(a.Body)
}

// heal lets everything work, recovers what is open, and asks for every answer once more.
func (w *world) heal(ctx context.Context, t *rapid.T, site *Site) {
	w.fate.Store(int64(acquirertest.Answer))
	w.died.at = ""
	for open(ctx, t, site, w.merchant) > 0 {
		if _, _, err := w.service.Recover(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for n := 1; n <= 4; n++ {
		o := w.order(n, w.amounts[order(n).Key])
		answer, answered := w.first[o.Key]
		if !answered {
			continue
		}
		if a, err := w.service.Create(ctx, o); err != nil || string(a.Body) != answer || !a.Replayed {
			t.Fatalf("at the end %s is answered %s (%v), before %s", o.Key, a.Body, err, answer)
		}
	}
}

// testProperties sends orders again and again through an acquirer that loses answers and processes that die, and checks
// after every step: one answer for an order, one charge for a payment, a ledger that is balanced and tells what the
// acquirer tells.
func testProperties(t *testing.T, dsn string) {
	store, site := active(t, dsn, time.Hour)
	var fate atomic.Int64
	server := acquirertest.New(t, func(string, int) acquirertest.Fate { return acquirertest.Fate(fate.Load()) })
	client, err := acquirer.New(server.URL, acquirer.Options{Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		w := &world{
			merchant: fmt.Sprintf("shop-%d", run), fate: &fate, first: map[string]string{}, amounts: map[string]int64{},
			died: &crashing{Store: store, Acquirer: client},
		}
		// A claim of a millisecond: sometimes over, sometimes not, when the next request comes.
		w.service = payment.NewService(w.died, w.died, payment.Options{Claim: time.Millisecond, RecoveryWorkers: 1})
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		t.Repeat(map[string]func(*rapid.T){
			"order": func(t *rapid.T) { w.send(ctx, t) },
			"recover": func(t *rapid.T) {
				w.draw(t)
				_, _, _ = w.service.Recover(ctx) // what went wrong was asked for
			},
			"": func(t *rapid.T) { compare(ctx, t, site, server, w.merchant, false) },
		})
		w.heal(ctx, t, site)
		compare(ctx, t, site, server, w.merchant, true)
	})
}

// open counts the payments that are not decided, and makes their claims end.
func open(ctx context.Context, t *rapid.T, site *Site, merchant string) int {
	tag, err := site.Writer().Exec(ctx, "UPDATE payd.payments SET claimed_until = clock_timestamp() WHERE merchant = $1 AND status = 'pending'", merchant)
	if err != nil {
		t.Fatal(err)
	}
	return int(tag.RowsAffected())
}

// compare checks the ledger against the acquirer's record. At the end nothing may be missing in either.
func compare(ctx context.Context, t *rapid.T, site *Site, server *acquirertest.Server, merchant string, end bool) {
	rows, err := site.Writer().Query(ctx, `SELECT p.charge_reference, p.status, p.amount, count(e.payment_id), coalesce(sum(e.amount), 0)::bigint,
			coalesce(sum(e.amount) FILTER (WHERE e.amount > 0), 0)::bigint
		FROM payd.payments AS p LEFT JOIN payd.ledger_entries AS e ON e.payment_id = p.id
		WHERE p.merchant = $1 GROUP BY p.id`, merchant)
	if err != nil {
		t.Fatal(err)
	}
	charges := server.Charges()
	for rows.Next() {
		var reference, status string
		var amount, entries, sum, debits int64
		if err := rows.Scan(&reference, &status, &amount, &entries, &sum, &debits); err != nil {
			t.Fatal(err)
		}
		charge, charged := charges[reference]
		switch {
		case sum != 0:
			t.Fatalf("%s: the entries add up to %d", reference, sum)
		case status == "approved" && (entries != 2 || debits != amount || charge.Status != "approved" || charge.Amount != amount):
			t.Fatalf("%s: %s %d with %d entries over %d, the acquirer has %+v", reference, status, amount, entries, debits, charge)
		case status != "approved" && entries != 0:
			t.Fatalf("%s: %s with %d entries", reference, status, entries)
		case end && (status == "pending" || !charged || charge.Status != status):
			t.Fatalf("%s: %s at the end, the acquirer has %+v", reference, status, charge)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}
