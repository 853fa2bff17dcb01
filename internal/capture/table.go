package capture

import (
	"slices"
	"strings"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// table is what the hook has to know of a table.
type table struct {
	shape   change.Shape
	stored  []int  // for each of the shape's columns, its place in the table …
	real    []bool // … whether it has REAL affinity …
	filled  []bool // … and whether it has a default other than NULL
	width   int    // number of columns, generated ones included
	rowid   string // what its rowid is called in SQL; empty if it has none, or none that can be named
	lost    string // why its rows cannot be logged; empty: they can
	id      int64  // in _driftdb_shape; 0 until it is known
	pending bool   // id was given in this transaction
	index   int    // in recorder.used
}

// schemaMark tells one state of main's schema, as this connection has it in
// memory, from another. The cookie alone would not do: a change that is rolled
// back and another one give the same number.
type schemaMark struct {
	cookie     int64
	generation int64
}

func (r *recorder) schemaNow() schemaMark {
	db := sqlite.At[lib.Tsqlite3](r.c.DB)
	s := sqlite.At[lib.TSchema](sqlite.At[lib.TDb](db.FaDb).FpSchema)
	return schemaMark{int64(s.Fschema_cookie), int64(s.FiGeneration)}
}

// table returns what we know of the table name, and its index in the
// transaction's list.
func (r *recorder) table(name []byte) (*table, int) {
	if now := r.schemaNow(); now != r.tablesAt {
		clear(r.tables)
		r.tablesAt = now
	}
	t := r.tables[string(name)]
	if t == nil {
		t = r.readTable(string(name))
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
	hasRowID := true
	r.st.rowid.BindText(1, name)
	r.mustRun(r.st.rowid, func(st *sqlite.Stmt) { hasRowID = st.Int64(0) == 0 })
	var keys []int // keys[pk-1] is the index of that part of the primary key
	var hidden []string
	integer := false
	r.st.columns.BindText(1, name)
	r.mustRun(r.st.columns, func(st *sqlite.Stmt) {
		column, generated, pk, typ := st.Text(0), st.Int64(1) != 0, int(st.Int64(2)), st.Text(3)
		hidden = append(hidden, column)
		if !generated {
			for len(keys) < pk {
				keys = append(keys, -1)
			}
			if pk > 0 {
				keys[pk-1] = len(t.shape.Columns)
				integer = strings.EqualFold(typ, "INTEGER")
			}
			t.shape.Columns = append(t.shape.Columns, column)
			t.stored = append(t.stored, t.width)
			t.real = append(t.real, isReal(typ))
			t.filled = append(t.filled, !st.IsNull(4) && !strings.EqualFold(st.Text(4), "NULL"))
		}
		t.width++
	})
	t.shape.Key = append([]int{}, keys...)
	if hasRowID && len(keys) == 1 && integer && r.isRowIDAlias(name, t.shape.Columns[keys[0]]) {
		t.rowid = quote(t.shape.Columns[keys[0]])
	} else if hasRowID {
		t.shape.RowID, t.rowid = true, rowIDName(hidden)
	}
	switch _, err := t.shape.Marshal(); {
	case err != nil:
		t.lost = err.Error()
	case hasRowID && t.rowid == "":
		t.lost = "table " + name + " has columns named rowid, oid and _rowid_: its rows cannot be addressed"
	}
	return t
}

// rowIDName is the first of the rowid's names that no column hides.
func rowIDName(columns []string) string {
	for _, name := range []string{"rowid", "_rowid_", "oid"} {
		if !slices.ContainsFunc(columns, func(c string) bool { return strings.EqualFold(c, name) }) {
			return name
		}
	}
	return ""
}

// isReal says whether a column declared as typ has REAL affinity. The rules
// are SQLite's, in its order.
func isReal(typ string) bool {
	has := func(s string) bool { return strings.Contains(strings.ToUpper(typ), s) }
	if has("INT") || has("CHAR") || has("CLOB") || has("TEXT") || has("BLOB") {
		return false
	}
	return has("REAL") || has("FLOA") || has("DOUB")
}

// isRowIDAlias says whether an INTEGER column that is the whole primary key is
// the rowid itself. "INTEGER PRIMARY KEY DESC" in a column's definition is not:
// such a key has an index of its own.
func (r *recorder) isRowIDAlias(name, column string) bool {
	alias := true
	st, err := r.c.Prepare("SELECT 1 FROM pragma_index_list(?1, 'main') WHERE origin = 'pk'")
	if err != nil {
		r.fail = err
		return false
	}
	defer st.Finalize()
	st.BindText(1, name)
	r.mustRun(st, func(*sqlite.Stmt) { alias = false })
	return alias
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
