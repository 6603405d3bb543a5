package warden

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// enter tries to enter for as long as everything else in the bubble can go on; nil is no place.
func enter(w *window) *place {
	ctx, cancel := context.WithCancel(context.Background())
	entered := make(chan *place, 1)
	go func() {
		p, _ := w.enter(ctx)
		entered <- p
	}()
	synctest.Wait()
	cancel()
	return <-entered
}

// fill fills a window and returns what it let in.
func fill(w *window) (in []*place) {
	for p := enter(w); p != nil; p = enter(w) {
		in = append(in, p)
	}
	return in
}

func leave(places []*place) {
	for _, p := range places {
		p.leave()
	}
}

func TestWindowWidensWithEachAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(slowAnswer)
		in := fill(w)
		if len(in) != forwardFirst {
			t.Fatalf("%d are let in before anything is answered", len(in))
		}
		in[0].leave()
		more := fill(w)
		if len(more) != 1 {
			t.Fatalf("what ends without an answer makes room for %d", len(more))
		}
		in[0] = more[0]
		for range 2 { // a place counts once
			in[1].answered()
		}
		in[1].leave()
		more = fill(w)
		if len(more) != 2 {
			t.Fatalf("an answer makes room for %d", len(more))
		}
		in = append([]*place{in[0]}, append(in[2:], more...)...)
		time.Sleep(slowAnswer) // of the bubble's clock: it takes no time
		more = fill(w)
		if len(more) != len(in) {
			t.Errorf("%d places without an answer for so long make room for %d", len(in), len(more))
		}
		leave(append(in, more...))
	})
}

func TestWindowIsOpenInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(slowAnswer)
		for range forwardSlots {
			p := enter(w)
			p.answered()
			p.leave()
		}
		in := fill(w)
		if len(in) != forwardSlots {
			t.Errorf("%d are let in at most", len(in))
		}
		leave(in)
	})
}

func TestWindowKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(slowAnswer)
		in := fill(w)
		var order []int
		for i := range 10 {
			go func() {
				p, err := w.enter(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				order = append(order, i) // one at a time: each leave lets one in
				in = append(in, p)
			}()
			synctest.Wait()
		}
		for i := range 10 {
			in[i].leave()
			synctest.Wait()
		}
		leave(in[10:])
		for i, was := range order {
			if i != was {
				t.Fatalf("they came in as 0 to 9 and were let in as %v", order)
			}
		}
	})
}

func TestWindowStartsAnewWithEachTerm(t *testing.T) {
	var w windows
	second := w.of(2)
	if w.of(2) != second || w.of(1) != second {
		t.Error("one term has two windows")
	}
	if w.of(3) == second {
		t.Error("the next hand-over goes on with the old window")
	}
}

// TestForwardStartsSlowly: the other site's first answers are not kept up by all that waited for it.
func TestForwardStartsSlowly(t *testing.T) {
	arrived, answer := make(chan struct{}), make(chan int)
	other := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		rw.WriteHeader(<-answer)
	}))
	defer other.Close()
	w, _ := movedSite(t, other.URL, true)
	f := newTestForwarder(t, w)
	f.hold, f.windows.slow = patience, time.Hour
	const requests = forwardFirst + 3
	codes := make(chan int)
	for range requests {
		go func() { codes <- pay(f, nil).Code }()
	}
	for range forwardFirst {
		<-arrived
	}
	eventually(t, "the others wait", func() error {
		if len(f.slots) != requests {
			return errors.New("they have not arrived")
		}
		return nil
	})
	select {
	case <-arrived:
		t.Fatal("more than the first were sent on before any was answered")
	default:
	}
	answer <- http.StatusBadGateway // a failure makes room for one
	if code := <-codes; code != http.StatusBadGateway {
		t.Fatalf("answered %d", code)
	}
	<-arrived
	answer <- http.StatusCreated // an answer makes room for two
	<-arrived
	<-arrived
	for range requests - 2 {
		answer <- http.StatusCreated
	}
	for range requests - 1 {
		if code := <-codes; code != http.StatusCreated {
			t.Errorf("answered %d", code)
		}
	}
}
