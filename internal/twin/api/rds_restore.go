package api

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"holdfast/internal/twin/postgres"
)

// engine is the one that the twin runs.
const engine = "aurora-postgresql"

func checkEngine(name string) error {
	if name != engine {
		return fail("InvalidParameterCombination", "The engine name requested %s does not match the engine name of the snapshot or cluster, %s", name, engine)
	}
	return nil
}

// restoreDBClusterFromSnapshot takes where a cluster is put in its network, its parameter groups and its tags, and does
// nothing with them: who restores a snapshot on the twin reaches it anyhow, and it runs as the old cluster did.
func (e *Endpoint) restoreDBClusterFromSnapshot(
	_ context.Context, r request, in *rds.RestoreDBClusterFromSnapshotInput,
) (*rds.RestoreDBClusterFromSnapshotOutput, error) {
	if err := checkEngine(*in.Engine); err != nil {
		return nil, err
	}
	c, err := e.options.Databases.RestoreCluster(r.region, *in.DBClusterIdentifier, *in.SnapshotIdentifier)
	if err != nil {
		return nil, err
	}
	out := e.dbCluster(c)
	return &rds.RestoreDBClusterFromSnapshotOutput{DBCluster: &out}, nil
}

func (e *Endpoint) createDBInstance(
	_ context.Context, r request, in *rds.CreateDBInstanceInput,
) (*rds.CreateDBInstanceOutput, error) {
	if err := checkEngine(*in.Engine); err != nil {
		return nil, err
	}
	cluster := aws.ToString(in.DBClusterIdentifier)
	if cluster == "" {
		return nil, fail("InvalidParameterCombination", "An instance of %s needs a DBClusterIdentifier", engine)
	}
	i, err := e.options.Databases.CreateInstance(r.region, cluster, *in.DBInstanceIdentifier, *in.DBInstanceClass)
	if err != nil {
		return nil, err
	}
	return &rds.CreateDBInstanceOutput{DBInstance: e.dbInstanceOf(r, i)}, nil
}

// deleteDBInstance ignores SkipFinalSnapshot, as Aurora does: the volume is the cluster's.
func (e *Endpoint) deleteDBInstance(
	_ context.Context, r request, in *rds.DeleteDBInstanceInput,
) (*rds.DeleteDBInstanceOutput, error) {
	i, err := e.options.Databases.DeleteInstance(r.region, *in.DBInstanceIdentifier)
	if err != nil {
		return nil, err
	}
	return &rds.DeleteDBInstanceOutput{DBInstance: e.dbInstanceOf(r, i)}, nil
}

func (e *Endpoint) dbInstanceOf(r request, i postgres.Instance) *types.DBInstance {
	var of postgres.Cluster
	for _, c := range e.options.Databases.Clusters(r.region) {
		if c.Identifier == i.ClusterIdentifier {
			of = c
		}
	}
	out := dbInstance(i, of)
	return &out
}

func (e *Endpoint) deleteDBCluster(
	_ context.Context, r request, in *rds.DeleteDBClusterInput,
) (*rds.DeleteDBClusterOutput, error) {
	switch skip, final := aws.ToBool(in.SkipFinalSnapshot), aws.ToString(in.FinalDBSnapshotIdentifier); {
	case skip && final != "":
		return nil, fail("InvalidParameterCombination", "FinalDBSnapshotIdentifier can not be specified when deleting a cluster with SkipFinalSnapshot")
	case !skip && final == "":
		return nil, fail("InvalidParameterCombination", "FinalDBSnapshotIdentifier is required when SkipFinalSnapshot is not specified.")
	case final != "":
		return nil, fail("InvalidParameterValue", "The twin takes no final snapshot of a restored cluster: its snapshot is still there. Use SkipFinalSnapshot.")
	}
	c, err := e.options.Databases.DeleteCluster(r.region, *in.DBClusterIdentifier)
	if err != nil {
		return nil, err
	}
	out := e.dbCluster(c)
	return &rds.DeleteDBClusterOutput{DBCluster: &out}, nil
}
