package merchant

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// The defaults and bounds of a fleet.
const (
	DefaultMerchants = 8
	// DefaultRate is in payments per second, over all merchants.
	DefaultRate = 60.0
	// defaultMaxPending is how many customers wait at all tills together. Those who come to a full shop go away: with an
	// unbounded queue the drill would measure how this machine digests it, not how the system recovers.
	defaultMaxPending  = 600
	defaultMaxAttempts = 200
	// A merchant waits so long for one answer, and between two attempts at most maxBackoff, at any speed: what the machine can
	// carry is not sped up, and hundreds of payments that wait for a takeover and are sent again all the time would keep it
	// down. It is longer than a warden holds a request back for the other site (3 s), and shorter than what shops' libraries
	// wait: who gives up before, gives a connection up too, and new ones are the dearest of all. The pause is drawn below a bound that doubles from baseBackoff, which the speed shortens no further than
	// minBackoff, so that the first attempts find the new site soon.
	answerTimeout = 5 * time.Second
	dnsTimeout    = 2 * time.Second
	baseBackoff   = 200 * time.Millisecond
	minBackoff    = 100 * time.Millisecond
	maxBackoff    = 4 * time.Second
	minPatience   = 30 * time.Second
	basePatience  = 10 * time.Minute
)

// Options configure a Fleet.
type Options struct {
	// Name is resolved at Resolver ("host:port", UDP); Port is where the balancers listen for clients.
	Name     string
	Resolver string
	Port     int
	// Speed divides the first back-off and the patience, down to floors. Zero means 1.
	Speed float64
	Seed  uint64
	// Merchants and Rate (payments per second in total) default to DefaultMerchants and DefaultRate.
	Merchants int
	Rate      float64
	// Start is the origin of all durations in the record. Zero means now.
	Start time.Time
	// MaxPending bounds the payments under way; what arrives above it is shed and counted.
	MaxPending int
	// MaxAttempts bounds the attempts of one payment, Patience the time from its arrival to giving up.
	MaxAttempts int
	Patience    time.Duration
}

func (o Options) withDefaults() Options {
	if o.Speed <= 0 {
		o.Speed = 1
	}
	if o.Merchants <= 0 {
		o.Merchants = DefaultMerchants
	}
	if o.Rate <= 0 {
		o.Rate = DefaultRate
	}
	if o.Start.IsZero() {
		o.Start = time.Now()
	}
	if o.MaxPending <= 0 {
		o.MaxPending = defaultMaxPending
	}
	if o.MaxAttempts <= 0 {
		o.MaxAttempts = defaultMaxAttempts
	}
	if o.Patience <= 0 {
		o.Patience = max(minPatience, o.scaled(basePatience))
	}
	return o
}

func (o Options) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) / o.Speed)
}

// Fleet is a number of merchants under one record. Make it with New, Run it once.
type Fleet struct {
	options Options
	clients []*client

	// payments ends the payments under way; arrivals ends only the arrival of new ones.
	payments context.Context
	abandon  context.CancelFunc
	arrivals context.Context
	stop     context.CancelFunc
	group    sync.WaitGroup
	finished chan struct{}

	mu      sync.Mutex
	record  []Payment
	acks    []Acknowledgement
	pending int
	shed    int
	tries   int
}

// New returns a fleet that has not begun.
func New(options Options) (*Fleet, error) {
	options = options.withDefaults()
	if options.Name == "" || options.Resolver == "" || options.Port <= 0 {
		return nil, fmt.Errorf("merchants: a name, a resolver and a port are required, got %q, %q and %d",
			options.Name, options.Resolver, options.Port)
	}
	f := &Fleet{options: options, finished: make(chan struct{})}
	for range options.Merchants {
		f.clients = append(f.clients, &client{
			resolver: &resolver{server: options.Resolver, name: options.Name, timeout: dnsTimeout},
			port:     options.Port, timeout: answerTimeout,
		})
	}
	return f, nil
}

// Start begins the arrivals. They end with StopArrivals; everything ends when ctx does.
func (f *Fleet) Start(ctx context.Context) {
	f.payments, f.abandon = context.WithCancel(ctx)
	f.arrivals, f.stop = context.WithCancel(f.payments)
	f.group.Go(f.arrive)
	go func() {
		f.group.Wait()
		for _, c := range f.clients {
			c.close()
		}
		f.abandon()
		close(f.finished)
	}()
}

// StopArrivals ends the arrival of new payments; those under way go on.
func (f *Fleet) StopArrivals() { f.stop() }

// Drain stops the arrivals and waits until every payment has an outcome. When ctx ends first, the rest are given up
// as unknown, and the error says how many.
func (f *Fleet) Drain(ctx context.Context) error {
	f.stop()
	select {
	case <-f.finished:
		return nil
	case <-ctx.Done():
	}
	pending := f.Counts().Pending
	f.abandon()
	<-f.finished
	return fmt.Errorf("merchants: %d payments were still under way: %w", pending, ctx.Err())
}

// arrive makes payments at the times of a Poisson process. It is the only user of its random numbers, so a seed gives
// the same payments, in the same order, whatever the network does.
func (f *Fleet) arrive() {
	random := rand.New(rand.NewPCG(f.options.Seed, 0x6d65726368616e74))
	next := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; ; n++ {
		next = next.Add(time.Duration(random.ExpFloat64() / f.options.Rate * float64(time.Second)))
		timer.Reset(time.Until(next))
		payment, shop := f.draw(random, n)
		select {
		case <-f.arrivals.Done():
			return
		case <-timer.C:
		}
		f.admit(payment, n, f.clients[shop])
	}
}

var currencies = []string{"USD", "USD", "USD", "EUR", "GBP"}

// paymentMethods are tokens; the acquirer of a drill declines a share of those called declining.
var paymentMethods = []string{"tok_visa", "tok_mastercard", "tok_debit", "tok_amex"}

// DecliningMethod is the payment method that acquirers turn down now and then; one payment in fifty uses it.
const DecliningMethod = "tok_declining"

func (f *Fleet) draw(random *rand.Rand, n int) (p Payment, shop int) {
	shop = random.IntN(len(f.clients))
	method := paymentMethods[random.IntN(len(paymentMethods))]
	if random.IntN(50) == 0 {
		method = DecliningMethod
	}
	return Payment{
		Merchant:      fmt.Sprintf("merchant-%02d", shop+1),
		Order:         fmt.Sprintf("order-%d-%06d", f.options.Seed, n+1),
		Key:           fmt.Sprintf("%016x%016x", random.Uint64(), random.Uint64()),
		Amount:        100 + random.Int64N(25_000),
		Currency:      currencies[random.IntN(len(currencies))],
		PaymentMethod: method,
		Outcome:       Pending,
	}, shop
}

// admit puts a payment on the record and starts paying it, unless too many are under way.
func (f *Fleet) admit(p Payment, n int, c *client) {
	p.Arrived = time.Since(f.options.Start)
	f.mu.Lock()
	if f.pending >= f.options.MaxPending {
		f.shed++
		f.mu.Unlock()
		return
	}
	f.pending++
	index := len(f.record)
	f.record = append(f.record, p)
	f.mu.Unlock()
	f.group.Go(func() { f.pay(index, p, c, rand.New(rand.NewPCG(f.options.Seed, uint64(n)))) })
}

// pay tries until the outcome is final or the patience ends.
func (f *Fleet) pay(index int, p Payment, c *client, random *rand.Rand) {
	ctx, cancel := context.WithTimeout(f.payments, f.options.Patience)
	defer cancel()
	for attempt := 1; ; attempt++ {
		began := time.Since(f.options.Start)
		r := c.pay(ctx, p)
		ended := time.Since(f.options.Start)
		if ctx.Err() != nil && r.outcome == Pending || attempt == f.options.MaxAttempts && r.outcome == Pending {
			r.outcome = Unknown
		}
		f.note(index, Attempt{Began: began, Ended: ended, Address: r.address, Status: r.status, Error: r.problem}, r)
		if r.outcome != Pending {
			return
		}
		if !pause(ctx, max(r.retryAfter, f.backoff(attempt, random))) {
			f.giveUp(index)
			return
		}
	}
}

// backoff draws the pause before the attempt after this one: jitter over the upper three quarters of an exponential bound.
func (f *Fleet) backoff(attempt int, random *rand.Rand) time.Duration {
	bound := max(minBackoff, f.options.scaled(baseBackoff)) << min(attempt-1, 10)
	bound = min(bound, maxBackoff)
	return bound/4 + time.Duration(random.Int64N(int64(bound)*3/4))
}

// note puts an attempt on the record, and what it came to.
func (f *Fleet) note(index int, a Attempt, r result) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := &f.record[index]
	p.Attempts = append(p.Attempts, a)
	f.tries++
	if r.paymentID != "" {
		p.PaymentID = r.paymentID
	}
	if r.outcome == Acknowledged {
		f.acks = append(f.acks, Acknowledgement{At: a.Ended, AttemptBegan: a.Began, Address: a.Address, Payment: index})
	}
	if r.outcome != Pending {
		p.Outcome, p.Ended = r.outcome, a.Ended
		f.pending--
	}
}

// giveUp ends a payment between two attempts.
func (f *Fleet) giveUp(index int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.record[index].Outcome, f.record[index].Ended = Unknown, time.Since(f.options.Start)
	f.pending--
}

// Record returns a copy of the record, in the order of arrival.
func (f *Fleet) Record() []Payment {
	f.mu.Lock()
	defer f.mu.Unlock()
	record := slices.Clone(f.record)
	for i := range record {
		record[i].Attempts = slices.Clone(record[i].Attempts)
	}
	return record
}

// LastFailure is the last attempt of the newest payment that was tried and is not acknowledged; false if there is none. It
// is asked for all the time, so it does not copy the record.
func (f *Fleet) LastFailure() (Attempt, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range slices.Backward(f.record) {
		p := &f.record[i]
		if n := len(p.Attempts); n > 0 && p.Outcome != Acknowledged {
			return p.Attempts[n-1], true
		}
	}
	return Attempt{}, false
}

// Acknowledgements returns those after the first n, in the order in which they were noted, which is nearly that of At.
func (f *Fleet) Acknowledgements(n int) []Acknowledgement {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.acks[min(max(n, 0), len(f.acks)):])
}

// Counts sums up the record so far.
func (f *Fleet) Counts() Counts {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := Counts{Shed: f.shed, Attempts: f.tries}
	for i := range f.record {
		if len(f.record[i].Attempts) > 0 {
			counts.Attempted++
		}
		switch f.record[i].Outcome {
		case Pending:
			counts.Pending++
		case Acknowledged:
			counts.Acknowledged++
		case Declined:
			counts.Declined++
		case Refused:
			counts.Refused++
		case Unknown:
			counts.Unknown++
		}
	}
	return counts
}

// pause waits for d and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
