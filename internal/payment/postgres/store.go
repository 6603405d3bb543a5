package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"holdfast/internal/payment"
	"holdfast/internal/term"
)

//go:embed sql/begin.sql
var beginSQL string

//go:embed sql/begun.sql
var begunSQL string

//go:embed sql/finish.sql
var finishSQL string

//go:embed sql/answer.sql
var answerSQL string

//go:embed sql/release.sql
var releaseSQL string

//go:embed sql/overdue.sql
var overdueSQL string

//go:embed sql/payment.sql
var paymentSQL string

//go:embed sql/balance.sql
var balanceSQL string

// DefaultTimeout bounds one database operation, the wait for a connection included.
const DefaultTimeout = 3 * time.Second

// Store is a [payment.Store]. Writes go to the writer; reads go there while the site is active, else to the reader.
type Store struct {
	site    *Site
	timeout time.Duration
	// now is the boot clock; tests of P10 replace it.
	now func() term.Instant
}

var _ payment.Store = (*Store)(nil)

// NewStore returns a store on the site's databases. A timeout of 0 is [DefaultTimeout].
func NewStore(site *Site, timeout time.Duration) *Store {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	return &Store{site: site, timeout: timeout, now: term.Boot}
}

// Begin implements [payment.Store].
func (s *Store) Begin(ctx context.Context, o payment.Order, c payment.Claim) (payment.Begun, error) {
	var mine, same bool
	var answer payment.Answer
	var created time.Time
	var remainingMS int64
	id := o.PaymentID()
	sent, err := s.transact(ctx, func(b *pgx.Batch) {
		b.Queue(beginSQL, id, o.Merchant, o.Key, o.Reference(), o.Amount, o.Currency, o.PaymentMethod, o.MerchantReference,
			c.For.Milliseconds()).
			QueryRow(func(row pgx.Row) error { return row.Scan(&mine) })
		b.Queue(begunSQL, id, o.Amount, o.Currency, o.PaymentMethod, o.MerchantReference).QueryRow(func(row pgx.Row) error {
			return row.Scan(&same, &created, &answer.Status, &answer.Body, &remainingMS)
		})
	})
	switch {
	case err != nil:
		return payment.Begun{}, fmt.Errorf("record the order: %w", err)
	case !same:
		return payment.Begun{}, payment.ErrKeyReused
	case answer.Status != 0:
		answer.PaymentID, answer.Replayed, answer.CoveredUntil = id, true, covered(sent, remainingMS)
		return payment.Begun{Answer: &answer}, nil
	case !mine:
		return payment.Begun{}, payment.ErrInFlight
	}
	return payment.Begun{Payment: payment.Payment{
		ID: id, Reference: o.Reference(), Order: o, Status: payment.Pending, CreatedAt: created,
	}}, nil
}

// Finish implements [payment.Store].
func (s *Store) Finish(ctx context.Context, p payment.Payment, entries []payment.Entry, a payment.Answer) (payment.Answer, error) {
	accounts, kinds, merchants, currencies := []string{}, []string{}, []string{}, []string{}
	amounts := []int64{}
	for _, e := range entries {
		accounts = append(accounts, e.Account.ID)
		kinds = append(kinds, string(e.Account.Kind))
		merchants = append(merchants, e.Account.Merchant)
		currencies = append(currencies, e.Account.Currency)
		amounts = append(amounts, e.Amount)
	}
	var first bool
	var remainingMS int64
	recorded := payment.Answer{PaymentID: p.ID}
	sent, err := s.transact(ctx, func(b *pgx.Batch) {
		b.Queue(finishSQL, p.ID, string(p.Status), p.Reason, p.AuthorizationCode, a.Status, a.Body,
			accounts, kinds, merchants, currencies, amounts).
			QueryRow(func(row pgx.Row) error { return row.Scan(&first) })
		b.Queue(answerSQL, p.ID).QueryRow(func(row pgx.Row) error {
			return row.Scan(&recorded.Status, &recorded.Body, &remainingMS)
		})
	})
	if err != nil {
		return payment.Answer{}, fmt.Errorf("record the outcome: %w", err)
	}
	if recorded.Status == 0 {
		return payment.Answer{}, fmt.Errorf("record the outcome: payment %s is decided but has no answer", p.ID)
	}
	recorded.Replayed, recorded.CoveredUntil = !first, covered(sent, remainingMS)
	return recorded, nil
}

// Release implements [payment.Store].
func (s *Store) Release(ctx context.Context, id string) error {
	_, err := s.transact(ctx, func(b *pgx.Batch) { b.Queue(releaseSQL, id) })
	if err != nil {
		return fmt.Errorf("give the claim back: %w", err)
	}
	return nil
}

// Overdue implements [payment.Store].
func (s *Store) Overdue(ctx context.Context, limit int, c payment.Claim) ([]payment.Payment, error) {
	var payments []payment.Payment
	_, err := s.transact(ctx, func(b *pgx.Batch) {
		b.Queue(overdueSQL, limit, c.For.Milliseconds()).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				p, err := scanPayment(rows)
				if err != nil {
					return err
				}
				payments = append(payments, p)
			}
			return rows.Err()
		})
	})
	if err != nil {
		return nil, fmt.Errorf("look for pending payments: %w", err)
	}
	return payments, nil
}

// Payment implements [payment.Store].
func (s *Store) Payment(ctx context.Context, id string) (payment.Payment, error) {
	var p payment.Payment
	err := s.read(ctx, func(ctx context.Context, pool *pgxpool.Pool) (err error) {
		p, err = scanPayment(pool.QueryRow(ctx, paymentSQL, id))
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return payment.Payment{}, payment.ErrNotFound
	}
	if err != nil {
		return payment.Payment{}, fmt.Errorf("read payment %s: %w", id, err)
	}
	return p, nil
}

// Balance implements [payment.Store].
func (s *Store) Balance(ctx context.Context, merchant string) (payment.Balance, error) {
	var balance payment.Balance
	err := s.read(ctx, func(ctx context.Context, pool *pgxpool.Pool) error {
		balance = payment.Balance{Balanced: true, Currencies: []payment.CurrencyBalance{}, Accounts: []payment.AccountBalance{}}
		rows, err := pool.Query(ctx, balanceSQL, merchant)
		if err != nil {
			return err
		}
		var a payment.AccountBalance
		var debits, credits, count int64
		_, err = pgx.ForEachRow(rows, []any{&a.Kind, &a.Currency, &a.Balance, &debits, &credits, &count}, func() error {
			a.Merchant = ""
			if a.Kind == payment.MerchantPayable {
				a.Merchant = merchant
			}
			balance.Accounts = append(balance.Accounts, a)
			n := len(balance.Currencies)
			if n == 0 || balance.Currencies[n-1].Currency != a.Currency {
				balance.Currencies = append(balance.Currencies, payment.CurrencyBalance{Currency: a.Currency})
				n++
			}
			c := &balance.Currencies[n-1]
			c.Debits, c.Credits, c.Payments = c.Debits+debits, c.Credits+credits, max(c.Payments, count)
			return nil
		})
		return err
	})
	for _, c := range balance.Currencies {
		balance.Balanced = balance.Balanced && c.Debits == c.Credits
	}
	if err != nil {
		return payment.Balance{}, fmt.Errorf("sum the ledger up: %w", err)
	}
	return balance, nil
}

func scanPayment(row pgx.Row) (payment.Payment, error) {
	var p payment.Payment
	var decided *time.Time
	err := row.Scan(&p.ID, &p.Reference, &p.Order.Merchant, &p.Order.Key, &p.Order.Amount, &p.Order.Currency,
		&p.Order.PaymentMethod, &p.Order.MerchantReference, &p.Status, &p.Reason, &p.AuthorizationCode, &p.CreatedAt, &decided)
	if decided != nil {
		p.DecidedAt = *decided
	}
	return p, err
}

// covered is until when, at the earliest, the lease covers what a pipeline read and committed: what the pipeline found left
// of the lease counts from before it was sent (P10).
func covered(sent term.Instant, remainingMS int64) term.Instant {
	return sent.Add(time.Duration(remainingMS) * time.Millisecond)
}

// transact runs statements as one transaction in one pipeline on the writer. It returns when the pipeline was sent, at
// the earliest.
func (s *Store) transact(ctx context.Context, queue func(*pgx.Batch)) (sent term.Instant, err error) {
	waiting, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	conn, err := s.site.writer.Acquire(waiting)
	if err != nil {
		return 0, s.site.explain(err)
	}
	defer conn.Release()
	// A client that hangs up may end the wait for a connection, but not a transaction under way: pgx closes a connection
	// whose context ends, and replacing connections costs more than finishing what was begun. Under overload that alone
	// would keep the service down.
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	batch := &pgx.Batch{}
	batch.Queue("BEGIN")
	queue(batch)
	batch.Queue("COMMIT")
	sent = s.now()
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		s.site.discard(conn, err)
		return 0, s.site.explain(err)
	}
	return sent, nil
}

// read runs a query where the site reads. If the writer fails, the reader is asked.
func (s *Store) read(ctx context.Context, query func(context.Context, *pgxpool.Pool) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if s.site.Status().Role == Active {
		first, cancel := context.WithTimeout(ctx, s.timeout/2)
		err := query(first, s.site.writer)
		cancel()
		if err == nil || errors.Is(err, pgx.ErrNoRows) || !s.site.lost(err) {
			return err
		}
	}
	err := query(ctx, s.site.reader)
	if err == nil || errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	return s.site.explain(err)
}
