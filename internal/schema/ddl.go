package schema

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Create returns the DDL for a new table: one statement for the table, then one for each
// index.
func (t *Table) Create() []string {
	var b strings.Builder
	b.WriteString("CREATE TABLE " + t.quoted + " (\n")
	for i, c := range t.Columns {
		b.WriteString("  " + c.quoted + " " + c.definition())
		if c.Name == ID {
			b.WriteString(" PRIMARY KEY")
		}
		if i < len(t.Columns)-1 {
			b.WriteString(",")
		}
		b.WriteString("\n")
	}
	b.WriteString(")")
	ddl := []string{b.String()}
	for _, c := range t.Columns {
		ddl = append(ddl, t.indexes(c)...)
	}
	return ddl
}

// definition returns a column's DDL without its name and without UNIQUE. Uniqueness is a
// separate index, because ALTER TABLE cannot add a column that is UNIQUE.
func (c Column) definition() string {
	def := c.Type.SQL()
	if c.Required {
		def += " NOT NULL"
	}
	if c.literal != "" {
		def += " DEFAULT " + c.literal
	}
	return def
}

// indexes returns the DDL of a column's indexes. Their names contain dots, so that the
// names of two tables' indexes hardly ever clash (as those of a_b and c, and of a and b_c,
// would). If they do, CREATE INDEX fails with a message.
func (t *Table) indexes(c Column) []string {
	create := func(kind, suffix string) string {
		return "CREATE " + kind + " " + quote(t.Name+"."+c.Name+"."+suffix) + " ON " + t.quoted + " (" + c.quoted + ")"
	}
	switch {
	case c.Unique:
		return []string{create("UNIQUE INDEX", "unique")} // also serves as Index
	case c.Index:
		return []string{create("INDEX", "index")}
	}
	return nil
}

// literal returns v as SQL text.
func literal(v Value) (string, error) {
	switch v.Kind {
	case KindInteger:
		return strconv.FormatInt(v.Int, 10), nil
	case KindReal:
		return realLiteral(v.Real), nil
	case KindText:
		if strings.ContainsRune(v.Text, 0) {
			return "", errors.New("the text has a NUL byte, which SQL cannot express")
		}
		return "'" + strings.ReplaceAll(v.Text, "'", "''") + "'", nil
	case KindBlob:
		return fmt.Sprintf("X'%X'", v.Blob), nil
	}
	return "", errors.New("a column without a default already gets NULL: leave the default out")
}

// realLiteral formats f with a point or an exponent; without either, SQLite would read an
// INTEGER.
func realLiteral(f float64) string {
	if math.IsInf(f, 0) {
		return strconv.FormatFloat(math.Copysign(9, f), 'f', -1, 64) + "e999"
	}
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}
