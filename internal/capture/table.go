package capture

import (
	"fmt"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// table is what the hook has to know of a table.
type table struct {
	shape   change.Shape
	stored  []int  // for each of the shape's columns, its place in the table …
	real    []bool // … whether it has REAL affinity …
	filled  []bool // … and whether it has a default other than NULL
	width   int    // number of columns, generated ones included
	rowid   string // what its rowid is called in SQL; empty if it has none, or none that can be named
	counted bool   // sqlite_sequence may have a counter for it
	lost    string // why its rows cannot be logged; empty: they can
	id      int64  // in _driftdb_shape; 0 until it is known
	pending bool   // id was given in this transaction
	index   int    // in recorder.used
}

// table returns what we know of the table name, and its index in the
// transaction's list.
func (r *recorder) table(name []byte) (*table, int) {
	if now := r.c.SchemaMark(); now != r.tablesAt {
		clear(r.tables)
		r.tablesAt = now
	}
	t := r.tables[string(name)]
	if t == nil {
		if t = r.readTable(string(name)); r.fail != nil {
			return t, 0
		}
		r.tables[string(name)] = t
	}
	if t.lost == "" && (t.index >= len(r.used) || r.used[t.index] != t) {
		t.index = len(r.used)
		r.used = append(r.used, t)
	}
	return t, t.index
}

func (r *recorder) readTable(name string) *table {
	t := &table{shape: change.Shape{Table: name}}
	var info *sqlite.Table
	if err := r.unseen(func() (err error) { info, err = r.c.Table(name); return err }); err != nil {
		r.fail = fmt.Errorf("capture: %w", err)
		return t
	}
	for _, column := range info.Columns {
		t.shape.Columns = append(t.shape.Columns, column.Name)
		t.stored = append(t.stored, column.Place)
		t.real = append(t.real, column.Real)
		t.filled = append(t.filled, column.HasDefault)
	}
	t.shape.Key = append([]int{}, info.Key...)
	t.shape.RowID = info.HasRowID && !info.IsKey
	t.width, t.rowid, t.counted = info.Width, info.RowID, info.Counted
	switch _, err := t.shape.Marshal(); {
	case err != nil:
		t.lost = err.Error()
	case info.HasRowID && t.rowid == "":
		t.lost = "table " + name + " has columns named rowid, oid and _rowid_: its rows cannot be addressed"
	case info.TooWide():
		t.lost = "table " + name + " has a rowid beside as many columns as a statement can read: its rows cannot be told apart"
	default:
		t.lost = r.unprovable(info)
	}
	return t
}

// shapeID returns the number of t's shape, and stores the shape if it is new.
func (r *recorder) shapeID(t *table) int64 {
	if t.id != 0 {
		return t.id
	}
	def, err := t.shape.Marshal()
	if err != nil {
		r.fail = err
		return 0
	}
	r.st.findShape.BindText(1, def)
	r.mustRun(r.st.findShape, func(st *sqlite.Stmt) { t.id = st.Int64(0) })
	if t.id == 0 && r.fail == nil {
		r.st.addShape.BindText(1, def)
		if t.id, err = r.run(r.st.addShape, nil); err != nil {
			r.fail, t.id = err, 0
		}
	}
	t.pending = true
	return t.id
}

// forgetShapes drops the numbers that this transaction gave: it may be rolling
// back the rows that hold them.
func (r *recorder) forgetShapes() {
	for _, t := range r.used {
		if t.pending {
			t.id, t.pending = 0, false
		}
	}
}
