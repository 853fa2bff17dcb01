package sqlite

import (
	"fmt"
	"slices"
	"strings"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// Table describes a table of main, with what it takes to read and write its rows exactly.
type Table struct {
	Name    string
	Columns []TableColumn // in table order, without generated ones
	Width   int           // number of columns, generated ones included
	Key     []int         // indexes of the primary key's columns, in key order

	HasRowID bool   // the table is not WITHOUT ROWID
	IsKey    bool   // the primary key is one column, an alias of the rowid
	Counted  bool   // the key is AUTOINCREMENT
	RowID    string // the rowid's name in SQL; "" if there is none, or columns hide all its names
}

// TableColumn is a stored column.
type TableColumn struct {
	Name       string
	Place      int  // index among all of the table's columns
	Real       bool // REAL affinity: on disk, 5.0 is the integer 5
	HasDefault bool // has a default other than NULL
}

// Table reads what main's schema says about the table name. It queries that table alone: a
// query of sqlite_schema or PRAGMA table_list reads all of it, so the time to read every table
// would grow with the square of their number.
func (c *Conn) Table(name string) (*Table, error) {
	t := &Table{Name: name}
	var all []string // including generated columns
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
	// A column may occur in the key twice, under two collations, but has only one number.
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
	// "INTEGER PRIMARY KEY DESC" in a column definition is not the rowid: such a key has an
	// index of its own.
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

// VirtualTables returns the upper-cased names of main's virtual tables, from the schema that
// SQLite has in memory. A query would read all of a large schema after each of its changes.
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

// TooWide reports whether a row cannot be read in one statement because its rowid would be one
// column more than SQLite allows.
func (t *Table) TooWide() bool { return t.HasRowID && !t.IsKey && len(t.Columns) >= 2000 }

// hasRowID reports whether a table has a rowid. alias is a rowid name that no column hides; if
// columns hide all of them, only the list of all tables tells.
func (c *Conn) hasRowID(table, alias string) (has bool, err error) {
	if alias != "" {
		has, _, err = c.lookUp(table, alias)
		return has, err
	}
	err = c.About("SELECT wr FROM pragma_table_list(?1) WHERE schema = 'main'", table, func(st *Stmt) { has = st.Int64(0) == 0 })
	return has, err
}

// lookUp reports whether table has a column of that name, or a rowid that goes by it, and
// whether that is AUTOINCREMENT. It uses the schema that c has in memory, which an earlier
// statement has brought up to date.
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

// KeyCollations returns the collations of a table's primary-key columns in the key's index, by
// column name: a column may occur in the key twice. A key that is the rowid has none.
func (c *Conn) KeyCollations(table string) (map[string][]string, error) {
	all := map[string][]string{}
	return all, c.About(`SELECT k.name, k.coll FROM pragma_index_list(?1, 'main') i, pragma_index_xinfo(i.name, 'main') k
		WHERE i.origin = 'pk' AND k.key ORDER BY k.seqno`, table, func(st *Stmt) {
		all[st.Text(0)] = append(all[st.Text(0)], st.Text(1))
	})
}

// About runs a query whose only parameter is a text, such as a table's name.
func (c *Conn) About(query, table string, row func(*Stmt)) error {
	st, err := c.Cached(query)
	if err != nil {
		return err
	}
	defer st.Release()
	st.BindText(1, table)
	return st.Each(func(st *Stmt) error { row(st); return nil })
}

// rowIDName returns the first rowid name that no column hides.
func rowIDName(columns []string) string {
	for _, name := range []string{"rowid", "_rowid_", "oid"} {
		if !slices.ContainsFunc(columns, func(c string) bool { return strings.EqualFold(c, name) }) {
			return name
		}
	}
	return ""
}

// isReal reports whether a column declared as typ has REAL affinity. The rules are SQLite's,
// in SQLite's order.
func isReal(typ string) bool {
	has := func(s string) bool { return strings.Contains(strings.ToUpper(typ), s) }
	if has("INT") || has("CHAR") || has("CLOB") || has("TEXT") || has("BLOB") {
		return false
	}
	return has("REAL") || has("FLOA") || has("DOUB")
}

// Quote returns name, which may hold any bytes, as an SQL identifier.
func Quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
