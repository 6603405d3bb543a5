package payment

// AccountKind is what an account stands for.
type AccountKind string

// The kinds.
const (
	// AcquirerReceivable is what the acquirer owes us.
	AcquirerReceivable AccountKind = "acquirer_receivable"
	// MerchantPayable is what we owe a merchant.
	MerchantPayable AccountKind = "merchant_payable"
)

// Account is a ledger account in one currency.
type Account struct {
	ID       string
	Kind     AccountKind
	Merchant string // empty for the acquirer's
	Currency string
}

// Entry is one line of the ledger: debits are positive, credits negative.
type Entry struct {
	Account Account
	// Amount is in the currency's minor unit.
	Amount int64
}

// Entries are the ledger lines of a payment; they add up to zero. Only an approved payment has any.
func Entries(p Payment) []Entry {
	if p.Status != Approved {
		return nil
	}
	o := p.Order
	return []Entry{
		{Account{"acquirer:" + o.Currency, AcquirerReceivable, "", o.Currency}, o.Amount},
		{Account{"merchant:" + o.Merchant + ":" + o.Currency, MerchantPayable, o.Merchant, o.Currency}, -o.Amount},
	}
}

// Balance is the ledger summed up.
type Balance struct {
	// Balanced: debits equal credits in every currency.
	Balanced   bool              `json:"balanced"`
	Currencies []CurrencyBalance `json:"currencies"`
	Accounts   []AccountBalance  `json:"accounts"`
}

// CurrencyBalance is one currency's debits and credits, in minor units, both positive.
type CurrencyBalance struct {
	Currency string `json:"currency"`
	Debits   int64  `json:"debits"`
	Credits  int64  `json:"credits"`
	Payments int64  `json:"payments"`
}

// AccountBalance is the sum of all accounts of one kind in one currency; debit balances are positive.
type AccountBalance struct {
	Kind     AccountKind `json:"kind"`
	Merchant string      `json:"merchant,omitempty"`
	Currency string      `json:"currency"`
	Balance  int64       `json:"balance"`
}
