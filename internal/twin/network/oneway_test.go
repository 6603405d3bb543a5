package network

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestOneWayTakesHalfARoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &Fabric{links: map[pair]LinkState{}, traffic: map[pair]Traffic{}, down: map[string]bool{}, changed: make(chan struct{})}
		f.SetLink("a", "b", LinkState{OneWayDelay: 35 * time.Millisecond})
		start := time.Now()
		if err := f.OneWay(t.Context(), "a", "b"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 35*time.Millisecond {
			t.Errorf("one way took %v, want 35ms", took)
		}
	})
}

func TestOneWayWaitsForTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &Fabric{links: map[pair]LinkState{}, traffic: map[pair]Traffic{}, down: map[string]bool{}, changed: make(chan struct{})}
		f.SetRegion("b", false)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := f.OneWay(ctx, "a", "b"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("OneWay into a lost region = %v, want the deadline", err)
		}
		start := time.Now()
		time.AfterFunc(5*time.Second, func() { f.SetRegion("b", true) })
		if err := f.OneWay(t.Context(), "a", "b"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("OneWay arrived after %v, want when the region came back", took)
		}
	})
}
