package driftdb

import (
	"context"
	"time"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/undo"
)

// Undo says what [DB.Undo] takes back.
type Undo struct {
	// From and To are sequences of changes: the transactions that they are part of, and all
	// between, are undone. For one transaction, both can be any of its changes.
	From, To int64

	Table  string         // only this table's rows
	Key    map[string]any // only this row of Table, as in [ChangeQuery]; if its key was changed, it is followed
	Force  bool           // also rows that have been changed since
	DryRun bool           // change nothing; the result says what would be done
}

// UndoResult is what [DB.Undo] did, or would do.
type UndoResult struct {
	From, To     int64 // the first and last change of the transactions
	Transactions int   // how many they are
	Undone       int   // how many rows were made what they were before

	// Conflicts are rows that have been changed since: Before is such a row before the
	// transactions, After what they made of it, and Current what it is now. Each is nil if
	// there was, or is, no row. An update has only the columns that were changed, then or
	// since. Sequence, Tx and Time are those of the last change since, if the log has one.
	//
	// A conflict with a Reason is a row that would reference one that does not exist.
	//
	// Conflicting is how many there are. Conflicts has at most 10,000.
	Conflicts   []Change
	Conflicting int

	// SQL are the statements that were, or would be, run: of many, the first thousand, or
	// the first mebibyte of text, and a comment that says how many more there are.
	SQL []string

	// Sequence is the last change of the undo's own transaction; 0 if nothing was
	// committed. Undo takes that back with From and To at this sequence.
	Sequence int64

	// Unlogged says why the log cannot describe the undo's own transaction, as it cannot
	// describe any of more than 24 MiB. A snapshot follows, and the undo cannot be undone.
	Unlogged string
}

// Undo makes the rows that some transactions changed what they were before, in one new
// transaction. That is captured and synced like any other, and can itself be undone. Undo
// reads the log in the file, and the bucket for what the file no longer has.
//
// A row that has been changed since is a conflict, unless it is again what it was before:
// then nothing is changed, the error is [ErrConflict], and the result lists all conflicts.
// With Force such a row, too, becomes what it was before the transactions, all of it: what
// came later is lost, a row that was deleted is there again, and one that they inserted is
// not. A row is followed if its primary key or its rowid has been changed since.
//
// With and without Force, nothing is changed and the error says why
//   - if another row has a UNIQUE value by now that a row had ([ConstraintError]);
//   - if a reference to a row that does not exist would be left ([ErrConflict]);
//   - if the transactions changed the schema, or a later one dropped, or renamed something
//     in, what is to be undone. What the transactions created is dropped: indexes, views,
//     triggers, and tables without other rows;
//   - if the log cannot describe something that happened in the transactions or since
//     (OperationBarrier).
//
// Triggers do not fire, and foreign keys do nothing: what they did is among the changes,
// and is undone with them. Rows get their own rowids back. AUTOINCREMENT counters stay, so
// that no number is given twice. A full-text index that has been written since is made anew
// from its contents, which are undone row by row.
func (db *DB) Undo(ctx context.Context, u Undo) (UndoResult, error) {
	o := undo.Options{From: u.From, To: u.To, Table: u.Table, Force: u.Force, DryRun: u.DryRun}
	if u.Key != nil {
		q, err := ChangeQuery{Table: u.Table, Key: u.Key}.query()
		if err != nil {
			return UndoResult{}, fail(err)
		}
		o.Key = q.Key
	}
	r, err := db.engine.Undo(ctx, o)
	out := UndoResult{
		From: r.From, To: r.To, Transactions: r.Transactions, Undone: r.Undone,
		Conflicting: r.Conflicting, SQL: r.SQL, Sequence: r.Sequence, Unlogged: r.Unlogged,
	}
	for _, c := range r.Conflicts {
		out.Conflicts = append(out.Conflicts, undoConflict(c))
	}
	return out, fail(err)
}

func undoConflict(c undo.Conflict) Change {
	out := Change{
		Sequence: c.Sequence, Tx: c.Tx, Table: c.Table, Operation: Operation(c.Op.String()), Reason: c.Reason,
		Key: change.Map(c.Key), Before: change.Map(c.Was), After: change.Map(c.Made), Current: change.Map(c.Now), Columns: c.Columns,
	}
	if c.Sequence != 0 {
		out.Time = time.UnixMilli(c.Millis)
	}
	return out
}
