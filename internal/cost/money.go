package cost

import (
	"fmt"
	"math/big"
)

// Amount is an exact number: US dollars, a price or a quantity. The zero value is 0. An Amount is never changed in
// place, so copies are safe.
type Amount struct{ rat *big.Rat }

// ParseAmount reads a decimal such as "0.004445". It takes neither fractions nor exponents nor negative numbers.
func ParseAmount(s string) (Amount, error) {
	for _, c := range s {
		if c != '.' && (c < '0' || c > '9') {
			return Amount{}, fmt.Errorf("%q is not a decimal number such as 0.045", s)
		}
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return Amount{}, fmt.Errorf("%q is not a decimal number such as 0.045", s)
	}
	return Amount{r}, nil
}

// whole is an integer amount.
func whole(n int) Amount { return Amount{new(big.Rat).SetInt64(int64(n))} }

func (a Amount) value() *big.Rat {
	if a.rat == nil {
		return new(big.Rat)
	}
	return a.rat
}

// Plus is a + b.
func (a Amount) Plus(b Amount) Amount { return Amount{new(big.Rat).Add(a.value(), b.value())} }

// Minus is a − b.
func (a Amount) Minus(b Amount) Amount { return Amount{new(big.Rat).Sub(a.value(), b.value())} }

// Times is a × b.
func (a Amount) Times(b Amount) Amount { return Amount{new(big.Rat).Mul(a.value(), b.value())} }

// Over is a ÷ n for n above 0.
func (a Amount) Over(n int) Amount { return a.Times(Amount{big.NewRat(1, int64(n))}) }

// Cmp is -1, 0 or 1 as a is below, equal to or above b.
func (a Amount) Cmp(b Amount) int { return a.value().Cmp(b.value()) }

// Sign is -1, 0 or 1.
func (a Amount) Sign() int { return a.value().Sign() }

// String is the amount in dollars and cents, rounded half away from zero.
func (a Amount) String() string { return a.value().FloatString(2) }

// Exact is the shortest decimal that is the amount, or six decimals of one that has none.
func (a Amount) Exact() string {
	digits, exact := a.value().FloatPrec()
	if !exact || digits > 9 {
		digits = 6
	}
	return a.value().FloatString(digits)
}

// MarshalText writes dollars and cents, so that JSON carries a decimal string and no float.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }
