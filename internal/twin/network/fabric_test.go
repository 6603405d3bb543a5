package network

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newFabric(t *testing.T) *Fabric {
	t.Helper()
	f, err := New(Options{Regions: []string{"us-east-1", "us-west-2", "us-east-2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func TestTwoFabricsSideBySide(t *testing.T) {
	a, b := newFabric(t), newFabric(t)
	if a.Block() == b.Block() {
		t.Fatalf("both fabrics have block %d", a.Block())
	}
	_, err := New(Options{Block: a.Block()})
	if !errors.Is(err, ErrBlockInUse) {
		t.Fatalf("an explicit block in use: got %v", err)
	}
	if strings.Count(err.Error(), "\n") > 0 || !strings.Contains(err.Error(), "another twin") {
		t.Errorf("not one clear sentence: %q", err)
	}
	block := a.Block()
	a.Close()
	again, err := New(Options{Block: block})
	if err != nil {
		t.Fatalf("a block that was given back: %v", err)
	}
	again.Close()
}

func TestBadOptions(t *testing.T) {
	for name, opts := range map[string]Options{
		"block too low":  {Block: 1},
		"block too high": {Block: 255},
		"region twice":   {Regions: []string{"a", "a"}},
		"empty region":   {Regions: []string{""}},
	} {
		if f, err := New(opts); err == nil {
			f.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestAllocate(t *testing.T) {
	f := newFabric(t)
	first := f.Allocate("us-west-2", "db")
	if got := first.As4(); got[0] != 127 || int(got[1]) != f.Block() || got[2] != 2 {
		t.Errorf("address in the second region is %s", first)
	}
	if again := f.Allocate("us-west-2", "db"); again != first {
		t.Errorf("not stable: %s, then %s", first, again)
	}
	if region, ok := f.RegionOf(first); !ok || region != "us-west-2" {
		t.Errorf("RegionOf(%s) = %q, %t", first, region, ok)
	}
	if outside := f.Allocate(Outside, "dns"); outside == f.Allocate("us-east-1", "db") || outside.As4()[2] != 0 {
		t.Errorf("address outside is %s", outside)
	}
	if a := f.Allocate("eu-west-1", "db"); a.IsValid() {
		t.Errorf("unknown region got %s", a)
	}
	f.Release("us-west-2", "db")
	if next := f.Allocate("us-west-2", "other"); next == first {
		t.Errorf("a released address was given to another name at once")
	}
	seen := map[netip.Addr]bool{}
	for i := range 300 {
		a := f.Allocate("us-east-2", strings.Repeat("x", i+1))
		if i >= 254 {
			if a.IsValid() {
				t.Fatalf("address %d in a full region: %s", i, a)
			}
			continue
		}
		if seen[a] || !a.IsValid() {
			t.Fatalf("address %d is %s", i, a)
		}
		seen[a] = true
	}
	if !slices.ContainsFunc(f.Names(), func(n Name) bool { return n.Region == "us-west-2" && n.Name == "other" }) {
		t.Error("Names lacks an allocated name")
	}
}

func TestPort(t *testing.T) {
	for from, to := range map[int]int{80: 8080, 443: 8443, 53: 8053, 22: 8022, 1023: 9023, 1024: 1024, 5432: 5432, 9100: 9100} {
		if got := Port(from); got != to {
			t.Errorf("Port(%d) = %d, want %d", from, got, to)
		}
	}
}

func TestTraverseTakesARoundTrip(t *testing.T) {
	f := newFabric(t)
	started := time.Now()
	if err := f.Traverse(context.Background(), "us-east-1", "us-west-2"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(started); took < 70*time.Millisecond {
		t.Errorf("a round trip between the coasts took %s", took)
	}
	if got := f.Link("us-east-1", "us-east-2").OneWayDelay; got >= f.Link("us-west-2", "us-east-2").OneWayDelay {
		t.Errorf("the witness is not nearer to the east coast: %s", got)
	}
}

func TestTraverseWaitsWhileNobodyAnswers(t *testing.T) {
	cut := map[string]func(*Fabric){
		"partition":   func(f *Fabric) { f.SetLink("us-east-1", "us-west-2", LinkState{Partitioned: true}) },
		"all lost":    func(f *Fabric) { f.SetLink("us-east-1", "us-west-2", LinkState{Loss: 1}) },
		"target lost": func(f *Fabric) { f.SetRegion("us-west-2", false) },
		"sender lost": func(f *Fabric) { f.SetRegion("us-east-1", false) },
		"lost twice":  func(f *Fabric) { f.SetRegion("us-west-2", false); f.SetRegion("us-west-2", false) },
	}
	for name, cut := range cut {
		t.Run(name, func(t *testing.T) {
			f := newFabric(t)
			cut(f)
			if f.Reachable("us-east-1", "us-west-2") {
				t.Error("still reachable")
			}
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			err := f.Traverse(ctx, "us-east-1", "us-west-2")
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestTraverseGoesOnAfterHealing(t *testing.T) {
	f := newFabric(t)
	f.SetLink("us-east-1", "us-west-2", LinkState{Partitioned: true})
	result := make(chan error, 1)
	go func() { result <- f.Traverse(context.Background(), "us-west-2", "us-east-1") }()
	select {
	case err := <-result:
		t.Fatalf("crossed a partition: %v", err)
	case <-time.After(30 * time.Millisecond):
	}
	f.SetLink("us-east-1", "us-west-2", LinkState{OneWayDelay: time.Millisecond})
	select {
	case err := <-result:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("did not go on after the healing")
	}
}

func TestLossShowsAsDelayAndIsReproducible(t *testing.T) {
	delays := func() []time.Duration {
		f, err := New(Options{Regions: []string{"a", "b"}, Seed: 7})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		f.SetLink("a", "b", LinkState{OneWayDelay: 10 * time.Millisecond, Loss: 0.5})
		var list []time.Duration
		for range 200 {
			_, _, d, _ := f.path("a", "b")
			list = append(list, d)
		}
		return list
	}
	first := delays()
	if !slices.Equal(first, delays()) {
		t.Error("the same seed loses other segments")
	}
	lost := 0
	for _, d := range first {
		if d >= 210*time.Millisecond {
			lost++
		}
	}
	if lost < 60 || lost > 140 {
		t.Errorf("%d of 200 segments were late at a loss of one half", lost)
	}
}
