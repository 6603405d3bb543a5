// Package fencetest gives tests leases, without the trust that a warden derives them from.
package fencetest

import (
	"context"
	"time"

	"holdfast/internal/fence"
	"holdfast/internal/term"
)

// Extend is fence.ExtendOn on whatever server answers.
func Extend(ctx context.Context, db fence.DB, n term.Number, validUntil time.Time, renewal int64) error {
	s, err := fence.Sample(ctx, db)
	if err != nil {
		return err
	}
	return fence.ExtendOn(ctx, db, s.ServerStarted, n, validUntil, renewal)
}
