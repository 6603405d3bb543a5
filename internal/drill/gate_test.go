package drill

import (
	"testing"
	"time"

	"holdfast/internal/drill/verdict"
	"holdfast/internal/topology"
	"holdfast/internal/twin"
)

// The deployment's own thresholds of 60 s come after three checks by the balancer, 10 s apart.
func TestGateIsReadFromTheTopology(t *testing.T) {
	deployment, err := topology.Default()
	if err != nil {
		t.Fatal(err)
	}
	d := &drill{o: Options{Topology: &deployment, Speed: 10}}
	if got, want := d.gate(), 9*time.Second+gateSlack; got != want {
		t.Errorf("the gate needs %v at speed 10, want %v", got, want)
	}
}

// A fault that the gate can see stands for longer than the gate needs, and the phases say how long.
func TestHoldOutlastsTheGate(t *testing.T) {
	t.Parallel()
	f := newFakeTwin(t)
	o := fastOptions(t, f)
	o.Fault, o.Rate, o.hiccup = twin.ApplicationSlow, scenarioRate, time.Minute
	o.Topology = &topology.Topology{TargetGroups: []topology.TargetGroup{
		{HealthCheck: topology.TargetHealthCheck{Interval: time.Second, UnhealthyThreshold: 3}},
	}}
	v := rehearse(t, o)
	if v.Verdict != verdict.Pass {
		t.Fatalf("verdict %s: %v", v.Verdict, v.Failures)
	}
	want := (300*time.Millisecond + gateSlack).Seconds()
	for _, phase := range v.Phases {
		if phase.Name == string(Hold) && phase.Seconds < want {
			t.Errorf("the fault stood for %v s, want at least %v s", phase.Seconds, want)
		}
	}
}
