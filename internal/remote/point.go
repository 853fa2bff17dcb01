package remote

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// ErrRolledBack means that a backup has less than it had before, or another history.
var ErrRolledBack = errors.New("the backup has gone back")

// Point is what a manifest confirms: a place in the history, and the epoch of the session
// that confirmed it. The zero Point is before everything.
type Point struct {
	Position
	Epoch int64
}

// Point is what m confirms.
func (m *Manifest) Point() Point { return Point{m.Head(), m.Epoch} }

// Kept returns ErrRolledBack if the backup that m describes lacks a point that it once
// confirmed. No manifest, whoever writes it, confirms less than an earlier one. A point
// before the beginning of the log cannot be checked further.
func (b *Bucket) Kept(ctx context.Context, m *Manifest, seen Point) error {
	gone := func(what string) error {
		return fmt.Errorf("%w: it has confirmed change %d in epoch %d, and %s", ErrRolledBack, seen.Sequence, seen.Epoch, what)
	}
	switch now := m.Point(); {
	case now == seen || seen == Point{}:
		return nil
	case now.Sequence < seen.Sequence || now.Epoch < seen.Epoch:
		return gone(fmt.Sprintf("is at change %d in epoch %d", now.Sequence, now.Epoch))
	case now.Sequence == seen.Sequence && now.Chain != seen.Chain:
		return gone("has another history up to there")
	case now.Sequence == seen.Sequence || seen.Sequence < m.Begins():
		return nil
	}
	goesOn, err := b.Continues(ctx, m, seen.Position)
	if err == nil && !goesOn {
		goesOn, err = b.gap(ctx, m, seen.Sequence)
	}
	switch {
	case errors.Is(err, errOther): // damage is for readers of that batch to report
		return nil
	case err == nil && !goesOn:
		return gone("its history does not go on from there")
	}
	return err
}

// gap reports whether the history that m describes is damaged at sequence, so that it
// does not lead past it.
func (b *Bucket) gap(ctx context.Context, m *Manifest, sequence int64) (bool, error) {
	l := mainLine(m)
	i := slices.IndexFunc(l.starts, func(p Position) bool { return p.Sequence > sequence })
	if i < 0 {
		i = len(l.starts)
	}
	if i == 0 {
		return false, nil
	}
	end, err := b.Walk(ctx, m, l.starts[i-1], Target{}, nil)
	if err != nil && !IsDamage(err) {
		return false, err
	}
	return end.Sequence <= sequence, nil
}
