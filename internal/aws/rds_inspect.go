package aws

import (
	"context"
	"fmt"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"
)

// databaseInspectionAPI lists the RDS calls that only looking at a deployment takes.
type databaseInspectionAPI interface {
	DescribeDBClusters(context.Context, *rds.DescribeDBClustersInput, ...func(*rds.Options)) (*rds.DescribeDBClustersOutput, error)
	DescribeDBInstances(context.Context, *rds.DescribeDBInstancesInput, ...func(*rds.Options)) (*rds.DescribeDBInstancesOutput, error)
	rds.DescribeDBClusterParametersAPIClient
	rds.DescribeDBClusterSnapshotsAPIClient
}

// DBCluster is an Aurora cluster as its region's control plane describes it.
type DBCluster struct {
	Identifier, ARN, Status string
	Engine, EngineVersion   string
	ParameterGroup          string
	// BackupRetentionDays is how long automated backups, and the snapshot of an old writer, are kept.
	BackupRetentionDays int
	Instances           []DBInstance
}

// DBInstance is one instance of a cluster.
type DBInstance struct {
	Identifier, Status, Class, Zone string
	Writer                          bool
	// ParametersInSync is false until a reboot puts the parameter group's settings into force.
	ParametersInSync bool
}

// Cluster describes a cluster with its instances.
func (d *Databases) Cluster(ctx context.Context, identifier string) (DBCluster, error) {
	out, err := d.api.DescribeDBClusters(ctx, &rds.DescribeDBClustersInput{DBClusterIdentifier: sdk.String(identifier)})
	if err != nil {
		return DBCluster{}, fmt.Errorf("describe cluster %q in %s: %w", identifier, d.region, err)
	}
	if len(out.DBClusters) != 1 {
		return DBCluster{}, fmt.Errorf("describe cluster %q in %s: %d clusters in the answer, want 1", identifier, d.region, len(out.DBClusters))
	}
	found := out.DBClusters[0]
	c := DBCluster{
		Identifier: sdk.ToString(found.DBClusterIdentifier), ARN: sdk.ToString(found.DBClusterArn), Status: sdk.ToString(found.Status),
		Engine: sdk.ToString(found.Engine), EngineVersion: sdk.ToString(found.EngineVersion),
		ParameterGroup: sdk.ToString(found.DBClusterParameterGroup), BackupRetentionDays: int(sdk.ToInt32(found.BackupRetentionPeriod)),
	}
	if len(found.DBClusterMembers) == 0 {
		return c, nil
	}
	instances, err := d.api.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{
		Filters: []types.Filter{{Name: sdk.String("db-cluster-id"), Values: []string{identifier}}},
	})
	if err != nil {
		return DBCluster{}, fmt.Errorf("describe the instances of cluster %q in %s: %w", identifier, d.region, err)
	}
	for _, i := range instances.DBInstances {
		instance := DBInstance{
			Identifier: sdk.ToString(i.DBInstanceIdentifier), Status: sdk.ToString(i.DBInstanceStatus),
			Class: sdk.ToString(i.DBInstanceClass), Zone: sdk.ToString(i.AvailabilityZone),
		}
		for _, m := range found.DBClusterMembers {
			if sdk.ToString(m.DBInstanceIdentifier) == instance.Identifier {
				instance.Writer = sdk.ToBool(m.IsClusterWriter)
				instance.ParametersInSync = sdk.ToString(m.DBClusterParameterGroupStatus) == "in-sync"
			}
		}
		c.Instances = append(c.Instances, instance)
	}
	return c, nil
}

// parameterPages bounds the pages of one parameter group: at most 100 parameters each.
const parameterPages = 20

// Parameters are the settings that a cluster parameter group makes itself, by name.
func (d *Databases) Parameters(ctx context.Context, group string) (map[string]string, error) {
	found := map[string]string{}
	pages := rds.NewDescribeDBClusterParametersPaginator(d.api, &rds.DescribeDBClusterParametersInput{
		DBClusterParameterGroupName: sdk.String(group), Source: sdk.String("user"),
	})
	for n := 0; pages.HasMorePages() && n < parameterPages; n++ {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describe parameter group %q in %s: %w", group, d.region, err)
		}
		for _, p := range page.Parameters {
			found[sdk.ToString(p.ParameterName)] = sdk.ToString(p.ParameterValue)
		}
	}
	return found, nil
}

// ManualSnapshots counts the account's manual cluster snapshots in the region.
func (d *Databases) ManualSnapshots(ctx context.Context) (int, error) {
	count := 0
	pages := rds.NewDescribeDBClusterSnapshotsPaginator(d.api, &rds.DescribeDBClusterSnapshotsInput{SnapshotType: sdk.String("manual")})
	for n := 0; pages.HasMorePages() && n < parameterPages; n++ {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, fmt.Errorf("list the manual cluster snapshots in %s: %w", d.region, err)
		}
		count += len(page.DBClusterSnapshots)
	}
	return count, nil
}
