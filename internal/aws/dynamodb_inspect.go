package aws

import (
	"context"
	"fmt"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// Table is what one region's control plane says of a global table.
type Table struct {
	Status string
	// Consistency is STRONG, EVENTUAL or empty.
	Consistency string
	// Replicas and Witnesses map a region to its status, ACTIVE if all is well.
	Replicas, Witnesses map[string]string
}

// Table describes a table in a region.
func (s *Session) Table(ctx context.Context, region, name string) (Table, error) {
	client := dynamodb.NewFromConfig(s.cfg, func(o *dynamodb.Options) {
		o.Region = region
		o.Retryer = few()
	})
	out, err := client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: sdk.String(name)})
	if err != nil {
		return Table{}, fmt.Errorf("describe table %q in %s: %w", name, region, err)
	}
	t := Table{
		Status: string(out.Table.TableStatus), Consistency: string(out.Table.MultiRegionConsistency),
		Replicas: map[string]string{}, Witnesses: map[string]string{},
	}
	for _, r := range out.Table.Replicas {
		t.Replicas[sdk.ToString(r.RegionName)] = string(r.ReplicaStatus)
	}
	for _, w := range out.Table.GlobalTableWitnesses {
		t.Witnesses[sdk.ToString(w.RegionName)] = string(w.WitnessStatus)
	}
	return t, nil
}
