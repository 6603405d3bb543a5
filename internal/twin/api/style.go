package api

import "holdfast/internal/twin/api/wire"

// The names of list elements in XML that differ from their type's, as the services' models have them.
var (
	rdsStyle = wire.Style{Elements: map[string]string{
		"Event.EventCategories":                          "EventCategory",
		"DescribeGlobalClustersOutput.GlobalClusters":    "GlobalClusterMember",
		"DBCluster.AvailabilityZones":                    "AvailabilityZone",
		"DBClusterSnapshot.AvailabilityZones":            "AvailabilityZone",
		"DBCluster.DBClusterOptionGroupMemberships":      "DBClusterOptionGroup",
		"DBCluster.ReadReplicaIdentifiers":               "ReadReplicaIdentifier",
		"DBInstance.AdditionalStorageVolumes":            "member",
		"PendingModifiedValues.AdditionalStorageVolumes": "member",
		"DBInstance.DBParameterGroups":                   "DBParameterGroup",
		"DBInstance.DBSecurityGroups":                    "DBSecurityGroup",
		"DBInstance.ReadReplicaDBClusterIdentifiers":     "ReadReplicaDBClusterIdentifier",
		"DBInstance.ReadReplicaDBInstanceIdentifiers":    "ReadReplicaDBInstanceIdentifier",
	}}
	r53Style = wire.Style{Elements: map[string]string{
		"HealthCheckConfig.ChildHealthChecks": "ChildHealthCheck",
		"HealthCheckConfig.Regions":           "Region",
		"DelegationSet.NameServers":           "NameServer",
	}}
)
