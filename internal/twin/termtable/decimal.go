package termtable

import (
	"math/big"
	"strings"
)

// Limits of a DynamoDB number.
const (
	maxDigits   = 38
	maxExponent = 125
	minExponent = -130
)

// decimal is coefficient × 10^exponent, with no zero at the end of the coefficient; zero has exponent 0. Numbers are
// never binary floating point, because 0.1 + 0.2 must be 0.3 in a table.
type decimal struct {
	coefficient *big.Int
	exponent    int
}

// parseDecimal reads a number as DynamoDB does: up to 38 significant digits, magnitude 1E-130 to 9.99E+125.
func parseDecimal(s string) (decimal, error) {
	mantissa, exponent, ok := splitNumber(s)
	if !ok {
		return decimal{}, validation("The parameter cannot be converted to a numeric value: %s", s)
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	coefficient, _ := new(big.Int).SetString(whole+fraction, 10)
	return checked(decimal{coefficient, exponent - len(fraction)}.normal())
}

// splitNumber separates a number's mantissa and exponent, and refuses what is not a number.
func splitNumber(s string) (mantissa string, exponent int, ok bool) {
	if len(s) == 0 || len(s) > 512 { // longer than anything that fits; bounds the work
		return "", 0, false
	}
	mantissa, tail, hasExponent := strings.Cut(strings.ToUpper(s), "E")
	if hasExponent {
		sign := 1
		switch {
		case strings.HasPrefix(tail, "-"):
			sign, tail = -1, tail[1:]
		case strings.HasPrefix(tail, "+"):
			tail = tail[1:]
		}
		if tail == "" || len(tail) > 6 || strings.Trim(tail, "0123456789") != "" {
			return "", 0, false
		}
		for _, c := range tail {
			exponent = exponent*10 + int(c-'0')
		}
		exponent *= sign
	}
	digits := strings.TrimLeft(mantissa, "+-")
	if len(mantissa)-len(digits) > 1 || strings.Count(digits, ".") > 1 {
		return "", 0, false
	}
	if plain := strings.Replace(digits, ".", "", 1); plain == "" || strings.Trim(plain, "0123456789") != "" {
		return "", 0, false
	}
	return strings.TrimPrefix(mantissa, "+"), exponent, true
}

// normal moves zeros from the coefficient's end to the exponent.
func (d decimal) normal() decimal {
	if d.coefficient.Sign() == 0 {
		return decimal{new(big.Int), 0}
	}
	text := d.coefficient.String()
	trimmed := strings.TrimRight(text, "0")
	if len(trimmed) == len(text) {
		return d
	}
	coefficient, _ := new(big.Int).SetString(trimmed, 10)
	return decimal{coefficient, d.exponent + len(text) - len(trimmed)}
}

// checked refuses numbers outside DynamoDB's limits.
func checked(d decimal) (decimal, error) {
	if d.coefficient.Sign() == 0 {
		return d, nil
	}
	digits := len(new(big.Int).Abs(d.coefficient).String())
	switch magnitude := d.exponent + digits - 1; {
	case magnitude > maxExponent:
		return decimal{}, validation("Number overflow. Attempting to store a number with magnitude larger than supported range")
	case magnitude < minExponent:
		return decimal{}, validation("Number underflow. Attempting to store a number with magnitude smaller than supported range")
	case digits > maxDigits:
		return decimal{}, validation("Attempting to store more than %d significant digits in a Number", maxDigits)
	}
	return d, nil
}

// aligned returns both coefficients for the smaller of the two exponents.
func aligned(a, b decimal) (x, y *big.Int, exponent int) {
	exponent = min(a.exponent, b.exponent)
	return a.scaled(exponent), b.scaled(exponent), exponent
}

func (d decimal) scaled(exponent int) *big.Int {
	factor := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(d.exponent-exponent)), nil)
	return factor.Mul(factor, d.coefficient)
}

// compare returns -1, 0 or 1.
func (d decimal) compare(other decimal) int {
	x, y, _ := aligned(d, other)
	return x.Cmp(y)
}

func (d decimal) add(other decimal) (decimal, error) {
	x, y, exponent := aligned(d, other)
	return checked(decimal{x.Add(x, y), exponent}.normal())
}

func (d decimal) negated() decimal { return decimal{new(big.Int).Neg(d.coefficient), d.exponent} }

// String writes the number without an exponent, as DynamoDB answers it.
func (d decimal) String() string {
	digits := new(big.Int).Abs(d.coefficient).String()
	sign := ""
	if d.coefficient.Sign() < 0 {
		sign = "-"
	}
	switch point := len(digits) + d.exponent; {
	case d.exponent >= 0:
		return sign + digits + strings.Repeat("0", d.exponent)
	case point > 0:
		return sign + digits[:point] + "." + digits[point:]
	default:
		return sign + "0." + strings.Repeat("0", -point) + digits
	}
}
