package infratest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// statement is one statement of any policy: of a role, a key, a bucket, a topic.
type statement struct {
	owner     resource
	Sid       string
	Effect    string
	Action    stringOrList
	Resource  stringOrList
	Principal any
	Condition map[string]map[string]any
}

type stringOrList []string

func (s *stringOrList) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*s = []string{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(s))
}

func statements(t *testing.T, s state) []statement {
	t.Helper()
	var all []statement
	for _, r := range s.resources {
		for _, name := range []string{"policy", "assume_role_policy"} {
			text := r.text(name)
			if !strings.HasPrefix(text, "{") {
				continue
			}
			var document struct{ Statement []statement }
			if err := json.Unmarshal([]byte(text), &document); err != nil {
				t.Fatalf("%s: %s: %v", r.Address, name, err)
			}
			for _, one := range document.Statement {
				one.owner = r
				all = append(all, one)
			}
		}
	}
	if len(all) < 40 {
		t.Fatalf("only %d statements found in the state", len(all))
	}
	return all
}

func TestNoStatementAllowsEverything(t *testing.T) {
	for _, st := range statements(t, protectedState(t)) {
		if st.Effect != "Allow" {
			continue
		}
		wildcard := func(s string) bool { return strings.Contains(s, "*") }
		if slices.ContainsFunc(st.Action, wildcard) && slices.Contains(st.Resource, "*") {
			t.Errorf("%s: statement %s allows %v on everything", st.owner.Address, st.Sid, st.Action)
		}
		// Stricter than asked for, and it holds: every action is spelled out.
		if i := slices.IndexFunc(st.Action, wildcard); i >= 0 {
			t.Errorf("%s: statement %s allows the wildcard action %s", st.owner.Address, st.Sid, st.Action[i])
		}
		// In a resource's own policy "*" is that resource; a role's needs a reason.
		if st.owner.Type == "aws_iam_role_policy" && slices.Contains(st.Resource, "*") {
			regional := st.Condition["StringEquals"]["aws:RequestedRegion"] != nil
			login := slices.Equal(st.Action, []string{"ecr:GetAuthorizationToken"})
			if !regional && !login {
				t.Errorf("%s: statement %s allows %v on every resource", st.owner.Address, st.Sid, st.Action)
			}
		}
		if st.Principal == "*" {
			t.Errorf("%s: statement %s allows everybody", st.owner.Address, st.Sid)
		}
	}
}

// regionOf is the region in an ARN, empty for global services.
func regionOf(arn string) string {
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 {
		return parts[3]
	}
	return ""
}

// A site must work, and must be able to do harm, in its own region only. The term table is the one exception.
func TestRolesStayInTheirRegion(t *testing.T) {
	s := protectedState(t)
	regions := map[string]string{"primary": "us-east-1", "dr": "us-west-2"}
	var elsewhere []string
	for _, st := range statements(t, s) {
		own, isSite := regions[st.owner.site()]
		if !isSite || st.owner.Type != "aws_iam_role_policy" {
			continue
		}
		if st.Condition["StringEquals"]["aws:RequestedRegion"] == own {
			continue
		}
		for _, arn := range st.Resource {
			if region := regionOf(arn); region != own && region != "" {
				elsewhere = append(elsewhere, fmt.Sprintf("%s %s %s", st.owner.site(), st.Sid, arn))
			}
		}
	}
	slices.Sort(elsewhere)
	want := []string{
		"dr TermTable arn:aws:dynamodb:us-east-1:123456789012:table/holdfast-term-prod-abc123",
		"primary TermTable arn:aws:dynamodb:us-west-2:123456789012:table/holdfast-term-prod-abc123",
	}
	if !slices.Equal(elsewhere, want) {
		t.Errorf("roles reach into another region:\n%s\nwant\n%s", strings.Join(elsewhere, "\n"), strings.Join(want, "\n"))
	}
}

// The payment service calls no AWS API: what it does not need, nobody who takes it over has.
func TestPaymentTasksMayDoNothing(t *testing.T) {
	s := protectedState(t)
	for _, task := range s.some(t, "aws_ecs_task_definition") {
		if !strings.HasPrefix(task.text("family"), "payment-service-") {
			continue
		}
		for _, role := range s.some(t, "aws_iam_role") {
			if role.text("arn") != task.text("task_role_arn") {
				continue
			}
			for _, p := range s.of("aws_iam_role_policy", "aws_iam_role_policy_attachment") {
				if p.text("role") == role.text("name") {
					t.Errorf("%s gives the payment service's role rights", p.Address)
				}
			}
		}
	}
}
