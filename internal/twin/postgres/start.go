package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"holdfast/internal/pgserver"
	"holdfast/internal/topology"
)

// followLimit bounds the wait for a new standby to catch up.
const followLimit = 60 * time.Second

// databaseName is the cluster's database; RDS makes "postgres" when none is named.
func databaseName(spec topology.DBCluster) string {
	if spec.DatabaseName == "" {
		return "postgres"
	}
	return spec.DatabaseName
}

// Start brings every server up and returns when replication flows. What it started is stopped again if it fails.
func (a *Aurora) Start(ctx context.Context) error {
	if err := a.startAll(ctx); err != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startLimit)
		defer cancel()
		return errors.Join(fmt.Errorf("start the databases: %w", err), a.Stop(stopCtx))
	}
	return nil
}

func (a *Aurora) startAll(ctx context.Context) error {
	if err := a.prepareDir(); err != nil {
		return err
	}
	if err := a.openEndpoints(); err != nil {
		return err
	}
	if err := a.checkPorts(); err != nil {
		return err
	}
	if err := a.writeSecrets(); err != nil {
		return err
	}
	if err := a.makeVolumes(ctx); err != nil {
		return err
	}
	for _, c := range a.clusters {
		a.set(func() { c.doing = StatusCreating })
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for _, c := range a.clusters {
		group.Go(func() error { return a.bring(groupCtx, c) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, c := range a.clusters {
		if err := a.waitFollowing(ctx, c); err != nil {
			return err
		}
	}
	for _, c := range a.clusters {
		a.set(func() { c.doing = "" })
		a.clusterEvent(c, "0170", "creation", "DB cluster created.")
		a.spawn(func() { a.tend(c) })
		a.spawn(func() { a.measure(c) })
	}
	return nil
}

// checkPorts finds an address that another program listens on before anything is made for nothing.
func (a *Aurora) checkPorts() error {
	for _, c := range a.clusters {
		for _, in := range c.instances {
			l, err := net.Listen("tcp4", in.address())
			if err != nil {
				return fmt.Errorf("instance %s can't listen: %w (%s)", in.spec.Identifier, err, inUse)
			}
			if err := l.Close(); err != nil {
				return fmt.Errorf("instance %s: %w", in.spec.Identifier, err)
			}
		}
	}
	return nil
}

// makeVolumes makes one volume for each writer and copies it for whoever follows: a volume whose server does not run is
// a base backup of itself, so that every standby begins where its writer begins.
func (a *Aurora) makeVolumes(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)
	for _, c := range a.clusters {
		if c.role == RoleWriter {
			group.Go(func() error { return a.makeFamily(groupCtx, c) })
		}
	}
	return group.Wait()
}

// makeFamily makes the volumes of a writer, its readers and the clusters that follow it.
func (a *Aurora) makeFamily(ctx context.Context, writer *cluster) error {
	first := a.newVolume(writer.head)
	if err := a.opt.Installation.InitDB(ctx, first, adminUser, a.secrets.admin, "--wal-segsize=4"); err != nil {
		return err
	}
	a.set(func() { writer.head.volume = first })
	if err := a.writeAccess(first); err != nil {
		return err
	}
	if err := a.opt.Installation.Single(ctx, first, a.bootstrap(writer)); err != nil {
		return fmt.Errorf("set up cluster %s: %w", writer.spec.Identifier, err)
	}
	members := []*cluster{writer}
	if writer.global != nil {
		members = writer.global.members
	}
	var copies errgroup.Group
	copies.Go(func() error { return a.chooseParameters(ctx, first, members) })
	for _, c := range members {
		for _, in := range c.instances {
			if in == writer.head {
				continue
			}
			volume := a.newVolume(in)
			a.set(func() { in.volume = volume })
			copies.Go(func() error { return a.copyVolume(ctx, first, volume) })
		}
	}
	return copies.Wait()
}

// bring starts all of a cluster's servers that have a volume, at once, and waits until they answer.
func (a *Aurora) bring(ctx context.Context, c *cluster) error {
	release, err := a.acquire(ctx, c)
	if err != nil {
		return err
	}
	defer release()
	return a.bringHeld(ctx, c)
}

func (a *Aurora) bringHeld(ctx context.Context, c *cluster) error {
	var group errgroup.Group
	for _, in := range c.instances {
		group.Go(func() error {
			err := a.start(ctx, in)
			if err != nil {
				a.heal(in)
			}
			return err
		})
	}
	return group.Wait()
}

// bootstrap lists the statements that make the users and the database of a new writer, as RDS does when it creates a
// cluster. The master user is no superuser on RDS and none here.
func (a *Aurora) bootstrap(c *cluster) []string {
	master := pgx.Identifier{c.spec.MasterUsername}.Sanitize()
	statements := []string{
		"create role " + replicationUser + " login replication password " + literal(a.secrets.replication),
		"create role rds_superuser nologin createdb createrole",
		"grant pg_monitor, pg_signal_backend, pg_checkpoint to rds_superuser with admin option",
		"create role " + master + " login createdb createrole password " + literal(a.opt.Password),
		"grant rds_superuser, pg_monitor, pg_signal_backend, pg_checkpoint to " + master,
	}
	name := databaseName(c.spec)
	if name == "postgres" {
		return append(statements, "alter database postgres owner to "+master)
	}
	return append(statements, "create database "+pgx.Identifier{name}.Sanitize()+" owner "+master)
}

// literal quotes a string for SQL.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// waitFollowing waits until every standby of a cluster has replayed what the global writer has written by now.
func (a *Aurora) waitFollowing(ctx context.Context, c *cluster) error {
	ctx, cancel := context.WithTimeout(ctx, followLimit)
	defer cancel()
	a.mu.Lock()
	origin := c.head
	if w := c.source(); w != nil {
		origin = w.head
	}
	a.mu.Unlock()
	target, err := ask[string](ctx, a, origin, "select pg_current_wal_flush_lsn()::text")
	if err != nil {
		return fmt.Errorf("cluster %s does not follow: %w", c.spec.Identifier, err)
	}
	for _, in := range c.instances {
		if in == origin {
			continue
		}
		if err := a.waitReplayed(ctx, in, target); err != nil {
			return fmt.Errorf("cluster %s does not follow: %w", c.spec.Identifier, err)
		}
	}
	return nil
}

// waitReplayed waits until an instance streams and has replayed a position.
func (a *Aurora) waitReplayed(ctx context.Context, in *instance, position string) error {
	var connection probe
	defer connection.close()
	return a.waitReplayedOver(ctx, &connection, in, position)
}

// waitReplayedOver is waitReplayed over the caller's connection.
func (a *Aurora) waitReplayedOver(ctx context.Context, connection *probe, in *instance, position string) error {
	const question = "select coalesce(pg_last_wal_replay_lsn() >= $1::pg_lsn, false) and " +
		"exists (select from pg_stat_wal_receiver where status = 'streaming')"
	return eventually(ctx, poll, func() error {
		var there bool
		if err := connection.query(ctx, a, in, question, &there, position); err != nil {
			return err
		}
		if !there {
			return fmt.Errorf("instance %s has not replayed %s", in.spec.Identifier, position)
		}
		return nil
	})
}

// Stop kills every server and closes every relay. It leaves the files below Dir, the snapshots among them, to the caller.
func (a *Aurora) Stop(ctx context.Context) error {
	a.mu.Lock()
	a.stopping = true
	a.cancel()
	var servers []*pgserver.Server
	for _, c := range a.allClusters() {
		for _, in := range c.instances {
			if s := a.detachLocked(in); s != nil {
				servers = append(servers, s)
			}
		}
	}
	a.broadcast()
	a.mu.Unlock()

	var errs []error
	kill(servers)
	errs = append(errs, a.closeEndpoints(ctx))
	done := make(chan struct{})
	go func() {
		a.background.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		errs = append(errs, fmt.Errorf("stop the databases: jobs still run: %w", ctx.Err()))
	}
	return errors.Join(errs...)
}

// kill kills servers all at once.
func kill(servers []*pgserver.Server) {
	var group errgroup.Group
	for _, s := range servers {
		group.Go(func() error {
			s.Kill()
			return nil
		})
	}
	_ = group.Wait()
}
