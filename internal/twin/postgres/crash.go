package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"holdfast/internal/pgserver"
)

const (
	firstRestartDelay = 100 * time.Millisecond
	maxRestartDelay   = 5 * time.Second
)

// KillInstance is SIGKILL to one instance's server, as when its host dies. The service notices and restarts it; if it
// was the writer and its cluster has another instance, the writer moves there (see the package comment).
func (a *Aurora) KillInstance(identifier string) error {
	a.mu.Lock()
	in := a.instance(identifier)
	var server *pgserver.Server
	if in != nil {
		server = in.server
	}
	a.mu.Unlock()
	switch {
	case in == nil:
		return refuse(CodeDBInstanceNotFound, "DBInstance %s not found", identifier)
	case server == nil:
		return refuse(CodeInvalidDBInstanceState, "DBInstance %s is not running", identifier)
	}
	server.Kill()
	return nil
}

// instance finds an instance by identifier or ARN. The caller holds the lock.
func (a *Aurora) instance(identifier string) *instance {
	for _, c := range a.allClusters() {
		for _, in := range c.instances {
			if identifier == in.spec.Identifier || identifier == in.spec.ARN {
				return in
			}
		}
	}
	return nil
}

// watch waits for a server's end. An end that nobody asked for is a crash.
func (a *Aurora) watch(in *instance, server *pgserver.Server) {
	<-server.Exited()
	a.mu.Lock()
	crashed := in.server == server
	if crashed {
		a.detachLocked(in)
	}
	a.mu.Unlock()
	if crashed {
		server.Kill() // it has ended; this ends what is left of its children
		a.instanceEvent(in, "0004", "availability", "DB instance shutdown.")
		a.heal(in)
	}
}

// heal restarts an instance that should run and does not, until it runs or its Region is lost.
func (a *Aurora) heal(in *instance) {
	a.mu.Lock()
	defer a.mu.Unlock()
	epoch := in.cluster.region.epoch
	a.spawnLocked(func() {
		for delay := firstRestartDelay; ; delay = min(2*delay, maxRestartDelay) {
			err := a.await(epoch, in.mayHeal)
			if err == nil {
				err = a.healOnce(epoch, in)
			}
			if err == nil || epoch.Err() != nil {
				return
			}
			a.opt.Logger.Warn("instance does not start", slog.String("instance", in.spec.Identifier), slog.Any("error", err))
			select {
			case <-epoch.Done():
				return
			case <-time.After(delay):
			}
		}
	})
}

func (a *Aurora) healOnce(ctx context.Context, in *instance) error {
	c := in.cluster
	release, err := a.acquire(ctx, c)
	if err != nil {
		return err
	}
	defer release()
	a.mu.Lock()
	wanted := in.server == nil && in.volume != "" && !c.rebuilding && c.region.up
	successor := in.successor()
	a.mu.Unlock()
	switch {
	case !wanted:
		return nil
	case successor != nil:
		return a.moveWriter(ctx, in, successor)
	}
	if err := a.start(ctx, in); err != nil {
		return err
	}
	a.instanceEvent(in, "0006", "availability", "DB instance restarted.")
	return nil
}

// moveWriter is Aurora's failover inside a Region: the successor's server ends and starts again as the writer on the
// volume of the crashed one, which comes back on the successor's. The volume with every acknowledged commit stays the
// writer's, as on storage that the instances share.
func (a *Aurora) moveWriter(ctx context.Context, crashed, successor *instance) error {
	c := crashed.cluster
	a.set(func() {
		if c.doing == "" {
			c.doing = StatusFailingOver
		}
	})
	defer a.set(func() {
		if c.doing == StatusFailingOver {
			c.doing = ""
		}
	})
	a.clusterEvent(c, "0073", "failover", "Started cross AZ failover to DB instance: %s", successor.spec.Identifier)
	if server := a.detach(successor); server != nil {
		server.Kill()
	}
	a.set(func() {
		crashed.volume, successor.volume = successor.volume, crashed.volume
		c.head = successor
	})
	if err := a.start(ctx, successor); err != nil {
		a.heal(successor)
		a.clusterEvent(c, "0069", "failover", "Cluster failover failed, check the health of your cluster instances and try again.")
		return err
	}
	a.clusterEvent(c, "0071", "failover", "Completed failover to DB instance: %s", successor.spec.Identifier)
	for _, in := range c.instances {
		if in != crashed && in != successor {
			if err := a.repoint(in); err != nil {
				return err
			}
		}
	}
	if err := a.start(ctx, crashed); err != nil {
		return fmt.Errorf("bring the crashed writer back as a reader: %w", err)
	}
	a.instanceEvent(crashed, "0006", "availability", "DB instance restarted.")
	return nil
}
