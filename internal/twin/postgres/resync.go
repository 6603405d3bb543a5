package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// reachLimit is how long the control plane tries to reach an old writer's Region at a failover before it takes it
	// for lost.
	reachLimit = 2 * time.Second
	// retryDelay is the pause after a resynchronization that failed.
	retryDelay = 500 * time.Millisecond
)

// careFor brings a stale cluster back as a secondary, in the background, for as long as that takes.
func (a *Aurora) careFor(c *cluster) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.resyncing {
		return
	}
	c.resyncing = a.spawnLocked(func() {
		defer a.set(func() { c.resyncing = false })
		// An old writer that can be reached is demoted at once. One that can't is fenced by nobody: it stays a zombie
		// until its Region has been back for the delay.
		first := a.epoch(c)
		atOnce := a.reaches(a.ctx, c, reachLimit)
		for a.ctx.Err() == nil {
			delay := a.opt.ResyncDelay
			if atOnce && a.epoch(c) == first {
				delay = 0
			}
			err := a.resync(c, delay)
			if err == nil {
				return
			}
			if a.ctx.Err() == nil {
				a.opt.Logger.Warn("cluster is not synchronized yet", slog.String("cluster", c.spec.Identifier), slog.Any("error", err))
			}
			select {
			case <-a.ctx.Done():
			case <-time.After(retryDelay):
			}
		}
	})
}

// reaches reports whether the global writer's Region reaches the cluster's within a limit, and the cluster's is alive.
func (a *Aurora) reaches(ctx context.Context, c *cluster, limit time.Duration) bool {
	a.mu.Lock()
	alive, epoch := c.region.up && !c.region.frozen, c.region.epoch
	writerRegion := c.global.writer.spec.Region
	a.mu.Unlock()
	if !alive || ctx.Err() != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(epoch, limit)
	defer cancel()
	return a.opt.Fabric.Traverse(ctx, writerRegion, c.spec.Region) == nil
}

// resync waits until the cluster's Region is there and has been for the delay, and rebuilds the cluster.
func (a *Aurora) resync(c *cluster, delay time.Duration) error {
	alive := func() bool { return c.region.up && !c.region.frozen && c.global.writer.region.up }
	if err := a.await(a.ctx, alive); err != nil {
		return err
	}
	epoch := a.epoch(c)
	if !a.reaches(epoch, c, startLimit) {
		return fmt.Errorf("the Region %s can't be reached from the primary's", c.spec.Region)
	}
	a.mu.Lock()
	zombie := c.role == RoleStale
	a.mu.Unlock()
	if zombie && delay > 0 {
		// The delay counts from when the old writer answers again.
		if err := a.await(epoch, func() bool { return c.head.running() && alive() }); err != nil {
			return err
		}
		select {
		case <-epoch.Done():
			return errRegionDown
		case <-time.After(delay):
		}
	}
	release, err := a.acquire(epoch, c)
	if err != nil {
		return err
	}
	defer release()
	return a.rebuild(epoch, c)
}

// rebuild gives a cluster a new volume, copied from the global writer. The caller holds the work token.
func (a *Aurora) rebuild(ctx context.Context, c *cluster) error {
	a.mu.Lock()
	w := c.global.writer
	stale := c.role == RoleStale
	refused := w == c || c.role == RoleWriter
	serving := w.role == RoleWriter && w.head.running()
	frozen, again := c.region.frozen, c.rebuilding
	a.mu.Unlock()
	switch {
	case refused:
		// The one volume that nobody has a copy of is the writer's: it is never rebuilt.
		return nil
	case !serving:
		return fmt.Errorf("the primary cluster %s is not available", w.spec.Identifier)
	case frozen:
		return errRegionFrozen
	}
	if !again {
		a.globalEvent(c, "0240", "Started resynchronizing members of", " after global failover.")
	}
	if err := a.clearOld(c, stale); err != nil {
		return fmt.Errorf("resynchronize cluster %s: %w", c.spec.Identifier, err)
	}
	if err := a.copyFrom(ctx, c, w); err != nil {
		return fmt.Errorf("resynchronize cluster %s: %w", c.spec.Identifier, errors.Join(err, a.dropVolumes(c)))
	}
	a.set(func() { c.rebuilding = false })
	a.globalEvent(c, "0241", "Finished resynchronizing members of", " after global failover.")
	return nil
}

// clearOld stops the cluster's servers. A stale cluster's volume becomes the snapshot; other volumes are removed.
func (a *Aurora) clearOld(c *cluster, stale bool) error {
	// Readers first: the head then has nobody to wait for.
	a.dropServers(c)
	if !stale {
		a.set(func() { c.rebuilding = true })
		return a.dropVolumes(c)
	}
	return a.takeSnapshot(c)
}

func (a *Aurora) dropServers(c *cluster) {
	for _, in := range c.instances {
		if in != c.head {
			if server := a.detach(in); server != nil {
				server.Kill()
			}
		}
	}
	// A head that does not end in order is killed; its volume then recovers at its next start.
	_ = a.stop(c.head)
}

// takeSnapshot puts the stale cluster's volume, with the tail that was never replicated, aside. The volume is moved, not
// copied, so that no full disk can keep it from being saved.
func (a *Aurora) takeSnapshot(c *cluster) error {
	now := time.Now().UTC()
	id := "rds:unplanned-global-failover-" + c.spec.Identifier + "-" + now.Format("2006-01-02-15-04-05")
	path := a.path("snapshots", strings.TrimPrefix(id, "rds:"))
	a.mu.Lock()
	volume := c.head.volume
	a.mu.Unlock()
	if err := os.Rename(volume, path); err != nil {
		return fmt.Errorf("keep the old volume: %w", err)
	}
	a.set(func() {
		c.head.volume = ""
		c.rebuilding = true
		c.role = RoleSecondary
		a.snapshots = append(a.snapshots, Snapshot{
			Region: c.spec.Region, Identifier: id, ClusterIdentifier: c.spec.Identifier, CreatedAt: now,
			Status: StatusAvailable, Path: path,
		})
	})
	a.emit(Event{
		Region: c.spec.Region, SourceType: "db-cluster-snapshot", Source: id, Code: "RDS-EVENT-0169", Categories: []string{"backup"},
		Message: "Automated cluster snapshot created.",
	})
	return a.dropVolumes(c)
}

// dropVolumes removes what is left of a cluster that is being rebuilt.
func (a *Aurora) dropVolumes(c *cluster) error {
	a.dropServers(c)
	var errs []error
	for _, in := range c.instances {
		a.mu.Lock()
		volume := in.volume
		in.volume = ""
		a.mu.Unlock()
		if volume != "" {
			errs = append(errs, os.RemoveAll(volume))
		}
	}
	return errors.Join(errs...)
}

// copyFrom makes the head's volume by a base backup over the link, the readers' by copies of that, and starts them.
func (a *Aurora) copyFrom(ctx context.Context, c, writer *cluster) error {
	link := c.links[writer.spec.Identifier]
	volume := a.newVolume(c.head)
	conninfo := a.replicationInfo(link.Addr().String(), int(link.Port()), c.spec.Identifier+"-copy")
	if err := a.backup(ctx, c.region, conninfo, volume); err != nil {
		return err
	}
	a.set(func() { c.head.volume = volume })
	var copies errgroup.Group
	for _, in := range c.instances {
		if in == c.head {
			continue
		}
		target := a.newVolume(in)
		a.set(func() { in.volume = target })
		copies.Go(func() error { return a.copyVolume(ctx, volume, target) })
	}
	if err := copies.Wait(); err != nil {
		return err
	}
	if err := a.bringHeld(ctx, c); err != nil {
		return err
	}
	return a.waitFollowing(ctx, c)
}
