package termtable

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// DescribeTable describes the table. It is a control-plane call of one region and needs no majority.
func (t *Table) DescribeTable(
	_ context.Context, region string, in *dynamodb.DescribeTableInput,
) (*dynamodb.DescribeTableOutput, error) {
	if err := t.checkTable(region, in.TableName); err != nil {
		return nil, err
	}
	t.mu.Lock()
	count, size := int64(len(t.items)), int64(0)
	for _, i := range t.items {
		size += int64(sizeOfItem(i))
	}
	t.mu.Unlock()
	table := &types.TableDescription{
		TableName:              aws.String(t.Name()),
		TableArn:               aws.String(t.arn(region)),
		TableStatus:            types.TableStatusActive,
		CreationDateTime:       aws.Time(t.created),
		ItemCount:              &count,
		TableSizeBytes:         &size,
		AttributeDefinitions:   []types.AttributeDefinition{{AttributeName: aws.String(KeyName), AttributeType: "S"}},
		KeySchema:              []types.KeySchemaElement{{AttributeName: aws.String(KeyName), KeyType: types.KeyTypeHash}},
		BillingModeSummary:     &types.BillingModeSummary{BillingMode: types.BillingModePayPerRequest},
		GlobalTableVersion:     aws.String("2019.11.21"),
		MultiRegionConsistency: types.MultiRegionConsistency(t.options.Table.MultiRegionConsistency),
		GlobalTableWitnesses: []types.GlobalTableWitnessDescription{{
			RegionName: aws.String(t.options.Table.WitnessRegion), WitnessStatus: types.WitnessStatusActive,
		}},
	}
	for _, r := range t.options.Table.ReplicaRegions {
		table.Replicas = append(table.Replicas, types.ReplicaDescription{
			RegionName: aws.String(r), ReplicaArn: aws.String(t.arn(r)), ReplicaStatus: types.ReplicaStatusActive,
		})
	}
	return &dynamodb.DescribeTableOutput{Table: table}, nil
}

// ListTables lists the region's tables: this one, where it has a replica.
func (t *Table) ListTables(
	_ context.Context, region string, in *dynamodb.ListTablesInput,
) (*dynamodb.ListTablesOutput, error) {
	out := &dynamodb.ListTablesOutput{TableNames: []string{}}
	if slices.Contains(t.options.Table.ReplicaRegions, region) && aws.ToString(in.ExclusiveStartTableName) < t.Name() {
		out.TableNames = append(out.TableNames, t.Name())
	}
	return out, nil
}
