package driftdb

import (
	"context"
	"iter"

	"github.com/driftdb/driftdb-go/internal/backup"
	"github.com/driftdb/driftdb-go/internal/restore"
)

// Diff yields the net differences between two points: what to do to the state at from to
// get the state at to. Of each row there is one insert, update or delete, whose Sequence,
// Tx and Time are those of the row's last change. If to is before from, it yields the
// reverse differences.
//
// The changes are in an order in which they can be made, with foreign keys and triggers
// off: first those of the schema, then for each table the rows that are deleted, updated
// and inserted, then the counters of AUTOINCREMENT, which are rows of sqlite_sequence, and
// last the indexes that were created at the end. A row that gets the key of another row
// comes after that one. Rows that exchange their keys, or values of a UNIQUE constraint,
// cannot be updated one after the other: DiffSQL does it in two steps.
//
// A row is identified by its rowid, or by its primary key if that is the rowid or the
// table has none. So a row that was deleted, and another one that was inserted with its
// identity, are one row that was updated. Rows of a table that was dropped do not appear,
// and rows that got a new column only because of ALTER TABLE do not either.
//
// Diff reads the log between the two points and nothing before it. It cannot if the log
// does not describe all changes (there is a barrier), or not what the rows were without
// the schema changes among them. Then its first Change is a barrier with the reason,
// and Diff restores both points to temporary files and compares them: a table whose
// definition differs is dropped and created again, all changes have the Sequence and Time
// of the later argument, and Tx is 0. The reverse of a schema change, and of what an
// AUTOINCREMENT counter did, is always found that way.
//
// It uses the network, and a temporary file with an entry for each row that was changed.
// After an error it yields nothing more. A point that the backup does not have is
// ErrNoBackup, and the error says which points it has.
func (b *Backup) Diff(ctx context.Context, from, to Point) iter.Seq2[Change, error] {
	first, second, err := span(from, to)
	if err != nil {
		return failed(err)
	}
	return failing(backup.Diff(ctx, b.b, first, second, false, publicChange), fail)
}

// DiffSQL yields the differences that [Backup.Diff] finds as the lines of a script for the
// sqlite3 shell, which makes the state at to of a database with the state at from. It does so
// in one transaction, or stops at the first error. If table is not empty, only that table's
// rows are in it. Nothing is yielded if there are no differences. Where Diff would yield a
// barrier, there is a comment.
//
// The script stops where rows exchange values of a UNIQUE constraint over several columns,
// and each of them changes others of these columns; where they exchange values that are only
// equal by a collation, or as numbers of another storage class; and at a unique index over an
// expression whose values are exchanged. It does not find the rows of a table that has a
// column called _rowid_ besides its rowid.
func (b *Backup) DiffSQL(ctx context.Context, from, to Point, table string) iter.Seq2[string, error] {
	first, second, err := span(from, to)
	if err != nil {
		return func(yield func(string, error) bool) { yield("", fail(err)) }
	}
	return failing(backup.DiffSQL(ctx, b.b, first, second, table), fail)
}

func span(from, to Point) (first, second restore.Target, err error) {
	if first, err = from.target(); err == nil {
		second, err = to.target()
	}
	return first, second, err
}

// MovedRow returns the rowids that an update takes a row from and to, if it does: the table
// has a rowid that is not one of its columns, and the update gives the row another one.
func (c Change) MovedRow() (from, to int64, moved bool) {
	return c.row.old, c.row.new, c.Operation == OperationUpdate && c.row.old != c.row.new
}
