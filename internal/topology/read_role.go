package topology

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
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

// ImageReplication copies the images that are pushed to one region's registry to another one.
type ImageReplication struct {
	// Region is the registry's own region, empty where the state does not say (the AWS provider before version 6).
	Region      string `json:"region,omitempty"`
	Destination string `json:"destination"`
	// RepositoryPrefixes limit it to repositories whose names begin so; empty means all.
	RepositoryPrefixes []string `json:"repository_prefixes,omitempty"`
}

// Covers reports whether the rule copies a repository of its region.
func (r ImageReplication) Covers(repository string) bool {
	return len(r.RepositoryPrefixes) == 0 ||
		slices.ContainsFunc(r.RepositoryPrefixes, func(p string) bool { return strings.HasPrefix(repository, p) })
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

func (p *parser) readImageReplication() {
	for _, r := range p.byType["aws_ecr_replication_configuration"] {
		configuration, ok := r.block("replication_configuration")
		if !ok {
			continue
		}
		for _, rule := range configuration.blocks("rule") {
			var prefixes []string
			for _, filter := range rule.blocks("repository_filter") {
				prefixes = append(prefixes, filter.text("filter"))
			}
			slices.Sort(prefixes)
			for _, d := range rule.blocks("destination") {
				p.t.ImageReplications = append(p.t.ImageReplications, ImageReplication{
					Region: r.optional("region"), Destination: d.knownRegion("region"), RepositoryPrefixes: prefixes,
				})
			}
		}
	}
	sortBy(p.t.ImageReplications, func(r ImageReplication) string { return r.Region + "/" + r.Destination })
}
