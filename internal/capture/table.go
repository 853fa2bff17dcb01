package capture

import (
	"fmt"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// table is what the hook knows about a table.
type table struct {
	shape   change.Shape
	stored  []int  // the position in the table of each of the shape's columns
	real    []bool // which of them have REAL affinity
	filled  []bool // which of them have a default other than NULL
	width   int    // number of columns, including generated ones
	rowid   string // the rowid's name in SQL; empty if there is no rowid or no name for it
	counted bool   // sqlite_sequence may have a counter for it
	lost    string // why its rows cannot be logged; empty if they can
	id      int64  // in _driftdb_shape; 0 until it is known
	pending bool   // id was assigned in this transaction
	index   int    // in tables.used
}

// tables holds what we know about main's tables, and which of them the transaction changes.
type tables struct {
	c                   *sqlite.Conn
	own                 *ownStatements
	findShape, addShape *sqlite.Stmt
	known               map[string]*table
	at                  sqlite.SchemaMark // the state of the schema that known is valid for
	used                []*table          // those that the transaction's entries refer to, by index
}

func (ts *tables) prepare() error {
	ts.known = map[string]*table{}
	return ts.own.prepare(
		ownStatement{&ts.findShape, "SELECT id FROM main._driftdb_shape WHERE def = ?1"},
		ownStatement{&ts.addShape, "INSERT INTO main._driftdb_shape(def) VALUES(?1)"},
	)
}

// find returns what we know about the named table, and its index in the transaction's list.
func (ts *tables) find(name []byte) (*table, int, error) {
	if now := ts.c.SchemaMark(); now != ts.at {
		clear(ts.known)
		ts.at = now
	}
	t := ts.known[string(name)]
	if t == nil {
		var err error
		if t, err = ts.read(string(name)); err != nil {
			return nil, 0, err
		}
		ts.known[string(name)] = t
	}
	if t.lost == "" && (t.index >= len(ts.used) || ts.used[t.index] != t) {
		t.index = len(ts.used)
		ts.used = append(ts.used, t)
	}
	return t, t.index, nil
}

func (ts *tables) read(name string) (*table, error) {
	t := &table{shape: change.Shape{Table: name}}
	var info *sqlite.Table
	if err := ts.own.do(func() (err error) { info, err = ts.c.Table(name); return err }); err != nil {
		return nil, fmt.Errorf("capture: %w", err)
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
	_, err := t.shape.Marshal()
	switch {
	case err != nil:
		t.lost = err.Error()
	case info.HasRowID && t.rowid == "":
		t.lost = "table " + name + " has columns named rowid, oid and _rowid_: its rows cannot be addressed"
	case info.TooWide():
		t.lost = "table " + name + " has a rowid beside as many columns as a statement can read: its rows cannot be told apart"
	default:
		t.lost, err = unprovable(ts.c, ts.own, info)
		return t, err
	}
	return t, nil
}

// appendHeader appends the header of a log row: the shape numbers of the tables in use. It
// stores new shapes.
func (ts *tables) appendHeader(b []byte) ([]byte, error) {
	ids := make([]int64, len(ts.used))
	for i, t := range ts.used {
		if t.id == 0 {
			if err := ts.number(t); err != nil {
				return nil, err
			}
		}
		ids[i] = t.id
	}
	return change.AppendHeader(b, ids), nil
}

// number sets t.id to the number of its shape.
func (ts *tables) number(t *table) error {
	def, err := t.shape.Marshal()
	if err != nil {
		return err
	}
	id := int64(0)
	ts.findShape.BindText(1, def)
	if _, err := ts.own.run(ts.findShape, func(st *sqlite.Stmt) { id = st.Int64(0) }); err != nil {
		return err
	}
	if id == 0 {
		ts.addShape.BindText(1, def)
		if id, err = ts.own.run(ts.addShape, nil); err != nil {
			return err
		}
	}
	t.id, t.pending = id, true
	return nil
}

// forgetShapes drops the shape numbers assigned in this transaction: a rollback may
// remove the rows that hold them.
func (ts *tables) forgetShapes() {
	for _, t := range ts.used {
		if t.pending {
			t.id, t.pending = 0, false
		}
	}
}

func (ts *tables) reset() { ts.used = ts.used[:0] }
