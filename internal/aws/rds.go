package aws

import (
	"context"
	"fmt"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"
)

// databaseAPI lists the RDS calls that [Databases] makes.
type databaseAPI interface {
	databaseInspectionAPI
	DescribeGlobalClusters(context.Context, *rds.DescribeGlobalClustersInput, ...func(*rds.Options)) (
		*rds.DescribeGlobalClustersOutput, error)
	FailoverGlobalCluster(context.Context, *rds.FailoverGlobalClusterInput, ...func(*rds.Options)) (
		*rds.FailoverGlobalClusterOutput, error)
	SwitchoverGlobalCluster(context.Context, *rds.SwitchoverGlobalClusterInput, ...func(*rds.Options)) (
		*rds.SwitchoverGlobalClusterOutput, error)
}

// Databases is the database control plane of one region.
type Databases struct {
	api    databaseAPI
	region string
}

// GlobalCluster is what one region's control plane says about a global database.
type GlobalCluster struct {
	Identifier string
	Status     string
	Members    []GlobalMember
	// Moving says that a switchover or failover is under way.
	Moving bool
	// SwitchingTo is the ARN of the cluster that a switchover is making the writer, which loses nothing; empty during anything else.
	SwitchingTo string
}

// GlobalMember is one cluster of a global database.
type GlobalMember struct {
	ClusterARN string
	Writer     bool
	// Synchronized says that a secondary follows the writer; it is true for the writer itself.
	Synchronized bool
}

// Databases makes the adapter for a region's control plane.
func (s *Session) Databases(region string) *Databases {
	api := rds.NewFromConfig(s.cfg, func(o *rds.Options) {
		o.Region = region
		o.Retryer = few()
	})
	return &Databases{api: api, region: region}
}

// GlobalCluster describes a global database by its identifier.
func (d *Databases) GlobalCluster(ctx context.Context, identifier string) (GlobalCluster, error) {
	in := &rds.DescribeGlobalClustersInput{GlobalClusterIdentifier: sdk.String(identifier)}
	out, err := d.api.DescribeGlobalClusters(ctx, in)
	if err != nil {
		return GlobalCluster{}, fmt.Errorf("describe global cluster %q in %s: %w", identifier, d.region, err)
	}
	if len(out.GlobalClusters) != 1 {
		return GlobalCluster{}, fmt.Errorf("describe global cluster %q in %s: %d clusters in the answer, want 1",
			identifier, d.region, len(out.GlobalClusters))
	}
	return globalCluster(out.GlobalClusters[0]), nil
}

func globalCluster(g types.GlobalCluster) GlobalCluster {
	c := GlobalCluster{Identifier: sdk.ToString(g.GlobalClusterIdentifier), Status: sdk.ToString(g.Status)}
	for _, m := range g.GlobalClusterMembers {
		c.Members = append(c.Members, GlobalMember{
			ClusterARN: sdk.ToString(m.DBClusterArn), Writer: sdk.ToBool(m.IsWriter),
			Synchronized: sdk.ToBool(m.IsWriter) || m.SynchronizationStatus == types.GlobalClusterMemberSynchronizationStatusConnected,
		})
	}
	// The state object may outlive the operation; its status is empty or of another kind then. "switching-over" is
	// documented but has no constant in the SDK.
	if f := g.FailoverState; f != nil {
		switch f.Status {
		case types.FailoverStatusPending, types.FailoverStatusFailingOver, types.FailoverStatusCancelling, "switching-over":
			c.Moving = true
		}
		if f.Status == "switching-over" && f.IsDataLossAllowed != nil && !*f.IsDataLossAllowed {
			c.SwitchingTo = sdk.ToString(f.ToDbClusterArn)
		}
	}
	switch c.Status {
	case "failing-over", "switching-over", "promoting":
		c.Moving = true
	}
	return c
}

// Failover makes the cluster with the given ARN, which must be in this region, the writer, and accepts the loss of
// what was not replicated to it. It is sent once; ctx's deadline must be the caller's trust deadline (P12). The call
// returns when the control plane has accepted the request, not when the writer has moved.
func (d *Databases) Failover(ctx context.Context, identifier, targetARN string) error {
	_, err := d.api.FailoverGlobalCluster(ctx, &rds.FailoverGlobalClusterInput{
		GlobalClusterIdentifier:   sdk.String(identifier),
		TargetDbClusterIdentifier: sdk.String(targetARN),
		AllowDataLoss:             sdk.Bool(true),
	}, func(o *rds.Options) { o.Retryer = once() })
	if err != nil {
		return fmt.Errorf("fail global cluster %q over to %s in %s: %w", identifier, targetARN, d.region, err)
	}
	return nil
}

// Switchover moves the writer to the cluster with the given ARN without loss. AWS wants it sent to the region of the
// present writer. It is sent once and returns when the request was accepted.
func (d *Databases) Switchover(ctx context.Context, identifier, targetARN string) error {
	_, err := d.api.SwitchoverGlobalCluster(ctx, &rds.SwitchoverGlobalClusterInput{
		GlobalClusterIdentifier:   sdk.String(identifier),
		TargetDbClusterIdentifier: sdk.String(targetARN),
	}, func(o *rds.Options) { o.Retryer = once() })
	if err != nil {
		return fmt.Errorf("switch global cluster %q over to %s in %s: %w", identifier, targetARN, d.region, err)
	}
	return nil
}

// Writer returns the ARN of the cluster that is the global writer, or "" if the answer names none or several.
func (g GlobalCluster) Writer() string {
	writer := ""
	for _, m := range g.Members {
		if m.Writer {
			if writer != "" {
				return ""
			}
			writer = m.ClusterARN
		}
	}
	return writer
}

// HasMember reports whether the cluster belongs to the global database.
func (g GlobalCluster) HasMember(clusterARN string) bool {
	for _, m := range g.Members {
		if m.ClusterARN == clusterARN {
			return true
		}
	}
	return false
}
