package rows

import (
	"context"
	"sync"

	"github.com/driftdb/driftdb-go/internal/engine"
	"github.com/driftdb/driftdb-go/internal/schema"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Definitions holds the tables that were defined since a database was opened.
type Definitions struct {
	mu     sync.Mutex
	tables map[string]*schema.Table // by name in lower case
}

// define checks a definition against the other definitions and against the table in db.
func (d *Definitions) define(ctx context.Context, db *engine.DB, name string, columns []schema.Column) (*schema.Table, error) {
	t, err := schema.New(name, columns)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.tables[t.Key()]
	if known != nil {
		if err := t.Agrees(known); err != nil {
			return nil, err
		}
	}
	if err := migrate(ctx, db, t); err != nil {
		return nil, err
	}
	if known == nil {
		if d.tables == nil {
			d.tables = make(map[string]*schema.Table)
		}
		d.tables[t.Key()] = t
	}
	return t, nil
}

// migrate brings the table up to date. It looks first, so a table that is already up to
// date takes no write lock.
func migrate(ctx context.Context, db *engine.DB, t *schema.Table) error {
	ddl, err := pending(ctx, db.Conn(), t)
	if err != nil || len(ddl) == 0 {
		return err
	}
	own, err := db.Tx(ctx, func(tx *engine.Tx) error {
		ddl, err := pending(ctx, tx.Conn(), t) // it may have changed before we got the lock
		if err != nil {
			return err
		}
		for _, statement := range ddl {
			if _, err := tx.Exec(ctx, statement, nil); err != nil {
				return refusal(err)
			}
		}
		return nil
	})
	if own != nil {
		return own
	}
	return err
}

// refusal turns the failure to create a unique index into an error that says what it
// means.
func refusal(err error) error {
	if v := ViolationOf("", err); v != nil && v.Kind == Unique {
		return &schema.Error{Column: v.Column, Reason: "it is to be unique, but some of the rows that are there have equal values"}
	}
	return err
}

// pending returns the DDL that t's table needs.
func pending(ctx context.Context, at engine.Conn, t *schema.Table) ([]string, error) {
	have, err := inspect(ctx, at, t.Name)
	if err != nil {
		return nil, err
	}
	return t.Reconcile(have)
}

const (
	tableType    = `SELECT type FROM main.sqlite_schema WHERE type IN ('table', 'view') AND name = ? COLLATE NOCASE`
	tableColumns = `SELECT name, type, "notnull", coalesce(dflt_value, ''), pk, hidden FROM pragma_table_xinfo(?, 'main')`
	tableIndexes = `SELECT l.seq, l."unique", l.partial, coalesce(i.name, '')
		FROM pragma_index_list(?, 'main') AS l, pragma_index_info(l.name, 'main') AS i ORDER BY l.seq, i.seqno`
)

// inspect reads the definition of a table from the database.
func inspect(ctx context.Context, at engine.Conn, table string) (have schema.Existing, err error) {
	rows := func(query string, fn func(*sqlite.Stmt)) {
		if err != nil {
			return
		}
		err = at.Read(ctx, query, func(st *sqlite.Stmt) error {
			st.BindText(1, table)
			return st.Each(func(st *sqlite.Stmt) error { fn(st); return nil })
		})
	}
	rows(tableType, func(st *sqlite.Stmt) { have.Type = st.Text(0) })
	rows(tableColumns, func(st *sqlite.Stmt) {
		have.Columns = append(have.Columns, schema.ExistingColumn{
			Name: st.Text(0), Type: st.Text(1), NotNull: st.Int64(2) != 0,
			Default: st.Text(3), PrimaryKey: int(st.Int64(4)), Hidden: int(st.Int64(5)),
		})
	})
	last := int64(-1)
	rows(tableIndexes, func(st *sqlite.Stmt) {
		if seq := st.Int64(0); seq != last {
			last = seq
			have.Indexes = append(have.Indexes, schema.ExistingIndex{Unique: st.Int64(1) != 0, Partial: st.Int64(2) != 0})
		}
		x := &have.Indexes[len(have.Indexes)-1]
		x.Columns = append(x.Columns, st.Text(3))
	})
	return have, err
}
