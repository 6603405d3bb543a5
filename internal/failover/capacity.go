package failover

import "holdfast/internal/term"

// Capacity says how many tasks of the application the site must have at least: the pilot light, and as many as the other
// site wanted while it served once the traffic is about to come, so that it is met by capacity and not by an autoscaling
// that begins to measure it. What ran there in the end says little, for it may be nothing: that is why the term moves. It
// moves to this site when a request names it, when the holder lets go of the term, and, most likely, when the holder has
// been silent for half of what has to be watched out. The capacity is given back CapacityFor after the move: by then
// autoscaling has measured this site's own load. known is false if nothing can be said now, or nothing is to be changed:
// a site without a pilot light is raised for a move, and never lowered.
//
// It is a floor for autoscaling, not a count, so it never takes a task away that the load needs.
func Capacity(o Observation) (tasks int, known bool) {
	load := expectsLoad(&o)
	if unusable(&o) != "" || !load && !o.Settings.PilotSet {
		return 0, false
	}
	r, floor := &o.Store.Record, 0
	if o.Settings.PilotSet {
		floor = o.Settings.PilotTasks
	}
	if r.Holder == o.Site {
		floor = max(floor, 1) // a standby may do without any task, a site that shall take payments may not
	}
	if !load {
		return floor, true
	}
	floor = min(max(floor, o.PeerTasks), max(floor, o.App.MaximumTasks))
	if !o.Settings.PilotSet {
		floor = max(floor, o.App.MinimumTasks)
	}
	return floor, true
}

// expectsLoad: the load of the other site is about to come, or has come just now.
func expectsLoad(o *Observation) bool {
	r := &o.Store.Record
	if r.Holder == o.Site {
		return r.ServedTerm < r.Term || o.WallClock.Sub(r.MovedAt) < o.Settings.CapacityFor
	}
	wanted := r.Wanted != nil && r.Wanted.Site == o.Site
	_, forbidden := modeGate(o, currentApproval(o), o.Site)
	silent := o.Watch.Stood() >= (r.Lease()+r.Margin())/2 && !(o.Settings.Mode == Manual && forbidden)
	return r.Holder == o.Peer && (wanted || r.State != term.Held || silent)
}

// short says that a planned hand-over to this site would arrive before the capacity that is meant for it.
func short(o *Observation) (have, want int, isShort bool) {
	r := &o.Store.Record
	if r.Wanted == nil || r.Wanted.Site != o.Site || r.Holder != o.Peer {
		return 0, 0, false
	}
	want, known := Capacity(*o)
	return o.App.HealthyTargets, want, known && o.App.HealthyTargets < want
}
