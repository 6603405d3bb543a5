package api

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"
)

// describeDBClusterParameters shows what the Terraform sets in a parameter group. The engine's own defaults are not part
// of a state, so the other sources are empty.
func (e *Endpoint) describeDBClusterParameters(
	_ context.Context, r request, in *rds.DescribeDBClusterParametersInput,
) (*rds.DescribeDBClusterParametersOutput, error) {
	if _, err := filtersOf(in.Filters); err != nil {
		return nil, err
	}
	for _, c := range e.options.Topology.DBClusters {
		if c.Region != r.region || c.ParameterGroup != *in.DBClusterParameterGroupName {
			continue
		}
		found := []types.Parameter{}
		if source := aws.ToString(in.Source); source == "" || source == "user" {
			for _, name := range sortedNames(c.Parameters) {
				found = append(found, types.Parameter{
					ParameterName: aws.String(name), ParameterValue: aws.String(c.Parameters[name]), Source: aws.String("user"),
				})
			}
		}
		page, next, err := rdsPage(found, func(p types.Parameter) string { return *p.ParameterName }, in.Marker, in.MaxRecords)
		return &rds.DescribeDBClusterParametersOutput{Parameters: page, Marker: next}, err
	}
	return nil, gone("DBParameterGroupNotFound", "DBClusterParameterGroup not found: %s", *in.DBClusterParameterGroupName)
}
