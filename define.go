package driftdb

import (
	"context"

	"github.com/driftdb/driftdb-go/internal/rows"
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
	r, err := rows.OfStruct[T](ctx, db.engine, &db.definitions, table)
	if err != nil {
		return nil, failAt(table, err)
	}
	return &Repository[T]{r}, nil
}

// Define returns a repository of Records on a table, and updates the table as the
// function [Define] does. In addition to the columns of s, the table has id, createdAt
// and updatedAt.
func (db *DB) Define(ctx context.Context, table string, s Schema) (*Repository[Record], error) {
	r, err := rows.OfMap[Record](ctx, db.engine, &db.definitions, table, s.columns())
	if err != nil {
		return nil, failAt(table, err)
	}
	return &Repository[Record]{r}, nil
}
