package warden

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
)

// enter tries to enter for as long as everything else in the bubble can go on.
func enter(w *window) bool {
	ctx, cancel := context.WithCancel(context.Background())
	entered := make(chan error, 1)
	go func() { entered <- w.enter(ctx) }()
	synctest.Wait()
	cancel()
	return <-entered == nil
}

// room fills a window and returns how many it let in.
func room(w *window) (n int) {
	for enter(w) {
		n++
	}
	return n
}

func TestWindowWidensWithEachAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow()
		if n := room(w); n != forwardFirst {
			t.Fatalf("%d are let in before anything is answered", n)
		}
		w.leave()
		if n := room(w); n != 1 {
			t.Fatalf("what ends without an answer makes room for %d", n)
		}
		w.widen()
		w.leave()
		if n := room(w); n != 2 {
			t.Fatalf("an answer makes room for %d", n)
		}
		for range 2 * forwardSlots {
			w.widen()
		}
		if n := room(w) + forwardFirst + 1; n != forwardSlots {
			t.Errorf("%d are let in at most", n)
		}
	})
}

func TestWindowKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow()
		for range forwardFirst {
			enter(w)
		}
		var order []int
		for i := range 10 {
			go func() {
				if err := w.enter(t.Context()); err != nil {
					t.Error(err)
				}
				order = append(order, i) // one at a time: each leave lets one in
			}()
			synctest.Wait()
		}
		for range 10 {
			w.leave()
			synctest.Wait()
		}
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
	f.hold = patience
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
