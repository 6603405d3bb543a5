package twin

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/topology"
	"holdfast/internal/twin/network"
)

func newFaultTwin(t *testing.T) *Twin {
	t.Helper()
	topo, err := topology.Default()
	if err != nil {
		t.Fatal(err)
	}
	regions := []string{topo.Sites[0].Region, topo.Sites[1].Region, topo.TermTable.WitnessRegion}
	fabric, err := network.New(network.Options{Regions: regions})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fabric.Close)
	return &Twin{topo: topo, fabric: fabric, store: newStoreNetwork(fabric)}
}

// Faults on the same link add up, and end in any order without leaving anything behind.
func TestLinkFaultsAddUpAndGoAway(t *testing.T) {
	tw := newFaultTwin(t)
	pair := tw.between()
	before := tw.fabric.Link(pair[0], pair[1])
	var undo []func(context.Context) error
	for _, f := range []Fault{{Name: LinkDelay, Delay: time.Second}, {Name: LinkPartition}, {Name: ReplicationSlow, Delay: 2 * time.Second}} {
		kind, _ := FaultKindOf(f.Name)
		end, err := kind.inject(t.Context(), tw, f)
		if err != nil {
			t.Fatal(err)
		}
		undo = append(undo, end)
	}
	all := tw.fabric.Link(pair[0], pair[1])
	if all.OneWayDelay != before.OneWayDelay+3*time.Second || !all.Partitioned {
		t.Errorf("with all faults the link is %+v", all)
	}
	for _, end := range []func(context.Context) error{undo[0], undo[2]} {
		if err := end(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if left := tw.fabric.Link(pair[0], pair[1]); left.OneWayDelay != before.OneWayDelay || !left.Partitioned {
		t.Errorf("with the partition alone the link is %+v", left)
	}
	if err := undo[1](t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := tw.fabric.Link(pair[0], pair[1]); after != before {
		t.Errorf("the link is %+v after all faults, was %+v", after, before)
	}
}

// An isolated site reaches nobody, and the others each other; its clients are cut off only if that was asked for.
func TestIsolation(t *testing.T) {
	for _, clients := range []bool{false, true} {
		tw := newFaultTwin(t)
		own, other, witness := tw.topo.Sites[0].Region, tw.topo.Sites[1].Region, tw.topo.TermTable.WitnessRegion
		end, err := injectIsolation(t.Context(), tw, Fault{Name: IsolatedActive, Site: tw.topo.Sites[0].Name, Clients: clients})
		if err != nil {
			t.Fatal(err)
		}
		if tw.fabric.Reachable(own, other) || tw.fabric.Reachable(witness, own) || !tw.fabric.Reachable(other, witness) {
			t.Error("the isolated site reaches another, or the others do not reach each other")
		}
		if tw.fabric.Reachable(network.Outside, own) == clients {
			t.Errorf("clients cut off: %v, but the outside reaches the site: %v", clients, !clients)
		}
		if err := end(t.Context()); err != nil || !tw.fabric.Reachable(own, other) || !tw.fabric.Reachable(network.Outside, own) {
			t.Errorf("after the isolation: %v", err)
		}
	}
}

// A replica of the store can be lost while its region is there, twice over, and what waits for it goes on afterwards.
func TestStoreReplicaIsLost(t *testing.T) {
	tw := newFaultTwin(t)
	a, b := tw.topo.TermTable.ReplicaRegions[0], tw.topo.TermTable.WitnessRegion
	synctest.Test(t, func(t *testing.T) {
		store := newStoreNetwork(tw.fabric)
		one, two := store.lose(b), store.lose(a, b)
		if store.Up(a) || store.Up(b) || !tw.fabric.Up(b) {
			t.Error("the replicas are up, or their region is down")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := store.OneWay(ctx, a, b); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("OneWay to a lost replica = %v", err)
		}
		arrived := make(chan error, 1)
		go func() { arrived <- store.OneWay(context.WithoutCancel(t.Context()), a, b) }()
		_ = two(t.Context())
		synctest.Wait()
		select {
		case err := <-arrived:
			t.Errorf("OneWay to a replica that one fault still holds = %v", err)
		default:
		}
		_ = one(t.Context())
		if err := <-arrived; err != nil || !store.Up(a) || !store.Up(b) {
			t.Errorf("OneWay after both faults = %v", err)
		}
	})
}

func TestFaultsAreChecked(t *testing.T) {
	tw := newFaultTwin(t)
	site := tw.topo.Sites[0].Name
	for _, c := range []struct {
		fault Fault
		want  string
	}{
		{Fault{Name: "meteor"}, `there is none called "meteor"`},
		{Fault{Name: LinkPartition, Delay: time.Second}, "it takes no delay; it takes its name"},
		{Fault{Name: LinkDelay, Delay: 2 * time.Minute}, "at most 1m0s"},
		{Fault{Name: LinkLoss, Loss: 1}, "below 1"},
		{Fault{Name: RegionLoss, Site: "moon"}, `no site is called "moon"`},
		{Fault{Name: StoreRegionLoss, Region: "moon"}, `no region "moon"`},
		{Fault{Name: ZoneLoss, Site: site, Zone: "us-east-1z"}, `no subnet in a zone "us-east-1z"`},
		{Fault{Name: ApplicationFailing, Site: site}, "http with an IP address"},
	} {
		if _, err := tw.Inject(t.Context(), c.fault); !errors.Is(err, ErrFault) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.fault, err, c.want)
		}
	}
	if _, err := tw.ClearFault(t.Context(), LinkDelay, ""); !errors.Is(err, ErrFault) {
		t.Errorf("clearing what is not there: %v", err)
	}
	if cleared, err := tw.ClearFault(t.Context(), "", ""); err != nil || len(cleared) != 0 {
		t.Errorf("clearing everything of nothing: %v, %v", cleared, err)
	}
}

// What meets a fault is counted from its injection on.
func TestFaultsCountWhatMeetsThem(t *testing.T) {
	for _, c := range []struct {
		fault    Fault
		from, to int // sites, or 2 for the store's witness
	}{
		{Fault{Name: LinkPartition}, 0, 1},
		{Fault{Name: LinkLoss, Loss: 0.99}, 1, 0},
		{Fault{Name: LinkDelay, Delay: time.Millisecond}, 0, 1},
		{Fault{Name: IsolatedActive}, 0, 2},
		{Fault{Name: IsolatedStandby}, 1, 0},
		{Fault{Name: StoreRegionLoss}, 0, 2},
		{Fault{Name: StoreLoss}, 1, 2},
	} {
		tw := newFaultTwin(t)
		regions := append(tw.fabric.Regions()[:2:2], tw.topo.TermTable.WitnessRegion)
		c.fault.Site, c.fault.Region = tw.topo.Sites[c.from%2].Name, regions[2]
		send := func() {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			_ = tw.store.OneWay(ctx, regions[c.from], regions[c.to]) // most never arrive
		}
		send()
		kind, _ := FaultKindOf(c.fault.Name)
		met := tw.counts(kind, c.fault)
		end, err := kind.inject(t.Context(), tw, c.fault)
		if err != nil {
			t.Fatal(err)
		}
		if n := met(); n != 0 {
			t.Errorf("%s was met %d times before anything was sent", c.fault.Name, n)
		}
		send()
		if met() == 0 {
			t.Errorf("%s was not met by what was sent into it", c.fault.Name)
		}
		if err := end(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A fault is there once, is cleared by its name or its target, and is listed in between.
func TestFaultsAreListedUntilTheyAreCleared(t *testing.T) {
	tw := newFaultTwin(t)
	for _, f := range []Fault{{Name: StoreRegionLoss}, {Name: StoreRegionLoss, Region: tw.topo.Sites[0].Region}, {Name: LinkLoss}} {
		done, err := tw.Inject(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Inject(t.Context(), done); err == nil {
			t.Errorf("%s could be injected twice", done)
		}
	}
	if active := tw.ActiveFaults(); len(active) != 3 || active[0].Region != tw.topo.TermTable.WitnessRegion || active[2].Loss != defaultLinkLoss {
		t.Errorf("active %+v", active)
	}
	if cleared, err := tw.ClearFault(t.Context(), StoreRegionLoss, tw.topo.Sites[0].Region); err != nil || len(cleared) != 1 {
		t.Errorf("cleared %v, %v", cleared, err)
	}
	if tw.store.Up(tw.topo.TermTable.WitnessRegion) || !tw.store.Up(tw.topo.Sites[0].Region) {
		t.Error("the wrong replica came back")
	}
	if cleared, err := tw.ClearFault(t.Context(), "", ""); err != nil || len(cleared) != 2 || len(tw.ActiveFaults()) != 0 {
		t.Errorf("cleared %v, %v; left %v", cleared, err, tw.ActiveFaults())
	}
}
