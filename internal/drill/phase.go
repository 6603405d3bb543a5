package drill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdfast/internal/drill/verdict"
)

// Phase is one part of a drill.
type Phase string

// The phases. Which of them a drill has, and in which order, is a matter of its scenario.
const (
	Boot       Phase = "boot"
	WarmUp     Phase = "warm-up"
	Fault      Phase = "fault"
	Takeover   Phase = "takeover"
	RunOn      Phase = "run-on"
	Return     Phase = "return"
	Rejoin     Phase = "rejoin"
	SwitchBack Phase = "switch-back"
	// Hold lets a fault stand, Clear ends it, Resume waits for payments to go on, Settled looks whether all is as expected.
	Hold       Phase = "hold"
	Clear      Phase = "clear"
	Resume     Phase = "resume"
	Settled    Phase = "settled"
	SwitchOver Phase = "switch-over"
	Drain      Phase = "drain"
	Count      Phase = "count"
	Down       Phase = "down"
)

// stuckAfter is how long a phase may go on after its limit, when its context has ended. A call that takes no notice of
// that must not keep the drill from its verdict.
const stuckAfter = 15 * time.Second

// errStuck: a phase did not end, and was left behind.
var errStuck = errors.New("it does not end, and is left behind; what it holds may not be taken down")

// enter runs one phase under its limit. Its error says which phase failed, and why.
func (d *drill) enter(ctx context.Context, phase Phase, limit time.Duration, body func(context.Context) error) error {
	d.setPhase(phase)
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := d.within(ctx, body)
	d.verdict.Phases = append(d.verdict.Phases, verdict.Phase{
		Name: string(phase), AtSeconds: d.timeline.since(began),
		Seconds: round(time.Since(began).Seconds()), LimitSeconds: round(limit.Seconds()),
	})
	if err == nil {
		return nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("phase %s took longer than its limit of %s: %w", phase, limit.Round(time.Millisecond), err)
	}
	return fmt.Errorf("phase %s: %w", phase, err)
}

// within runs a body until it ends, or until its context has been over for longer than a body may take to notice.
func (d *drill) within(ctx context.Context, body func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- body(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	grace := time.NewTimer(d.o.stuckAfter)
	defer grace.Stop()
	select {
	case err := <-done:
		return err
	case <-grace.C:
		return errStuck
	}
}

func (d *drill) setPhase(phase Phase) {
	d.mu.Lock()
	d.phase = phase
	d.mu.Unlock()
	d.event("phase", "", "phase "+string(phase))
}

func (d *drill) currentPhase() Phase {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.phase
}

// pollEvery is how often a condition is looked at.
const pollEvery = 25 * time.Millisecond

// poll waits until the condition holds. The error of a wait that ended says what was still missing. check gets a
// context of its own, so that a call that hangs does not keep the phase from ending.
func poll(ctx context.Context, every time.Duration, check func(context.Context) (done bool, missing string, err error)) error {
	missing, last := "nothing was seen yet", error(nil)
	for {
		done, why, err := checkOnce(ctx, check)
		switch {
		case done:
			return nil
		case ctx.Err() == nil:
			missing, last = why, err
		}
		timer := time.NewTimer(every)
		select {
		case <-ctx.Done():
			timer.Stop()
			if last != nil {
				return fmt.Errorf("%w (%s: %w)", ctx.Err(), missing, last)
			}
			return fmt.Errorf("%w (%s)", ctx.Err(), missing)
		case <-timer.C:
		}
	}
}

// checkLimit bounds one look at a condition. A lost region's endpoints do not answer at all, so a look at the term
// record may have to give up on one replica before it asks the other.
const checkLimit = 20 * time.Second

func checkOnce(ctx context.Context, check func(context.Context) (bool, string, error)) (bool, string, error) {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	return check(ctx)
}

// rest waits for d, or fails when ctx ends first.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
