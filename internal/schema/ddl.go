package schema

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Create is the DDL of a table that does not exist yet: the table, then its
// indexes, one statement each.
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

// definition is a column's DDL without the name and without UNIQUE, which is
// an index of its own: ALTER TABLE cannot add it otherwise.
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

// indexes is the DDL of a column's indexes. The names have a dot, so that
// those of two tables hardly ever meet (a_b and c, a and b_c); if they do,
// CREATE INDEX fails and says so.
func (t *Table) indexes(c Column) []string {
	create := func(kind, suffix string) string {
		return "CREATE " + kind + " " + quote(t.Name+"."+c.Name+"."+suffix) + " ON " + t.quoted + " (" + c.quoted + ")"
	}
	switch {
	case c.Unique:
		return []string{create("UNIQUE INDEX", "unique")} // serves as Index, too
	case c.Index:
		return []string{create("INDEX", "index")}
	}
	return nil
}

// literal is v as SQL text.
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

// realLiteral always has a point or an exponent, or SQLite reads an INTEGER.
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
