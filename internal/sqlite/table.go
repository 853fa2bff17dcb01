package sqlite

import (
	"fmt"
	"slices"
	"strings"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// Table is what there is to know of a table of main in order to read and write
// its rows exactly.
type Table struct {
	Name    string
	Columns []TableColumn // in table order, without generated ones
	Width   int           // number of columns, generated ones included
	Key     []int         // indexes of the primary key's columns, in key order

	HasRowID bool   // it is not WITHOUT ROWID
	IsKey    bool   // the rowid is the column that is the whole primary key
	Counted  bool   // its key is AUTOINCREMENT
	RowID    string // what the rowid is called in SQL; "" if there is none, or columns hide all of its names
}

// TableColumn is a column that is stored.
type TableColumn struct {
	Name       string
	Place      int  // among all of the table's columns
	Real       bool // it has REAL affinity: on disk, 5.0 is the integer 5
	HasDefault bool // other than NULL
}

// Table reads what main's schema says of the table name. It asks for that table alone:
// sqlite_schema and PRAGMA table_list would be read to their ends, and to read about
// every table would take a time that grows with the square of their number.
func (c *Conn) Table(name string) (*Table, error) {
	t := &Table{Name: name}
	var all []string // with generated columns
	integer := false
	if err := c.About("SELECT name, hidden, pk, type, dflt_value FROM pragma_table_xinfo(?1, 'main')", name, func(st *Stmt) {
		column, generated, pk, typ := st.Text(0), st.Int64(1) != 0, int(st.Int64(2)), st.Text(3)
		if !generated {
			for len(t.Key) < pk {
				t.Key = append(t.Key, -1)
			}
			if pk > 0 {
				t.Key[pk-1] = len(t.Columns)
				integer = strings.EqualFold(typ, "INTEGER")
			}
			t.Columns = append(t.Columns, TableColumn{column, len(all), isReal(typ), !st.IsNull(4) && !strings.EqualFold(st.Text(4), "NULL")})
		}
		all = append(all, column)
	}); err != nil {
		return nil, err
	}
	if t.Width = len(all); t.Width == 0 {
		return nil, fmt.Errorf("there is no table %s", name)
	}
	// A column may be in the key twice, under two collations. It has one number.
	t.Key = slices.DeleteFunc(t.Key, func(k int) bool { return k < 0 })
	t.RowID = rowIDName(all)
	var err error
	if t.HasRowID, err = c.hasRowID(name, t.RowID); err != nil {
		return nil, err
	}
	if !t.HasRowID {
		t.RowID = ""
		return t, nil
	}
	if len(t.Key) != 1 || !integer {
		return t, nil
	}
	// "INTEGER PRIMARY KEY DESC" in a column's definition is not the rowid: such
	// a key has an index of its own.
	t.IsKey = true
	err = c.About("SELECT 1 FROM pragma_index_list(?1, 'main') WHERE origin = 'pk'", name, func(*Stmt) { t.IsKey = false })
	if err != nil || !t.IsKey {
		return t, err
	}
	key := t.Columns[t.Key[0]].Name
	t.RowID = Quote(key)
	_, t.Counted, err = c.lookUp(name, key)
	return t, err
}

// VirtualTables returns main's virtual tables, by their names in upper case, from the
// schema that SQLite has in memory. A query would read all of a large schema after each
// of its changes.
func (c *Conn) VirtualTables() (map[string]bool, error) {
	names := map[string]bool{}
	if !c.schemaLoaded() {
		if err := c.Exec("SELECT 1 FROM main.sqlite_schema LIMIT 0"); err != nil {
			return nil, err
		}
	}
	c.eachVirtualTable(func(name string) { names[strings.ToUpper(name)] = true })
	return names, nil
}

// TooWide says that a row cannot be read in one statement: its rowid is one column more
// than SQLite allows.
func (t *Table) TooWide() bool { return t.HasRowID && !t.IsKey && len(t.Columns) >= 2000 }

// hasRowID says whether a table has a rowid, which no column hides as alias. Where
// columns hide all of its names, the list of all tables has to tell.
func (c *Conn) hasRowID(table, alias string) (has bool, err error) {
	if alias != "" {
		has, _, err = c.lookUp(table, alias)
		return has, err
	}
	err = c.About("SELECT wr FROM pragma_table_list(?1) WHERE schema = 'main'", table, func(st *Stmt) { has = st.Int64(0) == 0 })
	return has, err
}

// lookUp says whether table has a column of that name, or a rowid that it is a name of;
// and whether that is AUTOINCREMENT. It goes by the schema that c has in memory, which
// a statement before it has brought up to date.
func (c *Conn) lookUp(table, column string) (exists, counted bool, err error) {
	var names [3]uintptr
	for i, name := range []string{"main", table, column} {
		if names[i], err = libc.CString(name); err != nil {
			return false, false, err
		}
		defer libc.Xfree(c.TLS, names[i])
	}
	auto := cmem.At[int32](c.cells)
	*auto = 0
	rc := lib.Xsqlite3_table_column_metadata(c.TLS, c.DB, names[0], names[1], names[2], 0, 0, 0, 0, c.cells)
	if rc == lib.SQLITE_ERROR {
		return false, false, nil
	}
	return true, *auto != 0, c.Err(rc)
}

// KeyCollations are the collations of the columns of a table's primary key in the key's
// index, by the columns' names: a column may be in the key twice. A key that is the rowid
// has none.
func (c *Conn) KeyCollations(table string) (map[string][]string, error) {
	all := map[string][]string{}
	return all, c.About(`SELECT k.name, k.coll FROM pragma_index_list(?1, 'main') i, pragma_index_xinfo(i.name, 'main') k
		WHERE i.origin = 'pk' AND k.key ORDER BY k.seqno`, table, func(st *Stmt) {
		all[st.Text(0)] = append(all[st.Text(0)], st.Text(1))
	})
}

// About runs a query with one text, such as a table's name, as its parameter.
func (c *Conn) About(query, table string, row func(*Stmt)) error {
	st, err := c.Cached(query)
	if err != nil {
		return err
	}
	defer st.Release()
	st.BindText(1, table)
	return st.Each(func(st *Stmt) error { row(st); return nil })
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

// Quote makes a name of any bytes an SQL identifier.
func Quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
