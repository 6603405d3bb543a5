package warden

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/fence"
	"holdfast/internal/term"
)

// hangingStandby is a standby whose record misses the end of term 7, in a bubble of its own time.
func hangingStandby(t *testing.T, change ...func(*Options)) *Warden {
	t.Helper()
	r := firstRecord()
	r.Term, r.Holder, r.ServedTerm, r.TailOf = 8, "dr", 8, []term.Number{7}
	began := time.Now()
	w, _ := quiet(t, newStore(t, r), "primary", "dr", append([]func(*Options){func(o *Options) {
		o.Boot = func() term.Instant { return term.Instant(time.Hour + time.Since(began)) }
		o.Database = &database{state: &fence.State{Installed: true, InRecovery: true, Terms: []term.Number{7, 8}}}
	}}, change...)...)
	return w
}

// TestExportFolderHangs: the loop of a standby goes on, with what the folder said last, asks no second time before the
// folder has come back, and asks again then.
func TestExportFolderHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := hangingStandby(t)
		hangs := make(chan struct{})
		var asked atomic.Int32
		there := true
		w.marks.exists = func(string) bool { asked.Add(1); return there }
		if o := w.observe(t.Context()); o.TailSaved != 7 {
			t.Fatalf("saved the end of term %d, want 7", o.TailSaved)
		}
		w.marks.exists = func(string) bool { asked.Add(1); <-hangs; return false }
		began := time.Now()
		for range 5 {
			if o := w.observe(t.Context()); o.TailSaved != 7 {
				t.Errorf("saved the end of term %d while the folder hangs, want 7 as before", o.TailSaved)
			}
		}
		if took := time.Since(began); took > 2*markLimit {
			t.Errorf("five observations took %v", took)
		}
		if n := asked.Load(); n != 2 {
			t.Errorf("asked %d times, want once before the folder hung and once since", n)
		}
		if got := w.exportTail(t.Context()); got.err == nil {
			t.Error("a folder that hangs was exported to")
		}
		close(hangs)
		synctest.Wait()
		if o := w.observe(t.Context()); o.TailSaved != 0 {
			t.Errorf("saved the end of term %d, and its marker is gone", o.TailSaved)
		}
	})
}

// hangingExporter is one whose file system hangs: it knows of no context.
type hangingExporter struct {
	calls atomic.Int32
	hangs chan struct{}
}

func (e *hangingExporter) Export(context.Context) (string, error) {
	e.calls.Add(1)
	<-e.hangs
	return "3 rows", nil
}

// TestExportThatHangsIsLeftBehind: the loop can decide again, and the export is not begun a second time beside itself.
func TestExportThatHangsIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &hangingExporter{hangs: make(chan struct{})}
		w := hangingStandby(t, func(o *Options) { o.Tail = e })
		o := w.observe(t.Context())
		step := func() outcome { return w.execute(t.Context(), o, failover.Decision{Step: failover.ExportTail}) }
		began := time.Now()
		if got := step(); !errors.Is(got.err, errNoAnswer) || got.effective {
			t.Errorf("outcome %+v, want that it is left behind", got)
		}
		if took := time.Since(began); took != w.cfg.Settings.HandoffTimeout+exportGrace {
			t.Errorf("left behind after %v", took)
		}
		if got := step(); !errors.Is(got.err, errStillOutside) || e.calls.Load() != 1 {
			t.Errorf("outcome %+v after %d exports, want that a second one is refused", got, e.calls.Load())
		}
		close(e.hangs)
		synctest.Wait()
		e.hangs = make(chan struct{})
		close(e.hangs)
		if got := step(); errors.Is(got.err, errStillOutside) || e.calls.Load() != 2 {
			t.Errorf("outcome %+v after %d exports, want another try once the first has come back", got, e.calls.Load())
		}
	})
}
