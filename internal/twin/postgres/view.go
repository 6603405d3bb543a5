package postgres

import (
	"slices"
	"time"
)

// The statuses that the views show, as AWS words them.
const (
	StatusCreating        = "creating"
	StatusAvailable       = "available"
	StatusSwitchingOver   = "switching-over"
	StatusFailingOver     = "failing-over"
	StatusPromoting       = "promoting"
	StatusResynchronizing = "resynchronizing"
	StatusRebooting       = "rebooting"
	StatusDeleting        = "deleting"
	StatusRestoreFailed   = "failed"
	// StatusUnreachable is not AWS's: nobody can ask a lost Region for a status. The twin's own views show it.
	StatusUnreachable = "unreachable"
)

// Whether a member of a global cluster follows the writer (GlobalClusterMember.SynchronizationStatus).
const (
	SyncConnected     = "connected"
	SyncPendingResync = "pending-resync"
)

// GlobalCluster is what describe-global-clusters shows.
type GlobalCluster struct {
	Identifier    string         `json:"identifier"`
	ARN           string         `json:"arn"`
	Engine        string         `json:"engine"`
	EngineVersion string         `json:"engine_version"`
	DatabaseName  string         `json:"database_name"`
	Status        string         `json:"status"`
	Members       []GlobalMember `json:"members"`
	// Failover is nil unless a switchover or failover is under way.
	Failover *FailoverState `json:"failover,omitempty"`
}

// GlobalMember is one cluster of a global cluster.
type GlobalMember struct {
	ClusterARN string `json:"cluster_arn"`
	Identifier string `json:"identifier"`
	Region     string `json:"region"`
	IsWriter   bool   `json:"is_writer"`
	// Readers are the ARNs of the other clusters; only the writer has them.
	Readers []string `json:"readers,omitempty"`
	// SynchronizationStatus is "connected" or "pending-resync", empty for the writer.
	SynchronizationStatus string `json:"synchronization_status,omitempty"`
}

// FailoverState is an operation that is under way.
type FailoverState struct {
	// Status is "switching-over" or "failing-over".
	Status          string `json:"status"`
	FromARN         string `json:"from_arn"`
	ToARN           string `json:"to_arn"`
	DataLossAllowed bool   `json:"data_loss_allowed"`
}

// Cluster is what describe-db-clusters shows.
type Cluster struct {
	Region                  string `json:"region"`
	Identifier              string `json:"identifier"`
	ARN                     string `json:"arn"`
	GlobalClusterIdentifier string `json:"global_cluster_identifier"`
	Status                  string `json:"status"`
	Engine                  string `json:"engine"`
	EngineVersion           string `json:"engine_version"`
	// Endpoint and ReaderEndpoint are the DNS names; EndpointAddress resolves them.
	Endpoint            string          `json:"endpoint"`
	ReaderEndpoint      string          `json:"reader_endpoint"`
	Port                int             `json:"port"`
	DatabaseName        string          `json:"database_name"`
	MasterUsername      string          `json:"master_username"`
	ParameterGroup      string          `json:"parameter_group"`
	BackupRetentionDays int             `json:"backup_retention_days"`
	StorageEncrypted    bool            `json:"storage_encrypted"`
	DeletionProtection  bool            `json:"deletion_protection"`
	Members             []ClusterMember `json:"members"`
	// Role is "writer", "secondary" or "stale" (see the package comment).
	Role Role `json:"role"`
	// ReplicationSourceARN is the writer's cluster, empty for the writer itself.
	ReplicationSourceARN string `json:"replication_source_arn,omitempty"`
	// IgnoredParameters are parameters of the parameter group that PostgreSQL does not have or that the twin sets itself.
	IgnoredParameters []string `json:"ignored_parameters,omitempty"`
}

// ClusterMember is one instance of a cluster.
type ClusterMember struct {
	InstanceIdentifier string `json:"instance_identifier"`
	IsWriter           bool   `json:"is_writer"`
	PromotionTier      int    `json:"promotion_tier"`
}

// Instance is what describe-db-instances shows, and where its server really is.
type Instance struct {
	Region            string `json:"region"`
	Identifier        string `json:"identifier"`
	ARN               string `json:"arn"`
	ClusterIdentifier string `json:"cluster_identifier"`
	Class             string `json:"class"`
	AvailabilityZone  string `json:"availability_zone"`
	PromotionTier     int    `json:"promotion_tier"`
	Status            string `json:"status"`
	IsWriter          bool   `json:"is_writer"`
	// Address and Port are the server's own, without the endpoint's relay.
	Address string `json:"address"`
	Port    int    `json:"port"`
	// Pid is the postmaster's, 0 if it does not run.
	Pid     int    `json:"pid"`
	Volume  string `json:"volume"`
	LogFile string `json:"log_file"`
}

// Snapshot is the volume that an old writer had when a failover took its role: it holds the tail that was never replicated.
type Snapshot struct {
	Region string `json:"region"`
	// Identifier is rds:unplanned-global-failover-<cluster>-<timestamp>.
	Identifier        string    `json:"identifier"`
	ClusterIdentifier string    `json:"cluster_identifier"`
	CreatedAt         time.Time `json:"created_at"`
	Status            string    `json:"status"`
	// Path is a complete, cleanly stopped PostgreSQL data directory.
	Path string `json:"path"`
}

// GlobalClusters lists the global clusters as they stand.
func (a *Aurora) GlobalClusters() []GlobalCluster {
	a.mu.Lock()
	defer a.mu.Unlock()
	views := make([]GlobalCluster, 0, len(a.globals))
	for _, g := range a.globals {
		views = append(views, g.view())
	}
	return views
}

func (g *global) view() GlobalCluster {
	v := GlobalCluster{
		Identifier: g.spec.Identifier, ARN: g.spec.ARN, Engine: g.spec.Engine, EngineVersion: g.spec.EngineVersion,
		DatabaseName: g.writer.spec.DatabaseName, Status: StatusAvailable,
	}
	if g.operation != nil {
		v.Status = g.operation.Status
		state := *g.operation
		v.Failover = &state
	}
	for _, c := range g.members {
		m := GlobalMember{ClusterARN: c.spec.ARN, Identifier: c.spec.Identifier, Region: c.spec.Region}
		switch {
		case c == g.writer:
			m.IsWriter = true
			for _, other := range g.members {
				if other != c {
					m.Readers = append(m.Readers, other.spec.ARN)
				}
			}
		case c.role == RoleStale || c.rebuilding:
			m.SynchronizationStatus = SyncPendingResync
		default:
			m.SynchronizationStatus = SyncConnected
		}
		v.Members = append(v.Members, m)
	}
	return v
}

// Clusters lists the clusters of a Region as they stand, those of the topology first.
func (a *Aurora) Clusters(region string) []Cluster {
	a.mu.Lock()
	defer a.mu.Unlock()
	var views []Cluster
	for _, c := range a.allClusters() {
		if c.spec.Region == region {
			views = append(views, c.view())
		}
	}
	return views
}

func (c *cluster) view() Cluster {
	v := Cluster{
		Region: c.spec.Region, Identifier: c.spec.Identifier, ARN: c.spec.ARN, GlobalClusterIdentifier: c.spec.GlobalClusterIdentifier,
		Status: c.status(), Engine: c.spec.Engine, EngineVersion: c.spec.EngineVersion, Endpoint: c.spec.Endpoint,
		ReaderEndpoint: c.spec.ReaderEndpoint, Port: c.spec.Port, DatabaseName: c.spec.DatabaseName,
		MasterUsername: c.spec.MasterUsername, ParameterGroup: c.spec.ParameterGroup, BackupRetentionDays: c.spec.BackupRetentionDays,
		StorageEncrypted: c.spec.StorageEncrypted, DeletionProtection: c.spec.DeletionProtection, Role: c.role, IgnoredParameters: slices.Clone(c.ignored),
	}
	if w := c.source(); w != nil {
		v.ReplicationSourceARN = w.spec.ARN
	}
	for _, in := range c.instances {
		v.Members = append(v.Members, ClusterMember{
			InstanceIdentifier: in.spec.Identifier, IsWriter: in.writes(), PromotionTier: in.spec.PromotionTier,
		})
	}
	return v
}

// status is the cluster's status in AWS's words. The caller holds the lock.
func (c *cluster) status() string {
	switch {
	case !c.region.up:
		return StatusUnreachable
	case c.doing != "":
		return c.doing
	case c.rebuilding:
		return StatusResynchronizing
	case c.head != nil && !c.head.beginning && !c.head.deleting && !c.head.running():
		return StatusRebooting
	}
	return StatusAvailable
}

// Instances lists the instances of a Region as they stand, those of the topology first.
func (a *Aurora) Instances(region string) []Instance {
	a.mu.Lock()
	defer a.mu.Unlock()
	var views []Instance
	for _, c := range a.allClusters() {
		if c.spec.Region != region {
			continue
		}
		for _, in := range c.instances {
			views = append(views, in.view())
		}
	}
	return views
}

func (in *instance) view() Instance {
	v := Instance{
		Region: in.spec.Region, Identifier: in.spec.Identifier, ARN: in.spec.ARN, ClusterIdentifier: in.spec.ClusterIdentifier,
		Class: in.spec.Class, AvailabilityZone: in.spec.AvailabilityZone, PromotionTier: in.spec.PromotionTier,
		Status: in.status(), IsWriter: in.writes(), Address: in.host, Port: in.port, Volume: in.volume, LogFile: in.logFile,
	}
	if in.server != nil {
		v.Pid = in.server.Pid()
	}
	return v
}

// status is the instance's status in AWS's words. The caller holds the lock.
func (in *instance) status() string {
	switch {
	case !in.cluster.region.up:
		return StatusUnreachable
	case in.deleting:
		return StatusDeleting
	case in.server != nil && in.ready:
		return StatusAvailable
	case in.beginning || in.cluster.doing == StatusCreating || in.cluster.rebuilding:
		return StatusCreating
	}
	return StatusRebooting
}

// Snapshots lists the snapshots of a Region, oldest first.
func (a *Aurora) Snapshots(region string) []Snapshot {
	a.mu.Lock()
	defer a.mu.Unlock()
	var views []Snapshot
	for _, s := range a.snapshots {
		if s.Region == region {
			views = append(views, s)
		}
	}
	return views
}
