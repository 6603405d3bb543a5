package alarms

import (
	"slices"
	"strings"
	"testing"
)

func TestRules(t *testing.T) {
	states := map[string]string{"a": Alarm, "b": OK, "c": InsufficientData}
	state := func(name string) string { return states[name] }
	for text, want := range map[string]bool{
		`ALARM("a")`:                                    true,
		`ALARM(a)`:                                      true,
		`ALARM('b')`:                                    false,
		`OK("b") AND INSUFFICIENT_DATA("c")`:            true,
		`NOT ALARM("a") OR OK("b")`:                     true,
		`NOT (ALARM("a") OR OK("b"))`:                   false,
		`ALARM("b") AND ALARM("b") OR ALARM("a")`:       true, // AND binds stronger
		`ALARM("b") AND (ALARM("b") OR ALARM("a"))`:     false,
		`TRUE AND NOT FALSE`:                            true,
		`ALARM("arn:aws:cloudwatch:r:1:alarm:a")`:       true,
		"(ALARM(\"a\")\n  AND\tNOT NOT ALARM( \"a\" ))": true,
		`ALARM("nobody")`:                               false,
	} {
		r, _, err := parseRule(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := r(state); got != want {
			t.Errorf("%s = %t, want %t", text, got, want)
		}
	}
	_, children, err := parseRule(`ALARM("b") AND (OK("a") OR ALARM("b"))`)
	if err != nil || !slices.Equal(children, []string{"a", "b"}) {
		t.Errorf("children = %v, %v", children, err)
	}
}

func TestRulesThatAreNone(t *testing.T) {
	for text, want := range map[string]string{
		"": "no expression", `ALARM`: "lacks a (", `ALARM("a`: `lacks a "`, `ALARM("a") ALARM("b")`: "after its end",
		`(ALARM("a")`: "lacks a )", `ALARM("a") AND`: "no expression", `ALARMING("a")`: "no expression", `ALARM("")`: "empty alarm",
		strings.Repeat("NOT ", 200) + "TRUE": "nested", strings.Repeat("x", maxRule+1): "bytes",
	} {
		if _, _, err := parseRule(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}
