package inspect

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go"
)

// changeView is a change, ready to be shown.
type changeView struct {
	Sequence  int64
	Operation driftdb.Operation
	Table     []piece // empty for schema and barrier
	TableLink string  // to the log of the table
	Key       []piece
	RowLink   string // to the life of the row
	Text      value  // the statement or the reason
	Columns   []columnView
	More      int // columns that are not shown
}

// columnView is a column of a change.
type columnView struct {
	Name          []piece
	Before, After *value // nil: there is none
	Changed       bool   // both are there, and differ
}

// limits say how much of a change is shown.
type limits struct {
	columns, value int
}

var (
	brief    = limits{columns: 12, value: 120}   // a line of the log
	detailed = limits{columns: 100, value: 2000} // a change among few
)

// viewChange prepares a change.
func (v *visit) viewChange(c driftdb.Change, l limits) changeView {
	out := changeView{Sequence: c.Sequence, Operation: c.Operation}
	if c.Table != "" {
		out.Table, out.TableLink = pieces(shorten(c.Table, 200)), v.link("log", "table", c.Table)
	}
	if len(c.Key) > 0 {
		out.Key = pieces(keyText(c.Key))
		if key := encodeKey(c.Key); key != "" && len(c.Table) <= maxKey {
			out.RowLink = v.link("row", "table", c.Table, "key", key)
		}
	}
	if text := c.SQL + c.Reason; text != "" {
		out.Text = show(oneLine(text), l.value)
		v.linkValue(&out.Text, c, "", "sql")
	}
	for _, name := range c.Columns {
		if len(out.Columns) == l.columns {
			out.More++
			continue
		}
		if col, ok := v.viewColumn(c, name, l.value); ok {
			out.Columns = append(out.Columns, col)
		}
	}
	return out
}

// viewColumn prepares a column of a change. An update that moved its row has all columns:
// those that it left as they were are no part of what it did.
func (v *visit) viewColumn(c driftdb.Change, name string, limit int) (columnView, bool) {
	out := columnView{Name: pieces(shorten(name, 200))}
	before, hasBefore := c.Before[name]
	after, hasAfter := c.After[name]
	var x, y value
	if out.Changed = hasBefore && hasAfter; out.Changed {
		if reflect.DeepEqual(before, after) {
			return out, false
		}
		x, y = differing(before, after, limit)
	} else {
		x, y = show(before, limit), show(after, limit)
	}
	v.linkValue(&x, c, name, "before")
	v.linkValue(&y, c, name, "after")
	if hasBefore {
		out.Before = &x
	}
	if hasAfter {
		out.After = &y
	}
	return out, true
}

// linkValue links a value that is not shown as a whole to the page that has all of it.
func (v *visit) linkValue(x *value, c driftdb.Change, column, side string) {
	if x.More != "" && len(column) <= maxKey {
		x.Link = v.link("value", "change", fmt.Sprint(c.Sequence), "column", column, "side", side)
	}
}

// txView is a transaction, or the part of it that a page shows.
type txView struct {
	Number  int64
	Time    time.Time
	Link    string
	Changes []changeView
}

// transactions groups changes, in the order that they have.
func (v *visit) transactions(changes []driftdb.Change, l limits) (out []txView) {
	for _, c := range changes {
		if n := len(out); n == 0 || out[n-1].Number != c.Tx {
			out = append(out, txView{Number: c.Tx, Time: c.Time, Link: v.link("tx/" + fmt.Sprint(c.Tx))})
		}
		last := &out[len(out)-1]
		last.Changes = append(last.Changes, v.viewChange(c, l))
	}
	return out
}

// oneLine replaces the breaks in a statement, as a page does anyway.
func oneLine(s string) string {
	return strings.NewReplacer("\r\n", " ", "\n", " ", "\t", " ").Replace(s)
}
