package postgres

import (
	"context"
	"fmt"
)

const globalFailover = "global failover"

// Failover is failover-global-cluster: it makes the target the global writer without asking the old one, whatever
// state that is in, and loses what was not replicated. Without allowDataLoss it is a switchover, as on AWS.
//
// It validates, and returns when the promotion is under way; [Aurora.Settle] waits for its end. Errors are of type
// *[Error]. The end of ctx does not stop an operation that was accepted.
func (a *Aurora) Failover(ctx context.Context, region, globalID, target string, allowDataLoss bool) error {
	if !allowDataLoss {
		return a.Switchover(ctx, region, globalID, target)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("failover of %s: %w", globalID, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	g, to, err := a.resolve(region, globalID, target)
	if err != nil {
		return err
	}
	if err := g.eligible(to); err != nil {
		return err
	}
	from := g.writer
	if !a.spawnLocked(func() { a.failover(g, from, to) }) {
		return fmt.Errorf("failover of %s: %w", globalID, errStopped)
	}
	g.operation = &FailoverState{Status: StatusFailingOver, FromARN: from.spec.ARN, ToARN: to.spec.ARN, DataLossAllowed: true}
	to.doing = StatusPromoting
	a.broadcast()
	return nil
}

func (a *Aurora) failover(g *global, from, to *cluster) {
	a.globalEvent(to, "", "Global failover to", " started.")
	a.blockEvent(from, to, false) // nothing keeps the old writer from writing, see the package comment
	err := a.promoteTo(g, to)
	if err != nil {
		a.globalEvent(to, "0239", "Global failover to", " failed.")
	} else {
		a.endpointEvent(to)
		a.globalEvent(to, "0238", "Global failover to", " completed.")
	}
	// After its events, so that who has seen the operation end finds them.
	a.finish(g, err, to)
	if err == nil {
		a.careFor(from)
	}
}

// promoteTo promotes the target and writes the roles down. It touches nothing of the old writer.
func (a *Aurora) promoteTo(g *global, to *cluster) error {
	ctx, cancel := context.WithTimeout(a.epoch(to), operationLimit)
	defer cancel()
	release, err := a.acquire(ctx, to)
	if err != nil {
		return err
	}
	defer release()
	var connection probe
	defer connection.close()
	return a.promoteHeld(ctx, g, to, RoleStale, &connection)
}

// promoteHeld promotes the target's head and, once that is certain, writes the roles down, the old writer's as given.
// The caller holds the target's work token, and perhaps a connection to its head already.
func (a *Aurora) promoteHeld(ctx context.Context, g *global, to *cluster, old Role, connection *probe) error {
	err := a.promote(ctx, to, connection)
	if err != nil {
		promoted, unclear := a.settlePromotion(to)
		// Whatever comes next, the target's server was killed and must run again in the part that it now has.
		defer a.heal(to.head)
		if unclear != nil {
			return fmt.Errorf("%w (%w)", err, unclear)
		}
		if !promoted {
			return err
		}
	}
	a.becomeWriter(g, to, old)
	return nil
}

// epoch is the context that ends when the cluster's Region is lost.
func (a *Aurora) epoch(c *cluster) context.Context {
	a.mu.Lock()
	defer a.mu.Unlock()
	return c.region.epoch
}
