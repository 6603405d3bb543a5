package aws

import (
	"context"
	"fmt"
	"maps"
	"slices"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// permissionAPI lists the IAM calls that [Permissions] makes.
type permissionAPI interface {
	SimulatePrincipalPolicy(context.Context, *iam.SimulatePrincipalPolicyInput, ...func(*iam.Options)) (*iam.SimulatePrincipalPolicyOutput, error)
}

// Permissions is IAM, which is one for all regions.
type Permissions struct{ api permissionAPI }

// Permissions makes the adapter.
func (s *Session) Permissions() *Permissions {
	return &Permissions{api: iam.NewFromConfig(s.cfg, func(o *iam.Options) {
		o.Region = "us-east-1"
		o.Retryer = few()
	})}
}

// Call is one call that a role may be allowed to make.
type Call struct {
	Action string
	// Resource is an ARN, or "*".
	Resource string
	// Context has the values of the condition keys that the call would carry.
	Context map[string][]string
}

// multivalued are condition keys that have a list of values, also of one.
var multivalued = map[string]bool{"dynamodb:LeadingKeys": true}

// Allowed asks IAM's simulator whether a role may make a call. It sends nothing else, and reads nobody's data.
func (p *Permissions) Allowed(ctx context.Context, roleARN string, c Call) (bool, error) {
	in := &iam.SimulatePrincipalPolicyInput{
		PolicySourceArn: sdk.String(roleARN), ActionNames: []string{c.Action}, ResourceArns: []string{c.Resource},
	}
	for _, key := range slices.Sorted(maps.Keys(c.Context)) {
		entry := types.ContextEntry{
			ContextKeyName: sdk.String(key), ContextKeyValues: c.Context[key], ContextKeyType: types.ContextKeyTypeEnumString,
		}
		if len(entry.ContextKeyValues) > 1 || multivalued[key] {
			entry.ContextKeyType = types.ContextKeyTypeEnumStringList
		}
		in.ContextEntries = append(in.ContextEntries, entry)
	}
	out, err := p.api.SimulatePrincipalPolicy(ctx, in)
	if err != nil {
		return false, fmt.Errorf("simulate %s by %s: %w", c.Action, roleARN, err)
	}
	if len(out.EvaluationResults) != 1 {
		return false, fmt.Errorf("simulate %s by %s: %d results, want 1", c.Action, roleARN, len(out.EvaluationResults))
	}
	return out.EvaluationResults[0].EvalDecision == types.PolicyEvaluationDecisionTypeAllowed, nil
}
