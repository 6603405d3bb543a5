package postgres

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// beatInterval is how often the writer is given something to replicate for the measurement of the lag.
	beatInterval = 500 * time.Millisecond
	// lagPoll is how exactly the lag is measured.
	lagPoll = 10 * time.Millisecond
	// beatLimit bounds one question of the measurement; a server that takes longer counts as silent.
	beatLimit = 2 * time.Second
	// tendInterval is how often the standbys are looked after, brokenAfter how many times in a row one must be found
	// broken before it is rebuilt.
	tendInterval = time.Second
	brokenAfter  = 3
)

// ReplicationLagMilliseconds is AuroraGlobalDBReplicationLag: how far, in milliseconds, a secondary cluster of the
// Region is behind its writer. Like AWS it has data only in secondary Regions. A beat is written to the writer's WAL twice a
// second and its arrival in the standby's replay is watched; a beat that does not arrive, or a writer that gives none,
// makes the lag grow with the clock.
func (a *Aurora) ReplicationLagMilliseconds(region string) (milliseconds float64, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.clusters {
		if c.spec.Region == region && c.measurable() {
			milliseconds, ok = a.lags[region]
			return milliseconds, ok
		}
	}
	return 0, false
}

// observe records a measurement, unless the cluster is no secondary any more.
func (a *Aurora) observe(c *cluster, behind time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.measurable() {
		a.lags[c.spec.Region] = float64(behind) / float64(time.Millisecond)
	}
}

// measurable reports whether the cluster is a secondary with data. The caller holds the lock.
func (c *cluster) measurable() bool {
	return c.source() != nil && c.region.up && !c.rebuilding
}

// probe is a connection to an instance's present server.
type probe struct {
	in   *instance
	conn *pgx.Conn
}

// query asks the instance, over the connection that is there if it is to the same instance.
func (p *probe) query(ctx context.Context, a *Aurora, in *instance, sql string, value any, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, beatLimit)
	defer cancel()
	if p.in != in || p.conn == nil || p.conn.IsClosed() {
		p.close()
		conn, err := a.connect(ctx, in)
		if err != nil {
			return err
		}
		p.in, p.conn = in, conn
	}
	if err := p.conn.QueryRow(ctx, sql, args...).Scan(value); err != nil {
		p.close()
		return err
	}
	return nil
}

func (p *probe) close() {
	if p.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_ = p.conn.Close(ctx)
		p.conn = nil
	}
}

// measure measures a cluster's lag for as long as the service runs.
func (a *Aurora) measure(c *cluster) {
	var writer, standby probe
	defer writer.close()
	defer standby.close()
	var lastArrived time.Time
	var lastSource *cluster
	for a.ctx.Err() == nil {
		var source *cluster
		var from, to *instance
		err := a.await(a.ctx, func() bool {
			if !c.measurable() {
				lastSource = nil
				return false
			}
			source, to = c.source(), c.head
			from = source.head
			return true
		})
		if err != nil {
			return
		}
		begun := time.Now()
		if source != lastSource {
			lastSource, lastArrived = source, begun
			a.set(func() { delete(a.lags, c.spec.Region) })
		}
		if a.beat(c, from, to, &writer, &standby) {
			lastArrived = begun
		} else {
			a.observe(c, time.Since(lastArrived))
		}
		select {
		case <-a.ctx.Done():
		case <-time.After(time.Until(begun.Add(beatInterval))):
		}
	}
}

// beat writes one beat and watches for its arrival, for one interval at most when it is late: the next one then tells
// as well. It reports whether it arrived.
func (a *Aurora) beat(c *cluster, from, to *instance, writer, standby *probe) bool {
	var position string
	// The beat is a record of no table: nothing that an application or the fence watches changes.
	if err := writer.query(a.ctx, a, from, "select pg_logical_emit_message(true, 'twin', '')::text", &position); err != nil {
		return false
	}
	begun := time.Now()
	for {
		var arrived bool
		err := standby.query(a.ctx, a, to, "select coalesce(pg_last_wal_replay_lsn() >= $1::pg_lsn, false)", &arrived, position)
		behind := time.Since(begun)
		if err == nil && arrived {
			a.observe(c, behind)
			return true
		}
		if err != nil || behind > 4*beatInterval {
			return false
		}
		select {
		case <-a.ctx.Done():
			return false
		case <-time.After(lagPoll):
		}
	}
}

// hopeless are what a standby logs when it can never follow again by streaming.
var hopeless = []string{
	"has already been removed", "is behind recovery timeline", "is ahead of the WAL flush position of this server",
	"is not in this server's history", "before current recovery point", "is not a child of",
}

// tend looks after a cluster's standbys: one that can never catch up by streaming, because the WAL that it needs is
// gone or was overtaken by another history, is rebuilt, as Aurora repairs a replica.
func (a *Aurora) tend(c *cluster) {
	broken := map[*instance]int{}
	tick := time.NewTicker(tendInterval)
	defer tick.Stop()
	for {
		select {
		case <-a.ctx.Done():
			return
		case <-tick.C:
		}
		for _, in := range c.instances {
			if !a.isBroken(in) {
				broken[in] = 0
				continue
			}
			if broken[in]++; broken[in] >= brokenAfter {
				broken[in] = 0
				if err := a.repair(in); err != nil && a.ctx.Err() == nil {
					a.opt.Logger.Warn("replica is not repaired", slog.String("instance", in.spec.Identifier), slog.Any("error", err))
				}
			}
		}
	}
}

// isBroken reports whether a standby runs, does not stream, and has said that it never will.
func (a *Aurora) isBroken(in *instance) bool {
	a.mu.Lock()
	c := in.cluster
	standby := in.running() && !in.writes() && !c.rebuilding && !c.region.frozen && c.doing == ""
	server := in.server
	a.mu.Unlock()
	if !standby || !saysHopeless(in.logFile, server.LogStart()) {
		return false
	}
	streams, err := ask[bool](a.ctx, a, in, "select exists (select from pg_stat_wal_receiver where status = 'streaming')")
	return err == nil && !streams
}

// saysHopeless reads the end of a log, not before offset.
func saysHopeless(path string, offset int64) bool {
	const window = 4096
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil {
		offset = max(offset, info.Size()-window)
	}
	data := make([]byte, window)
	n, err := f.ReadAt(data, offset)
	if err != nil && err != io.EOF {
		return false
	}
	for _, text := range hopeless {
		if strings.Contains(string(data[:n]), text) {
			return true
		}
	}
	return false
}

// repair rebuilds a broken standby: a reader from its head, a head with its whole cluster from the global writer.
func (a *Aurora) repair(in *instance) error {
	c := in.cluster
	ctx, cancel := context.WithTimeout(a.epoch(c), backupLimit)
	defer cancel()
	release, err := a.acquire(ctx, c)
	if err != nil {
		return err
	}
	defer release()
	a.mu.Lock()
	head, role := c.head, c.role
	a.mu.Unlock()
	if in == head {
		if role != RoleSecondary {
			return nil
		}
		err := a.rebuild(ctx, c)
		if err != nil {
			a.careFor(c)
		}
		return err
	}
	a.instanceEvent(in, "", "recovery", "DB instance %s can't follow by streaming and is rebuilt.", in.spec.Identifier)
	volume := a.newVolume(in)
	if err := a.backup(ctx, c.region, a.replicationInfo(head.host, head.port, in.spec.Identifier+"-copy"), volume); err != nil {
		return err
	}
	if server := a.detach(in); server != nil {
		server.Kill()
	}
	a.mu.Lock()
	old := in.volume
	in.volume = volume
	a.mu.Unlock()
	if err := a.start(ctx, in); err != nil {
		a.heal(in)
		return err
	}
	if err := os.RemoveAll(old); err != nil {
		return fmt.Errorf("remove the old volume of %s: %w", in.spec.Identifier, err)
	}
	return nil
}
