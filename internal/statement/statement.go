// Package statement writes changes as SQL: the statements that would make them again.
package statement

import (
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/change"
)

// Preamble begins a script of statements for the sqlite3 shell. The log has what triggers
// and foreign-key actions did as changes of their own, so neither may act again.
const Preamble = `.bail on
.dbconfig defensive off
.dbconfig enable_trigger off
.dbconfig dqs_ddl on
.dbconfig dqs_dml on
PRAGMA foreign_keys=OFF;
PRAGMA ignore_check_constraints=ON;
`

// SQL returns the statements that make the change e again, to the last bit, when the
// sqlite3 shell runs them after the Preamble. Each ends with a semicolon; there are no
// parameters. It is empty for an update that changed nothing that is stored. A barrier,
// which no statement can make again, is a comment of one line that gives its reason.
//
// Values hold only printable characters: any other text is written in hexadecimal. Names
// of tables and columns, and statements that change the schema, are as they were, so they
// may have several lines.
func SQL(e *change.Entry) string {
	switch {
	case e.Op == change.Schema:
		return schema(e)
	case e.Op == change.Barrier:
		return "-- not recorded: " + strings.Join(strings.Fields(e.Reason), " ")
	case e.Table == change.SequenceTable && len(e.Key) == 1:
		return counter(e)
	}
	switch e.Op {
	case change.Insert:
		return insertion(e)
	case change.Update:
		return update(e)
	}
	return "DELETE FROM " + Name(e.Table) + " WHERE " + where(e) + ";"
}

// schema returns a statement that changes the schema. Renames are the only ones that
// legacy_alter_table changes.
func schema(e *change.Entry) string {
	sql := e.SQL + ending(e.SQL)
	if e.Settings.LegacyAlterTable {
		return "PRAGMA legacy_alter_table=ON;\n" + sql + "\nPRAGMA legacy_alter_table=OFF;"
	}
	return sql
}

// counter sets or deletes a counter of AUTOINCREMENT. If sqlite_sequence has several rows
// for a table, SQLite uses the first.
func counter(e *change.Entry) string {
	name := Literal(e.Key[0].Value)
	if e.Op == change.Delete || len(e.After) != 1 {
		return "DELETE FROM sqlite_sequence WHERE name=" + name + ";"
	}
	seq := Literal(e.After[0].Value)
	return fmt.Sprintf("UPDATE sqlite_sequence SET seq=%[2]s WHERE rowid=(SELECT min(rowid) FROM sqlite_sequence WHERE name=%[1]s);\n"+
		"INSERT INTO sqlite_sequence(name, seq) SELECT %[1]s, %[2]s WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name=%[1]s);", name, seq)
}

func insertion(e *change.Entry) string {
	var names, values []string
	if e.HasRowID {
		names, values = append(names, rowid(e)), append(values, fmt.Sprint(e.RowID))
	}
	for i := range e.After {
		names, values = append(names, Name(e.After[i].Name)), append(values, Literal(e.After[i].Value))
	}
	verb := "INSERT"
	if strings.HasPrefix(e.Table, "sqlite_stat") { // a file has its own rows about the log's tables
		verb = "INSERT OR REPLACE"
	}
	return verb + " INTO " + Name(e.Table) + "(" + strings.Join(names, ", ") + ") VALUES(" + strings.Join(values, ", ") + ");"
}

func update(e *change.Entry) string {
	var set []string
	for i := range e.After {
		set = append(set, Name(e.After[i].Name)+"="+Literal(e.After[i].Value))
	}
	if e.HasRowID && e.NewRowID != e.RowID {
		set = append(set, rowid(e)+"="+fmt.Sprint(e.NewRowID))
	}
	if len(set) == 0 {
		return ""
	}
	return "UPDATE " + Name(e.Table) + " SET " + strings.Join(set, ", ") + " WHERE " + where(e) + ";"
}

// where returns the terms that address e's row. A key's values are exactly those of the
// row, whatever collation its column or its index has.
func where(e *change.Entry) string {
	if e.HasRowID {
		return rowid(e) + "=" + fmt.Sprint(e.RowID)
	}
	var terms []string
	for i := range e.Key {
		term := Name(e.Key[i].Name) + "=" + Literal(e.Key[i].Value)
		if e.Key[i].Value.Kind == change.Text {
			term += " COLLATE BINARY"
		}
		terms = append(terms, term)
	}
	return strings.Join(terms, " AND ")
}

// rowid returns a name of the rowid that is not a column among those that e has. An update
// does not have all columns of its table, so the name that is least likely to be a column
// comes first.
func rowid(e *change.Entry) string {
	names := []string{"_rowid_", "oid", "rowid"}
	for _, name := range names {
		if !has(e.Before, name) && !has(e.After, name) && !has(e.Key, name) {
			return name
		}
	}
	return names[0]
}

func has(row []change.Column, name string) bool {
	for i := range row {
		if strings.EqualFold(row[i].Name, name) {
			return true
		}
	}
	return false
}

// Name returns a name as an SQL identifier.
func Name(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// ending returns what ends the statement sql, which may end in a comment.
func ending(sql string) string {
	for i := 0; i < len(sql); {
		opening, closing := token(sql[i:])
		i += len(opening)
		if closing == "" {
			continue
		}
		end := strings.Index(sql[i:], closing)
		switch {
		case end >= 0:
			i += end + len(closing)
		case opening == "--":
			return "\n;"
		case opening == "/*":
			return "*/;"
		default:
			return ";" // an open string, which SQLite would not have accepted
		}
	}
	return ";"
}

// token returns how sql begins, and for a comment, string or quoted name, what ends it. A
// doubled quote is the end of one string and the beginning of another.
func token(sql string) (opening, closing string) {
	switch {
	case strings.HasPrefix(sql, "--"):
		return "--", "\n"
	case strings.HasPrefix(sql, "/*"):
		return "/*", "*/"
	case sql[0] == '[':
		return "[", "]"
	case strings.IndexByte("'\"`", sql[0]) >= 0:
		return sql[:1], sql[:1]
	}
	return sql[:1], ""
}
