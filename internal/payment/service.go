package payment

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Errors that the API tells apart. All but ErrKeyReused and ErrNotFound go away by themselves: the same request with
// the same key may be sent again.
var (
	// ErrKeyReused: the key belongs to another order.
	ErrKeyReused = errors.New("the idempotency key was used for another order")
	// ErrInFlight: another request with this key is under way.
	ErrInFlight = errors.New("another request with this idempotency key is under way")
	// ErrNotFound: there is no such payment.
	ErrNotFound = errors.New("there is no such payment here")
	// ErrNoLease: the database refuses to commit because the site holds no valid write lease.
	ErrNoLease = errors.New("this site holds no write lease right now")
	// ErrStandby: the site is a standby; payments are taken at the other one.
	ErrStandby = errors.New("this site is a standby")
	// ErrUnavailable: the database does not answer, or the outcome of a commit is unknown.
	ErrUnavailable = errors.New("the database is not available")
	// ErrAcquirer: the acquirer's answer is unknown. The payment stays pending.
	ErrAcquirer = errors.New("the acquirer has not answered")
)

// Claim is the right to work on a pending payment, for a while. It only saves work: two workers on one payment do
// no harm, because the reference makes the charge idempotent and only one can finish.
type Claim struct{ For time.Duration }

// Begun is what [Store.Begin] found or made: a payment to go on with, or the recorded answer.
type Begun struct {
	Payment Payment
	// Answer is nil unless the payment has been decided.
	Answer *Answer
}

// Store keeps payments. Every method that writes is one transaction.
type Store interface {
	// Begin records the order as a pending payment and claims it. For a known order it returns the recorded answer, or
	// the pending payment if its claim has ended, else ErrInFlight. ErrKeyReused if the key is another order's.
	Begin(ctx context.Context, o Order, c Claim) (Begun, error)
	// Finish records a decided payment with its ledger entries and its answer, unless somebody else did. It returns
	// the answer that is recorded.
	Finish(ctx context.Context, p Payment, entries []Entry, a Answer) (Answer, error)
	// Release ends the claim on a pending payment early.
	Release(ctx context.Context, id string) error
	// Overdue claims up to limit pending payments that nobody works on, oldest first.
	Overdue(ctx context.Context, limit int, c Claim) ([]Payment, error)
	// Payment returns a payment, or ErrNotFound.
	Payment(ctx context.Context, id string) (Payment, error)
	// Balance sums the ledger up; with a merchant, only the payments of that merchant.
	Balance(ctx context.Context, merchant string) (Balance, error)
}

// Charge is what the acquirer is asked for.
type Charge struct {
	Reference         string
	Amount            int64
	Currency          string
	PaymentMethod     string
	Merchant          string
	MerchantReference string
}

// Outcome is the acquirer's final word on a charge.
type Outcome struct {
	// Status is Approved, Declined or Quarantined.
	Status            Status
	Reason            string
	AuthorizationCode string
}

// Acquirer moves the money.
type Acquirer interface {
	// Charge makes the charge, or returns what became of it if it is known. Every error leaves the outcome unknown:
	// "not found" or a timeout never means that the charge failed or will not arrive (P21).
	Charge(ctx context.Context, c Charge) (Outcome, error)
}

// Observer is told what happens, for metrics. Its methods must not block.
type Observer interface {
	// Decided: a payment was decided and recorded; recovered says that the recovery worker did it.
	Decided(s Status, recovered bool)
	// Charged: the acquirer was called, with the outcome's status or "unknown".
	Charged(outcome string, took time.Duration)
}

// Options are a [Service]'s settings.
type Options struct {
	// Claim is how long a request may work on a payment before others may take it over.
	Claim time.Duration
	// RecoveryWorkers is how many payments [Service.Recover] works on at once, RecoveryBatch how many it claims.
	RecoveryWorkers, RecoveryBatch int
	// Observer may be nil.
	Observer Observer
}

// Service takes payments.
type Service struct {
	store    Store
	acquirer Acquirer
	options  Options
}

// NewService returns a service. Zero options get defaults: a claim of 15 s, 4 workers, batches of 64.
func NewService(store Store, acquirer Acquirer, o Options) *Service {
	if o.Claim <= 0 {
		o.Claim = 15 * time.Second
	}
	if o.RecoveryWorkers <= 0 {
		o.RecoveryWorkers = 4
	}
	if o.RecoveryBatch <= 0 {
		o.RecoveryBatch = 64
	}
	if o.Observer == nil {
		o.Observer = silent{}
	}
	return &Service{store: store, acquirer: acquirer, options: o}
}

type silent struct{}

func (silent) Decided(Status, bool)          {}
func (silent) Charged(string, time.Duration) {}

// Create takes a payment and returns its answer; whoever gives it must ask [Answer.Covered] first. Errors: an
// [InvalidOrder], or one of the package's.
func (s *Service) Create(ctx context.Context, o Order) (Answer, error) {
	if err := o.Validate(); err != nil {
		return Answer{}, err
	}
	begun, err := s.store.Begin(ctx, o, Claim{For: s.options.Claim})
	if err != nil {
		return Answer{}, err
	}
	if begun.Answer != nil {
		return *begun.Answer, nil
	}
	return s.settle(ctx, begun.Payment, false)
}

// releaseTimeout bounds giving a claim back; without it the claim ends by itself.
const releaseTimeout = time.Second

// settle brings a pending payment to its end: phases two and three.
func (s *Service) settle(ctx context.Context, p Payment, recovered bool) (Answer, error) {
	began := time.Now()
	outcome, err := s.acquirer.Charge(ctx, Charge{
		Reference: p.Reference, Amount: p.Order.Amount, Currency: p.Order.Currency, PaymentMethod: p.Order.PaymentMethod,
		Merchant: p.Order.Merchant, MerchantReference: p.Order.MerchantReference,
	})
	if err != nil {
		s.options.Observer.Charged("unknown", time.Since(began))
		if !recovered { // the recovery worker's claim is its pause before the next attempt
			release, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
			defer cancel()
			err = errors.Join(err, s.store.Release(release, p.ID))
		}
		return Answer{}, fmt.Errorf("payment %s: %w: %w", p.ID, ErrAcquirer, err)
	}
	s.options.Observer.Charged(string(outcome.Status), time.Since(began))
	p.Status, p.Reason, p.AuthorizationCode = outcome.Status, outcome.Reason, outcome.AuthorizationCode
	answer, err := Render(p)
	if err != nil {
		return Answer{}, err
	}
	answer, err = s.store.Finish(ctx, p, Entries(p), answer)
	if err != nil {
		return Answer{}, fmt.Errorf("payment %s: %w", p.ID, err)
	}
	if !answer.Replayed {
		s.options.Observer.Decided(p.Status, recovered)
	}
	return answer, nil
}

// Recover finishes payments that a crash left pending, by sending the same reference to the acquirer again. It works
// on one batch and returns how many it found and how many it brought to an end; err joins what went wrong.
func (s *Service) Recover(ctx context.Context) (found, finished int, err error) {
	payments, err := s.store.Overdue(ctx, s.options.RecoveryBatch, Claim{For: s.options.Claim})
	if err != nil {
		return 0, 0, err
	}
	var mu sync.Mutex
	var errs []error
	var workers sync.WaitGroup
	queue := make(chan Payment)
	for range min(s.options.RecoveryWorkers, len(payments)) {
		workers.Go(func() {
			for p := range queue {
				_, err := s.settle(ctx, p, true)
				mu.Lock()
				if err != nil {
					errs = append(errs, err)
				} else {
					finished++
				}
				mu.Unlock()
			}
		})
	}
	for _, p := range payments {
		queue <- p
	}
	close(queue)
	workers.Wait()
	return len(payments), finished, errors.Join(errs...)
}

// Payment returns a payment, or ErrNotFound. Read at a standby it may be behind.
func (s *Service) Payment(ctx context.Context, id string) (Payment, error) {
	return s.store.Payment(ctx, id)
}

// Balance sums the ledger up, of one merchant if one is named.
func (s *Service) Balance(ctx context.Context, merchant string) (Balance, error) {
	return s.store.Balance(ctx, merchant)
}
