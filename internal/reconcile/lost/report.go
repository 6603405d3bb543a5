package lost

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"holdfast/internal/reconcile"
	"holdfast/internal/term"
)

// paymentsTable is payd's.
const paymentsTable = "payd.payments"

// SeenAtAcquirer is the witness beside the exports' sources.
const SeenAtAcquirer = "acquirer"

// DefaultSlack is by how much the gap is widened at both ends before the acquirer's window is held against it: how far
// its clock may be from the databases', and how long after its payment a charge may arrive.
const DefaultSlack = time.Minute

// Export is one export that a report is made of.
type Export struct {
	Summary  reconcile.Summary
	Sighting reconcile.Sighting
}

// Report says what became of everything that a takeover may have lost.
type Report struct {
	Format int       `json:"format"`
	MadeAt time.Time `json:"made_at"`
	// Complete: every gap is known, and the acquirer's lists cover it, so nothing can be missing here.
	Complete          bool     `json:"complete"`
	IncompleteBecause []string `json:"incomplete_because,omitempty"`
	Exports           []Source `json:"exports"`
	Gaps              []Gap    `json:"gaps"`
	Acquirer          []List   `json:"acquirer"`
	// Payments are those of the exports, and the charges that no ledger has, by reference.
	Payments []Payment `json:"payments"`
	// Totals are by currency and action.
	Totals map[string]map[Action]Total `json:"totals"`
	// Tables counts Rows by table and by kind.
	Tables map[string]map[string]int `json:"tables"`
	Rows   []reconcile.Row           `json:"rows"`
}

// Source names an export.
type Source struct {
	Folder string      `json:"folder"`
	SHA256 string      `json:"sha256"`
	Source string      `json:"source"`
	Site   string      `json:"site"`
	Term   term.Number `json:"term"`
}

// Gap is the stretch of time in which the end of one site's term was committed.
type Gap struct {
	Site string      `json:"site"`
	Term term.Number `json:"term"`
	// Span has the slack in it.
	reconcile.Span
	Uncovered []reconcile.Span `json:"uncovered"`
}

// Payment is one payment that may be lost.
type Payment struct {
	Reference string `json:"reference"`
	// PaymentID, IdempotencyKey and what the merchant calls the purchase are empty where no witness says.
	PaymentID         string `json:"payment_id,omitempty"`
	Merchant          string `json:"merchant,omitempty"`
	MerchantReference string `json:"merchant_reference,omitempty"`
	IdempotencyKey    string `json:"idempotency_key,omitempty"`
	// Amount is in the currency's minor unit.
	Amount   int64  `json:"amount"`
	Currency string `json:"currency"`
	// SeenIn are the exports' sources and SeenAtAcquirer.
	SeenIn []string `json:"seen_in"`
	// Old, Acquirer and Survivor are what each calls it, empty if it does not have it.
	Old      string `json:"old,omitempty"`
	Acquirer string `json:"acquirer,omitempty"`
	Survivor string `json:"survivor,omitempty"`
	Action   Action `json:"action"`
	Why      string `json:"why"`
}

// Total counts payments and adds their amounts up, in the currency's minor unit.
type Total struct {
	Payments int   `json:"payments"`
	Amount   int64 `json:"amount"`
}

// row is a row of payd.payments.
type row struct {
	ID                string `json:"id"`
	Merchant          string `json:"merchant"`
	Key               string `json:"idempotency_key"`
	Reference         string `json:"charge_reference"`
	Amount            int64  `json:"amount"`
	Currency          string `json:"currency"`
	MerchantReference string `json:"merchant_reference"`
	Status            string `json:"status"`
}

// References lists what has to be looked up in the surviving ledger for a report, sorted.
func References(exports []Export, lists []List) ([]string, error) {
	rows, err := paymentRows(unionOf(exports))
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for reference := range rows {
		all[reference] = true
	}
	for reference := range byReference(lists) {
		all[reference] = true
	}
	return slices.Sorted(maps.Keys(all)), nil
}

func unionOf(exports []Export) []reconcile.Row {
	sightings := make([]reconcile.Sighting, len(exports))
	for i, e := range exports {
		sightings[i] = e.Sighting
	}
	return reconcile.Union(sightings...)
}

// seen is what the exports show of one payment.
type seen struct {
	row
	in       []string
	versions int
}

// paymentRows picks payd's payments out of a union, by charge reference.
func paymentRows(rows []reconcile.Row) (map[string]seen, error) {
	found := map[string]seen{}
	for _, r := range rows {
		if r.Table != paymentsTable {
			continue
		}
		s := seen{in: r.SeenIn, versions: len(r.Versions)}
		if err := json.Unmarshal(r.Versions[0], &s.row); err != nil {
			return nil, fmt.Errorf("read the lost payment %s: %w", r.Key, err)
		}
		if s.Reference == "" {
			return nil, fmt.Errorf("the lost payment %s has no charge_reference: it is not of payd's table", r.Key)
		}
		found[s.Reference] = s
	}
	return found, nil
}

// NewReport merges exports, acquirer's lists and what the survivor says of their references.
func NewReport(exports []Export, lists []List, book Book, slack time.Duration, now time.Time) (Report, error) {
	r := Report{
		Format: 1, MadeAt: now.UTC(), Exports: []Source{}, Gaps: []Gap{}, Acquirer: append([]List{}, lists...), Payments: []Payment{},
		Totals: map[string]map[Action]Total{}, Tables: map[string]map[string]int{}, Rows: unionOf(exports),
	}
	for _, row := range r.Rows {
		if r.Tables[row.Table] == nil {
			r.Tables[row.Table] = map[string]int{}
		}
		r.Tables[row.Table][row.Kind]++
	}
	r.cover(exports, lists, slack)
	rows, err := paymentRows(r.Rows)
	if err != nil {
		return Report{}, err
	}
	charges := byReference(lists)
	references := maps.Clone(rows)
	for reference := range charges {
		if _, in := rows[reference]; !in {
			references[reference] = seen{}
		}
	}
	for _, reference := range slices.Sorted(maps.Keys(references)) {
		p := judge(reference, references[reference], charges[reference], book, evidence{exported: len(exports) > 0, asked: len(lists) > 0})
		if len(references[reference].in) == 0 && p.Action == DoNothing {
			continue // a charge that the survivor has, or that moved no money, was never in danger
		}
		r.Payments = append(r.Payments, p)
		if r.Totals[p.Currency] == nil {
			r.Totals[p.Currency] = map[Action]Total{}
		}
		t := r.Totals[p.Currency][p.Action]
		r.Totals[p.Currency][p.Action] = Total{Payments: t.Payments + 1, Amount: t.Amount + p.Amount}
	}
	return r, nil
}

// cover says whether the acquirer's lists cover every gap (P22).
func (r *Report) cover(exports []Export, lists []List, slack time.Duration) {
	windows := make([]reconcile.Span, len(lists))
	for i, l := range lists {
		windows[i] = l.Window
	}
	for _, e := range exports {
		s := e.Summary
		r.Exports = append(r.Exports, Source{Folder: s.Folder, SHA256: s.SHA256, Source: e.Sighting.Source, Site: s.Site, Term: s.Term})
		if s.Boundary == nil {
			r.IncompleteBecause = append(r.IncompleteBecause, fmt.Sprintf("the export %s does not say when what it has was committed", s.Folder))
			continue
		}
		g := Gap{Site: s.Site, Term: s.Term, Span: reconcile.Span{From: s.Boundary.From.Add(-slack), Until: s.Boundary.Until.Add(slack)}}
		g.Uncovered = reconcile.Uncovered(g.Span, windows)
		r.Gaps = append(r.Gaps, g)
		for _, u := range g.Uncovered {
			because := fmt.Sprintf("the acquirer was not asked about %s to %s, in which %s's term %d may have charged", stamp(u.From), stamp(u.Until), s.Site, s.Term)
			if !slices.Contains(r.IncompleteBecause, because) {
				r.IncompleteBecause = append(r.IncompleteBecause, because)
			}
		}
	}
	if len(exports) == 0 {
		r.IncompleteBecause = append(r.IncompleteBecause, "no export was given, so nobody knows when what was lost was committed")
	}
	r.Complete = len(r.IncompleteBecause) == 0
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// judge puts one payment's witnesses side by side.
func judge(reference string, s seen, charges []Charge, book Book, e evidence) Payment {
	p := Payment{
		Reference: reference, PaymentID: s.ID, Merchant: s.Merchant, MerchantReference: s.MerchantReference,
		IdempotencyKey: s.Key, Amount: s.Amount, Currency: s.Currency, SeenIn: slices.Clone(s.in), Old: s.Status,
	}
	entry, known := book[reference]
	if known {
		p.PaymentID, p.Survivor = entry.PaymentID, entry.Status
	}
	var conflicts []string
	if s.versions > 1 {
		conflicts = append(conflicts, "the exports contradict each other")
	}
	if len(charges) > 1 {
		conflicts = append(conflicts, fmt.Sprintf("the acquirer has %d different charges under this reference", len(charges)))
	}
	if len(charges) > 0 {
		c := charges[0]
		p.SeenIn = append(p.SeenIn, SeenAtAcquirer)
		p.Acquirer = c.Status
		if len(s.in) == 0 {
			p.Amount, p.Currency, p.Merchant, p.MerchantReference = c.Amount, c.Currency, c.Merchant, c.MerchantReference
		} else if c.Status != Voided && (c.Amount != s.Amount || c.Currency != s.Currency) {
			conflicts = append(conflicts, fmt.Sprintf("the acquirer has %d %s under it, the old ledger %d %s", c.Amount, c.Currency, s.Amount, s.Currency))
		}
		if known && c.Status != Voided && (c.Amount != entry.Amount || c.Currency != entry.Currency) {
			conflicts = append(conflicts, fmt.Sprintf("the acquirer has %d %s under it, the surviving ledger %d %s", c.Amount, c.Currency, entry.Amount, entry.Currency))
		}
	}
	if known && len(s.in) > 0 && (s.Amount != entry.Amount || s.Currency != entry.Currency) {
		conflicts = append(conflicts, fmt.Sprintf("the old ledger has %d %s, the surviving one %d %s", s.Amount, s.Currency, entry.Amount, entry.Currency))
	}
	e.old, e.charge, e.survivor, e.booked, e.conflict = p.Old, p.Acquirer, p.Survivor, entry.Booked, strings.Join(conflicts, "; ")
	p.Action, p.Why = propose(e)
	return p
}
