// Package scan computes the digests of a database's tables from their rows, as
// package digest defines them.
package scan

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// Unread holds the error of each table that cannot be read, because the connection lacks
// something that the table needs or because it is damaged. Such tables have no digest.
type Unread map[string]error

// All computes the digest of every table of main that has one. The caller must have
// opened a read transaction, or ensure that no other connection writes meanwhile. All
// reads every table once, and needs memory for the largest row and a few hundred KiB.
// When ctx ends it returns ctx's error.
func All(ctx context.Context, c *sqlite.Conn) (digest.Set, error) {
	set, _, err := Readable(ctx, c, unheard)
	return set, err
}

// Readable is All, but also returns the tables that have no digest because they cannot be
// read. It calls progress now and then with the number of rows read so far.
func Readable(ctx context.Context, c *sqlite.Conn, progress func(rows int64)) (digest.Set, Unread, error) {
	tables, err := names(c)
	if err != nil {
		return nil, nil, err
	}
	return scan(ctx, c, tables, progress)
}

// Missing computes the digests that known lacks.
func Missing(ctx context.Context, c *sqlite.Conn, known digest.Set) (digest.Set, error) {
	tables, err := names(c)
	if err != nil {
		return nil, err
	}
	set, _, err := scan(ctx, c, slices.DeleteFunc(tables, func(name string) bool { _, ok := known[name]; return ok }), unheard)
	return set, err
}

// Table computes the digest of one table. A table that has none is an error.
func Table(ctx context.Context, c *sqlite.Conn, name string) (digest.Sum, error) {
	set, unread, err := scan(ctx, c, []string{name}, unheard)
	if err == nil {
		err = unread[name]
	}
	if err != nil {
		return digest.Sum{}, err
	}
	sum, known := set[name]
	if !known {
		return sum, fmt.Errorf("table %s: its rows have no identity, so it has no digest", name)
	}
	return sum, nil
}

// unheard is a progress function that does nothing.
func unheard(int64) {}

// progressEvery is how many rows are read between two calls of progress.
const progressEvery = 4096

func scan(ctx context.Context, c *sqlite.Conn, tables []string, progress func(rows int64)) (digest.Set, Unread, error) {
	stop := c.Watch(ctx)
	defer stop()
	l, unread := digest.NewLedger(digest.Set{}), Unread{}
	defer l.Close()
	rows := int64(0)
	for _, name := range tables {
		err := table(l, c, name, func() {
			if rows++; rows%progressEvery == 0 {
				progress(rows)
			}
		})
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if err != nil {
			err = fmt.Errorf("compute the digest of table %s: %w", name, err)
		}
		if Lacks(err) || sqlite.IsNotDatabase(err) {
			unread[name] = err
		} else if err != nil {
			return nil, nil, err
		}
	}
	progress(rows)
	set := l.Set()
	for name := range unread {
		delete(set, name)
	}
	return set, unread, nil
}

func names(c *sqlite.Conn) (out []string, err error) {
	err = c.Each("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow')", func(st *sqlite.Stmt) error {
		if name := st.Text(0); digest.Digestible(name) {
			out = append(out, name)
		}
		return nil
	})
	return out, err
}

// table applies all rows of a table, and calls read for each. A table whose rowid has no
// usable name has a digest only while it is empty: its rows could not be distinguished.
func table(l *digest.Ledger, c *sqlite.Conn, name string, read func()) error {
	t, err := c.Table(name)
	if err != nil {
		return err
	}
	if t.HasRowID && t.RowID == "" || t.TooWide() {
		if n, err := c.Int("SELECT count(*) FROM (SELECT 1 FROM main." + sqlite.Quote(name) + " LIMIT 1)"); err != nil || n > 0 {
			return err
		}
	}
	l.Set()[name] = digest.Sum{}
	if t.HasRowID && t.RowID == "" || t.TooWide() {
		return nil
	}
	st, err := c.Prepare(selection(t))
	if err != nil {
		return err
	}
	defer st.Finalize()
	r := newReader(c, t)
	return st.Each(func(st *sqlite.Stmt) error {
		l.Apply(r.read(st))
		read()
		return nil
	})
}

// selection returns a query that reads the table itself: a covering index might be
// intact while the table is not.
func selection(t *sqlite.Table) string {
	var columns []string
	if ownRowID(t) {
		columns = append(columns, t.RowID)
	}
	for _, c := range t.Columns {
		columns = append(columns, sqlite.Quote(c.Name))
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM main." + sqlite.Quote(t.Name) + " NOT INDEXED"
}

// ownRowID reports whether the rowid is not one of the columns. Rows are then logged
// with it.
func ownRowID(t *sqlite.Table) bool { return t.HasRowID && !t.IsKey }

// reader converts rows to the inserts that would have been logged for them.
type reader struct {
	c     *sqlite.Conn
	t     *sqlite.Table
	entry change.Entry
}

func newReader(c *sqlite.Conn, t *sqlite.Table) *reader {
	r := &reader{c: c, t: t, entry: change.Entry{Op: change.Insert, Table: t.Name, HasRowID: ownRowID(t)}}
	for _, column := range t.Columns {
		r.entry.After = append(r.entry.After, change.Column{Name: column.Name})
	}
	r.entry.Key = make([]change.Column, len(t.Key))
	return r
}

// read returns the row that st stands on, valid until st is stepped.
func (r *reader) read(st *sqlite.Stmt) *change.Entry {
	e := &r.entry
	first := 0
	if e.HasRowID {
		e.RowID = st.Int64(0)
		first = 1
	}
	for i := range e.After {
		r.value(&e.After[i].Value, lib.Xsqlite3_column_value(r.c.TLS, st.Handle(), int32(first+i)))
	}
	for i, k := range r.t.Key {
		e.Key[i] = e.After[k]
	}
	return e
}

// value reads the sqlite3_value at p, text as bytes: no conversion, no cut at a
// NUL.
func (r *reader) value(v *change.Value, p uintptr) {
	tls := r.c.TLS
	switch lib.Xsqlite3_value_type(tls, p) {
	case lib.SQLITE_INTEGER:
		*v = change.Value{Kind: change.Integer, Int: lib.Xsqlite3_value_int64(tls, p)}
	case lib.SQLITE_FLOAT:
		*v = change.Value{Kind: change.Real, Real: lib.Xsqlite3_value_double(tls, p)}
	case lib.SQLITE_TEXT:
		*v = change.Value{Kind: change.Text, Bytes: r.bytes(p)}
	case lib.SQLITE_BLOB:
		*v = change.Value{Kind: change.Blob, Bytes: r.bytes(p)}
	default:
		*v = change.Value{}
	}
}

func (r *reader) bytes(p uintptr) []byte {
	b := lib.Xsqlite3_value_blob(r.c.TLS, p)
	return sqlite.CBytes(b, int(lib.Xsqlite3_value_bytes(r.c.TLS, p)))
}
