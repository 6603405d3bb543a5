package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"holdfast/internal/pgserver"
)

const (
	// acquireLimit bounds the wait for a restart or a rebuild that has a cluster's servers in hand.
	acquireLimit = 10 * time.Second
	// operationLimit bounds a switchover or failover as a whole.
	operationLimit = 60 * time.Second
	// promoteLimit bounds one promotion.
	promoteLimit = 15 * time.Second
	// promoteInterval is how often a promotion is asked for again: a standby that waits for its lost primary sleeps
	// over a request for as long as wal_retrieve_retry_interval.
	promoteInterval = 20 * time.Millisecond
)

// resolve finds the global cluster, and the target among its members: an ARN names it anywhere, a plain identifier in
// the Region that the request was sent to. The caller holds the lock.
func (a *Aurora) resolve(region, globalID, target string) (*global, *cluster, error) {
	var g *global
	for _, candidate := range a.globals {
		// Global cluster identifiers are not case-sensitive.
		if strings.EqualFold(candidate.spec.Identifier, globalID) {
			g = candidate
		}
	}
	if g == nil {
		return nil, nil, refuse(CodeGlobalClusterNotFound, "Global cluster %s not found", globalID)
	}
	isARN := strings.HasPrefix(target, "arn:")
	for _, c := range g.members {
		if isARN && c.spec.ARN == target || !isARN && c.spec.Region == region && strings.EqualFold(c.spec.Identifier, target) {
			return g, c, nil
		}
	}
	if isARN {
		return nil, nil, refuse(CodeDBClusterNotFound, "DBCluster %s is not a member of global cluster %s", target, globalID)
	}
	return nil, nil, refuse(CodeDBClusterNotFound, "DBCluster %s not found in %s (a cluster of another Region is named by its ARN)",
		target, region)
}

// eligible says why the target can't become the writer now. The caller holds the lock.
func (g *global) eligible(target *cluster) error {
	id := target.spec.Identifier
	switch {
	case g.operation != nil:
		return refuse(CodeInvalidGlobalClusterState, "Global cluster %s is %s", g.spec.Identifier, g.operation.Status)
	case target == g.writer:
		return refuse(CodeInvalidGlobalClusterState, "DB cluster %s is already the primary of global cluster %s", id, g.spec.Identifier)
	case !target.region.up:
		return refuse(CodeInvalidDBClusterState, "DB cluster %s can't be reached", id)
	case target.role == RoleStale || target.rebuilding:
		return refuse(CodeInvalidDBClusterState, "DB cluster %s is not synchronized with global cluster %s yet", id, g.spec.Identifier)
	case target.doing != "":
		return refuse(CodeInvalidDBClusterState, "DB cluster %s is %s", id, target.doing)
	case !target.head.running():
		return refuse(CodeInvalidDBClusterState, "DB cluster %s has no available DB instance", id)
	}
	return nil
}

// Settle waits until no switchover or failover of a global cluster is under way, and returns how the last one ended.
func (a *Aurora) Settle(ctx context.Context, globalID string) error {
	a.mu.Lock()
	var g *global
	for _, candidate := range a.globals {
		if strings.EqualFold(candidate.spec.Identifier, globalID) {
			g = candidate
		}
	}
	a.mu.Unlock()
	if g == nil {
		return refuse(CodeGlobalClusterNotFound, "Global cluster %s not found", globalID)
	}
	if err := a.await(ctx, func() bool { return g.operation == nil }); err != nil {
		return fmt.Errorf("wait for global cluster %s: %w", globalID, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return g.outcome
}

// promote makes a cluster's head leave recovery, and asks over the caller's connection whether it has. When it returns an
// error, the caller must settle whether the promotion happened (settlePromotion).
func (a *Aurora) promote(ctx context.Context, c *cluster, connection *probe) error {
	a.mu.Lock()
	in := c.head
	server := in.server
	a.mu.Unlock()
	if server == nil {
		return fmt.Errorf("promote instance %s: %w", in.spec.Identifier, errNotRunning)
	}
	ctx, cancel := context.WithTimeout(ctx, promoteLimit)
	defer cancel()
	asking, stopAsking := context.WithCancel(ctx)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		a.keepAsking(asking, server)
	}()
	defer func() {
		stopAsking()
		<-asked
		server.CancelPromotion()
	}()
	err := eventually(ctx, promoteInterval, func() error {
		select {
		case <-server.Exited():
			cancel()
			return errNotRunning
		default:
		}
		return a.waitWriter(ctx, in, connection)
	})
	if err != nil {
		return fmt.Errorf("promote instance %s: %w", in.spec.Identifier, err)
	}
	return nil
}

// keepAsking asks a standby for its promotion until ctx ends.
func (a *Aurora) keepAsking(ctx context.Context, server *pgserver.Server) {
	tick := time.NewTicker(promoteInterval)
	defer tick.Stop()
	for {
		_ = server.Promote() // a server that is gone is noticed by who waits for the promotion
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// waitWriter asks over one connection until the server is out of recovery.
func (a *Aurora) waitWriter(ctx context.Context, in *instance, connection *probe) error {
	for {
		var recovering bool
		if err := connection.query(ctx, a, in, "select pg_is_in_recovery()", &recovering); err != nil {
			return err
		}
		if !recovering {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// settlePromotion finds out what became of a promotion that failed: it kills the server, so that nothing can happen
// any more, and reads the answer from its volume.
func (a *Aurora) settlePromotion(c *cluster) (promoted bool, err error) {
	a.mu.Lock()
	in := c.head
	volume := in.volume
	server := a.detachLocked(in)
	a.mu.Unlock()
	if server != nil {
		server.CancelPromotion()
		server.Kill()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), promoteLimit)
	defer cancel()
	data, err := a.opt.Installation.ControlData(ctx, volume)
	if err != nil {
		return false, fmt.Errorf("find out whether instance %s was promoted: %w", in.spec.Identifier, err)
	}
	state := data["Database cluster state"]
	return state == "in production" || state == "shutting down" || state == "shut down" || state == "in crash recovery", nil
}

// becomeWriter writes the new roles down. The caller knows that the target's head is out of recovery.
func (a *Aurora) becomeWriter(g *global, to *cluster, old Role) {
	a.set(func() {
		g.writer.role = old
		g.writer = to
		to.role = RoleWriter
	})
	for _, c := range g.members {
		a.mu.Lock()
		follows := c.source() != nil && c.head.server != nil
		a.mu.Unlock()
		if follows {
			if err := a.repoint(c.head); err != nil {
				a.clusterEvent(c, "", "global failover", "DB cluster %s can't follow the new primary: %v", c.spec.Identifier, err)
			}
		}
	}
}

// finish ends an operation.
func (a *Aurora) finish(g *global, outcome error, clusters ...*cluster) {
	a.set(func() {
		g.operation, g.outcome = nil, outcome
		for _, c := range clusters {
			c.doing = ""
		}
	})
}
