package termtable

import (
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDecimalsAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(label string) string {
			return rapid.StringMatching(`-?[0-9]{1,12}(\.[0-9]{1,12})?([eE][+-]?[0-9])?`).Draw(t, label)
		}
		a, b := text("a"), text("b")
		x, err := parseDecimal(a)
		if err != nil {
			t.Fatal(err)
		}
		y, err := parseDecimal(b)
		if err != nil {
			t.Fatal(err)
		}
		p, _ := new(big.Rat).SetString(a)
		q, _ := new(big.Rat).SetString(b)
		if got, want := x.compare(y), p.Cmp(q); got != want {
			t.Fatalf("compare(%s, %s) = %d, want %d", a, b, got, want)
		}
		again, err := parseDecimal(x.String())
		if err != nil || again.compare(x) != 0 || again.String() != x.String() {
			t.Fatalf("%s is written as %s, which reads as %s (%v)", a, x, again, err)
		}
		if total, err := x.add(y); err == nil {
			sum, _ := new(big.Rat).SetString(total.String())
			if sum.Cmp(new(big.Rat).Add(p, q)) != 0 {
				t.Fatalf("%s + %s = %s", a, b, total)
			}
		}
	})
}

func TestDecimalsHaveOneSpelling(t *testing.T) {
	for text, want := range map[string]string{
		"7": "7", "007": "7", "7.00": "7", "-0": "0", "0.0": "0", "1E3": "1000", "1e-3": "0.001", "+5": "5", "-1.50": "-1.5",
		".5": "0.5", "5.": "5", "0.30": "0.3", "12345678901234567890123456789012345678": "12345678901234567890123456789012345678",
		"1E125": "1" + strings.Repeat("0", 125), "1E-130": "0." + strings.Repeat("0", 129) + "1",
	} {
		d, err := parseDecimal(text)
		if err != nil || d.String() != want {
			t.Errorf("%s = %s (%v), want %s", text, d, err, want)
		}
	}
}

func TestDecimalsThatAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"": "cannot be converted to a numeric value", "abc": "cannot be converted", "1.2.3": "cannot be converted",
		"--1": "cannot be converted", "1e": "cannot be converted", "1e99999999": "cannot be converted", ".": "cannot be converted",
		"NaN": "cannot be converted", "0x10": "cannot be converted",
		"123456789012345678901234567890123456789": "more than 38 significant digits",
		"1E126": "Number overflow", "1E-131": "Number underflow",
		strings.Repeat("9", 600): "cannot be converted",
	} {
		if _, err := parseDecimal(text); err == nil || !strings.Contains(message(err), want) {
			t.Errorf("%.40s: got %v, want %q", text, err, want)
		}
	}
}
