package driftdb

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/driftdb/driftdb-go/internal/backup"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/engine"
	"github.com/driftdb/driftdb-go/internal/history"
	"github.com/driftdb/driftdb-go/internal/statement"
)

// Change is one committed change. Values are int64, float64, string, []byte or nil.
type Change struct {
	Sequence int64
	Tx       int64 // sequence of the first change of the same transaction
	Last     bool  // it is the last change of its transaction
	Time     time.Time

	Table     string // "" for schema and barrier
	Operation Operation

	// Key is the row's primary key, or its rowid if the table has none: before an update
	// or delete, after an insert.
	Key map[string]any
	// Before and After are the row: all of it for an insert or delete; the changed
	// columns for an update, or all of them if the row's identity changed.
	Before, After map[string]any
	// Columns are the columns in Before and After, in the order of the table.
	Columns []string

	SQL    string // schema: the statement
	Reason string // barrier: why the log cannot describe what happened here

	Current map[string]any // a conflict of [DB.Undo]: the row as it is now

	row      rowID
	settings change.Settings // of a schema's statement
}

// rowID is how a row is addressed that has a rowid which is not one of its columns.
type rowID struct {
	has      bool
	old, new int64
}

// Statement returns the SQL statements that make the change again, exactly: rowids,
// storage classes and the last bit of each value. Triggers and foreign keys must be off,
// since what they did is in the log too. It is empty for an update that changed nothing
// that is stored, and a comment for a barrier.
func (c Change) Statement() string {
	e := change.Entry{Table: c.Table, HasRowID: c.row.has, RowID: c.row.old, NewRowID: c.row.new, SQL: c.SQL, Settings: c.settings, Reason: c.Reason}
	e.Op, _ = change.ParseOp(string(c.Operation))
	e.Before, e.After = values(c.Columns, c.Before), values(c.Columns, c.After)
	if !c.row.has {
		e.Key = values(slices.Sorted(maps.Keys(c.Key)), c.Key)
	}
	return statement.SQL(&e)
}

func values(columns []string, row map[string]any) (out []change.Column) {
	for _, name := range columns {
		if v, ok := row[name]; ok {
			out = append(out, change.Column{Name: name, Value: change.ValueOf(v)})
		}
	}
	return out
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

	// Follow selects the whole life of the rows that have, or had, this Key: also what
	// happened to such a row under other keys, before it got this one and after it lost
	// it. What may have changed such a row unseen counts too: barriers, and statements
	// that alter or drop the table. The changes are kept in memory until the last one is
	// found.
	Follow bool

	// Since and Until are points in time, as for Restore: the changes after the last
	// transaction that is earlier than Since, up to the last one that is not later than
	// Until.
	Since, Until time.Time

	Tx int64 // only the changes of this transaction, see Change.Tx; 0: of all

	// Reverse yields the newest change first.
	Reverse bool

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
	case q.Tx < 0:
		return history.Query{}, fmt.Errorf("the changes of transaction %d: it is negative", q.Tx)
	case !q.Since.IsZero() && !q.Until.IsZero() && q.Until.Before(q.Since):
		return history.Query{}, fmt.Errorf("the changes since %s until %s end before they begin", stamp(q.Since), stamp(q.Until))
	case q.Key != nil && q.Table == "":
		return history.Query{}, errors.New("ChangeQuery.Key needs Table")
	case q.Follow && q.Key == nil:
		return history.Query{}, errors.New("ChangeQuery.Follow needs Key")
	case q.Wait && (q.Follow || q.Reverse || !q.Until.IsZero()):
		return history.Query{}, errors.New("ChangeQuery.Wait cannot be combined with Follow, Reverse or Until")
	}
	out := history.Query{
		From: q.From, To: q.To, Table: q.Table, Wait: q.Wait, Reverse: q.Reverse, Tx: q.Tx, Follow: q.Follow,
		Since: milliseconds(q.Since), Until: milliseconds(q.Until),
	}
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

// milliseconds is t as the log has times; 0 for the zero time.
func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(t.UnixMilli(), 1)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Changes yields the committed changes that q selects, oldest first unless q says
// otherwise. Changes that the local log no longer has are read from the bucket, over the
// network. After an error it yields nothing more.
func (db *DB) Changes(ctx context.Context, q ChangeQuery) iter.Seq2[Change, error] {
	query, err := q.query()
	if err != nil {
		return failed(err)
	}
	return failing(history.Changes(ctx, db.engine.History(), query, publicChange), fail)
}

// Changes yields the changes in the backup that q selects, oldest first unless q says
// otherwise. It fetches only the objects that can hold them. After an error it yields
// nothing more.
//
// Each batch of changes is verified, and continues the one before, when its changes are
// yielded; if the backup is encrypted, its keys have proven it. What the manifest confirms
// is compared when the loop gets there: if it comes to the manifest's last change by
// batches of another history, it yields ErrCorrupt. With Reverse it begins there, unless
// To ends it earlier, so all that it yields is proven.
//
// It uses the network; with ChangeQuery.Wait it asks for more every five seconds.
// ErrRolledBack: changes that it has yielded are no longer part of the history, because
// another writer took over before they were confirmed.
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
		Sequence: c.Sequence, Tx: c.Tx, Last: c.Last, Time: time.UnixMilli(c.Time),
		Table: e.Table, Operation: Operation(e.Op.String()), SQL: e.SQL, Reason: e.Reason,
		Before: change.Map(e.Before), After: change.Map(e.After), Columns: change.Names(e),
		row: rowID{e.HasRowID, e.RowID, e.NewRowID}, settings: e.Settings,
	}
	switch {
	case len(e.Key) > 0:
		out.Key = change.Map(e.Key)
	case e.HasRowID:
		out.Key = map[string]any{history.RowID: e.RowID}
	}
	return out
}
