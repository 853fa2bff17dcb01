// Package part copies tables of one database into another, exactly: with rowids, storage
// classes, indexes and counters. Triggers and views stay behind.
package part

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

var (
	// ErrNoTable means that the database has no such table, or none that can be copied.
	ErrNoTable = errors.New("there is no such table")
	// ErrTableExists means that the other database has a table of the copy's name.
	ErrTableExists = errors.New("the table exists already")
)

// Table is a table to be copied.
type Table struct {
	Name string // in the database that it comes from
	As   string // of the copy
	Rows int64  // that were copied

	shape  *sqlite.Table // of the original
	create []string      // the copy, then its indexes
	count  *int64        // the counter of AUTOINCREMENT, if it has been used
}

// Target is a transaction of the database that gets the copies. It does not enforce foreign
// keys.
type Target interface {
	Exec(ctx context.Context, statement string) error
	Run(ctx context.Context, query string, fn func(*sqlite.Stmt) error) error
}

// Plan finds the tables with these names in c, each only once, and works out the statements
// that create copies of them named by as. connect registers what their schemas need.
//
// The schema may come from a stranger, so it is first created in a database in memory, which
// can reach nothing: what SQLite makes of it there is a plain statement.
func Plan(c *sqlite.Conn, names []string, as func(string) string, connect func(*sqlite.Registrar) error) ([]*Table, error) {
	var tables []*Table
	for _, name := range names {
		t, err := find(c, name)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(tables, func(other *Table) bool { return other.Name == t.Name }) {
			t.As = as(t.Name)
			tables = append(tables, t)
		}
	}
	scratch, err := sqlite.Open(":memory:", sqlite.Options{Distrust: true, KeepJournal: true, OnConnect: connect})
	if err != nil {
		return nil, err
	}
	return tables, errors.Join(stage(scratch, tables), scratch.Close())
}

// kinds are what SQLite's list of tables has besides ordinary ones.
var kinds = map[string]string{"view": "view", "virtual": "virtual table", "shadow": "table of a virtual one"}

// find reads what c has of a table.
func find(c *sqlite.Conn, name string) (*Table, error) {
	t := new(Table)
	kind := ""
	err := c.About("SELECT name, type FROM pragma_table_list(?1) WHERE schema = 'main'", name, func(st *sqlite.Stmt) { t.Name, kind = st.Text(0), st.Text(1) })
	switch {
	case err != nil:
		return nil, err
	case kind == "":
		return nil, missing(c, name)
	case kind != "table":
		return nil, fmt.Errorf("%w: %s is a %s, whose contents are in other tables; restore the whole database", ErrNoTable, name, kinds[kind])
	case reserved(t.Name):
		return nil, fmt.Errorf("%w: %s is SQLite's or DriftDB's own", ErrNoTable, name)
	}
	if t.shape, err = c.Table(t.Name); err != nil {
		return nil, err
	}
	err = c.About("SELECT sql FROM main.sqlite_schema WHERE tbl_name = ?1 AND type IN ('table', 'index') AND sql IS NOT NULL ORDER BY type = 'index', rowid", t.Name,
		func(st *sqlite.Stmt) { t.create = append(t.create, st.Text(0)) })
	if err == nil && t.shape.Counted {
		err = c.About("SELECT seq FROM main.sqlite_sequence WHERE name = ?1", t.Name, func(st *sqlite.Stmt) { n := st.Int64(0); t.count = &n })
	}
	return t, err
}

func reserved(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "sqlite_") || strings.HasPrefix(name, "_driftdb_")
}

// missing says which tables there are instead.
func missing(c *sqlite.Conn, name string) error {
	var there []string
	err := c.Each("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' ORDER BY name", func(st *sqlite.Stmt) error {
		if name := st.Text(0); !reserved(name) {
			there = append(there, name)
		}
		return nil
	})
	const most = 20
	what := "there are " + strings.Join(there[:min(len(there), most)], ", ")
	switch {
	case len(there) == 0:
		what = "there is no table at all"
	case len(there) > most:
		what += fmt.Sprintf(" and %d more", len(there)-most)
	}
	return errors.Join(fmt.Errorf("%w: %s; at this point %s", ErrNoTable, name, what), err)
}

// stage creates the tables in an empty database, renames them there, and reads the statements
// that result. Foreign keys between tables that are copied refer to the copies.
func stage(c *sqlite.Conn, tables []*Table) error {
	for _, t := range tables {
		for _, statement := range t.create {
			if err := run(c, statement); err != nil {
				return fmt.Errorf("table %s: %w", t.Name, err)
			}
		}
	}
	for _, t := range tables {
		if t.As != t.Name {
			if err := c.Exec("ALTER TABLE main." + sqlite.Quote(t.Name) + " RENAME TO " + sqlite.Quote(t.As)); err != nil {
				return fmt.Errorf("table %s as %s: %w", t.Name, t.As, err)
			}
		}
	}
	for _, t := range tables {
		t.create = nil
		err := c.About("SELECT type, name, sql FROM main.sqlite_schema WHERE tbl_name = ?1 AND sql IS NOT NULL ORDER BY type = 'index', rowid", t.As, func(st *sqlite.Stmt) {
			statement := st.Text(2)
			if st.Text(0) == "index" && t.As != t.Name {
				statement = renameIndex(statement, t.As+"_"+st.Text(1))
			}
			t.create = append(t.create, statement)
		})
		if err != nil {
			return err
		}
		if len(t.create) == 0 {
			return fmt.Errorf("%w: %s: its schema makes another one", ErrNoTable, t.Name)
		}
	}
	return nil
}

// run runs exactly one statement.
func run(c *sqlite.Conn, statement string) error {
	st, err := c.Prepare(statement)
	if err != nil {
		return err
	}
	defer st.Finalize()
	return st.Run()
}

// renameIndex gives the index that a statement creates another name. SQLite has written the
// beginning of the statement, up to the name.
func renameIndex(statement, name string) string {
	at := strings.Index(statement, "INDEX ") + len("INDEX ")
	rest := statement[at:]
	var end int
	switch quote := rest[0]; quote {
	case '"', '\'', '`':
		for end = 1; end < len(rest); end++ {
			if rest[end] != quote {
				continue
			}
			if end++; end == len(rest) || rest[end] != quote { // not a doubled one
				break
			}
		}
	case '[':
		end = strings.IndexByte(rest, ']') + 1
	default:
		end = strings.IndexAny(rest, " \t\r\n\f/-")
	}
	return statement[:at] + sqlite.Quote(name) + rest[end:]
}

// Copy creates the tables in the target and copies their rows. All of it fails if one of them
// is there already.
func Copy(ctx context.Context, from *sqlite.Conn, into Target, tables []*Table) error {
	for _, t := range tables {
		there := false
		err := into.Run(ctx, "SELECT 1 FROM main.sqlite_schema WHERE name = ?1 COLLATE NOCASE", func(st *sqlite.Stmt) error {
			st.BindText(1, t.As)
			return st.Each(func(*sqlite.Stmt) error { there = true; return nil })
		})
		if err == nil && there {
			err = fmt.Errorf("%w: %s; choose another name for the copy", ErrTableExists, t.As)
		}
		if err == nil {
			err = t.copy(ctx, from, into)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copy creates the table, then fills it, then creates its indexes, which is faster.
func (t *Table) copy(ctx context.Context, from *sqlite.Conn, into Target) error {
	if err := into.Exec(ctx, t.create[0]); err != nil {
		return fmt.Errorf("create table %s: %w", t.As, err)
	}
	columns := make([]string, 0, len(t.shape.Columns)+1)
	if t.shape.HasRowID && !t.shape.IsKey && t.shape.RowID != "" {
		columns = append(columns, t.shape.RowID)
	}
	for _, c := range t.shape.Columns {
		columns = append(columns, sqlite.Quote(c.Name))
	}
	list, marks := strings.Join(columns, ", "), strings.TrimSuffix(strings.Repeat("?, ", len(columns)), ", ")
	rows, err := from.Prepare("SELECT " + list + " FROM main." + sqlite.Quote(t.Name) + " NOT INDEXED")
	if err != nil {
		return fmt.Errorf("read table %s: %w", t.Name, err)
	}
	defer rows.Finalize()
	insert := "INSERT INTO main." + sqlite.Quote(t.As) + "(" + list + ") VALUES(" + marks + ")"
	err = rows.Each(func(row *sqlite.Stmt) error {
		t.Rows++
		return into.Run(ctx, insert, func(st *sqlite.Stmt) error {
			for i := range columns {
				bind(st, row, i)
			}
			return st.Run()
		})
	})
	if err != nil {
		return fmt.Errorf("copy row %d of table %s: %w", t.Rows, t.Name, err)
	}
	for _, statement := range t.create[1:] {
		if err := into.Exec(ctx, statement); err != nil {
			return fmt.Errorf("index table %s: %w", t.As, err)
		}
	}
	return t.setCounter(ctx, into)
}

// bind binds column i of a row to the parameter in its place.
func bind(st, row *sqlite.Stmt, i int) {
	switch row.Type(i) {
	case lib.SQLITE_INTEGER:
		st.BindInt64(i+1, row.Int64(i))
	case lib.SQLITE_FLOAT:
		st.BindFloat(i+1, row.Float(i))
	case lib.SQLITE_TEXT:
		st.BindTextBytes(i+1, row.View(i))
	case lib.SQLITE_BLOB:
		st.BindBlob(i+1, row.View(i))
	default:
		st.BindNull(i + 1)
	}
}

// setCounter sets the counter of an AUTOINCREMENT table, which the rows may have set to less.
func (t *Table) setCounter(ctx context.Context, into Target) error {
	if t.count == nil {
		return nil
	}
	known := false
	set := func(st *sqlite.Stmt) error {
		st.BindText(1, t.As)
		st.BindInt64(2, *t.count)
		err := st.Run()
		known = st.Changes() > 0
		return err
	}
	err := into.Run(ctx, "UPDATE main.sqlite_sequence SET seq = ?2 WHERE name = ?1", set)
	if err == nil && !known {
		err = into.Run(ctx, "INSERT INTO main.sqlite_sequence(name, seq) VALUES(?1, ?2)", set)
	}
	if err != nil {
		return fmt.Errorf("set the counter of table %s: %w", t.As, err)
	}
	return nil
}
