package api

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"holdfast/internal/topology"
	"holdfast/internal/twin/postgres"
)

func (e *Endpoint) rdsService() *service {
	s := &service{
		id: "rds", protocols: []protocol{query}, namespace: "http://rds.amazonaws.com/doc/2014-10-31/",
		version: "2014-10-31", missing: mustContain, invalid: invalidWith("InvalidParameterValue"),
		style: rdsStyle,
	}
	if e.options.Databases == nil {
		return s
	}
	s.operations = operations(
		op("DescribeGlobalClusters", e.describeGlobalClusters),
		op("DescribeDBClusters", e.describeDBClusters),
		op("DescribeDBInstances", e.describeDBInstances),
		op("DescribeDBClusterParameters", e.describeDBClusterParameters, "DBClusterParameterGroupName"),
		op("DescribeEvents", e.describeEvents),
		op("DescribeDBClusterSnapshots", e.describeDBClusterSnapshots),
		op("RestoreDBClusterFromSnapshot", e.restoreDBClusterFromSnapshot, "DBClusterIdentifier", "SnapshotIdentifier", "Engine"),
		op("CreateDBInstance", e.createDBInstance, "DBInstanceIdentifier", "DBInstanceClass", "Engine"),
		op("DeleteDBInstance", e.deleteDBInstance, "DBInstanceIdentifier"),
		op("DeleteDBCluster", e.deleteDBCluster, "DBClusterIdentifier"),
		op("FailoverGlobalCluster", e.failoverGlobalCluster, "GlobalClusterIdentifier", "TargetDbClusterIdentifier"),
		op("SwitchoverGlobalCluster", e.switchoverGlobalCluster, "GlobalClusterIdentifier", "TargetDbClusterIdentifier"),
	)
	return s
}

// Errors of RDS.
func noGlobalCluster(id string) error {
	return gone("GlobalClusterNotFoundFault", "Global cluster %s not found", id)
}

func noDBCluster(id string) error {
	return gone("DBClusterNotFoundFault", "DBCluster %s not found.", id)
}

// maxRecords checks a MaxRecords of RDS.
func maxRecords(n *int32) (int, error) {
	if n == nil {
		return 100, nil
	}
	if *n < 20 || *n > 100 {
		return 0, fail("InvalidParameterValue", "Invalid value %d for MaxRecords. Must be between 20 and 100", *n)
	}
	return int(*n), nil
}

// rdsPage pages a list of RDS, whose markers are opaque to clients.
func rdsPage[T any](items []T, key func(T) string, marker *string, limit *int32) ([]T, *string, error) {
	n, err := maxRecords(limit)
	if err != nil {
		return nil, nil, err
	}
	page, next, ok := pageAfter(items, key, aws.ToString(marker), n)
	if !ok {
		return nil, nil, fail("InvalidParameterValue", "Unable to find marker")
	}
	return page, optional(next), nil
}

// optional is nil for an empty string.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// filtersOf reads RDS filters, and refuses names that the operation does not know.
func filtersOf(filters []types.Filter, known ...string) (map[string][]string, error) {
	out := map[string][]string{}
	for _, f := range filters {
		name := aws.ToString(f.Name)
		if !slices.Contains(known, name) {
			return nil, fail("InvalidParameterValue", "Unrecognized filter name: %s", name)
		}
		if len(f.Values) == 0 {
			return nil, fail("InvalidParameterCombination", "The filter %s has no values.", name)
		}
		out[name] = append(out[name], f.Values...)
	}
	return out, nil
}

// passes reports whether any of a filter's values is among the keys; a filter that is not there passes everything.
func passes(filters map[string][]string, name string, keys ...string) bool {
	wanted, ok := filters[name]
	return !ok || slices.ContainsFunc(keys, func(k string) bool { return slices.Contains(wanted, k) })
}

func (e *Endpoint) describeGlobalClusters(
	_ context.Context, _ request, in *rds.DescribeGlobalClustersInput,
) (*rds.DescribeGlobalClustersOutput, error) {
	filters, err := filtersOf(in.Filters, "db-cluster-id", "region")
	if err != nil {
		return nil, err
	}
	var found []types.GlobalCluster
	for _, g := range e.options.Databases.GlobalClusters() {
		if id := aws.ToString(in.GlobalClusterIdentifier); id != "" && !strings.EqualFold(id, g.Identifier) {
			continue
		}
		if !slices.ContainsFunc(g.Members, func(m postgres.GlobalMember) bool {
			return passes(filters, "db-cluster-id", m.Identifier, m.ClusterARN) && passes(filters, "region", m.Region)
		}) {
			continue
		}
		found = append(found, globalCluster(g))
	}
	if id := aws.ToString(in.GlobalClusterIdentifier); id != "" && len(found) == 0 && len(filters) == 0 {
		return nil, noGlobalCluster(id)
	}
	page, next, err := rdsPage(found, func(g types.GlobalCluster) string { return *g.GlobalClusterIdentifier },
		in.Marker, in.MaxRecords)
	return &rds.DescribeGlobalClustersOutput{GlobalClusters: page, Marker: next}, err
}

func globalCluster(g postgres.GlobalCluster) types.GlobalCluster {
	out := types.GlobalCluster{
		GlobalClusterIdentifier: aws.String(g.Identifier), GlobalClusterArn: aws.String(g.ARN),
		GlobalClusterResourceId: aws.String("cluster-" + g.Identifier), Status: aws.String(g.Status),
		Engine: aws.String(g.Engine), EngineVersion: aws.String(g.EngineVersion), DatabaseName: optional(g.DatabaseName),
		StorageEncrypted: aws.Bool(true), DeletionProtection: aws.Bool(false),
		GlobalClusterMembers: []types.GlobalClusterMember{},
	}
	for _, m := range g.Members {
		out.GlobalClusterMembers = append(out.GlobalClusterMembers, types.GlobalClusterMember{
			DBClusterArn: aws.String(m.ClusterARN), IsWriter: aws.Bool(m.IsWriter), Readers: m.Readers,
			GlobalWriteForwardingStatus: types.WriteForwardingStatusDisabled,
			SynchronizationStatus:       types.GlobalClusterMemberSynchronizationStatus(m.SynchronizationStatus),
		})
	}
	if f := g.Failover; f != nil {
		out.FailoverState = &types.FailoverState{
			Status: types.FailoverStatus(f.Status), FromDbClusterArn: optional(f.FromARN), ToDbClusterArn: optional(f.ToARN),
			IsDataLossAllowed: aws.Bool(f.DataLossAllowed),
		}
	}
	return out
}

func (e *Endpoint) describeDBClusters(
	_ context.Context, r request, in *rds.DescribeDBClustersInput,
) (*rds.DescribeDBClustersOutput, error) {
	filters, err := filtersOf(in.Filters, "db-cluster-id", "db-cluster-resource-id", "engine")
	if err != nil {
		return nil, err
	}
	var found []types.DBCluster
	for _, c := range e.options.Databases.Clusters(r.region) {
		if id := aws.ToString(in.DBClusterIdentifier); id != "" && !strings.EqualFold(id, c.Identifier) && id != c.ARN {
			continue
		}
		if passes(filters, "db-cluster-id", c.Identifier, c.ARN) && passes(filters, "engine", c.Engine) &&
			passes(filters, "db-cluster-resource-id", resourceID(c.Identifier)) {
			found = append(found, e.dbCluster(c))
		}
	}
	if id := aws.ToString(in.DBClusterIdentifier); id != "" && len(found) == 0 {
		return nil, noDBCluster(id)
	}
	page, next, err := rdsPage(found, func(c types.DBCluster) string { return *c.DBClusterIdentifier },
		in.Marker, in.MaxRecords)
	return &rds.DescribeDBClustersOutput{DBClusters: page, Marker: next}, err
}

func resourceID(identifier string) string { return "cluster-" + strings.ToUpper(identifier) }

func (e *Endpoint) dbCluster(c postgres.Cluster) types.DBCluster {
	out := types.DBCluster{
		DBClusterIdentifier: aws.String(c.Identifier), DBClusterArn: aws.String(c.ARN), Status: aws.String(c.Status),
		DbClusterResourceId: aws.String(resourceID(c.Identifier)), Engine: aws.String(c.Engine),
		EngineVersion: aws.String(c.EngineVersion), EngineMode: aws.String("provisioned"),
		Endpoint: aws.String(c.Endpoint), ReaderEndpoint: aws.String(c.ReaderEndpoint), Port: aws.Int32(int32(c.Port)),
		DatabaseName: optional(c.DatabaseName), MasterUsername: optional(c.MasterUsername),
		DBClusterParameterGroup: optional(c.ParameterGroup), BackupRetentionPeriod: aws.Int32(int32(c.BackupRetentionDays)),
		StorageEncrypted: aws.Bool(c.StorageEncrypted), DeletionProtection: aws.Bool(c.DeletionProtection),
		MultiAZ: aws.Bool(len(c.Members) > 1), AllocatedStorage: aws.Int32(1), HttpEndpointEnabled: aws.Bool(false),
		GlobalClusterIdentifier:     optional(c.GlobalClusterIdentifier),
		ReplicationSourceIdentifier: optional(c.ReplicationSourceARN),
		GlobalWriteForwardingStatus: types.WriteForwardingStatusDisabled,
		DBClusterMembers:            []types.DBClusterMember{},
	}
	for _, m := range c.Members {
		out.DBClusterMembers = append(out.DBClusterMembers, types.DBClusterMember{
			DBInstanceIdentifier: aws.String(m.InstanceIdentifier), IsClusterWriter: aws.Bool(m.IsWriter),
			PromotionTier: aws.Int32(int32(m.PromotionTier)), DBClusterParameterGroupStatus: aws.String("in-sync"),
		})
	}
	for _, t := range e.options.Topology.DBClusters {
		if t.ARN == c.ARN {
			out.DBSubnetGroup = optional(t.SubnetGroup)
			for _, id := range t.SecurityGroupIDs {
				out.VpcSecurityGroups = append(out.VpcSecurityGroups, types.VpcSecurityGroupMembership{
					VpcSecurityGroupId: aws.String(id), Status: aws.String("active"),
				})
			}
		}
	}
	out.AvailabilityZones = e.zonesOf(c)
	return out
}

func (e *Endpoint) zonesOf(c postgres.Cluster) []string {
	var zones []string
	for _, i := range e.options.Topology.DBInstances {
		if i.Region == c.Region && i.ClusterIdentifier == c.Identifier && i.AvailabilityZone != "" {
			zones = append(zones, i.AvailabilityZone)
		}
	}
	slices.Sort(zones)
	return slices.Compact(zones)
}

func (e *Endpoint) describeDBInstances(
	_ context.Context, r request, in *rds.DescribeDBInstancesInput,
) (*rds.DescribeDBInstancesOutput, error) {
	filters, err := filtersOf(in.Filters, "db-cluster-id", "db-instance-id", "engine")
	if err != nil {
		return nil, err
	}
	clusters := map[string]postgres.Cluster{}
	for _, c := range e.options.Databases.Clusters(r.region) {
		clusters[c.Identifier] = c
	}
	var found []types.DBInstance
	for _, i := range e.options.Databases.Instances(r.region) {
		if id := aws.ToString(in.DBInstanceIdentifier); id != "" && !strings.EqualFold(id, i.Identifier) && id != i.ARN {
			continue
		}
		c := clusters[i.ClusterIdentifier]
		if passes(filters, "db-cluster-id", c.Identifier, c.ARN) && passes(filters, "engine", c.Engine) &&
			passes(filters, "db-instance-id", i.Identifier, i.ARN) {
			found = append(found, dbInstance(i, c))
		}
	}
	if id := aws.ToString(in.DBInstanceIdentifier); id != "" && len(found) == 0 {
		return nil, gone("DBInstanceNotFound", "DBInstance %s not found.", id)
	}
	page, next, err := rdsPage(found, func(i types.DBInstance) string { return *i.DBInstanceIdentifier },
		in.Marker, in.MaxRecords)
	return &rds.DescribeDBInstancesOutput{DBInstances: page, Marker: next}, err
}

func dbInstance(i postgres.Instance, c postgres.Cluster) types.DBInstance {
	return types.DBInstance{
		DBInstanceIdentifier: aws.String(i.Identifier), DBInstanceArn: aws.String(i.ARN),
		DBInstanceStatus: aws.String(i.Status), DBInstanceClass: aws.String(i.Class),
		DBClusterIdentifier: aws.String(i.ClusterIdentifier), DbiResourceId: aws.String("db-" + strings.ToUpper(i.Identifier)),
		AvailabilityZone: optional(i.AvailabilityZone), PromotionTier: aws.Int32(int32(i.PromotionTier)),
		Engine: aws.String(c.Engine), EngineVersion: aws.String(c.EngineVersion), DBName: optional(c.DatabaseName),
		MasterUsername: optional(c.MasterUsername), StorageEncrypted: aws.Bool(c.StorageEncrypted),
		BackupRetentionPeriod: aws.Int32(int32(c.BackupRetentionDays)), MultiAZ: aws.Bool(false),
		StorageType: aws.String("aurora"), AllocatedStorage: aws.Int32(1), PubliclyAccessible: aws.Bool(false),
		Endpoint: &types.Endpoint{Address: aws.String(i.Address), Port: aws.Int32(int32(i.Port))},
	}
}

func (e *Endpoint) describeDBClusterSnapshots(
	_ context.Context, r request, in *rds.DescribeDBClusterSnapshotsInput,
) (*rds.DescribeDBClusterSnapshotsOutput, error) {
	filters, err := filtersOf(in.Filters, "db-cluster-id", "db-cluster-snapshot-id", "snapshot-type", "engine")
	if err != nil {
		return nil, err
	}
	clusters := map[string]postgres.Cluster{}
	for _, c := range e.options.Databases.Clusters(r.region) {
		clusters[c.Identifier] = c
	}
	var found []types.DBClusterSnapshot
	for _, s := range e.options.Databases.Snapshots(r.region) {
		snapshot := e.dbSnapshot(s, clusters[s.ClusterIdentifier])
		id, cluster, kind := aws.ToString(in.DBClusterSnapshotIdentifier), aws.ToString(in.DBClusterIdentifier),
			aws.ToString(in.SnapshotType)
		if id != "" && id != s.Identifier && id != *snapshot.DBClusterSnapshotArn ||
			cluster != "" && cluster != s.ClusterIdentifier && cluster != clusters[s.ClusterIdentifier].ARN ||
			kind != "" && kind != *snapshot.SnapshotType ||
			!passes(filters, "db-cluster-id", s.ClusterIdentifier) || !passes(filters, "db-cluster-snapshot-id", s.Identifier) ||
			!passes(filters, "snapshot-type", *snapshot.SnapshotType) || !passes(filters, "engine", *snapshot.Engine) {
			continue
		}
		found = append(found, snapshot)
	}
	if id := aws.ToString(in.DBClusterSnapshotIdentifier); id != "" && len(found) == 0 {
		return nil, gone("DBClusterSnapshotNotFoundFault", "DBClusterSnapshot %s not found.", id)
	}
	page, next, err := rdsPage(found, func(s types.DBClusterSnapshot) string { return *s.DBClusterSnapshotIdentifier },
		in.Marker, in.MaxRecords)
	return &rds.DescribeDBClusterSnapshotsOutput{DBClusterSnapshots: page, Marker: next}, err
}

func (e *Endpoint) dbSnapshot(s postgres.Snapshot, c postgres.Cluster) types.DBClusterSnapshot {
	progress := int32(100)
	if s.Status != postgres.StatusAvailable {
		progress = 0
	}
	return types.DBClusterSnapshot{
		DBClusterSnapshotIdentifier: aws.String(s.Identifier),
		DBClusterSnapshotArn: aws.String("arn:aws:rds:" + s.Region + ":" + e.options.Topology.AccountID +
			":cluster-snapshot:" + s.Identifier),
		DBClusterIdentifier: aws.String(s.ClusterIdentifier), SnapshotType: aws.String("automated"),
		SnapshotCreateTime: aws.Time(s.CreatedAt), Status: aws.String(s.Status), PercentProgress: aws.Int32(progress),
		Engine: aws.String(c.Engine), EngineVersion: aws.String(c.EngineVersion), Port: aws.Int32(int32(c.Port)),
		MasterUsername: optional(c.MasterUsername), StorageEncrypted: aws.Bool(c.StorageEncrypted),
		AllocatedStorage: aws.Int32(1),
	}
}

// eventWindow is how far back DescribeEvents looks without a start.
const eventWindow = time.Hour

func (e *Endpoint) describeEvents(
	_ context.Context, r request, in *rds.DescribeEventsInput,
) (*rds.DescribeEventsOutput, error) {
	if _, err := filtersOf(in.Filters); err != nil {
		return nil, err
	}
	if in.SourceIdentifier != nil && in.SourceType == "" {
		return nil, fail("InvalidParameterCombination", "The parameter SourceType must be provided when SourceIdentifier is provided")
	}
	if minutes := aws.ToInt32(in.Duration); in.Duration != nil && (minutes < 1 || minutes > 20160) {
		return nil, fail("InvalidParameterValue", "Invalid value %d for Duration. Must be between 1 and 20160", minutes)
	}
	from, to := e.options.Now().Add(-eventWindow), e.options.Now()
	if in.Duration != nil {
		from = to.Add(-time.Duration(*in.Duration) * time.Minute)
	}
	if in.StartTime != nil {
		from = *in.StartTime
	}
	if in.EndTime != nil {
		to = *in.EndTime
	}
	if to.Before(from) {
		return nil, fail("InvalidParameterCombination", "The end time must be after the start time")
	}
	var found []types.Event
	for _, ev := range e.options.Databases.Events(r.region) {
		if ev.At.Before(from) || ev.At.After(to) ||
			in.SourceType != "" && string(in.SourceType) != ev.SourceType ||
			in.SourceIdentifier != nil && *in.SourceIdentifier != ev.Source ||
			len(in.EventCategories) > 0 && !slices.ContainsFunc(ev.Categories, func(c string) bool {
				return slices.Contains(in.EventCategories, c)
			}) {
			continue
		}
		found = append(found, types.Event{
			Date: aws.Time(ev.At), SourceType: types.SourceType(ev.SourceType), SourceIdentifier: aws.String(ev.Source),
			SourceArn: optional(ev.SourceARN), EventCategories: ev.Categories, Message: aws.String(ev.Message),
		})
	}
	page, next, err := rdsPage(found, func(ev types.Event) string {
		return ev.Date.Format(time.RFC3339Nano) + " " + *ev.SourceIdentifier + " " + *ev.Message
	}, in.Marker, in.MaxRecords)
	return &rds.DescribeEventsOutput{Events: page, Marker: next}, err
}

// globalIdentifier is the form of a global cluster's identifier, clusterTarget that of a member's identifier or ARN.
var (
	globalIdentifier = regexp.MustCompile(`^[A-Za-z][0-9A-Za-z:._-]{0,254}$`)
	clusterTarget    = regexp.MustCompile(`^[A-Za-z][0-9A-Za-z:._-]{0,254}$`)
)

// checkMove checks the names in a request to move the writer. A plain identifier is looked up in the request's region,
// an ARN anywhere.
func (e *Endpoint) checkMove(r request, global, target string) (topology.DBCluster, error) {
	if !globalIdentifier.MatchString(global) || !clusterTarget.MatchString(target) {
		return topology.DBCluster{}, fail("InvalidParameterValue", "1 validation error detected: Value at "+
			"'targetDbClusterIdentifier' failed to satisfy constraint: Member must satisfy regular expression pattern: %s",
			`[A-Za-z][0-9A-Za-z-:._]*`)
	}
	if !slices.ContainsFunc(e.options.Databases.GlobalClusters(), func(g postgres.GlobalCluster) bool {
		return strings.EqualFold(g.Identifier, global)
	}) {
		return topology.DBCluster{}, noGlobalCluster(global)
	}
	for _, c := range e.options.Topology.DBClusters {
		if c.ARN == target || c.Region == r.region && strings.EqualFold(c.Identifier, target) {
			return c, nil
		}
	}
	return topology.DBCluster{}, noDBCluster(target)
}

func (e *Endpoint) failoverGlobalCluster(
	ctx context.Context, r request, in *rds.FailoverGlobalClusterInput,
) (*rds.FailoverGlobalClusterOutput, error) {
	global := aws.ToString(in.GlobalClusterIdentifier)
	if aws.ToBool(in.AllowDataLoss) && aws.ToBool(in.Switchover) {
		return nil, fail("InvalidParameterCombination",
			"The AllowDataLoss and Switchover parameters cannot be specified together")
	}
	target, err := e.checkMove(r, global, *in.TargetDbClusterIdentifier)
	if err != nil {
		return nil, err
	}
	if aws.ToBool(in.AllowDataLoss) {
		err = e.options.Databases.Failover(ctx, r.region, global, target.ARN, true)
	} else { // AWS's default, also without Switchover
		err = e.options.Databases.Switchover(ctx, r.region, global, target.ARN)
	}
	if err != nil {
		return nil, err
	}
	g, err := e.globalClusterNamed(global)
	return &rds.FailoverGlobalClusterOutput{GlobalCluster: g}, err
}

func (e *Endpoint) switchoverGlobalCluster(
	ctx context.Context, r request, in *rds.SwitchoverGlobalClusterInput,
) (*rds.SwitchoverGlobalClusterOutput, error) {
	global := aws.ToString(in.GlobalClusterIdentifier)
	target, err := e.checkMove(r, global, *in.TargetDbClusterIdentifier)
	if err != nil {
		return nil, err
	}
	if err := e.options.Databases.Switchover(ctx, r.region, global, target.ARN); err != nil {
		return nil, err
	}
	g, err := e.globalClusterNamed(global)
	return &rds.SwitchoverGlobalClusterOutput{GlobalCluster: g}, err
}

func (e *Endpoint) globalClusterNamed(id string) (*types.GlobalCluster, error) {
	for _, g := range e.options.Databases.GlobalClusters() {
		if strings.EqualFold(g.Identifier, id) {
			out := globalCluster(g)
			return &out, nil
		}
	}
	return nil, noGlobalCluster(id)
}
