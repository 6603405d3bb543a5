// Package policy evaluates identity-based IAM policies as IAM does: an explicit deny wins, then an allow, and what
// nothing speaks of is denied. It is what the twin's policy simulator answers from, so what a role may do in the twin
// is what the Terraform gives it.
//
// The rules follow
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html and
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html. An element that
// the package does not know is an error, never a guess.
package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrUnknown: a policy says something that this package does not understand.
var ErrUnknown = errors.New("the policy has an element that is not understood")

// Request is one call that may be allowed.
type Request struct {
	// Action is "service:Operation", Resource an ARN or "*".
	Action, Resource string
	// Context has the values of condition keys; keys are compared without regard to case.
	Context map[string][]string
}

// Decision is what the policies say of a request.
type Decision int

// The decisions, as IAM's simulator words them.
const (
	ImplicitDeny Decision = iota
	Allowed
	ExplicitDeny
)

func (d Decision) String() string {
	return [...]string{"implicitDeny", "allowed", "explicitDeny"}[d]
}

// Result is a decision and where it comes from.
type Result struct {
	Decision Decision
	// Documents are the indexes of the documents that had a matching statement.
	Documents []int
	// Missing are condition keys that a statement asked for, and that the request had no value of.
	Missing []string
}

// document is a policy's JSON.
type document struct {
	Version   string
	ID        string `json:"Id"`
	Statement oneOrMore[statement]
}

type statement struct {
	Sid         string
	Effect      string
	Action      oneOrMore[string]
	NotAction   oneOrMore[string]
	Resource    oneOrMore[string]
	NotResource oneOrMore[string]
	Condition   map[string]map[string]oneOrMore[scalar]
}

// oneOrMore is a value or a list of values.
type oneOrMore[T any] []T

func (o *oneOrMore[T]) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) {
		return strictly(data, (*[]T)(o))
	}
	var one T
	if err := strictly(data, &one); err != nil {
		return err
	}
	*o = oneOrMore[T]{one}
	return nil
}

// strictly decodes JSON and refuses fields that the value does not have.
func strictly(data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

// scalar is a condition's value, which may be written as a string, a number or a boolean.
type scalar string

func (s *scalar) UnmarshalJSON(data []byte) error {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	switch v.(type) {
	case string, float64, bool:
		*s = scalar(fmt.Sprint(v))
		return nil
	}
	return fmt.Errorf("%w: the condition value %s", ErrUnknown, data)
}

// Evaluate decides a request by a role's policy documents.
func Evaluate(documents []string, r Request) (Result, error) {
	var result Result
	for i, text := range documents {
		var d document
		if err := strictly([]byte(text), &d); err != nil {
			return Result{}, fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		for _, s := range d.Statement {
			matches, missing, err := s.matches(r)
			if err != nil {
				return Result{}, err
			}
			for _, key := range missing {
				if !slices.Contains(result.Missing, key) {
					result.Missing = append(result.Missing, key)
				}
			}
			if !matches {
				continue
			}
			if !slices.Contains(result.Documents, i) {
				result.Documents = append(result.Documents, i)
			}
			if s.Effect == "Deny" {
				result.Decision = ExplicitDeny
			} else if result.Decision != ExplicitDeny {
				result.Decision = Allowed
			}
		}
	}
	return result, nil
}

func (s statement) matches(r Request) (matches bool, missing []string, err error) {
	switch {
	case s.Effect != "Allow" && s.Effect != "Deny":
		return false, nil, fmt.Errorf("%w: Effect %q of statement %q", ErrUnknown, s.Effect, s.Sid)
	case (len(s.Action) == 0) == (len(s.NotAction) == 0):
		return false, nil, fmt.Errorf("%w: statement %q needs one of Action and NotAction", ErrUnknown, s.Sid)
	case (len(s.Resource) == 0) == (len(s.NotResource) == 0):
		return false, nil, fmt.Errorf("%w: statement %q needs one of Resource and NotResource", ErrUnknown, s.Sid)
	}
	action := strings.ToLower(r.Action)
	named := func(p string) bool { return wildcard(strings.ToLower(p), action) }
	if len(s.Action) > 0 && !slices.ContainsFunc(s.Action, named) || slices.ContainsFunc(s.NotAction, named) {
		return false, nil, nil
	}
	covered := func(p string) bool { return wildcard(p, r.Resource) }
	if len(s.Resource) > 0 && !slices.ContainsFunc(s.Resource, covered) || slices.ContainsFunc(s.NotResource, covered) {
		return false, nil, nil
	}
	return s.conditions(r)
}

// wildcard matches * (any run of characters) and ? (one character).
func wildcard(pattern, text string) bool {
	p, t := []rune(pattern), []rune(text)
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(t) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == t[j]):
			i, j = i+1, j+1
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
