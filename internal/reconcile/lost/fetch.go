package lost

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"holdfast/internal/reconcile"
)

// Bounds of one page of a list.
const (
	pageCharges  = 1000
	maxPageBytes = 4 << 20
)

// Fetch asks an acquirer that has payd's reference API (docs/payd.md) for every charge since then. The list is complete
// until the acquirer's own time at the first answer.
func Fetch(ctx context.Context, client *http.Client, base string, since time.Time) (List, error) {
	l := List{Source: base, Window: reconcile.Span{From: since.UTC()}, WindowBecause: "asked for, until the acquirer's time when it answered"}
	after := int64(0)
	for {
		page, at, err := fetchPage(ctx, client, base, since, after)
		if err != nil {
			return List{}, fmt.Errorf("list the charges at %s: %w", base, err)
		}
		if l.Window.Until.IsZero() {
			l.Window.Until = at
		}
		for _, c := range page.Charges {
			if err := c.check(); err != nil {
				return List{}, fmt.Errorf("list the charges at %s: %w", base, err)
			}
		}
		if l.Charges = append(l.Charges, page.Charges...); len(l.Charges) > maxCharges {
			return List{}, fmt.Errorf("list the charges at %s: more than %d: ask for a shorter time", base, maxCharges)
		}
		if page.NextAfter == 0 {
			l.Count = len(l.Charges)
			return l, nil
		}
		if page.NextAfter <= after {
			return List{}, fmt.Errorf("list the charges at %s: the page after %d leads back to %d", base, after, page.NextAfter)
		}
		after = page.NextAfter
	}
}

type chargePage struct {
	Charges   []Charge `json:"charges"`
	NextAfter int64    `json:"next_after"`
}

// fetchPage returns a page and the acquirer's time, which its header gives in whole seconds, rounded down.
func fetchPage(ctx context.Context, client *http.Client, base string, since time.Time, after int64) (chargePage, time.Time, error) {
	target, err := url.JoinPath(base, "v1", "charges")
	if err != nil {
		return chargePage{}, time.Time{}, err
	}
	query := url.Values{"since": {since.UTC().Format(time.RFC3339Nano)}, "limit": {strconv.Itoa(pageCharges)}}
	if after > 0 {
		query.Set("after", strconv.FormatInt(after, 10))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target+"?"+query.Encode(), nil)
	if err != nil {
		return chargePage{}, time.Time{}, err
	}
	response, err := client.Do(request)
	if err != nil {
		return chargePage{}, time.Time{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxPageBytes+1))
	switch {
	case err != nil:
		return chargePage{}, time.Time{}, err
	case len(body) > maxPageBytes:
		return chargePage{}, time.Time{}, fmt.Errorf("a page of more than %d bytes", maxPageBytes)
	case response.StatusCode != http.StatusOK:
		return chargePage{}, time.Time{}, fmt.Errorf("it answers %s: %.200q", response.Status, body)
	}
	var page chargePage
	if err := json.Unmarshal(body, &page); err != nil {
		return chargePage{}, time.Time{}, fmt.Errorf("read a page: %w", err)
	}
	at, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return chargePage{}, time.Time{}, fmt.Errorf("it does not say its time (header Date), so nobody knows until when its list is complete: %w", err)
	}
	return page, at.UTC(), nil
}
