package capture

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/driftdb/driftdb-go/internal/apply"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// Whether a table can be replayed is tested: an empty copy of it, in memory, gets a few
// rows, and the code that a restore uses applies entries for these rows. The result holds
// for every table whose rows are addressed in the same way.

// proofs caches the results for all connections of the program. The key is a table's
// addressing; the value says why its rows cannot be replayed, or is "" if they can.
var proofs = struct {
	sync.Mutex
	why map[string]string
}{why: map[string]string{}}

// maxProofs limits the number of cached results.
const maxProofs = 10_000

// unprovable returns why the rows of a table cannot be replayed, or "" if they can.
func unprovable(c *sqlite.Conn, own *ownStatements, t *sqlite.Table) (string, error) {
	var key string
	if err := own.do(func() (err error) { key, err = addressing(c, t.Name); return err }); err != nil {
		return "", fmt.Errorf("capture: %w", err)
	}
	proofs.Lock()
	defer proofs.Unlock()
	why, known := proofs.why[key]
	if !known {
		var definition []string
		if err := own.do(func() (err error) { definition, err = definitions(c, t.Name); return err }); err != nil {
			return "", fmt.Errorf("capture: %w", err)
		}
		if err := prove(t.Name, definition); err != nil {
			why = err.Error()
		}
		if len(proofs.why) >= maxProofs {
			clear(proofs.why)
		}
		proofs.why[key] = why
	}
	if why == "" {
		return "", nil
	}
	return "the rows of table " + t.Name + " cannot be repeated: " + why, nil
}

// addressing describes what decides how a table's rows are addressed and written: its
// indexes and its columns, without names except those that also name the rowid.
func addressing(c *sqlite.Conn, table string) (string, error) {
	st, err := c.Cached(`SELECT 'c', quote(CASE WHEN lower(name) IN ('rowid', 'oid', '_rowid_') THEN lower(name) END), upper(type), "notnull", pk, hidden, dflt_value IS NULL
		FROM pragma_table_xinfo(?1, 'main')
		UNION ALL SELECT 'i', i.origin, i."unique", i.partial, k.cid, k."desc", quote(k.coll)
		FROM pragma_index_list(?1, 'main') i, pragma_index_xinfo(i.name, 'main') k WHERE k.key`)
	if err != nil {
		return "", err
	}
	defer st.Release()
	st.BindText(1, table)
	var b strings.Builder
	err = st.Each(func(st *sqlite.Stmt) error {
		for i := range 7 {
			b.WriteString(st.Text(i))
			b.WriteByte(0)
		}
		return nil
	})
	return b.String(), err
}

// definitions returns the statements that made a table and its indexes. It reads the
// schema from its end, to find a new table at once; the indexes come after their table.
func definitions(c *sqlite.Conn, table string) (out []string, err error) {
	st, err := c.Prepare(`SELECT sql, type = 'table' FROM main.sqlite_schema
		WHERE tbl_name = ?1 COLLATE NOCASE AND type IN ('table', 'index') AND sql IS NOT NULL ORDER BY rowid DESC`)
	if err != nil {
		return nil, err
	}
	defer st.Finalize()
	st.BindText(1, table)
	for {
		more, err := st.Step()
		if err != nil || !more {
			return out, err
		}
		out = append(out, st.Text(0))
		if st.Int64(1) != 0 {
			slices.Reverse(out)
			return out, nil
		}
	}
}

// prove applies entries to a copy of a table. If the copy cannot be made, because our
// connection lacks functions or collations that it needs, or if the copy accepts none of
// our rows, nothing is proven, and the table counts as replayable.
func prove(table string, definition []string) error {
	c, err := new(sqlite.Driver).Open(":memory:", sqlite.Options{KeepJournal: true})
	if err != nil {
		return nil // out of memory, say; the next run of the program tries again
	}
	defer c.Close()
	for _, sql := range definition {
		if c.Exec(sql) != nil {
			return nil
		}
	}
	t, err := c.Table(table)
	if err != nil || t.HasRowID && t.RowID == "" {
		return nil // tables.read knows without a proof that its rows cannot be logged
	}
	r, err := apply.NewReplay(c)
	if err != nil {
		return nil
	}
	defer r.Close()
	p := proof{c: c, t: t, r: r}
	if err := c.Each("SELECT type FROM pragma_table_xinfo("+literal(table)+", 'main') WHERE hidden = 0", func(st *sqlite.Stmt) error {
		p.types = append(p.types, st.Text(0))
		return nil
	}); err != nil || len(p.types) != len(t.Columns) {
		return nil
	}
	p.sample()
	return p.run()
}

// proof is the state of a running proof.
type proof struct {
	c     *sqlite.Conn
	t     *sqlite.Table
	types []string // of its columns
	r     *apply.Replay
}

// samples are the test values; each makes a row that has it in all columns. SQLite
// converts it to the column's type; rows that violate a constraint are left out.
var samples = []string{"NULL", "1", "'a'", "'A'", "'a '", "x'61'", "'2'", "2.5"}

// typed holds, by the column types of STRICT tables, the values for two more rows.
var typed = map[string][2]string{
	"INT": {"3", "4"}, "INTEGER": {"3", "4"}, "REAL": {"3.5", "4"}, "BLOB": {"x'00'", "x''"},
}

// sample puts rows into the table.
func (p *proof) sample() {
	var names, first, second []string
	for i, c := range p.t.Columns {
		names = append(names, sqlite.Quote(c.Name))
		values, ok := typed[strings.ToUpper(p.types[i])]
		if !ok {
			values = [2]string{"'b'", "'B'"}
		}
		first, second = append(first, values[0]), append(second, values[1])
	}
	insert := "INSERT INTO main." + sqlite.Quote(p.t.Name) + "(" + strings.Join(names, ", ") + ") VALUES("
	for _, v := range samples {
		_ = p.c.Exec(insert + strings.Join(slices.Repeat([]string{v}, len(names)), ", ") + ")")
	}
	_ = p.c.Exec(insert + strings.Join(first, ", ") + ")")
	_ = p.c.Exec(insert + strings.Join(second, ", ") + ")")
}

// run deletes the rows and replays inserts, updates and deletes of them. It checks
// against the entries that the table holds the expected rows.
func (p *proof) run() error {
	rows, err := p.rows()
	if err != nil {
		return nil
	}
	if err := p.c.Exec("DELETE FROM main." + sqlite.Quote(p.t.Name)); err != nil {
		return nil
	}
	for _, row := range rows {
		insert := change.Entry{Op: change.Insert, Table: p.t.Name, HasRowID: row.HasRowID, RowID: row.RowID, Key: row.Key, After: row.After}
		if err := p.apply(&insert); err != nil {
			return err
		}
	}
	if err := p.expect("insert", rows); err != nil {
		return err
	}
	for i := range rows {
		update := rows[i]
		update.Op, update.NewRowID = change.Update, update.RowID
		if update.HasRowID {
			update.NewRowID += 1000
		}
		if err := p.apply(&update); err != nil {
			return err
		}
		rows[i].RowID = update.NewRowID
	}
	if err := p.expect("update", rows); err != nil {
		return err
	}
	for n := len(rows); len(rows) > 0; {
		remove := rows[0]
		remove.Op, remove.Before, remove.After = change.Delete, remove.After, nil
		if err := p.apply(&remove); err != nil {
			return err
		}
		rows = rows[1:]
		if len(rows) != n-1 && len(rows) != n/2 && len(rows) > 0 {
			continue // a delete of a wrong row shows at the next check
		}
		if err := p.expect("delete", rows); err != nil {
			return err
		}
	}
	return nil
}

// apply applies an entry. Its error does not name the table, because it is cached for
// other tables.
func (p *proof) apply(e *change.Entry) error {
	if err := p.r.Apply(e); err != nil {
		return fmt.Errorf("%s: %w", e.Op, errors.Unwrap(err))
	}
	return nil
}

// expect compares the table with rows.
func (p *proof) expect(step string, rows []change.Entry) error {
	got, err := p.rows()
	if err != nil {
		return err
	}
	if !slices.EqualFunc(got, rows, sameRow) {
		return fmt.Errorf("after an %s that was repeated the table holds something else", step)
	}
	return nil
}

func sameRow(a, b change.Entry) bool {
	return a.RowID == b.RowID && slices.EqualFunc(a.After, b.After, func(x, y change.Column) bool { return x.Value.Same(&y.Value) })
}

// rows reads the table in its own order.
func (p *proof) rows() (out []change.Entry, err error) {
	own := p.t.HasRowID && !p.t.IsKey
	var columns []string
	for _, c := range p.t.Columns {
		columns = append(columns, sqlite.Quote(c.Name))
	}
	rowids, err := p.rowids(own)
	if err != nil {
		return nil, err
	}
	err = p.c.Each("SELECT "+strings.Join(columns, ", ")+" FROM main."+sqlite.Quote(p.t.Name)+" NOT INDEXED", func(st *sqlite.Stmt) error {
		e := change.Entry{Table: p.t.Name, HasRowID: own}
		if own {
			e.RowID = rowids[len(out)]
		}
		for i, c := range p.t.Columns {
			e.After = append(e.After, change.Column{Name: c.Name, Value: value(p.c, st, i)})
		}
		for _, k := range p.t.Key {
			e.Key = append(e.Key, e.After[k])
		}
		out = append(out, e)
		return nil
	})
	return out, err
}

// rowids reads the rowids separately: a table may already have as many columns as a result
// may have.
func (p *proof) rowids(own bool) (out []int64, err error) {
	if !own {
		return nil, nil
	}
	err = p.c.Each("SELECT "+p.t.RowID+" FROM main."+sqlite.Quote(p.t.Name)+" NOT INDEXED", func(st *sqlite.Stmt) error {
		out = append(out, st.Int64(0))
		return nil
	})
	return out, err
}

// value reads a column of a result as the value of an entry.
func value(c *sqlite.Conn, st *sqlite.Stmt, i int) change.Value {
	v := lib.Xsqlite3_column_value(c.TLS, st.Handle(), int32(i))
	switch kind := lib.Xsqlite3_value_type(c.TLS, v); kind {
	case lib.SQLITE_INTEGER:
		return change.Value{Kind: change.Integer, Int: lib.Xsqlite3_value_int64(c.TLS, v)}
	case lib.SQLITE_FLOAT:
		return change.Value{Kind: change.Real, Real: lib.Xsqlite3_value_double(c.TLS, v)}
	case lib.SQLITE_TEXT, lib.SQLITE_BLOB:
		k := change.Text
		if kind == lib.SQLITE_BLOB {
			k = change.Blob
		}
		b := lib.Xsqlite3_value_blob(c.TLS, v)
		return change.Value{Kind: k, Bytes: bytes.Clone(sqlite.CBytes(b, int(lib.Xsqlite3_value_bytes(c.TLS, v))))}
	}
	return change.Value{}
}

// literal quotes s as an SQL string literal.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
