package driftdb

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"github.com/driftdb/driftdb-go/internal/engine"
	"github.com/driftdb/driftdb-go/internal/schema"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Define returns a repository for the struct T on a table, and updates the table to match
// T. It creates a missing table. To an existing one it adds missing indexes, and missing
// columns that are nullable or have a default. A change that would put data at risk is a
// [*SchemaError]; Define never drops or rewrites anything.
//
// T embeds [Base]. Each exported field is a column, including those of embedded structs.
// A column has its field's name in lower camel case (UserID is userId), unless a tag
// gives another:
//
//	Email string            `db:"email,unique"`          // with a unique index
//	Team  string            `db:",index"`                // with an index
//	Role  string            `db:",omitzero,default=member"`
//	Motto string            `db:",default='live, drift'"` // quotes keep the comma
//	Tags  map[string]string `db:",json"`                 // as JSON text
//	Temp  string            `db:"-"`                     // not stored
//
// Booleans are stored as 0 and 1, integers as INTEGER, floats as REAL, strings as TEXT,
// []byte as BLOB, and time.Time as INTEGER in Unix milliseconds (finer precision is cut
// off, and times are read as UTC). Named types are stored like their underlying types.
// Pointers and sql.Null are nullable; everything else is NOT NULL. If an omitzero field
// is zero when a row is created, the column gets its default.
//
// All definitions of a table in one open database must agree. Define may have to write,
// which is an error in the function of a Tx.
func Define[T any](ctx context.Context, db *DB, table string) (*Repository[T], error) {
	t := reflect.TypeFor[T]()
	if t.Kind() != reflect.Struct {
		return nil, &SchemaError{Table: table, Reason: fmt.Sprintf("%s is not a struct; for Records there is db.Define", t)}
	}
	plan, err := schema.StructOf(t)
	if err != nil {
		return nil, failAt(table, err)
	}
	tab, err := db.define(ctx, table, plan.Columns)
	if err != nil {
		return nil, failAt(table, err)
	}
	return &Repository[T]{at: db.conn(), table: tab, codec: structCodec[T]{plan}}, nil
}

// Define returns a repository of Records on a table, and updates the table as the
// function [Define] does. In addition to the columns of s, the table has id, createdAt
// and updatedAt.
func (db *DB) Define(ctx context.Context, table string, s Schema) (*Repository[Record], error) {
	tab, err := db.define(ctx, table, s.columns())
	if err != nil {
		return nil, failAt(table, err)
	}
	return &Repository[Record]{at: db.conn(), table: tab, codec: recordCodec{tab}}, nil
}

// definitions are the tables that were defined since the database was opened.
type definitions struct {
	mu     sync.Mutex
	tables map[string]*schema.Table // by name in lower case
}

// define checks a definition against the others and against the table.
func (db *DB) define(ctx context.Context, name string, columns []schema.Column) (*schema.Table, error) {
	t, err := schema.New(name, columns)
	if err != nil {
		return nil, err
	}
	db.definitions.mu.Lock()
	defer db.definitions.mu.Unlock()
	known := db.definitions.tables[t.Key()]
	if known != nil {
		if err := t.Agrees(known); err != nil {
			return nil, err
		}
	}
	if err := migrate(ctx, db, t); err != nil {
		return nil, err
	}
	if known == nil {
		if db.definitions.tables == nil {
			db.definitions.tables = make(map[string]*schema.Table)
		}
		db.definitions.tables[t.Key()] = t
	}
	return t, nil
}

// migrate looks first: a table that is up to date takes no write lock.
func migrate(ctx context.Context, db *DB, t *schema.Table) error {
	ddl, err := pending(ctx, db, t)
	if err != nil || len(ddl) == 0 {
		return err
	}
	return db.Tx(ctx, func(tx *Tx) error {
		ddl, err := pending(ctx, tx, t) // it may have changed before we got the lock
		if err != nil {
			return err
		}
		for _, statement := range ddl {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return refusal(err)
			}
		}
		return nil
	})
}

// refusal turns the failure of a unique index into what it means.
func refusal(err error) error {
	if c, ok := constraintError("", err).(*ConstraintError); ok && c.Kind == ConstraintUnique {
		return &schema.Error{Column: c.Column, Reason: "it is to be unique, but some of the rows that are there have equal values"}
	}
	return err
}

// pending is the DDL that t's table needs.
func pending(ctx context.Context, c Conn, t *schema.Table) ([]string, error) {
	have, err := inspect(ctx, c.conn(), t.Name)
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

// inspect reads what the database knows about a table.
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
