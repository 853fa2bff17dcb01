package schema

import (
	"fmt"
	"strings"
)

// Existing is a table as the database has it. The zero value is a table that
// does not exist.
type Existing struct {
	Type    string // of sqlite_schema: "table", "view" …
	Columns []ExistingColumn
	Indexes []ExistingIndex
}

// ExistingColumn is a row of PRAGMA table_xinfo.
type ExistingColumn struct {
	Name, Type string
	NotNull    bool
	Default    string // SQL text; "" means none
	PrimaryKey int    // position in the primary key from 1; 0: not part of it
	Hidden     int    // 0: ordinary; 1: hidden; 2 and 3: generated
}

// ExistingIndex is a row of PRAGMA index_list with the index's columns. A
// column's name is empty when it is an expression.
type ExistingIndex struct {
	Unique, Partial bool
	Columns         []string
}

// Reconcile compares the schema with the existing table, and returns the DDL that brings
// the table up to date, if it needs any. It only ever adds nullable columns, columns with
// a default, and indexes. Any other difference is an *Error.
//
// It also records the defaults that only the table has, so it must be called before any
// other use of t, and not concurrently.
func (t *Table) Reconcile(with Existing) ([]string, error) {
	if with.Type == "" {
		return t.Create(), nil
	}
	if with.Type != "table" {
		return nil, t.fail("", "a "+with.Type+" has this name")
	}
	have := make(map[string]ExistingColumn, len(with.Columns))
	for _, c := range with.Columns {
		have[fold(c.Name)] = c
	}
	var ddl []string
	for i, c := range t.Columns {
		e, ok := have[fold(c.Name)]
		if !ok {
			if c.Required && c.literal == "" {
				return nil, t.fail(c.Name, "the table has no such column, and it cannot be added: it is required and has no default for the rows that are there")
			}
			ddl = append(ddl, "ALTER TABLE "+t.quoted+" ADD COLUMN "+c.quoted+" "+c.definition())
		} else {
			if reason := c.mismatch(e); reason != "" {
				return nil, t.fail(c.Name, reason)
			}
			t.defaults[i] = e.Default != ""
		}
		if !with.indexed(c) {
			ddl = append(ddl, t.indexes(c)...)
		}
		delete(have, fold(c.Name))
	}
	if !with.identifies() {
		return nil, t.fail(ID, "it is neither the table's primary key nor unique")
	}
	for _, e := range with.Columns {
		if _, rest := have[fold(e.Name)]; rest && e.NotNull && e.Default == "" && e.Hidden == 0 {
			return nil, t.fail(e.Name, "the table requires this column and the schema lacks it: no row could be created")
		}
	}
	return ddl, nil
}

// mismatch returns the reason why a column of the table cannot serve as c, or "".
func (c Column) mismatch(e ExistingColumn) string {
	switch a := affinity(e.Type); {
	case e.Hidden != 0:
		return "it is a generated column in the table, which cannot be written"
	case !c.Type.fits(a):
		return fmt.Sprintf("it is %s in the table, %s in the schema", orNothing(e.Type), c.Type.SQL())
	case c.Required && !e.NotNull && e.PrimaryKey == 0:
		return "it may be NULL in the table, but not in the schema: make it optional (a pointer or sql.Null in a struct)"
	case !c.Required && e.NotNull:
		return "it is NOT NULL in the table, but not in the schema: make it required (not a pointer in a struct)"
	case c.literal != "" && plainDefault(e.Default) != plainDefault(c.literal):
		return fmt.Sprintf("its default is %s in the table, %s in the schema", orNothing(e.Default), c.literal)
	}
	return ""
}

// indexed reports whether the table already has the index that c asks for.
func (e Existing) indexed(c Column) bool {
	switch {
	case c.Unique:
		return e.unique(c.Name)
	case !c.Index:
		return true
	}
	for _, x := range e.Indexes {
		if !x.Partial && len(x.Columns) > 0 && fold(x.Columns[0]) == fold(c.Name) {
			return true
		}
	}
	return false
}

func (e Existing) unique(column string) bool {
	for _, x := range e.Indexes {
		if x.Unique && !x.Partial && len(x.Columns) == 1 && fold(x.Columns[0]) == fold(column) {
			return true
		}
	}
	return false
}

// identifies reports whether a value of the column id identifies at most one row.
func (e Existing) identifies() bool {
	keys, isKey := 0, false
	for _, c := range e.Columns {
		if c.PrimaryKey > 0 {
			keys++
			isKey = isKey || fold(c.Name) == ID
		}
	}
	return keys == 1 && isKey || e.unique(ID)
}

// affinity follows section 3.1 of SQLite's "Datatypes".
func affinity(declared string) string {
	d := strings.ToUpper(declared)
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(d, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("INT"):
		return "INTEGER"
	case has("CHAR", "CLOB", "TEXT"):
		return "TEXT"
	case d == "" || has("BLOB"):
		return "BLOB"
	case has("REAL", "FLOA", "DOUB"):
		return "REAL"
	}
	return "NUMERIC"
}

// fits reports whether a column of affinity a stores values of type t unchanged. BLOB
// affinity stores everything unchanged.
func (t Type) fits(a string) bool {
	switch t {
	case Integer, Boolean, Time:
		return a == "INTEGER" || a == "NUMERIC" || a == "BLOB"
	case Real:
		return a == "REAL" || a == "NUMERIC" || a == "BLOB"
	case Text, JSON:
		return a == "TEXT" || a == "BLOB"
	default:
		return a == "BLOB"
	}
}

// plainDefault normalizes the spelling of a default, for comparison.
func plainDefault(sql string) string {
	s := strings.TrimSpace(sql)
	for strings.HasPrefix(s, "(") && strings.HasSuffix(s, ")") {
		s = strings.TrimSpace(s[1 : len(s)-1])
	}
	switch strings.ToUpper(s) {
	case "TRUE":
		return "1"
	case "FALSE":
		return "0"
	}
	return s
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
