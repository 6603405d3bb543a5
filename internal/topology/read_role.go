package topology

import (
	"cmp"
	"encoding/json"
	"slices"
)

// Role is an IAM role with what it may do.
type Role struct {
	Name string `json:"name"`
	ARN  string `json:"arn"`
	// Policies are the inline policies, sorted by name.
	Policies []Policy `json:"policies,omitempty"`
	// ManagedPolicyARNs are attached policies, whose text is not part of the state, sorted.
	ManagedPolicyARNs []string `json:"managed_policy_arns,omitempty"`
}

// Policy is an identity-based policy; Document is its JSON text.
type Policy struct {
	Name     string `json:"name"`
	Document string `json:"document"`
}

func (p *parser) readRoles() {
	roles := map[string]*Role{}
	var names []string
	for _, r := range p.byType["aws_iam_role"] {
		role := &Role{Name: r.text("name"), ARN: r.text("arn")}
		for _, b := range r.blocks("inline_policy") {
			if b.optional("policy") != "" {
				role.Policies = append(role.Policies, p.readPolicy(b))
			}
		}
		role.ManagedPolicyARNs = r.texts("managed_policy_arns")
		roles[role.Name] = role
		names = append(names, role.Name)
	}
	for _, r := range p.byType["aws_iam_role_policy"] {
		if role := roles[r.text("role")]; role != nil {
			policy := p.readPolicy(r.object)
			if !slices.Contains(role.Policies, policy) { // a refreshed role shows its separate policies as well
				role.Policies = append(role.Policies, policy)
			}
		}
	}
	for _, r := range p.byType["aws_iam_role_policy_attachment"] {
		if role := roles[r.text("role")]; role != nil {
			role.ManagedPolicyARNs = append(role.ManagedPolicyARNs, r.text("policy_arn"))
		}
	}
	for _, name := range names {
		role := roles[name]
		slices.SortFunc(role.Policies, func(a, b Policy) int { return cmp.Compare(a.Name, b.Name) })
		slices.Sort(role.ManagedPolicyARNs)
		role.ManagedPolicyARNs = slices.Compact(role.ManagedPolicyARNs)
		p.t.Roles = append(p.t.Roles, *role)
	}
	sortBy(p.t.Roles, func(r Role) string { return r.ARN })
}

func (p *parser) readPolicy(o object) Policy {
	policy := Policy{Name: o.text("name")}
	var document json.RawMessage
	if o.embedded("policy", &document) {
		policy.Document = string(document)
	}
	return policy
}
