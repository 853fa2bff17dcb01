package driftdb

import (
	"context"
	"errors"

	"github.com/driftdb/driftdb-go/internal/consume"
	"github.com/driftdb/driftdb-go/internal/engine"
)

// ConsumeOptions are what [DB.Consume] takes besides its function.
type ConsumeOptions struct {
	// From is the first change that a new consumer gets, 1 or more; it must be kept. 0: it
	// gets what is committed from the call on. A consumer that the database knows goes on
	// where it was, whatever From says.
	From int64
	// Table selects the changes of this table's rows, and barriers; "": all changes.
	Table string
}

// Consume calls fn for each change that is committed, in order, and records in the
// database how far it has come, under the name consumer. It returns when ctx ends, with
// the error of ctx, or when something fails.
//
// All changes of a transaction are handled in one transaction, tx. The position is stored
// in tx, too. So for what fn writes through tx, each change is handled exactly once,
// whatever happens in between: an error, a crash, a restore, another machine that takes
// over. For what fn does elsewhere, it is at least once: it may get a change again if it
// was interrupted before tx was committed.
//
// If fn returns an error, tx is rolled back, and Consume returns that error. The next call
// begins with the same transaction again; nothing is ever skipped.
//
// A consumer does not get the changes that fn itself made through tx, nor those that
// triggers made of them. It does get those of other consumers: two that react to each
// other's changes never end, unless Table separates them.
//
// A [Change] with OperationBarrier says that the log cannot describe what happened: read
// the tables again. It goes to every consumer, whatever Table says. A database that is
// opened under another name from a restored copy begins with one.
//
// The positions are rows of the table driftdb_consumers, which is restored like any
// other: what comes back is the position together with its effects. Its own changes go to
// no consumer. Delete a row to make its consumer a new one. A position that is not in the
// history of the database is [ErrRolledBack]; changes that are no longer kept are
// [ErrNoBackup].
//
// fn has the only writer while it runs, as in [DB.Tx]: it must be quick, and write only
// through tx. For slow work, have it write down what is to be done, or use [DB.Changes]
// with Wait. One call of Consume at a time can have a consumer's name.
//
// Consume uses no network, except for changes that only the bucket has.
func (db *DB) Consume(ctx context.Context, consumer string, fn func(ctx context.Context, tx *Tx, c Change) error, options ...ConsumeOptions) error {
	c := consume.Consumer{Name: consumer}
	switch len(options) {
	case 0:
	case 1:
		c.From, c.Table = options[0].From, options[0].Table
	default:
		return fail(errors.New("Consume takes at most one ConsumeOptions"))
	}
	return passOn(engine.Consume(ctx, db.engine, c, publicChange, func(ctx context.Context, tx *engine.Tx, c Change) error {
		return fn(ctx, &Tx{tx}, c)
	}))
}
