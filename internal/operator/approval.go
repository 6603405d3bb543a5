package operator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast/internal/term"
)

// withdrawnFor is how many renewal periods a beacon must be without an approval before that is gone: until then a warden may
// be about to write a beacon with the one that it read last.
const withdrawnFor = 3

// refuseNeedlessLoss refuses to give up what was not replicated for a term whose holder renews it: an approval stands for a
// while, and would cost data at the first pause of a live site.
func (o *Operator) refuseNeedlessLoss(ctx context.Context, to string) error {
	r, alive, err := o.watched(ctx)
	if err != nil || !alive || r.Holder == to {
		return err
	}
	return needlessLoss(r, to)
}

func needlessLoss(r term.Record, to string) error {
	return fmt.Errorf("%w: %s renews term %d, so nothing has to be lost: move it with 'holdfast switchover --to %s'; if it is sick and "+
		"waits for a decision, take 'holdfast approve --to %s', or 'holdfast failover --to %s' without --allow-data-loss", ErrRefused, r.Holder, r.Term, to, to, to)
}

// Withdraw takes back what [Operator.Failover] has approved for a site. It returns false if there was nothing.
func (o *Operator) Withdraw(ctx context.Context, site string) (bool, error) {
	if _, err := o.site(site); err != nil {
		return false, err
	}
	beacons, err := o.Beacons(ctx)
	if err != nil {
		return false, err
	}
	a := beacons[site].Approval
	if !stands(a) {
		return false, nil
	}
	return true, o.withdraw(ctx, site, *a)
}

// withdraw puts an approval that has expired in the place of one that stands, until none comes back.
func (o *Operator) withdraw(ctx context.Context, site string, a term.Approval) error {
	a.Expires = time.Unix(0, 0).UTC()
	r, err := o.Record(ctx)
	if err != nil {
		return err
	}
	if err := o.approve(ctx, site, a); err != nil {
		return fmt.Errorf("withdraw the approval of %s: %w", site, err)
	}
	for clean := time.Now(); time.Since(clean) < withdrawnFor*r.RenewEvery(); {
		if err := o.pause(ctx, min(pollEvery, r.RenewEvery()/2)); err != nil {
			return fmt.Errorf("withdraw the approval of %s: %w (it may stand; if a 'holdfast failover' or 'approve' still waits, end that "+
				"first: it puts its approval back)", site, err)
		}
		beacons, err := o.Beacons(ctx)
		if err == nil && stands(beacons[site].Approval) {
			err = o.approve(ctx, site, a)
			clean = time.Now()
		}
		if err != nil && !errors.Is(err, ErrEnvironment) {
			return fmt.Errorf("withdraw the approval of %s: %w", site, err)
		}
		if err != nil {
			clean = time.Now() // nothing was seen
		}
	}
	return nil
}

// stands: the approval is there and has not expired.
func stands(a *term.Approval) bool { return a != nil && time.Now().Before(a.Expires) }
