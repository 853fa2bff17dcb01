package driftdb

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/driftdb/driftdb-go/internal/backup"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/engine"
	"github.com/driftdb/driftdb-go/internal/history"
)

// Change is one committed change. Values are int64, float64, string, []byte or nil.
type Change struct {
	Sequence int64
	Tx       int64 // sequence of the first change of the same transaction
	Time     time.Time

	Table     string // "" for schema and barrier
	Operation Operation

	// Key is the row's primary key, or its rowid if the table has none: before an update
	// or delete, after an insert.
	Key map[string]any
	// Before and After are the row: all of it for an insert or delete; the changed
	// columns for an update, or all of them if the row's identity changed.
	Before, After map[string]any

	SQL    string // schema: the statement
	Reason string // barrier: why the log cannot describe what happened here

	Current map[string]any // a conflict of [DB.Undo]: the row as it is now
}

// ChangeQuery selects changes. The zero value selects all that are kept, up to the last
// one committed by the time reading gets there.
type ChangeQuery struct {
	From, To int64  // sequences, both included; 0: the first that is kept, the last
	Table    string // only changes of this table's rows; "": all, including those of the schema

	// Key selects one row of Table: its primary-key columns, or "rowid" if the table has
	// none, with their values. Text is compared exactly, whatever the column's collation.
	// A change that gives this key to another row, or another key to this row, counts
	// too. A Key with columns other than the table's key is an error, at the first change
	// that shows it.
	Key map[string]any

	// Wait makes the loop wait for more changes after the last one, until To or until ctx
	// ends; the error of ctx is then the last thing it yields.
	Wait bool
}

func (q ChangeQuery) query() (history.Query, error) {
	switch {
	case q.From < 0 || q.To < 0:
		return history.Query{}, fmt.Errorf("the changes %d to %d: a sequence is negative", q.From, q.To)
	case q.To != 0 && q.To < q.From:
		return history.Query{}, fmt.Errorf("the changes %d to %d end before they begin", q.From, q.To)
	case q.Key != nil && q.Table == "":
		return history.Query{}, errors.New("ChangeQuery.Key needs Table")
	}
	out := history.Query{From: q.From, To: q.To, Table: q.Table, Wait: q.Wait}
	if q.Key == nil {
		return out, nil
	}
	out.Key = make(map[string]change.Value, len(q.Key))
	for column, value := range q.Key {
		v, err := engine.Named([]any{value})
		if err != nil {
			return out, fmt.Errorf("%w (ChangeQuery.Key[%q])", err, column)
		}
		out.Key[column] = change.ValueOf(v[0].Value)
	}
	return out, nil
}

// Changes yields the committed changes that q selects, oldest first. Changes that the
// local log no longer has are read from the bucket, over the network. After an error it
// yields nothing more.
func (db *DB) Changes(ctx context.Context, q ChangeQuery) iter.Seq2[Change, error] {
	query, err := q.query()
	if err != nil {
		return failed(err)
	}
	return failing(history.Changes(ctx, db.engine.History(), query, publicChange), fail)
}

// Changes yields the changes in the backup that q selects, oldest first. It verifies each
// batch before it yields its changes. It uses the network; with ChangeQuery.Wait it asks
// for more every five seconds. After an error it yields nothing more. ErrRolledBack:
// changes that it has yielded are no longer part of the history, because another writer
// took over before they were confirmed.
func (b *Backup) Changes(ctx context.Context, q ChangeQuery) iter.Seq2[Change, error] {
	query, err := q.query()
	if err != nil {
		return failed(err)
	}
	return failing(backup.Changes(ctx, b.b, query, publicChange), fail)
}

func failed(err error) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) { yield(Change{}, fail(err)) }
}

func publicChange(c history.Change) Change {
	e := c.Entry
	out := Change{
		Sequence: c.Sequence, Tx: c.Tx, Time: time.UnixMilli(c.Time),
		Table: e.Table, Operation: Operation(e.Op.String()), SQL: e.SQL, Reason: e.Reason,
		Before: change.Map(e.Before), After: change.Map(e.After),
	}
	switch {
	case len(e.Key) > 0:
		out.Key = change.Map(e.Key)
	case e.HasRowID:
		out.Key = map[string]any{history.RowID: e.RowID}
	}
	return out
}
