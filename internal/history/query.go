// Package history reads the committed changes of a database, in either order: from the log
// in its file, and from its bucket where the log has been trimmed.
package history

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/driftdb/driftdb-go/internal/change"
)

// Change is one committed change. Its entry is valid only during the call that receives
// it.
type Change struct {
	Sequence int64
	Tx       int64 // sequence of the first change of the same transaction
	Time     int64 // Unix ms
	Last     bool  // no other change of the same transaction comes after it
	Entry    *change.Entry
}

// End is the last sequence that the change takes: a barrier may take many.
func (c Change) End() int64 { return c.Sequence + c.Entry.Width() - 1 }

// Query selects changes. The zero value selects all that are kept.
type Query struct {
	From, To int64                   // sequences, inclusive; 0: the first that is kept, the last
	Table    string                  // empty: all changes, including those of no table
	Key      map[string]change.Value // only this row of Table; nil: all
	Wait     bool                    // for changes to come
	Reverse  bool                    // newest first
	Tx       int64                   // only this transaction; 0: all
	Follow   bool                    // the whole life of the rows that have or had Key

	// Since and Until are points in the history (Unix ms; 0: none): what comes after the
	// last transaction that is earlier than Since, up to the last one that is not later
	// than Until.
	Since, Until int64

	around bool // what else befalls Table counts: barriers, and statements that alter or drop it
}

// from is the change at which reading begins; 0: the first that is kept.
func (q *Query) from() int64 {
	if q.Tx != 0 {
		return q.Tx
	}
	return q.From
}

// to is the change after which no transaction begins that can be selected; 0: none.
func (q *Query) to() int64 {
	if q.Tx != 0 && (q.To == 0 || q.Tx < q.To) {
		return q.Tx
	}
	return q.To
}

// past reports whether no transaction that begins at next or later can be selected.
func (q *Query) past(next int64) bool { return q.to() != 0 && next > q.to() }

// starts moves From past sequence n, the last before Since.
func (q *Query) starts(n int64) {
	q.Since = 0
	if n > 0 {
		q.From = max(q.From, n+1)
	}
}

// ends moves To back to sequence n, the last not after Until.
func (q *Query) ends(n int64) {
	if q.Until = 0; q.To == 0 || n < q.To {
		q.To = n
	}
}

// wants reports whether q selects c. A key that c's table does not have is an error;
// otherwise it would silently select nothing.
func (q *Query) wants(c Change) (bool, error) {
	e := c.Entry
	switch {
	case c.End() < q.From || q.To != 0 && c.Sequence > q.To || q.Tx != 0 && c.Tx != q.Tx:
		return false, nil
	case q.around && e.Op == change.Barrier, q.around && e.Op == change.Schema && alters(e.SQL, q.Table):
		return true, nil
	case q.Table != "" && !SameName(q.Table, e.Table):
		return false, nil
	case q.Key == nil:
		return true, nil
	}
	was, is := identities(e)
	found, err := q.is(was)
	if err == nil && !found && is != nil {
		found, err = q.is(is)
	}
	if err != nil {
		return false, about(c, err)
	}
	return found, nil
}

func about(c Change, err error) error { return fmt.Errorf("change %d: %w", c.Sequence, err) }

// RowID is the key name that identifies a row in a table without a primary key.
const RowID = "rowid"

// identities returns the columns that identify e's row, in the form of the public change's
// Key: before the change and, if an update may have changed them, after it.
func identities(e *change.Entry) (was, is []change.Column) {
	if len(e.Key) == 0 && e.HasRowID {
		rowid := func(n int64) []change.Column {
			return []change.Column{{Name: RowID, Value: change.Value{Kind: change.Integer, Int: n}}}
		}
		if was = rowid(e.RowID); e.Op == change.Update {
			is = rowid(e.NewRowID)
		}
		return was, is
	}
	if e.Op != change.Update {
		return e.Key, nil
	}
	is = slices.Clone(e.Key)
	for i := range is {
		if v := change.Find(e.After, is[i].Name); v != nil {
			is[i].Value = *v
		}
	}
	return e.Key, is
}

// is reports whether key equals q.Key.
func (q *Query) is(key []change.Column) (bool, error) {
	same, found := 0, true
	for i := range key {
		for name, want := range q.Key {
			if SameName(name, key[i].Name) {
				same++
				found = found && equal(&want, &key[i].Value)
			}
		}
	}
	if same != len(key) || same != len(q.Key) {
		names := make([]string, len(key))
		for i := range key {
			names[i] = key[i].Name
		}
		return false, fmt.Errorf("the key of table %s is (%s), not (%s)", q.Table,
			strings.Join(names, ", "), strings.Join(slices.Sorted(maps.Keys(q.Key)), ", "))
	}
	return found, nil
}

// equal compares two values as SQLite does without a collation: 5 is 5.0.
func equal(a, b *change.Value) bool {
	switch {
	case a.Kind == change.Integer && b.Kind == change.Real:
		return isInt(b.Real, a.Int)
	case a.Kind == change.Real && b.Kind == change.Integer:
		return isInt(a.Real, b.Int)
	}
	return a.Same(b)
}

// isInt reports whether f is exactly n: a float64 cannot represent every int64.
func isInt(f float64, n int64) bool {
	return f >= math.MinInt64 && f < -math.MinInt64 && int64(f) == n && f == math.Trunc(f)
}

// SameName compares names as SQLite does, which folds the letters of ASCII only.
func SameName(a, b string) bool { return fold(a) == fold(b) }

func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
