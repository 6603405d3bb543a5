package reconcile

import (
	"context"
	"fmt"
	"time"

	"holdfast/internal/fence"
	"holdfast/internal/term"
)

// Boundary is the gap: every commit that only the old database has was made within it. Whoever else was told of those
// commits, such as an acquirer, has to be asked for the whole of it.
type Boundary struct {
	// From and Until are on the databases' clocks.
	From         time.Time `json:"from"`
	FromBecause  string    `json:"from_because"`
	Until        time.Time `json:"until"`
	UntilBecause string    `json:"until_because"`
}

// boundary bounds the gap from what is known for certain. since is where the histories part, if commit timestamps tell.
func (o Options) boundary(ctx context.Context, s Summary, old fence.State) (*Boundary, error) {
	published, err := fence.PublishedEnd(ctx, o.Old)
	if err != nil {
		return nil, err
	}
	until := old.Lease.ValidUntil
	if published.After(until) {
		until = published // the last extension was rolled back, and counted all the same
	}
	b := &Boundary{
		Until:        until.UTC(),
		UntilBecause: fmt.Sprintf("the write lease under term %d ended there", s.Term),
	}
	if s.Since != nil {
		b.From, b.FromBecause = *s.Since, "the newest transaction that both databases have, less the slack"
		return b, nil
	}
	// The survivor has the record of a term with everything that was committed before it.
	common := newestCommon(s.Old.Terms, s.Survivor.Terms)
	if common == 0 {
		return nil, nil
	}
	if err := o.Old.QueryRow(ctx, "SELECT at FROM holdfast.terms WHERE term = $1", common).Scan(&b.From); err != nil {
		return nil, fmt.Errorf("read when term %d began: %w", common, err)
	}
	b.From = b.From.UTC()
	b.FromBecause = fmt.Sprintf("term %d, the newest that both databases have, began there", common)
	return b, nil
}

// newestCommon is the highest of two ascending lists' common terms, 0 if there is none.
func newestCommon(a, b []term.Number) term.Number {
	known := map[term.Number]bool{}
	for _, n := range a {
		known[n] = true
	}
	newest := term.Number(0)
	for _, n := range b {
		if known[n] {
			newest = max(newest, n)
		}
	}
	return newest
}
