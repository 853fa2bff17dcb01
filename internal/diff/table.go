package diff

import (
	"slices"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/ddl"
)

// table is a table of which the log has a change. Its columns have numbers, which they keep
// when they are renamed: so what is known of its rows does not change with their names.
type table struct {
	id    int64
	name  string
	plain bool // it is known not to be virtual

	numbers map[string]int // of the columns that it has now, by folded name
	names   map[int]string // their names
	order   []int          // the columns in the table's order, as far as it is known
	next    int            // the next column's number

	hasRowID bool  // rows are identified by the rowid, not by the key
	key      []int // the primary key's columns
}

func newTable(id int64, name string) *table {
	return &table{id: id, name: name, numbers: map[string]int{}, names: map[int]string{}}
}

// learn takes from an entry what it tells about the table.
func (t *table) learn(e *change.Entry) {
	t.plain, t.hasRowID = true, e.HasRowID
	row := e.After
	if e.Op == change.Delete {
		row = e.Before
	}
	var columns []int
	for i := range row {
		columns = append(columns, t.number(row[i].Name))
	}
	if e.Op == change.Update {
		for _, c := range columns {
			if !slices.Contains(t.order, c) {
				t.order = append(t.order, c)
			}
		}
	} else {
		t.order = columns
	}
	t.key = t.key[:0]
	for i := range e.Key {
		t.key = append(t.key, t.number(e.Key[i].Name))
	}
}

// number returns the number of the column that has this name now.
func (t *table) number(name string) int {
	folded := ddl.Fold(name)
	n, known := t.numbers[folded]
	if !known {
		n = t.next
		t.next++
		t.numbers[folded] = n
	}
	t.names[n] = name
	return n
}

// rename renames a column.
func (t *table) rename(from, to string) {
	if n, known := t.numbers[ddl.Fold(from)]; known {
		delete(t.numbers, ddl.Fold(from))
		t.numbers[ddl.Fold(to)], t.names[n] = n, to
	}
}

// drop forgets a column. One that gets its name later is another one.
func (t *table) drop(name string) {
	if n, known := t.numbers[ddl.Fold(name)]; known {
		delete(t.numbers, ddl.Fold(name))
		delete(t.names, n)
		t.order = slices.DeleteFunc(t.order, func(c int) bool { return c == n })
	}
}

// identities returns what identifies e's row before and after the change.
func (t *table) identities(e *change.Entry) (was, is []byte) {
	if e.HasRowID {
		return change.AppendInt(nil, e.RowID), change.AppendInt(nil, e.NewRowID)
	}
	for i := range e.Key {
		was = change.AppendValue(was, e.Key[i].Value)
		if v := change.Find(e.After, e.Key[i].Name); e.Op == change.Update && v != nil {
			is = change.AppendValue(is, *v)
		} else {
			is = change.AppendValue(is, e.Key[i].Value)
		}
	}
	return was, is
}

// columns names the values of a row's cells that get chooses, in the table's order. Columns
// that have been dropped are left out.
func (t *table) columns(cells []cell, get func(*cell) *change.Value) (row []change.Column) {
	for _, n := range t.order {
		for i := range cells {
			if v := get(&cells[i]); cells[i].column == n && v != nil {
				row = append(row, change.Column{Name: t.names[n], Value: *v})
			}
		}
	}
	return row
}
