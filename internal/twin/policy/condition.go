package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// comparison is one condition operator over a value of the policy and one of the request.
type comparison struct {
	compare func(policy, request string) bool
	// negated operators match if no value of the policy compares.
	negated bool
}

var comparisons = map[string]comparison{
	"StringEquals":              {compare: func(p, r string) bool { return p == r }},
	"StringNotEquals":           {compare: func(p, r string) bool { return p == r }, negated: true},
	"StringEqualsIgnoreCase":    {compare: strings.EqualFold},
	"StringNotEqualsIgnoreCase": {compare: strings.EqualFold, negated: true},
	"StringLike":                {compare: wildcard},
	"StringNotLike":             {compare: wildcard, negated: true},
	"ArnEquals":                 {compare: wildcard},
	"ArnLike":                   {compare: wildcard},
	"ArnNotEquals":              {compare: wildcard, negated: true},
	"ArnNotLike":                {compare: wildcard, negated: true},
	"Bool":                      {compare: strings.EqualFold},
	"NumericEquals":             {compare: number(func(p, r float64) bool { return r == p })},
	"NumericLessThan":           {compare: number(func(p, r float64) bool { return r < p })},
	"NumericLessThanEquals":     {compare: number(func(p, r float64) bool { return r <= p })},
	"NumericGreaterThan":        {compare: number(func(p, r float64) bool { return r > p })},
	"NumericGreaterThanEquals":  {compare: number(func(p, r float64) bool { return r >= p })},
}

func number(compare func(policy, request float64) bool) func(string, string) bool {
	return func(policy, request string) bool {
		p, errP := strconv.ParseFloat(policy, 64)
		r, errR := strconv.ParseFloat(request, 64)
		return errP == nil && errR == nil && compare(p, r)
	}
}

// conditions reports whether all conditions of a statement hold, and which keys had no value.
func (s statement) conditions(r Request) (hold bool, missing []string, err error) {
	hold = true
	for operator, keys := range s.Condition {
		for key, wanted := range keys {
			ok, absent, err := condition(operator, values(r.Context, key), wanted)
			if err != nil {
				return false, nil, fmt.Errorf("statement %q: %w", s.Sid, err)
			}
			if absent {
				missing = append(missing, key)
			}
			hold = hold && ok
		}
	}
	slices.Sort(missing)
	return hold, missing, nil
}

func values(context map[string][]string, key string) []string {
	for k, v := range context {
		if strings.EqualFold(k, key) {
			return v
		}
	}
	return nil
}

// condition evaluates one operator over one key. absent says that the request has no value, and that this mattered.
func condition(operator string, have []string, wanted []scalar) (ok, absent bool, err error) {
	quantifier, name, has := strings.Cut(operator, ":")
	if !has {
		quantifier, name = "", operator
	}
	if name == "Null" {
		return len(wanted) == 1 && (len(have) == 0) == strings.EqualFold(string(wanted[0]), "true"), false, nil
	}
	name, ifExists := strings.CutSuffix(name, "IfExists")
	c, known := comparisons[name]
	if !known || quantifier != "" && quantifier != "ForAllValues" && quantifier != "ForAnyValue" {
		return false, false, fmt.Errorf("%w: the condition operator %s", ErrUnknown, operator)
	}
	if len(have) == 0 {
		switch {
		case ifExists, quantifier == "ForAllValues":
			return true, false, nil // AWS: true without the key
		case quantifier == "ForAnyValue":
			return false, true, nil
		}
		return c.negated, !c.negated, nil
	}
	matches := func(value string) bool {
		return slices.ContainsFunc(wanted, func(w scalar) bool { return c.compare(string(w), value) }) != c.negated
	}
	if quantifier == "ForAnyValue" {
		return slices.ContainsFunc(have, matches), false, nil
	}
	// Without a quantifier a key has one value; with ForAllValues each must match.
	for _, value := range have {
		if !matches(value) {
			return false, false, nil
		}
	}
	return true, false, nil
}
