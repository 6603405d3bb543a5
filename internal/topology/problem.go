package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing in a Terraform state that [Parse] cannot understand. It reads as one sentence.
type Problem struct {
	// Address is the resource's or output's address, as in module.dr.aws_rds_cluster.this; empty for the whole file.
	Address string `json:"address"`
	// Field is the attribute, with dots and indexes for nested ones.
	Field string `json:"field,omitempty"`
	// Value is what the state says there, in Go syntax; empty when the field is missing.
	Value string `json:"value,omitempty"`
	// Fault says what is wrong with it.
	Fault string `json:"fault"`
	// Remedy says what would mend it.
	Remedy string `json:"remedy"`
}

// Error is the problem in one sentence.
func (p Problem) Error() string {
	var b strings.Builder
	if p.Address != "" {
		b.WriteString(p.Address + ": ")
	}
	if p.Field != "" {
		b.WriteString(p.Field + " ")
	}
	if p.Value != "" {
		b.WriteString(p.Value + " ")
	}
	b.WriteString(p.Fault)
	if p.Remedy != "" {
		b.WriteString("; " + p.Remedy)
	}
	return b.String()
}

// Problems is everything that [Parse] could not understand, sorted by address and field. It is never empty when it
// is returned as an error.
type Problems []Problem

// Error is one line per problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	if len(lines) == 1 {
		return "terraform state: " + lines[0]
	}
	return fmt.Sprintf("terraform state: %d problems:\n  %s", len(lines), strings.Join(lines, "\n  "))
}

// Unwrap gives errors.As access to each problem.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

func (ps Problems) sorted() Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.Field, b.Field), cmp.Compare(a.Fault, b.Fault))
	})
	return slices.Compact(ps)
}
