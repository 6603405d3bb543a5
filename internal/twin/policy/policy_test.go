package policy_test

import (
	"errors"
	"slices"
	"testing"

	"holdfast/internal/twin/policy"
)

const (
	moveTheWriter = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["rds:Failover*"],
		"Resource":["arn:aws:rds::1:global-cluster:g","arn:aws:rds:us-west-2:1:cluster:c?"],
		"Condition":{"StringEquals":{"aws:RequestedRegion":"us-west-2"}}}}`
	items = `{"Statement":[{"Effect":"Allow","Action":"dynamodb:PutItem","Resource":"*",
		"Condition":{"ForAllValues:StringLike":{"dynamodb:LeadingKeys":["d","d/beacon/*"]}}}]}`
	everything = `{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	notIAM     = `{"Statement":[{"Effect":"Allow","NotAction":["iam:*"],"Resource":"*"}]}`
	denied     = `{"Statement":[{"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::keep/*"}]}`
)

func TestEvaluate(t *testing.T) {
	in := func(region string) map[string][]string { return map[string][]string{"aws:requestedregion": {region}} }
	keys := func(all ...string) map[string][]string { return map[string][]string{"dynamodb:LeadingKeys": all} }
	for _, c := range []struct {
		name      string
		documents []string
		request   policy.Request
		want      policy.Decision
		missing   []string
	}{
		{"nothing said", nil, policy.Request{Action: "s3:GetObject", Resource: "*"}, policy.ImplicitDeny, nil},
		{"allowed", []string{moveTheWriter}, policy.Request{"rds:failoverglobalcluster", "arn:aws:rds::1:global-cluster:g", in("us-west-2")}, policy.Allowed, nil},
		{"? is one character", []string{moveTheWriter}, policy.Request{"rds:FailoverGlobalCluster", "arn:aws:rds:us-west-2:1:cluster:c", in("us-west-2")}, policy.ImplicitDeny, nil},
		{"wrong region", []string{moveTheWriter}, policy.Request{"rds:FailoverGlobalCluster", "arn:aws:rds::1:global-cluster:g", in("us-east-1")}, policy.ImplicitDeny, nil},
		{"no region", []string{moveTheWriter}, policy.Request{"rds:FailoverGlobalCluster", "arn:aws:rds::1:global-cluster:g", nil}, policy.ImplicitDeny, []string{"aws:RequestedRegion"}},
		{"other action", []string{moveTheWriter}, policy.Request{"rds:DeleteDBCluster", "arn:aws:rds:us-west-2:1:cluster:cx", in("us-west-2")}, policy.ImplicitDeny, nil},
		{"all keys allowed", []string{items}, policy.Request{"dynamodb:PutItem", "arn:t", keys("d", "d/beacon/primary")}, policy.Allowed, nil},
		{"one key is not", []string{items}, policy.Request{"dynamodb:PutItem", "arn:t", keys("d", "other")}, policy.ImplicitDeny, nil},
		{"no key at all is all keys", []string{items}, policy.Request{"dynamodb:PutItem", "arn:t", nil}, policy.Allowed, nil},
		{"not action", []string{notIAM}, policy.Request{Action: "s3:GetObject", Resource: "*"}, policy.Allowed, nil},
		{"but not that one", []string{notIAM}, policy.Request{Action: "iam:PassRole", Resource: "*"}, policy.ImplicitDeny, nil},
		{"deny wins before", []string{denied, everything}, policy.Request{Action: "s3:DeleteObject", Resource: "arn:aws:s3:::keep/it"}, policy.ExplicitDeny, nil},
		{"deny wins after", []string{everything, denied}, policy.Request{Action: "s3:DeleteObject", Resource: "arn:aws:s3:::keep/it"}, policy.ExplicitDeny, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := policy.Evaluate(c.documents, c.request)
			if err != nil || got.Decision != c.want || !slices.Equal(got.Missing, c.missing) {
				t.Errorf("%v, missing %v, %v; want %v, missing %v", got.Decision, got.Missing, err, c.want, c.missing)
			}
		})
	}
}

func TestConditions(t *testing.T) {
	for _, c := range []struct {
		condition string
		context   map[string][]string
		want      policy.Decision
	}{
		{`{"StringNotEquals":{"k":"a"}}`, map[string][]string{"k": {"b"}}, policy.Allowed},
		{`{"StringNotEquals":{"k":"a"}}`, map[string][]string{"k": {"a"}}, policy.ImplicitDeny},
		{`{"StringNotEquals":{"k":"a"}}`, nil, policy.Allowed},
		{`{"StringNotLike":{"k":["a*","b*"]}}`, map[string][]string{"k": {"bc"}}, policy.ImplicitDeny},
		{`{"StringEqualsIfExists":{"k":"a"}}`, nil, policy.Allowed},
		{`{"ForAnyValue:StringEquals":{"k":["a","b"]}}`, map[string][]string{"k": {"x", "b"}}, policy.Allowed},
		{`{"ForAnyValue:StringEquals":{"k":["a"]}}`, nil, policy.ImplicitDeny},
		{`{"Bool":{"k":true}}`, map[string][]string{"k": {"true"}}, policy.Allowed},
		{`{"NumericLessThan":{"k":5}}`, map[string][]string{"k": {"4"}}, policy.Allowed},
		{`{"NumericLessThan":{"k":5}}`, map[string][]string{"k": {"5"}}, policy.ImplicitDeny},
		{`{"Null":{"k":"true"}}`, nil, policy.Allowed},
		{`{"Null":{"k":"true"}}`, map[string][]string{"k": {"x"}}, policy.ImplicitDeny},
		{`{"StringEquals":{"k":"a"},"Bool":{"l":"true"}}`, map[string][]string{"k": {"a"}, "l": {"false"}}, policy.ImplicitDeny},
	} {
		document := `{"Statement":[{"Effect":"Allow","Action":"a:b","Resource":"*","Condition":` + c.condition + `}]}`
		got, err := policy.Evaluate([]string{document}, policy.Request{Action: "a:b", Resource: "r", Context: c.context})
		if err != nil || got.Decision != c.want {
			t.Errorf("%s with %v: %v, %v; want %v", c.condition, c.context, got.Decision, err, c.want)
		}
	}
}

// What is not understood must not pass for a decision.
func TestUnknownElementsAreErrors(t *testing.T) {
	for _, document := range []string{
		`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateLessThan":{"k":"x"}}}]}`,
		`{"Statement":[{"Effect":"Maybe","Action":"*","Resource":"*"}]}`,
		`{"Statement":[{"Effect":"Allow","Resource":"*"}]}`,
		`{"Statement":[{"Effect":"Allow","Action":"*"}]}`,
		`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Principal":"*"}]}`,
		`{`,
	} {
		if _, err := policy.Evaluate([]string{document}, policy.Request{Action: "a:b", Resource: "r"}); !errors.Is(err, policy.ErrUnknown) {
			t.Errorf("%s: %v", document, err)
		}
	}
}
