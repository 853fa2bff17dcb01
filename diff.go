package driftdb

import (
	"context"
	"iter"

	"github.com/driftdb/driftdb-go/internal/backup"
)

// Diff yields the net differences between two points: what to do to the state at from to
// get the state at to.
func (b *Backup) Diff(ctx context.Context, from, to Point) iter.Seq2[Change, error] {
	first, err := from.target()
	if err != nil {
		return failed(err)
	}
	second, err := to.target()
	if err != nil {
		return failed(err)
	}
	return failing(backup.Diff(ctx, b.b, first, second, publicChange), fail)
}
