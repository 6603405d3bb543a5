package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/internal/drill/acquirer"
	"holdfast/internal/drill/merchant"
	"holdfast/internal/drill/splitbrain"
	"holdfast/internal/drill/verdict"
	"holdfast/internal/reconcile"
)

// splitBrainCount keeps the attack's count once it has ended.
type splitBrainCount struct {
	mu    sync.Mutex
	count splitbrain.Count
}

// add adds the count of one attack to those before it.
func (s *splitBrainCount) add(c splitbrain.Count) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count = s.count.Plus(c)
}

func (s *splitBrainCount) get() splitbrain.Count {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// copyAttack puts the attack's count into the verdict.
func (d *drill) copyAttack() {
	c := d.attackCount.get()
	d.verdict.SplitBrain.Attempts, d.verdict.SplitBrain.Accepted, d.verdict.SplitBrain.Inconclusive = c.Attempts, c.Accepted, c.Inconclusive
	d.verdict.SplitBrain.Unanswered = c.Unanswered
	d.verdict.SplitBrain.Held, d.verdict.SplitBrain.HeldAnswered = c.Held, c.HeldAnswered
	d.verdict.Thawed.Staged, d.verdict.Thawed.Landed = c.Thawed, c.ThawedLanded
	for state, n := range c.RefusedBy {
		d.verdict.SplitBrain.RefusedBy[state] = n
	}
	for way, n := range c.Ways {
		d.verdict.SplitBrain.Ways[way] = n
	}
	for _, sample := range c.Samples {
		d.event("split-brain", d.first, sample)
	}
}

// countBefore notes which acknowledged payments the ledger lacks before the switch back: what the loss of the region
// cost. What it lacks beyond that at the end, the switch back lost.
func (d *drill) countBefore(ctx context.Context) error {
	b, err := d.o.databases.books(ctx, d.twin.DatabaseDSN(d.second))
	if err != nil {
		return err
	}
	defer b.close()
	acknowledged := byOutcome(d.fleet.Record())[merchant.Acknowledged]
	kept, err := b.kept(ctx, ids(acknowledged))
	if err != nil {
		return err
	}
	for _, p := range acknowledged {
		if !kept[p.PaymentID] {
			d.lostBefore[p.PaymentID] = true
		}
	}
	return nil
}

func byOutcome(record []merchant.Payment) map[merchant.Outcome][]merchant.Payment {
	sorted := map[merchant.Outcome][]merchant.Payment{}
	for _, p := range record {
		sorted[p.Outcome] = append(sorted[p.Outcome], p)
	}
	return sorted
}

func ids(payments []merchant.Payment) []string {
	ids := make([]string, len(payments))
	for i, p := range payments {
		ids[i] = p.PaymentID
	}
	return ids
}

// charge is what an order has to be charged.
type charge struct {
	merchant, order, currency string
	amount                    int64
}

// countMerchants counts what the merchants have on record.
func (d *drill) countMerchants() {
	counts := d.fleet.Counts()
	outcomes := byOutcome(d.fleet.Record())
	p := &d.verdict.Payments
	p.Attempted, p.Shed, p.Attempts = counts.Attempted, counts.Shed, counts.Attempts
	p.Acknowledged = len(outcomes[merchant.Acknowledged])
	p.Unknown = len(outcomes[merchant.Unknown])
	p.Declined = len(outcomes[merchant.Declined])
	p.Refused = len(outcomes[merchant.Refused])
}

// countAcquirer holds the acquirer's record against the merchants'. It comes last: a recovery worker may charge until the
// books are quiet.
func (d *drill) countAcquirer() {
	outcomes := byOutcome(d.fleet.Record())
	p := &d.verdict.Payments
	for _, order := range d.acquirer.ChargedTwice() {
		p.ChargedTwice++
		d.verdict.ChargedTwice = append(d.verdict.ChargedTwice, verdict.Order{
			Merchant: order.Merchant, Reference: order.MerchantReference, References: order.References,
		})
	}
	charged, chargedOrders := map[charge]bool{}, map[[2]string]bool{}
	for _, c := range d.acquirer.Charges() {
		if c.Status == acquirer.Approved {
			charged[charge{c.Merchant, c.MerchantReference, c.Currency, c.Amount}] = true
			chargedOrders[[2]string{c.Merchant, c.MerchantReference}] = true
		}
	}
	for _, payment := range slices.Concat(outcomes[merchant.Declined], outcomes[merchant.Refused]) {
		if chargedOrders[[2]string{payment.Merchant, payment.Order}] {
			p.ToldNoButCharged++
			d.event("drill", "", fmt.Sprintf("order %s was %s, and charged at the acquirer", payment.Order, payment.Outcome))
		}
	}
	orders := map[string]string{}
	for _, payment := range outcomes[merchant.Acknowledged] {
		if other, taken := orders[payment.PaymentID]; taken {
			d.verdict.Failf("the orders %s and %s were acknowledged with the same payment id %s", other, payment.Order, payment.PaymentID)
		}
		orders[payment.PaymentID] = payment.Order
		if !charged[charge{payment.Merchant, payment.Order, payment.Currency, payment.Amount}] {
			p.AcknowledgedNotCharged++
		}
	}
}

// count looks every payment up in the surviving ledger.
func (d *drill) count(ctx context.Context) error {
	tail, err := d.collectTail()
	if err != nil {
		return err
	}
	b, site, err := d.survivor(ctx)
	if err != nil {
		return err
	}
	if r, err := d.twin.Record(ctx); err == nil {
		d.after = r
	}
	defer b.close()
	if err := d.awaitQuiet(ctx, b); err != nil {
		return fmt.Errorf("ask for undecided payments: %w", err)
	}
	d.event("drill", site, "counting in the surviving ledger")
	outcomes := byOutcome(d.fleet.Record())
	acknowledged := outcomes[merchant.Acknowledged]
	kept, err := b.kept(ctx, ids(acknowledged))
	if err != nil {
		return fmt.Errorf("look the acknowledged payments up: %w", err)
	}
	d.countAcknowledged(acknowledged, kept, tail)
	d.countUnacknowledged(acknowledged)
	if err := d.countPlanted(ctx, b); err != nil {
		return fmt.Errorf("look for commits of the attack: %w", err)
	}
	if err := d.countCharges(ctx, b, tail); err != nil {
		return fmt.Errorf("look the acquirer's charges up: %w", err)
	}
	keys := make([][2]string, 0, len(outcomes[merchant.Unknown]))
	for _, p := range outcomes[merchant.Unknown] {
		keys = append(keys, [2]string{p.Merchant, p.Key})
	}
	known, err := b.keptByKey(ctx, keys)
	if err != nil {
		return fmt.Errorf("look the unknown payments up: %w", err)
	}
	for _, key := range keys {
		if known[key] {
			d.verdict.Payments.UnknownInLedger++
		}
	}
	if d.verdict.Ledger, err = b.ledger(ctx); err != nil {
		return fmt.Errorf("add the ledger up: %w", err)
	}
	return nil
}

// awaitQuiet waits until no payment is undecided any more, for half of the phase at most: what a crash left half-way, a
// recovery worker charges and books later.
func (d *drill) awaitQuiet(ctx context.Context, b books) error {
	limit := d.o.Limits.Count / 2
	quiet, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	undecided := -1
	err := poll(quiet, pollEvery, func(ctx context.Context) (bool, string, error) {
		n, err := b.undecided(ctx)
		if err != nil {
			return false, "the surviving ledger does not say", err
		}
		undecided = n
		return n == 0, fmt.Sprintf("%d payments are undecided", n), nil
	})
	switch {
	case err == nil || ctx.Err() != nil:
		return ctx.Err()
	case undecided < 0:
		return err
	}
	d.verdict.Failf("%d payments in the surviving ledger are still undecided %.3g s after the load, so what becomes of them was not counted",
		undecided, limit.Seconds())
	return nil
}

// countPlanted holds the rows that the attack left in the tail and in the surviving ledger against the old database: an
// answer may be lost, a row is there.
func (d *drill) countPlanted(ctx context.Context, b books) error {
	inLedger, err := b.planted(ctx)
	if err != nil {
		return err
	}
	s := &d.verdict.SplitBrain
	s.InTail, s.InLedger = len(d.planted[splitbrain.Mark]), inLedger
	d.verdict.Thawed.InTail = len(d.planted[splitbrain.ThawedMark])
	if unseen := s.InTail + s.InLedger - s.Accepted; unseen > 0 {
		s.Attempts += unseen
		s.Accepted += unseen
	}
	return nil
}

// countUnacknowledged counts the payments of the exported tail that nobody was told of: they were under way when their
// site was lost or frozen, and landed there alone.
func (d *drill) countUnacknowledged(acknowledged []merchant.Payment) {
	told := map[string]bool{}
	for _, p := range acknowledged {
		told[p.PaymentID] = true
	}
	for id := range d.tailPayments {
		if !told[id] {
			d.verdict.Tail.Unacknowledged++
		}
	}
}

// countCharges counts the charges that moved money which nobody has in the books, neither the surviving ledger nor the
// exported tail: the payer has paid, and nobody knows for what.
func (d *drill) countCharges(ctx context.Context, b books, tail map[string]bool) error {
	var approved []acquirer.Charge
	for _, c := range d.acquirer.Charges() {
		if c.Status == acquirer.Approved {
			approved = append(approved, c)
		}
	}
	booked, err := b.booked(ctx, approved)
	if err != nil {
		return err
	}
	for _, c := range approved {
		if !booked[c.Reference] && !tail[c.Reference] {
			d.verdict.Payments.ChargedNotBooked++
			d.event("drill", "", fmt.Sprintf("charge %s of order %s at the acquirer is in no book", c.Reference, c.MerchantReference))
		}
	}
	return nil
}

// countAcknowledged sorts the acknowledged payments into kept and lost, and measures the recovery point.
func (d *drill) countAcknowledged(acknowledged []merchant.Payment, kept, tail map[string]bool) {
	var lost []merchant.Payment
	var lostAt []time.Duration
	for _, p := range acknowledged {
		if before := (d.firstFault.Sub(d.began) - p.Ended).Seconds(); d.verdict.FaultAtSeconds != nil {
			d.verdict.LoadBeforeFaultSeconds = round(max(d.verdict.LoadBeforeFaultSeconds, before))
		}
		if kept[p.PaymentID] {
			d.verdict.Payments.Kept++
			continue
		}
		d.verdict.Payments.Lost++
		lost = append(lost, p)
		d.verdict.Lost = append(d.verdict.Lost, verdict.LostPayment{
			PaymentID: p.PaymentID, AcknowledgedAtSeconds: round(p.Ended.Seconds()), Amount: p.Amount, Currency: p.Currency,
			InTail: tail[p.PaymentID],
		})
		if !d.lostBefore[p.PaymentID] && d.verdict.SwitchBack.DowntimeSeconds != nil {
			d.verdict.SwitchBack.Lost++
		}
		lostAt = append(lostAt, p.Ended)
	}
	d.judgeDeadlines(lost)
	if d.verdict.FaultAtSeconds != nil {
		rpo := round(recoveryPoint(lostAt, d.faultEnds).Seconds())
		d.verdict.RPOSeconds = &rpo
	}
}

// recoveryPoint is the longest stretch of time whose payments a takeover lost: from the first of them to the fault, or to
// the last of them where the old site went on acknowledging for the rest of its lease. Each lost payment belongs to the
// fault that it was acknowledged nearest to.
func recoveryPoint(lost, faultEnds []time.Duration) time.Duration {
	type stretch struct{ from, to time.Duration }
	stretches := map[time.Duration]stretch{}
	for _, at := range lost {
		nearest, found := time.Duration(0), false
		for _, end := range faultEnds {
			if !found || (end-at).Abs() < (nearest-at).Abs() {
				nearest, found = end, true
			}
		}
		if !found {
			continue
		}
		s, seen := stretches[nearest]
		if !seen {
			s = stretch{from: nearest, to: nearest}
		}
		stretches[nearest] = stretch{from: min(s.from, at), to: max(s.to, at)}
	}
	longest := time.Duration(0)
	for _, s := range stretches {
		longest = max(longest, s.to-s.from)
	}
	return longest
}

// measureStandstill is the longest time without an acknowledged payment between the first fault and the end of the load.
func (d *drill) measureStandstill() {
	if d.firstFault.IsZero() {
		return
	}
	standstill := round(d.largestGap(d.firstFault, d.loadEnded).Seconds())
	d.verdict.StandstillSeconds = &standstill
}

// happened words what became of the term and of the payments.
func (d *drill) happened() string {
	if d.first == "" {
		return "the twin did not come up"
	}
	end := "nobody could read the term record at the end"
	if d.after.Term > 0 {
		end = fmt.Sprintf("term %d of %s at the end", d.after.Term, d.after.Holder)
	}
	p := d.verdict.Payments
	standstill := ""
	if d.verdict.StandstillSeconds != nil {
		standstill = fmt.Sprintf(", standstill %.1f s", *d.verdict.StandstillSeconds)
	}
	return fmt.Sprintf("%s%s, %d of %d acknowledged payments kept", end, standstill, p.Kept, p.Acknowledged)
}

// survivor opens the active site's database. When nobody says which that is, it opens the first that answers, for what
// the counts are worth then.
func (d *drill) survivor(ctx context.Context) (b books, site string, err error) {
	candidates := []string{d.second, d.first}
	if holder, err := d.holder(ctx); err == nil {
		candidates = []string{holder}
	} else {
		d.verdict.Failf("which site is active at the end is not known (%v), so the counts may be of the wrong ledger", err)
	}
	for _, site := range candidates {
		if b, err = d.o.databases.books(ctx, d.twin.DatabaseDSN(site)); err == nil {
			return b, site, nil
		}
	}
	return nil, "", fmt.Errorf("open the surviving ledger of site %s: %w", strings.Join(candidates, " or "), err)
}

// holder asks for the active site for a sixth of the phase: one answer that was lost is no reason to guess.
func (d *drill) holder(ctx context.Context) (site string, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.o.Limits.Count/6)
	defer cancel()
	err = poll(ctx, pollEvery, func(ctx context.Context) (bool, string, error) {
		var err error
		site, _, err = d.twin.Active(ctx)
		return err == nil, "no answer", err
	})
	return site, err
}

// isPlanted notes a row of the tail that the drill's own transactions wrote, by the mark in its key. Rows of several
// tables may be one transaction's.
func (d *drill) isPlanted(l reconcile.Line) bool {
	for _, mark := range []string{splitbrain.Mark, splitbrain.ThawedMark} {
		if _, id, found := strings.Cut(string(l.Key), mark); found {
			id, _, _ = strings.Cut(id, `"`)
			if d.planted[mark] == nil {
				d.planted[mark] = map[string]bool{}
			}
			d.planted[mark][id] = true
			return true
		}
	}
	return false
}

// collectTail copies what the wardens exported into the results and returns the ids and the charge references of the
// merchants' payments in it.
func (d *drill) collectTail() (map[string]bool, error) {
	found := map[string]bool{}
	for _, folder := range d.twin.TailFolders() {
		summary, err := reconcile.Verify(folder)
		if err != nil {
			return nil, fmt.Errorf("the exported tail: %w", err)
		}
		for _, t := range summary.Tables {
			err := reconcile.ReadLines(folder, t, func(l reconcile.Line) error {
				if d.isPlanted(l) || !strings.HasSuffix(t.Name, ".payments") {
					return nil
				}
				var row struct {
					ID        string `json:"id"`
					Reference string `json:"charge_reference"`
				}
				if err := json.Unmarshal(l.Old, &row); err != nil {
					return fmt.Errorf("the exported tail %s: %w", folder, err)
				}
				if l.Kind == reconcile.Missing {
					d.verdict.Tail.Payments++
					found[row.ID], found[row.Reference] = true, true
					d.tailPayments[row.ID] = true
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
		d.verdict.Tail.Folder = filepath.Join(d.o.Out, "tail")
		if err := os.CopyFS(filepath.Join(d.verdict.Tail.Folder, filepath.Base(folder)), os.DirFS(folder)); err != nil {
			return nil, fmt.Errorf("copy the exported tail: %w", err)
		}
	}
	return found, nil
}
