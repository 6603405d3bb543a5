package api

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"holdfast/internal/topology"
	"holdfast/internal/twin/api/wire"
	"holdfast/internal/twin/policy"
)

func (e *Endpoint) iamService() *service {
	return &service{
		id: "iam", protocols: []protocol{query}, namespace: "https://iam.amazonaws.com/doc/2010-05-08/", version: "2010-05-08",
		style: wire.Style{ListElement: "member"}, global: true,
		missing: mustNotBeNull("ValidationError"), invalid: invalidWith("ValidationError"),
		operations: operations(
			op("GetRole", e.getRole, "RoleName"),
			op("ListRolePolicies", e.listRolePolicies, "RoleName"),
			op("GetRolePolicy", e.getRolePolicy, "RoleName", "PolicyName"),
			op("ListAttachedRolePolicies", e.listAttachedRolePolicies, "RoleName"),
			op("SimulatePrincipalPolicy", e.simulatePrincipalPolicy, "PolicySourceArn", "ActionNames"),
		),
	}
}

func noSuchEntity(format string, a ...any) error { return gone("NoSuchEntity", format, a...) }

func (e *Endpoint) role(name string) (topology.Role, error) {
	for _, r := range e.options.Topology.Roles {
		if r.Name == name {
			return r, nil
		}
	}
	return topology.Role{}, noSuchEntity("The role with name %s cannot be found.", name)
}

func (e *Endpoint) getRole(_ context.Context, _ request, in *iam.GetRoleInput) (*iam.GetRoleOutput, error) {
	r, err := e.role(*in.RoleName)
	if err != nil {
		return nil, err
	}
	return &iam.GetRoleOutput{Role: &types.Role{
		Arn: aws.String(r.ARN), RoleName: aws.String(r.Name), Path: aws.String("/"), CreateDate: aws.Time(e.created),
		RoleId: aws.String("AROA" + strings.ToUpper(r.Name)),
	}}, nil
}

func (e *Endpoint) listRolePolicies(
	_ context.Context, _ request, in *iam.ListRolePoliciesInput,
) (*iam.ListRolePoliciesOutput, error) {
	r, err := e.role(*in.RoleName)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, p := range r.Policies {
		names = append(names, p.Name)
	}
	page, next, err := iamPage(names, func(n string) string { return n }, in.Marker, in.MaxItems)
	return &iam.ListRolePoliciesOutput{PolicyNames: page, Marker: next, IsTruncated: next != nil}, err
}

// iamPage pages a list of IAM.
func iamPage[T any](items []T, key func(T) string, marker *string, limit *int32) ([]T, *string, error) {
	n := 100
	if limit != nil {
		if n = int(*limit); n < 1 || n > 1000 {
			return nil, nil, fail("ValidationError", "1 validation error detected: Value '%d' at 'maxItems' failed to satisfy "+
				"constraint: Member must have value between 1 and 1000", n)
		}
	}
	page, next, ok := pageAfter(items, key, aws.ToString(marker), n)
	if !ok {
		return nil, nil, fail("ValidationError", "Invalid Marker: %s", *marker)
	}
	return page, optional(next), nil
}

func (e *Endpoint) getRolePolicy(
	_ context.Context, _ request, in *iam.GetRolePolicyInput,
) (*iam.GetRolePolicyOutput, error) {
	r, err := e.role(*in.RoleName)
	if err != nil {
		return nil, err
	}
	for _, p := range r.Policies {
		if p.Name == *in.PolicyName {
			return &iam.GetRolePolicyOutput{
				RoleName: in.RoleName, PolicyName: in.PolicyName, PolicyDocument: aws.String(url.QueryEscape(p.Document)),
			}, nil
		}
	}
	return nil, noSuchEntity("The role policy with name %s cannot be found.", *in.PolicyName)
}

func (e *Endpoint) listAttachedRolePolicies(
	_ context.Context, _ request, in *iam.ListAttachedRolePoliciesInput,
) (*iam.ListAttachedRolePoliciesOutput, error) {
	r, err := e.role(*in.RoleName)
	if err != nil {
		return nil, err
	}
	attached := []types.AttachedPolicy{}
	for _, arn := range r.ManagedPolicyARNs {
		attached = append(attached, types.AttachedPolicy{PolicyArn: aws.String(arn), PolicyName: aws.String(lastPart(arn))})
	}
	page, next, err := iamPage(attached, func(p types.AttachedPolicy) string { return *p.PolicyArn }, in.Marker, in.MaxItems)
	return &iam.ListAttachedRolePoliciesOutput{AttachedPolicies: page, Marker: next, IsTruncated: next != nil}, err
}

// simulatePrincipalPolicy evaluates the policies that the Terraform gives a role. What would take more than those
// (managed policies, boundaries, policies of resources) is refused rather than left out.
func (e *Endpoint) simulatePrincipalPolicy(
	_ context.Context, _ request, in *iam.SimulatePrincipalPolicyInput,
) (*iam.SimulatePrincipalPolicyOutput, error) {
	rest := *in
	rest.PolicySourceArn, rest.ActionNames, rest.ResourceArns, rest.ContextEntries = nil, nil, nil, nil
	rest.Marker, rest.MaxItems = nil, nil
	if set := firstSet(rest); set != "" {
		return nil, fail("InvalidInput", "The twin's simulator does not take %s", set)
	}
	i := slices.IndexFunc(e.options.Topology.Roles, func(r topology.Role) bool { return r.ARN == *in.PolicySourceArn })
	if i < 0 {
		return nil, noSuchEntity("The role with ARN %s cannot be found.", *in.PolicySourceArn)
	}
	role := e.options.Topology.Roles[i]
	if len(role.ManagedPolicyARNs) > 0 {
		return nil, fail("PolicyEvaluation", "The twin does not know the text of %s, which is attached to role %s",
			role.ManagedPolicyARNs[0], role.Name)
	}
	results, err := simulate(role, in)
	if err != nil {
		return nil, err
	}
	page, next, err := iamPage(results, func(r types.EvaluationResult) string { return *r.EvalActionName + " " + *r.EvalResourceName },
		in.Marker, in.MaxItems)
	return &iam.SimulatePrincipalPolicyOutput{EvaluationResults: page, Marker: next, IsTruncated: next != nil}, err
}

func simulate(role topology.Role, in *iam.SimulatePrincipalPolicyInput) ([]types.EvaluationResult, error) {
	var documents []string
	for _, p := range role.Policies {
		documents = append(documents, p.Document)
	}
	values := map[string][]string{}
	for _, c := range in.ContextEntries {
		values[aws.ToString(c.ContextKeyName)] = c.ContextKeyValues
	}
	resources := in.ResourceArns
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	results := []types.EvaluationResult{}
	for _, action := range in.ActionNames {
		if service, operation, ok := strings.Cut(action, ":"); !ok || service == "" || operation == "" {
			return nil, fail("InvalidInput", "Invalid action name %s", action)
		}
		for _, resource := range resources {
			got, err := policy.Evaluate(documents, policy.Request{Action: action, Resource: resource, Context: values})
			if err != nil {
				return nil, fail("PolicyEvaluation", "The twin can't evaluate a policy of role %s: %v", role.Name, err)
			}
			result := types.EvaluationResult{
				EvalActionName: aws.String(action), EvalResourceName: aws.String(resource),
				EvalDecision:         types.PolicyEvaluationDecisionType(got.Decision.String()),
				MissingContextValues: got.Missing, MatchedStatements: []types.Statement{},
			}
			for _, i := range got.Documents {
				result.MatchedStatements = append(result.MatchedStatements, types.Statement{
					SourcePolicyId: aws.String("role_" + role.Name + "_" + role.Policies[i].Name), SourcePolicyType: types.PolicySourceTypeRole,
				})
			}
			results = append(results, result)
		}
	}
	return results, nil
}
