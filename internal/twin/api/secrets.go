package api

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/google/uuid"

	"holdfast/internal/topology"
)

func (e *Endpoint) secretsService() *service {
	s := &service{
		id: "secretsmanager", protocols: []protocol{json11}, target: "secretsmanager",
		missing: mustNotBeNull("ValidationException"), invalid: invalidWith("ValidationException"),
	}
	if e.options.Secrets == nil {
		return s
	}
	s.operations = operations(
		op("GetSecretValue", e.getSecretValue, "SecretId"),
		op("DescribeSecret", e.describeSecret, "SecretId"),
		op("ListSecrets", e.listSecrets),
	)
	return s
}

// regionalSecret is a secret as one region has it: the secret itself, or a replica.
type regionalSecret struct {
	topology.Secret
	// arn is the ARN in that region.
	arn     string
	replica bool
}

// secretsIn lists a region's secrets, replicas too.
func (e *Endpoint) secretsIn(region string) []regionalSecret {
	var out []regionalSecret
	for _, s := range e.options.Topology.Secrets {
		switch {
		case s.Region == region:
			out = append(out, regionalSecret{Secret: s, arn: s.ARN})
		case slices.Contains(s.ReplicaRegions, region):
			arn := strings.Replace(s.ARN, ":"+s.Region+":", ":"+region+":", 1)
			out = append(out, regionalSecret{Secret: s, arn: arn, replica: true})
		}
	}
	return out
}

// secret finds a secret by name, ARN, or ARN without the six characters that AWS adds.
func (e *Endpoint) secret(region, id string) (regionalSecret, error) {
	for _, s := range e.secretsIn(region) {
		partial, _, _ := cutLast(s.arn, "-")
		if id == s.Name || id == s.arn || strings.HasPrefix(id, "arn:") && id == partial {
			return s, nil
		}
	}
	return regionalSecret{}, fail("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
}

func cutLast(s, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):], true
	}
	return s, "", false
}

// versionOf is the version id of a secret, which has one version only.
func versionOf(s regionalSecret) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(s.ARN)).String()
}

const currentStage = "AWSCURRENT"

func (e *Endpoint) getSecretValue(
	_ context.Context, r request, in *secretsmanager.GetSecretValueInput,
) (*secretsmanager.GetSecretValueOutput, error) {
	s, err := e.secret(r.region, *in.SecretId)
	if err != nil {
		return nil, err
	}
	version := versionOf(s)
	if in.VersionId != nil && *in.VersionId != version {
		return nil, fail("ResourceNotFoundException", "Secrets Manager can't find the specified secret value for VersionId: %s",
			*in.VersionId)
	}
	if in.VersionStage != nil && *in.VersionStage != currentStage {
		return nil, fail("ResourceNotFoundException",
			"Secrets Manager can't find the specified secret value for staging label: %s", *in.VersionStage)
	}
	value, ok := e.options.Secrets.Value(s.Region, s.ARN)
	if !ok {
		return nil, fail("ResourceNotFoundException",
			"Secrets Manager can't find the specified secret value for staging label: %s", currentStage)
	}
	return &secretsmanager.GetSecretValueOutput{
		ARN: aws.String(s.arn), Name: aws.String(s.Name), SecretString: aws.String(value), VersionId: aws.String(version),
		VersionStages: []string{currentStage}, CreatedDate: aws.Time(e.created),
	}, nil
}

func (e *Endpoint) describeSecret(
	_ context.Context, r request, in *secretsmanager.DescribeSecretInput,
) (*secretsmanager.DescribeSecretOutput, error) {
	s, err := e.secret(r.region, *in.SecretId)
	if err != nil {
		return nil, err
	}
	out := &secretsmanager.DescribeSecretOutput{
		ARN: aws.String(s.arn), Name: aws.String(s.Name), CreatedDate: aws.Time(e.created),
		LastChangedDate: aws.Time(e.created), VersionIdsToStages: map[string][]string{versionOf(s): {currentStage}},
	}
	if len(s.ReplicaRegions) > 0 {
		out.PrimaryRegion = aws.String(s.Region)
	}
	if !s.replica {
		for _, region := range s.ReplicaRegions {
			out.ReplicationStatus = append(out.ReplicationStatus, types.ReplicationStatusType{
				Region: aws.String(region), Status: types.StatusTypeInSync, StatusMessage: aws.String("Replication succeeded"),
			})
		}
	}
	return out, nil
}

func (e *Endpoint) listSecrets(
	_ context.Context, r request, in *secretsmanager.ListSecretsInput,
) (*secretsmanager.ListSecretsOutput, error) {
	var found []types.SecretListEntry
	for _, s := range e.secretsIn(r.region) {
		matches, err := matchesSecret(s, in.Filters)
		if err != nil {
			return nil, err
		}
		if !matches {
			continue
		}
		entry := types.SecretListEntry{
			ARN: aws.String(s.arn), Name: aws.String(s.Name), CreatedDate: aws.Time(e.created),
			LastChangedDate: aws.Time(e.created), SecretVersionsToStages: map[string][]string{versionOf(s): {currentStage}},
		}
		if len(s.ReplicaRegions) > 0 {
			entry.PrimaryRegion = aws.String(s.Region)
		}
		found = append(found, entry)
	}
	n := 100
	if in.MaxResults != nil {
		if n = int(*in.MaxResults); n < 1 || n > 100 {
			return nil, fail("ValidationException", "1 validation error detected: Value '%d' at 'maxResults' failed to "+
				"satisfy constraint: Member must have value between 1 and 100", n)
		}
	}
	page, next, ok := pageAfter(found, func(s types.SecretListEntry) string { return *s.ARN }, aws.ToString(in.NextToken), n)
	if !ok {
		return nil, fail("InvalidNextTokenException", "The NextToken value is invalid.")
	}
	return &secretsmanager.ListSecretsOutput{SecretList: page, NextToken: optional(next)}, nil
}

// matchesSecret applies ListSecrets' filters, whose values are prefixes.
func matchesSecret(s regionalSecret, filters []types.Filter) (bool, error) {
	for _, f := range filters {
		var field string
		switch f.Key {
		case types.FilterNameStringTypeName, types.FilterNameStringTypeAll:
			field = s.Name
		case types.FilterNameStringTypePrimaryRegion:
			if len(s.ReplicaRegions) > 0 {
				field = s.Region
			}
		case types.FilterNameStringTypeDescription, types.FilterNameStringTypeTagKey, types.FilterNameStringTypeTagValue,
			types.FilterNameStringTypeOwningService: // the twin's secrets have none of these
		}
		if len(f.Values) == 0 {
			return false, fail("InvalidParameterException", "You can't use filters without values.")
		}
		if !slices.ContainsFunc(f.Values, func(v string) bool {
			negated := strings.HasPrefix(v, "!")
			return (field != "" && strings.HasPrefix(field, strings.TrimPrefix(v, "!"))) != negated
		}) {
			return false, nil
		}
	}
	return true, nil
}
