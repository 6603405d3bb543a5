package fence

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast/internal/term"
)

// MaxPin is the longest time that a pin may last.
const MaxPin = 24 * time.Hour

// ErrNotPinnable: the database does not serve the term for the site, the term is sealed, or the pin is over.
var ErrNotPinnable = errors.New("this database can't be pinned")

// Pin is a row of holdfast.pins: break glass for one site and term (P18). The zero value is no pin.
type Pin struct {
	ID   int64
	Term term.Number
	// Site may go on without the term store.
	Site string
	// PinnedAt is on the clock of the server that was started at ServerStarted; on any other server the pin is void.
	PinnedAt, ServerStarted time.Time
	// For is how long the pin lasts, Lease and Margin are what each extension under it goes by: the term store's
	// settings can't be read then.
	For, Lease, Margin time.Duration
	By, Reason         string
	// Confirmed says that the other site is known to stand still, so that the pin gives a lease.
	Confirmed bool
	// EndedAt is zero while the pin is open.
	EndedAt time.Time
}

// Open reports whether there is a pin that nobody has ended. It may have run out all the same.
func (p Pin) Open() bool { return p.ID != 0 && p.EndedAt.IsZero() }

// End is when the pin stops giving a lease, on its server's clock: a margin before it is over for the other site.
func (p Pin) End() time.Time { return p.PinnedAt.Add(p.For - p.Margin) }

// PinnedUntil is how far the database's lease may be extended under its pin, on its own clock, for the site: a lease
// from now, but never beyond the pin. It returns the reason if the pin gives nothing.
func (s State) PinnedUntil(site string) (time.Time, error) {
	p := s.Pin
	refuse := func(why string) (time.Time, error) { return time.Time{}, fmt.Errorf("%w: %s", ErrNotPinnable, why) }
	switch {
	case s.InRecovery:
		return time.Time{}, ErrStandby
	case !p.Open() || p.Site != site:
		return refuse("no pin is open for " + site)
	case !p.Confirmed:
		return refuse("the pin is not confirmed")
	case len(s.Terms) == 0 || s.Terms[len(s.Terms)-1] != p.Term:
		return refuse(fmt.Sprintf("the pin is for term %d, which is not the newest", p.Term))
	case s.Lease.SealedTerm >= p.Term:
		return time.Time{}, ErrSealed
	case !p.ServerStarted.Equal(s.ServerStarted):
		return refuse("the pin was set on another server, whose clock it goes by: pin again")
	}
	until := s.DatabaseTime.Add(p.Lease - p.Margin)
	if p.End().Before(until) {
		until = p.End()
	}
	if !until.After(s.DatabaseTime) {
		return refuse("the pin has run out")
	}
	return until, nil
}

//go:embed sql/pin.sql
var pinSQL string

// SetPin opens an unconfirmed pin of p's Term, Site, For, Lease, Margin, By and Reason, and returns it with what the
// database added. It is [ErrNotPinnable] unless this very database serves the term for the site.
func SetPin(ctx context.Context, db DB, p Pin) (Pin, error) {
	operation := fmt.Sprintf("pin term %d of site %s", p.Term, p.Site)
	if p.For <= 0 || p.For > MaxPin {
		return Pin{}, fmt.Errorf("%s: %w: %v is not between 0 and %v", operation, ErrNotPinnable, p.For, MaxPin)
	}
	err := db.QueryRow(ctx, pinSQL, p.Term, p.Site, p.For.Milliseconds(), p.Lease.Milliseconds(), p.Margin.Milliseconds(), p.By, p.Reason).
		Scan(&p.ID, &p.PinnedAt, &p.ServerStarted)
	if errors.Is(err, pgx.ErrNoRows) {
		return Pin{}, fmt.Errorf("%s: %w: it does not serve this term for this site, or the term is sealed", operation, ErrNotPinnable)
	}
	return p, explain(operation, err)
}

//go:embed sql/confirm_pin.sql
var confirmPinSQL string

// ConfirmPin lets a pin give a lease from now on. evidence says, for the record, how it is known that the other site
// stands still. It is [ErrNotPinnable] if the pin was ended or replaced, or the server was restarted.
func ConfirmPin(ctx context.Context, db DB, id int64, evidence string) error {
	err := db.QueryRow(ctx, confirmPinSQL, id, evidence).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("confirm pin %d: %w: it was ended or replaced, or the server has restarted", id, ErrNotPinnable)
	}
	return explain(fmt.Sprintf("confirm pin %d", id), err)
}

//go:embed sql/end_pin.sql
var endPinSQL string

// EndPins ends every open pin of the database for good and says how many there were. Leases that a pin gave run out.
func EndPins(ctx context.Context, db DB, because string) (int64, error) {
	tag, err := db.Exec(ctx, endPinSQL, because)
	return tag.RowsAffected(), explain("end the pin", err)
}
