package payment

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
)

// Limits of an order.
const (
	// MaxAmount is in the currency's minor unit. Nine million payments of it still add up within 64 bits.
	MaxAmount = 1_000_000_000_000
	// MaxKeyLength, MaxMerchantLength and MaxFieldLength are in bytes. The acquirer takes no more than 128.
	MaxKeyLength      = 255
	MaxMerchantLength = 64
	MaxFieldLength    = 128
)

// Order is what a merchant asks for. Merchant and Key together name it: the same pair is the same order for ever.
type Order struct {
	Merchant string
	// Key is the merchant's idempotency key.
	Key string
	// Amount is in the currency's minor unit; Currency is an ISO 4217 code.
	Amount   int64
	Currency string
	// PaymentMethod is a token of the merchant's vault, never a card number.
	PaymentMethod string
	// MerchantReference is what the merchant calls the purchase.
	MerchantReference string
}

// PaymentID is the payment's name. It is derived from merchant and key, so that an order that is sent again after its
// rows were lost becomes the same payment again (P21).
func (o Order) PaymentID() string { return "pay_" + o.derive("payment id") }

// Reference is the payment's name at the acquirer, derived likewise, so that it is the same charge there.
func (o Order) Reference() string { return "ch_" + o.derive("charge reference") }

var encoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// derive hashes purpose, merchant and key, each with its length in front, so that no two triples run together. It
// must never change: payments that were lost and are sent again would be charged a second time.
func (o Order) derive(purpose string) string {
	sum := sha256.Sum256(lengthPrefixed("payd/v1", purpose, o.Merchant, o.Key))
	return encoding.EncodeToString(sum[:20])
}

func lengthPrefixed(parts ...string) []byte {
	var b []byte
	for _, p := range parts {
		b = binary.BigEndian.AppendUint64(b, uint64(len(p)))
		b = append(b, p...)
	}
	return b
}

// FieldError is one thing wrong with an order.
type FieldError struct {
	// Field is the name as in the request.
	Field   string `json:"field"`
	Message string `json:"message"`
}

// InvalidOrder lists everything that is wrong with an order.
type InvalidOrder []FieldError

func (e InvalidOrder) Error() string {
	var b strings.Builder
	b.WriteString("the order is not valid")
	for i, f := range e {
		b.WriteString([]string{": ", "; "}[min(i, 1)])
		b.WriteString(f.Field + ": " + f.Message)
	}
	return b.String()
}

// Validate returns an [InvalidOrder] with everything that is wrong, or nil.
func (o Order) Validate() error {
	var wrong InvalidOrder
	add := func(field, message string) { wrong = append(wrong, FieldError{field, message}) }
	if !ValidMerchant(o.Merchant) {
		add("merchant", "1 to 64 letters, digits, dots, dashes or underscores are required, "+
			"in the header Merchant-Id or the field merchant")
	}
	if o.Key == "" || len(o.Key) > MaxKeyLength || !printable(o.Key) {
		add("Idempotency-Key", "1 to 255 printable ASCII characters are required in the header")
	}
	if o.Amount <= 0 || o.Amount > MaxAmount {
		add("amount", fmt.Sprintf("a whole number of minor units from 1 to %d is required", int64(MaxAmount)))
	}
	if _, ok := MinorUnits(o.Currency); !ok {
		add("currency", "an ISO 4217 code of three capital letters is required")
	}
	switch {
	case o.PaymentMethod == "" || len(o.PaymentMethod) > MaxFieldLength || !printable(o.PaymentMethod):
		add("payment_method", "a token of 1 to 128 printable ASCII characters is required")
	case looksLikeCardNumber(o.PaymentMethod):
		add("payment_method", "this looks like a card number: send a token, card numbers are not accepted")
	}
	if o.MerchantReference == "" || len(o.MerchantReference) > MaxFieldLength || !printable(o.MerchantReference) {
		add("merchant_reference", "1 to 128 printable ASCII characters are required")
	}
	if wrong == nil {
		return nil
	}
	return wrong
}

// ValidMerchant reports whether the text can be a merchant's name. It has no colon, so it can stand in account names.
func ValidMerchant(name string) bool {
	if name == "" || len(name) > MaxMerchantLength {
		return false
	}
	for _, c := range []byte(name) {
		if !isLetter(c) && !isDigit(c) && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func printable(s string) bool {
	for _, c := range []byte(s) {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}

// looksLikeCardNumber: 13 to 19 digits, perhaps in groups, whose check digit is right (Luhn).
func looksLikeCardNumber(s string) bool {
	digits := strings.NewReplacer(" ", "", "-", "").Replace(s)
	if len(digits) < 13 || len(digits) > 19 {
		return false
	}
	sum := 0
	for i := range len(digits) {
		c := digits[len(digits)-1-i]
		if !isDigit(c) {
			return false
		}
		d := int(c - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}
