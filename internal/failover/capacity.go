package failover

import "holdfast/internal/term"

// Capacity says how many tasks of the application the site must have at least: the pilot light, and as many as the other
// site ran once the traffic is about to come, so that it is met by capacity and not by an autoscaling that begins to
// measure it. The term moves to this site when a request names it, when the holder lets go of the term, and, most
// likely, when the holder has been silent for half of what has to be watched out. It is given back CapacityFor after the
// move: by then autoscaling has measured this site's own load. known is false if nothing can be said now.
//
// It is a floor for autoscaling, not a count, so it never takes a task away that the load needs.
func Capacity(o Observation) (tasks int, known bool) {
	if unusable(o) != "" {
		return 0, false
	}
	r := o.Store.Record
	wanted := r.Wanted != nil && r.Wanted.Site == o.Site
	_, forbidden := modeGate(o, currentApproval(o), o.Site)
	silent := o.Watch.Stood() >= (r.Lease()+r.Margin())/2 && !(o.Settings.Mode == Manual && forbidden)
	coming := r.Holder == o.Peer && (wanted || r.State != term.Held || silent)
	arrived := r.Holder == o.Site && (r.ServedTerm < r.Term || o.WallClock.Sub(r.MovedAt) < o.Settings.CapacityFor)
	if !coming && !arrived {
		return o.Settings.PilotTasks, true
	}
	return min(max(o.Settings.PilotTasks, o.PeerBeacon.RunningTasks), max(o.App.MaximumTasks, o.Settings.PilotTasks)), true
}

// short says that a planned hand-over to this site would arrive before the capacity that is meant for it.
func short(o Observation) (have, want int, isShort bool) {
	r := o.Store.Record
	if r.Wanted == nil || r.Wanted.Site != o.Site || r.Holder != o.Peer {
		return 0, 0, false
	}
	want, known := Capacity(o)
	return o.App.HealthyTargets, want, known && o.App.HealthyTargets < want
}
