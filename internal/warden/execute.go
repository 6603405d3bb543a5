package warden

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// execute does one step, once. Whatever comes of it, the next observation shows what is to be done next.
func (w *Warden) execute(ctx context.Context, o failover.Observation, d failover.Decision) outcome {
	n := o.Store.Record.Term
	switch d.Step {
	case failover.Acquire:
		if err := w.stillApproved(ctx, o, d); err != nil {
			return outcome{err: err}
		}
		result := w.writeStep(ctx, o.Store.Record, d, true)
		result.recall = result.err == nil
		return result
	case failover.TakeBack:
		return w.writeStep(ctx, o.Store.Record, d, true)
	case failover.Serve, failover.Grant, failover.Release, failover.Want, failover.ClearWanted, failover.ClearTail:
		return w.writeStep(ctx, o.Store.Record, d, false)
	}
	if d.Record != nil {
		if written := w.writeStep(ctx, o.Store.Record, d, false); written.err != nil {
			return written
		}
	}
	switch d.Step {
	case failover.Promote:
		return w.promote(ctx, n, d.Lossy)
	case failover.MoveWriter:
		return w.moveWriter(ctx, n)
	case failover.RecordTerm:
		return w.recordTerm(ctx, n)
	case failover.Seal:
		return w.limited(ctx, w.callLimit(), func(ctx context.Context) (string, error) { return "", w.db.Seal(ctx, n) })
	case failover.Drain:
		return w.limited(ctx, w.cfg.Settings.HandoffTimeout, func(ctx context.Context) (string, error) {
			position, err := w.db.Drain(ctx, n)
			return position, err
		})
	case failover.EndPin:
		return w.limited(ctx, w.callLimit(), func(ctx context.Context) (string, error) { return "", w.db.Unpin(ctx, d.Reason) })
	case failover.ExportTail:
		return w.exportTail(ctx)
	}
	return outcome{err: fmt.Errorf("the warden does not know the step %q", d.Step)}
}

// limited runs a step that is effective if it succeeds within the limit.
func (w *Warden) limited(ctx context.Context, limit time.Duration, do func(context.Context) (string, error)) outcome {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	detail, err := do(ctx)
	return outcome{effective: err == nil, detail: detail, err: err}
}

// stepTries is how often a step's record is written, decided anew each time, if a renewal comes first. That is common, and to
// observe everything again takes longer.
const stepTries = 3

// writeStep writes what was decided on the record seen.
func (w *Warden) writeStep(ctx context.Context, seen term.Record, d failover.Decision, renews bool) outcome {
	for tries := stepTries; ; tries-- {
		result := w.writeOnce(ctx, d, renews)
		if tries == 1 || !errors.Is(result.err, term.ErrConflict) {
			return result
		}
		again, same := w.decideAgain(seen, d)
		if !same {
			return result
		}
		d = again
	}
}

// writeOnce writes a step's record. A conflict is an effect too: something was decided elsewhere, so what is next is due.
func (w *Warden) writeOnce(ctx context.Context, d failover.Decision, renews bool) outcome {
	if d.Record == nil {
		return outcome{err: fmt.Errorf("step %q has no record to write", d.Step)}
	}
	d.Record.Journal = w.journal.head()
	if err := w.write(ctx, *d.Record, renews); err != nil {
		return outcome{effective: errors.Is(err, term.ErrConflict), err: err}
	}
	return outcome{effective: true, detail: fmt.Sprintf("version %d, term %d", d.Record.Version, d.Record.Term)}
}

// decideAgain decides on what the store said last, after a write of d, decided on the record seen, has lost to another one. It
// returns false if that was more than a renewal, because what the rest of the observation says belongs to another phase then;
// if something else is to be done now; and if what is decided rests on an approval, which must be looked for again (P17).
func (w *Warden) decideAgain(seen term.Record, d failover.Decision) (failover.Decision, bool) {
	o := w.observation()
	again := w.decide(o)
	return again, failover.OnlyRenewed(seen, o.Store.Record) && again.Step == d.Step && again.Record != nil && !failover.RestsOnApproval(o, again)
}

// stillApproved says why the term must not be taken now, if that was decided because of an approval which does not stand any
// more: a warden may have been frozen since it decided (P17).
func (w *Warden) stillApproved(ctx context.Context, o failover.Observation, d failover.Decision) error {
	if !failover.RestsOnApproval(o, d) {
		return nil
	}
	if err := w.readBeacons(ctx); err != nil {
		return fmt.Errorf("look for the approval of term %d again: %w", o.Store.Record.Term, err)
	}
	if again := w.decide(w.observation()); again.Step != failover.Acquire {
		return fmt.Errorf("take the term after %d: what was decided with an approval is not any more: %s %v; approve it again with 'holdfast approve --to %s'",
			o.Store.Record.Term, again.Reason, again.Refusals, w.cfg.Site)
	}
	return nil
}

// underTrust returns a context that ends with the trust in term n, after a fresh strong read has shown the term still
// held by the own site and accepted by check.
func (w *Warden) underTrust(ctx context.Context, n term.Number, check func(term.Record) error) (
	context.Context, context.CancelFunc, error,
) {
	r, err := w.read(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("read the record again: %w", err)
	}
	if r.Term != n || r.Holder != w.cfg.Site || r.State != term.Held {
		return nil, nil, fmt.Errorf("term %d is %s by %s now, not held by %s in term %d", r.Term, r.State, r.Holder, w.cfg.Site, n)
	}
	if err := check(r); err != nil {
		return nil, nil, err
	}
	o := w.observation()
	if !o.Trust.Holds(n, o.Now) {
		return nil, nil, fmt.Errorf("the trust in term %d has run out", n)
	}
	ctx, cancel := context.WithTimeout(ctx, o.Trust.Left(o.Now))
	return ctx, cancel, nil
}

func anyRecord(term.Record) error { return nil }

// promote makes the own database the writer (P12). The control plane takes no fencing token: a warden that freezes
// between the read and the call is the race that remains, and the deadline keeps it short.
func (w *Warden) promote(ctx context.Context, n term.Number, lossy bool) outcome {
	ctx, cancel, err := w.underTrust(ctx, n, anyRecord)
	if err != nil {
		return outcome{err: err}
	}
	defer cancel()
	if !lossy {
		// A switchover is asked of the other region, which may have died since its last beacon: then the failover must
		// not wait for the end of the trust.
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, w.callLimit())
		defer stop()
	}
	if err := w.cluster.Promote(ctx, lossy); err != nil {
		refused := !lossy && errors.Is(err, ErrSwitchoverRefused)
		if refused {
			w.noteRefused(n)
		}
		return outcome{effective: refused, err: err} // what is left is due at once
	}
	detail := "switchover accepted"
	if lossy {
		detail = "failover accepted"
	}
	if w.awaitWriter(ctx) {
		detail += ", and the database takes writes"
	}
	return outcome{effective: true, detail: detail}
}

// awaitWriter waits a moment for a promotion that was accepted, asking nobody but the database: a whole observation takes a
// round trip between regions, and what it saw a moment too early would have to be seen again.
func (w *Warden) awaitWriter(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, w.renewEvery())
	defer cancel()
	for {
		if s, err := w.db.Sample(ctx); err == nil && !s.InRecovery {
			return true
		}
		if !sleep(ctx, failover.AwaitEvery) {
			return false
		}
	}
}

// moveWriter gives the writer to the other site, within a hand-over that is still wanted (P14).
func (w *Warden) moveWriter(ctx context.Context, n term.Number) outcome {
	ctx, cancel, err := w.underTrust(ctx, n, func(r term.Record) error {
		if r.Wanted == nil || r.Wanted.Site != w.cfg.PeerSite {
			return errors.New("the hand-over is not wanted any more")
		}
		return nil
	})
	if err != nil {
		return outcome{err: err}
	}
	defer cancel()
	if err := w.cluster.MoveWriter(ctx); err != nil {
		return outcome{err: err}
	}
	return outcome{effective: true, detail: "switchover accepted"}
}

// recordTerm puts the term into the database's lineage and gives it its first lease at once (P13).
func (w *Warden) recordTerm(ctx context.Context, n term.Number) outcome {
	trusted, cancel, err := w.underTrust(ctx, n, anyRecord)
	if err != nil {
		return outcome{err: err}
	}
	defer cancel()
	if err := w.db.RecordTerm(trusted, n, w.cfg.Site); err != nil {
		return outcome{err: err}
	}
	w.noteRecorded(n)
	w.extend(ctx)
	return outcome{effective: true, detail: fmt.Sprintf("term %d is in the lineage", n)}
}

// errSiblingExports: another warden of the site has the export under way.
var errSiblingExports = errors.New("another warden of this site is exporting the tail")

// exportGrace is what a step whose time is over gets to say why it did not come to its end.
const exportGrace = time.Second

// exportTail saves the tail of the old volume and marks it as saved, durably (P20). The survivor is in another region and
// the folder on a network file system: if either falls silent, the site must be able to do something else.
func (w *Warden) exportTail(ctx context.Context) outcome {
	if w.tail == nil {
		return outcome{err: errors.New("this program has no exporter for a lost tail")}
	}
	n := w.observation().Database.HighestTerm()
	if n == 0 || w.cfg.ExportDir == "" {
		return outcome{err: errors.New("the database shows no term, or there is no export folder, so there is nothing to name its tail by")}
	}
	if w.marks.slot.taken() {
		return outcome{err: fmt.Errorf("the export folder %s does not answer (HOLDFAST_EXPORT_DIR)", w.cfg.ExportDir)}
	}
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Settings.HandoffTimeout)
	defer cancel()
	result, err := apart(ctx, w.exports, exportGrace, func() outcome { return w.exportLocked(ctx, n) })
	if err != nil {
		return outcome{err: fmt.Errorf("export the tail to %s: %w (does HOLDFAST_EXPORT_DIR answer?)", w.cfg.ExportDir, err)}
	}
	return result
}

// exportLocked holds a lock on the folder, which keeps the site's other wardens from writing the same files; it ends with
// the process.
func (w *Warden) exportLocked(ctx context.Context, n term.Number) outcome {
	if err := os.MkdirAll(w.cfg.ExportDir, 0o750); err != nil {
		return outcome{err: fmt.Errorf("make the export folder: %w (HOLDFAST_EXPORT_DIR)", err)}
	}
	lock, err := os.OpenFile(filepath.Join(w.cfg.ExportDir, ".lock"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return outcome{err: fmt.Errorf("lock the export folder: %w", err)}
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return outcome{err: fmt.Errorf("%w (%w)", errSiblingExports, err)}
	}
	if exists(w.tailMarker(n)) {
		return outcome{effective: true, detail: "already exported"}
	}
	summary, err := w.tail.Export(ctx)
	if err != nil {
		return outcome{err: err}
	}
	// The service rebuilds an old volume when it likes, and a rebuilt one lacks nothing: that is not what was asked for.
	s, err := w.db.Sample(ctx)
	if err != nil {
		return outcome{err: fmt.Errorf("look whether the old volume was there to the end of its export: %w", err)}
	}
	if s.InRecovery || len(s.Terms) == 0 || s.Terms[len(s.Terms)-1] != n {
		return outcome{err: errors.New("the old volume was rebuilt before the end of its export; the service has kept a snapshot of it")}
	}
	markers := []string{w.tailMarker(n)}
	if s.ServedBy == w.cfg.Site {
		markers = []string{w.savedMarker(n), w.tailMarker(n)}
	}
	for _, m := range markers {
		if err := writeDurably(m, summary+"\n"); err != nil {
			return outcome{err: fmt.Errorf("mark the tail as exported: %w", err)}
		}
	}
	return outcome{effective: true, detail: summary}
}

// writeDurably makes a file appear with its whole content, even if the machine stops right afterwards.
func writeDurably(path, content string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".marker-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once the file has its name
	_, err = f.WriteString(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
