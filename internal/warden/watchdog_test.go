package warden

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/internal/failover"
	"holdfast/internal/term"
)

// deaf is a listener that nobody ever dials.
type deaf struct {
	once   sync.Once
	closed chan struct{}
}

func (d *deaf) Accept() (net.Conn, error) { <-d.closed; return nil, net.ErrClosed }
func (d *deaf) Close() error              { d.once.Do(func() { close(d.closed) }); return nil }
func (d *deaf) Addr() net.Addr            { return &net.TCPAddr{} }

// TestStuckWardenEnds: a warden whose loop does not come round ends, whatever it hangs in, and says why; one that comes
// round in its time does not.
func TestStuckWardenEnds(t *testing.T) {
	for name, c := range map[string]struct {
		hangs time.Duration
		stuck bool
	}{
		"for good":          {24 * time.Hour, true},
		"for half a minute": {stuckFloor / 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				journal, release := &buffer{}, make(chan struct{})
				began := time.Now()
				var once sync.Once
				r := firstRecord()
				r.Holder = "dr"
				w, _ := quiet(t, newStore(t, r), "primary", "dr", func(o *Options) {
					o.Listener = &deaf{closed: make(chan struct{})}
					o.Journal = slog.New(slog.NewJSONHandler(journal, nil))
					o.Boot = func() term.Instant { return term.Instant(time.Hour + time.Since(began)) }
					o.Decide = func(failover.Observation) failover.Decision {
						once.Do(func() {
							select {
							case <-release:
							case <-time.After(c.hangs):
							}
						})
						return failover.Decision{Step: failover.Wait}
					}
				})
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				err := w.Run(ctx)
				close(release)
				synctest.Wait()
				if took := time.Since(began); errors.Is(err, ErrStuck) != c.stuck || c.stuck && took > 2*stuckFloor {
					t.Errorf("ended after %v with %v", took, err)
				}
				if strings.Contains(journal.String(), "warden stuck") != c.stuck {
					t.Errorf("journal:\n%s", journal)
				}
			})
		})
	}
}
