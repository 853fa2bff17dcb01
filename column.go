package driftdb

import "github.com/driftdb/driftdb-go/internal/schema"

// Schema lists the columns of a table for [DB.Define], in addition to id, createdAt and
// updatedAt, which every table has.
type Schema []Column

// Column describes one column of a [Schema]. [Text], [Integer], [Real], [Boolean] and
// [Blob] create one; its methods return a changed copy, so you can chain them:
//
//	driftdb.Text("email").Required().Unique()
//
// Any name works, because names are quoted. SQLite ignores the case of ASCII letters in
// names; DriftDB does not when you name a column.
type Column struct{ c schema.Column }

// Text is a column of strings.
func Text(name string) Column { return column(name, schema.Text) }

// Integer is a column of 64-bit signed integers.
func Integer(name string) Column { return column(name, schema.Integer) }

// Real is a column of 64-bit floating point numbers. NaN cannot be stored.
func Real(name string) Column { return column(name, schema.Real) }

// Boolean is a column of booleans, stored as 0 and 1.
func Boolean(name string) Column { return column(name, schema.Boolean) }

// Blob is a column of bytes.
func Blob(name string) Column { return column(name, schema.Blob) }

func column(name string, t schema.Type) Column {
	return Column{schema.Column{Name: name, Type: t}}
}

// Required makes the column NOT NULL.
func (c Column) Required() Column {
	c.c.Required = true
	return c
}

// Unique makes values unique, except NULL. An index enforces it, so Index is not needed
// as well.
func (c Column) Unique() Column {
	c.c.Unique = true
	return c
}

// Default sets the value that the database gives a new row that has none for this column.
// It must fit the column.
func (c Column) Default(v any) Column {
	c.c.Default = v
	return c
}

// Index creates an index on the column.
func (c Column) Index() Column {
	c.c.Index = true
	return c
}

// columns returns the schema's columns after those that every table has.
func (s Schema) columns() []schema.Column {
	cols := schema.Base()
	for _, c := range s {
		cols = append(cols, c.c)
	}
	return cols
}
