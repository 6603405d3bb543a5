package warden

import (
	"context"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// Scaler sets how many tasks of the application run at least.
type Scaler interface {
	// Scale sets the floor of autoscaling, and starts tasks at once if there are fewer.
	Scale(ctx context.Context, tasks int) error
}

// runCapacity holds the application's capacity at what [failover.Capacity] says. It is apart from the loop, because no
// takeover waits for it: a control plane that is slow or down costs capacity, not the site.
func (w *Warden) runCapacity(ctx context.Context) {
	var last term.Instant
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.capacityNow:
		}
		now := w.boot()
		if w.scaler == nil || last != 0 && now.Sub(last) < w.renewEvery() {
			continue
		}
		if w.scale(ctx) {
			last = now
		}
	}
}

// scale sets the floor if it is not what it should be, and reports whether it tried to.
func (w *Warden) scale(ctx context.Context) (tried bool) {
	o := w.fresh()
	tasks, known := failover.Capacity(o)
	if !known || !o.App.Known || o.App.MaximumTasks == 0 || o.App.MinimumTasks == tasks {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, w.callLimit())
	defer cancel()
	err := w.scaler.Scale(ctx, tasks)
	result := "set"
	args := []any{"minimum", tasks, "was", o.App.MinimumTasks, "peer_wanted", o.PeerTasks}
	if err != nil {
		result = "failed"
		args = append(args, "error", err.Error())
	}
	w.metrics.capacity.WithLabelValues(result).Inc()
	if err != nil && w.journal.repeats("scale", err) {
		return true
	}
	w.journal.event("capacity", args...)
	return true
}
