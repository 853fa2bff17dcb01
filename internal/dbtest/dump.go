// Package dbtest compares databases, for tests.
package dbtest

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Dump describes the database at path exactly: what SQLite's integrity check
// says, schema, header values, every row of every table with its rowid and
// storage classes, and what the indexes of full text and R-Tree tables find.
// DriftDB's own tables are left out.
//
// What cannot be read here, for a function or a collation that only the program
// has, is in the description as an error, so that two databases that lack the
// same still compare as equal. Dump only reads.
func Dump(path string) (string, error) {
	text, _, err := dump(path, func(*sqlite.Conn) (int64, error) { return 0, nil })
	return text, err
}

// DumpAt is Dump for a file that DriftDB may be writing to. It also returns the number of
// the last change that the description has.
func DumpAt(path string) (text string, sequence int64, err error) {
	return dump(path, func(c *sqlite.Conn) (int64, error) {
		return c.Int("SELECT sequence + count - 1 FROM main._driftdb_log ORDER BY sequence DESC LIMIT 1")
	})
}

// dump describes a database, and calls also in the same read transaction.
func dump(path string, also func(*sqlite.Conn) (int64, error)) (string, int64, error) {
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{MustExist: true, KeepJournal: true})
	if err != nil {
		return "", 0, err
	}
	defer c.Close()
	// Cells of a damaged page may reach past its end, to where memory holds anything.
	if err := c.Exec("PRAGMA cell_size_check=ON; BEGIN"); err != nil {
		return "", 0, err
	}
	d := &dumper{c: c}
	for _, p := range []string{"user_version", "application_id", "encoding"} {
		v, err := c.Text("PRAGMA " + p)
		if err != nil {
			return "", 0, err
		}
		fmt.Fprintln(&d.Builder, p, v)
	}
	plain, virtual, err := d.schema()
	if err != nil {
		return "", 0, err
	}
	for _, t := range plain {
		if err := d.table(t); err != nil {
			return "", 0, fmt.Errorf("dump %s: %w", t, err)
		}
	}
	for _, t := range virtual {
		if err := d.virtual(t); err != nil {
			fmt.Fprintf(d, "%s: %v\n", t, err) // such as a full-text index that is damaged
		}
	}
	d.rows("integrity_check", "PRAGMA integrity_check")
	sequence, err := also(c)
	return d.String(), sequence, err
}

// dumper writes a description.
type dumper struct {
	strings.Builder
	c *sqlite.Conn
}

// schema describes it and lists the tables.
func (d *dumper) schema() (plain, virtual []string, err error) {
	err = d.c.Each(`SELECT type, name, tbl_name, coalesce(sql, '') FROM main.sqlite_schema
		WHERE tbl_name NOT LIKE '\_driftdb%' ESCAPE '\' ORDER BY type, name`, func(st *sqlite.Stmt) error {
		fmt.Fprintf(d, "%s %s %s %s\n", st.Text(0), st.Text(1), st.Text(2), st.Text(3))
		switch {
		case st.Text(0) != "table":
		case strings.HasPrefix(st.Text(3), "CREATE VIRTUAL"):
			virtual = append(virtual, st.Text(1))
		default:
			plain = append(plain, st.Text(1))
		}
		return nil
	})
	return plain, virtual, err
}

// table describes the rows of a table that is not virtual.
func (d *dumper) table(name string) error {
	columns, err := d.texts("SELECT name FROM pragma_table_xinfo(?1, 'main')", name)
	if err != nil {
		return err
	}
	without, err := d.texts("SELECT wr FROM pragma_table_list(?1) WHERE schema = 'main'", name)
	if err != nil {
		return err
	}
	var read []string
	if name != "sqlite_sequence" && !slices.Contains(without, "1") {
		read = rowidOf(columns)
	}
	for _, column := range columns {
		read = append(read, "+"+quote(column)) // the + keeps SQLite from reading an index instead of the table
	}
	where := ""
	if strings.HasPrefix(name, "sqlite_stat") {
		read = read[1:]                                       // no program goes by their rowids
		where = ` WHERE tbl NOT LIKE '\_driftdb%' ESCAPE '\'` // a file has its own
	}
	d.rows(name, "SELECT "+strings.Join(read, ", ")+" FROM main."+quote(name)+where)
	return nil
}

// rowidOf is the name by which a rowid can be read, if no column hides it.
func rowidOf(columns []string) []string {
	for _, alias := range []string{"_rowid_", "oid", "rowid"} {
		if !slices.ContainsFunc(columns, func(c string) bool { return strings.EqualFold(c, alias) }) {
			return []string{alias}
		}
	}
	return nil
}

// rows describes what a query finds, in whatever order, or how it failed.
func (d *dumper) rows(label, query string, args ...string) {
	var found []string
	err := d.each(query, func(st *sqlite.Stmt) error {
		found = append(found, formatRow(st, label))
		return nil
	}, args...)
	slices.Sort(found)
	for _, row := range found {
		d.WriteString(row)
	}
	if err != nil {
		fmt.Fprintf(d, "%s: %v\n", label, err)
	}
}

func (d *dumper) each(query string, fn func(*sqlite.Stmt) error, args ...string) error {
	st, err := d.c.Prepare(query)
	if err != nil {
		return err
	}
	defer st.Finalize()
	for i, arg := range args {
		st.BindText(i+1, arg)
	}
	return st.Each(fn)
}

func (d *dumper) texts(query string, args ...string) (out []string, err error) {
	err = d.each(query, func(st *sqlite.Stmt) error { out = append(out, st.Text(0)); return nil }, args...)
	return out, err
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func formatRow(st *sqlite.Stmt, label string) string {
	var b strings.Builder
	b.WriteString(label)
	for i := range st.ColumnCount() {
		switch st.Type(i) {
		case 1:
			fmt.Fprintf(&b, "|%d", st.Int64(i))
		case 2:
			fmt.Fprintf(&b, "|real %x %g", math.Float64bits(st.Float(i)), st.Float(i))
		case 3:
			fmt.Fprintf(&b, "|%q", st.View(i))
		case 4:
			fmt.Fprintf(&b, "|x'%x'", st.View(i))
		default:
			b.WriteString("|NULL")
		}
	}
	b.WriteByte('\n')
	return b.String()
}
