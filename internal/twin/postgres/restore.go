package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/topology"
)

// maxRestored bounds the clusters that are restored at a time: each has a copy of a volume, and addresses are few.
const maxRestored = 4

// restored is a cluster that was made of a snapshot. It stands alone, in no global cluster, and is no part of the
// topology. Its two endpoints are one address: names would have to be known when a twin comes up.
type restored struct {
	*cluster
	volume string
	// slot numbers the address; the lowest free one is taken.
	slot int
}

// RestoreCluster makes a cluster of a snapshot (a name or an ARN) in the same Region. It has no instance, as on AWS, until
// [Aurora.CreateInstance]. It returns at once, with the cluster in status "creating"; the copy is made in the background.
func (a *Aurora) RestoreCluster(region, identifier, snapshot string) (Cluster, error) {
	identifier, err := checkIdentifier(identifier)
	if err != nil {
		return Cluster{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	found, spec, err := a.restorable(region, identifier, snapshot)
	if err != nil {
		return Cluster{}, err
	}
	r := &restored{
		cluster: &cluster{region: a.regions[region], role: RoleWriter, doing: StatusCreating, work: make(chan struct{}, 1)},
		volume:  a.path("restored", identifier+"-"+strconv.FormatInt(time.Now().UnixNano(), 36)),
	}
	for slices.ContainsFunc(a.restored, func(other *restored) bool { return other.slot == r.slot }) {
		r.slot++
	}
	address := a.restoreAddress(region, r.slot).String()
	r.spec = topology.DBCluster{
		Region: region, Identifier: identifier, ARN: siblingARN(spec.ARN, spec.Identifier, identifier),
		Engine: spec.Engine, EngineVersion: spec.EngineVersion, Endpoint: address, ReaderEndpoint: address, Port: spec.Port,
		DatabaseName: spec.DatabaseName, MasterUsername: spec.MasterUsername, BackupRetentionDays: spec.BackupRetentionDays,
		StorageEncrypted: spec.StorageEncrypted, SecurityGroupIDs: spec.SecurityGroupIDs, SubnetIDs: spec.SubnetIDs,
	}
	for _, c := range a.clusters {
		if c.spec.ARN == spec.ARN {
			r.parameters = c.parameters
		}
	}
	epoch := r.region.epoch
	if !a.spawnLocked(func() { a.copySnapshot(epoch, r, found.Path) }) {
		return Cluster{}, errStopped
	}
	a.restored = append(a.restored, r)
	return r.view(), nil
}

// identifierForm is what RDS takes as a new identifier; it becomes part of file names here.
var identifierForm = regexp.MustCompile(`^[a-z](-?[a-z0-9]){0,62}$`)

// checkIdentifier returns a new identifier as RDS keeps it, in small letters.
func checkIdentifier(identifier string) (string, error) {
	small := strings.ToLower(identifier)
	if len(small) > 63 || !identifierForm.MatchString(small) {
		return "", refuse(CodeInvalidParameter, "The parameter %s is not a valid identifier. Identifiers must begin with a letter; must contain "+
			"only ASCII letters, digits, and hyphens; and must not end with a hyphen or contain two consecutive hyphens.", identifier)
	}
	return small, nil
}

// siblingARN is an ARN with another identifier at its end.
func siblingARN(arn, identifier, other string) string {
	return strings.TrimSuffix(arn, identifier) + other
}

func (a *Aurora) restoreAddress(region string, slot int) netip.Addr {
	return a.opt.Fabric.Allocate(region, "restored:"+strconv.Itoa(slot))
}

// RestoreAddresses are the addresses that restored clusters of a Region get.
func (a *Aurora) RestoreAddresses(region string) []netip.Addr {
	addresses := make([]netip.Addr, maxRestored)
	for slot := range addresses {
		addresses[slot] = a.restoreAddress(region, slot)
	}
	return addresses
}

// restorable finds the snapshot, and the cluster that it was taken of. The caller holds the lock.
func (a *Aurora) restorable(region, identifier, snapshot string) (Snapshot, topology.DBCluster, error) {
	none := func(err error) (Snapshot, topology.DBCluster, error) { return Snapshot{}, topology.DBCluster{}, err }
	for _, c := range a.clusters {
		if c.spec.Region == region && strings.EqualFold(c.spec.Identifier, identifier) {
			return none(refuse(CodeDBClusterExists, "DB Cluster already exists"))
		}
	}
	if a.restoredCluster(region, identifier) != nil {
		return none(refuse(CodeDBClusterExists, "DB Cluster already exists"))
	}
	if len(a.restored) >= maxRestored {
		return none(refuse(CodeDBClusterQuota, "The twin keeps at most %d restored clusters: delete one", maxRestored))
	}
	for _, s := range a.snapshots {
		if s.Region != region || s.Status != StatusAvailable || s.Identifier != snapshot && !strings.HasSuffix(snapshot, ":cluster-snapshot:"+s.Identifier) {
			continue
		}
		for _, c := range a.clusters {
			if c.spec.Region == region && c.spec.Identifier == s.ClusterIdentifier {
				return s, c.spec, nil
			}
		}
	}
	return none(refuse(CodeSnapshotNotFound, "DBClusterSnapshot %s not found.", snapshot))
}

// restoredCluster finds a restored cluster by identifier or ARN, nil if there is none. The caller holds the lock.
func (a *Aurora) restoredCluster(region, identifier string) *restored {
	for _, r := range a.restored {
		if r.spec.Region == region && (strings.EqualFold(r.spec.Identifier, identifier) || r.spec.ARN == identifier) {
			return r
		}
	}
	return nil
}

// copySnapshot gives a restored cluster its volume. The snapshot stays as it is.
func (a *Aurora) copySnapshot(ctx context.Context, r *restored, from string) {
	err := a.opt.Installation.MakeDir(filepath.Dir(r.volume))
	if err == nil {
		err = a.copyVolume(ctx, from, r.volume)
	}
	if err != nil {
		a.opt.Logger.Warn("snapshot is not restored", slog.String("cluster", r.spec.Identifier), slog.Any("error", err))
		_ = os.RemoveAll(r.volume) // the folder goes with the twin otherwise
		a.set(func() { r.doing = StatusRestoreFailed })
		return
	}
	a.set(func() { r.doing = "" })
	a.clusterEvent(r.cluster, "0170", "creation", "DB cluster created.")
}

// CreateInstance starts a server in a restored cluster. It returns at once, with the instance in status "creating".
func (a *Aurora) CreateInstance(region, clusterIdentifier, identifier, class string) (Instance, error) {
	identifier, err := checkIdentifier(identifier)
	if err != nil {
		return Instance{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.restoredCluster(region, clusterIdentifier)
	if r == nil {
		for _, c := range a.clusters {
			if c.spec.Region == region && strings.EqualFold(c.spec.Identifier, clusterIdentifier) {
				return Instance{}, refuse(CodeInvalidDBClusterState, "The twin makes instances in restored clusters only; those of %s come from the Terraform",
					clusterIdentifier)
			}
		}
		return Instance{}, refuse(CodeDBClusterNotFound, "DBCluster %s not found.", clusterIdentifier)
	}
	switch {
	case a.instance(identifier) != nil:
		return Instance{}, refuse(CodeDBInstanceExists, "DB instance already exists")
	case r.doing != "":
		return Instance{}, refuse(CodeInvalidDBClusterState, "DB cluster %s is %s", r.spec.Identifier, r.doing)
	case r.head != nil:
		return Instance{}, refuse(CodeInvalidDBClusterState, "The twin runs one instance in a restored cluster, and %s has one", r.spec.Identifier)
	}
	in := &instance{
		spec: topology.DBInstance{
			Region: region, Identifier: identifier, ClusterIdentifier: r.spec.Identifier, Class: class,
			ARN: strings.Replace(siblingARN(r.spec.ARN, r.spec.Identifier, identifier), ":cluster:", ":db:", 1),
		},
		cluster: r.cluster, host: r.spec.Endpoint, port: a.opt.Fabric.Port(r.spec.Port), volume: r.volume,
		logFile: filepath.Join(a.opt.Dir, "log", identifier+".log"), beginning: true,
	}
	epoch := r.region.epoch
	if !a.spawnLocked(func() { a.beginInstance(epoch, in) }) {
		return Instance{}, errStopped
	}
	r.instances, r.head = []*instance{in}, in
	a.broadcast()
	return in.view(), nil
}

// beginInstance starts a restored cluster's server for the first time; heal cares for it from then on.
func (a *Aurora) beginInstance(ctx context.Context, in *instance) {
	release, err := a.acquire(ctx, in.cluster)
	if err == nil {
		err = a.start(ctx, in)
		release()
	}
	a.set(func() { in.beginning = false })
	switch {
	case err == nil:
		a.instanceEvent(in, "0005", "creation", "DB instance created")
	case a.ctx.Err() == nil:
		a.opt.Logger.Warn("instance does not start", slog.String("instance", in.spec.Identifier), slog.Any("error", err))
		a.heal(in)
	}
}

// DeleteInstance ends a restored cluster's server; the cluster keeps its volume.
func (a *Aurora) DeleteInstance(region, identifier string) (Instance, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	in := a.instance(identifier)
	if in == nil || in.spec.Region != region {
		return Instance{}, refuse(CodeDBInstanceNotFound, "DBInstance %s not found.", identifier)
	}
	r := a.restoredCluster(region, in.spec.ClusterIdentifier)
	switch {
	case r == nil:
		return Instance{}, refuse(CodeInvalidDBInstanceState, "The twin deletes instances of restored clusters only; %s comes from the Terraform", identifier)
	case in.deleting || in.beginning:
		return Instance{}, refuse(CodeInvalidDBInstanceState, "Instance %s is currently %s.", identifier, in.status())
	}
	in.deleting, in.volume = true, ""
	server := a.detachLocked(in)
	view := in.view()
	a.spawnLocked(func() {
		if server != nil {
			server.Kill()
		}
		a.set(func() { r.instances, r.head = nil, nil })
		a.instanceEvent(in, "0003", "deletion", "DB instance deleted")
	})
	return view, nil
}

// DeleteCluster removes a restored cluster, which must have no instance any more.
func (a *Aurora) DeleteCluster(region, identifier string) (Cluster, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.restoredCluster(region, identifier)
	if r == nil {
		for _, c := range a.clusters {
			if c.spec.Region == region && (strings.EqualFold(c.spec.Identifier, identifier) || c.spec.ARN == identifier) {
				return Cluster{}, refuse(CodeInvalidDBClusterState, "This cluster is a part of a global cluster, please remove it from globalcluster first")
			}
		}
		return Cluster{}, refuse(CodeDBClusterNotFound, "DBCluster %s not found.", identifier)
	}
	switch {
	case len(r.instances) > 0:
		return Cluster{}, refuse(CodeInvalidDBClusterState, "Cluster cannot be deleted, it still contains DB instances in non-deleting state.")
	case r.doing != "" && r.doing != StatusRestoreFailed:
		return Cluster{}, refuse(CodeInvalidDBClusterState, "DB cluster %s is %s", r.spec.Identifier, r.doing)
	}
	r.doing = StatusDeleting
	view := r.view()
	a.spawnLocked(func() {
		if err := os.RemoveAll(r.volume); err != nil {
			a.opt.Logger.Warn("volume is not removed", slog.String("cluster", r.spec.Identifier), slog.Any("error", err))
		}
		a.set(func() {
			a.restored = slices.DeleteFunc(a.restored, func(other *restored) bool { return other == r })
		})
		a.clusterEvent(r.cluster, "0171", "deletion", "DB cluster deleted.")
	})
	return view, nil
}

// allClusters are those of the topology and the restored ones. The caller holds the lock.
func (a *Aurora) allClusters() []*cluster {
	all := slices.Clone(a.clusters)
	for _, r := range a.restored {
		all = append(all, r.cluster)
	}
	return all
}

// returnRestored starts what ran in restored clusters before their Region was lost. A copy that was under way is lost.
func (a *Aurora) returnRestored(ctx context.Context, region *region) error {
	a.mu.Lock()
	var back []*cluster
	for _, r := range a.restored {
		if r.region == region && r.head != nil && !r.head.deleting {
			back = append(back, r.cluster)
		}
	}
	a.mu.Unlock()
	var errs []error
	for _, c := range back {
		if err := a.comeBack(ctx, c); err != nil {
			errs = append(errs, fmt.Errorf("restored cluster %s: %w", c.spec.Identifier, err))
		}
	}
	return errors.Join(errs...)
}
