package capture_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/capture"
	"pgregory.net/rapid"
)

// Sessions record tables with a primary key, and of those no row whose key has
// a NULL. Their keys have no REAL, since a session takes 1 and 1.0 for
// different keys and SQLite does not.
const sessionSchema = `
CREATE TABLE plain(id INTEGER PRIMARY KEY, a UNIQUE, b TEXT, c REAL);
CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE, b TEXT, c NUMERIC);
CREATE TABLE pair(b TEXT NOT NULL, a, k NOT NULL, c REAL, PRIMARY KEY(k, b));
CREATE TABLE bare(a UNIQUE, b TEXT NOT NULL, k NOT NULL, c REAL, PRIMARY KEY(b, k)) WITHOUT ROWID;
CREATE TABLE computed(k NOT NULL PRIMARY KEY, g AS (a || '!'), a, s AS (length(a)) STORED, b TEXT, c REAL);
CREATE TABLE parent(id INTEGER PRIMARY KEY, a UNIQUE);
CREATE TABLE child(id INTEGER PRIMARY KEY, p REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE,
	a REFERENCES parent(a) ON DELETE SET NULL ON UPDATE CASCADE, c REFERENCES child DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE audit(id INTEGER PRIMARY KEY, what);
CREATE TRIGGER updated AFTER UPDATE ON plain BEGIN
	INSERT INTO audit(what) VALUES(new.a); UPDATE pair SET c = old.c WHERE k = old.id; END;
CREATE TRIGGER deleting BEFORE DELETE ON pair BEGIN DELETE FROM audit WHERE what IS old.a; END;
CREATE TRIGGER inserted AFTER INSERT ON bare WHEN new.a IS NOT NULL BEGIN
	REPLACE INTO counted(a, b) VALUES(new.a, new.b); DELETE FROM plain WHERE a = new.a; END`

type sessionTable struct {
	columns []string // but for generated ones
	keys    []int    // those of the primary key, in its order
}

var sessionTables = map[string]sessionTable{
	"plain":    {[]string{"id", "a", "b", "c"}, []int{0}},
	"counted":  {[]string{"id", "a", "b", "c"}, []int{0}},
	"pair":     {[]string{"b", "a", "k", "c"}, []int{2, 0}},
	"bare":     {[]string{"a", "b", "k", "c"}, []int{1, 2}},
	"computed": {[]string{"k", "a", "b", "c"}, []int{0}},
	"parent":   {[]string{"id", "a"}, []int{0}},
	"child":    {[]string{"id", "p", "a", "c"}, []int{0}},
	"audit":    {[]string{"id", "what"}, []int{0}},
}

func (t sessionTable) key(r row) row {
	if r == nil {
		return nil
	}
	var out row
	for _, i := range t.keys {
		out = append(out, r[i])
	}
	return out
}

// runTransaction runs a random transaction. Its statements may fail: what
// matters is what was committed.
func runTransaction(r *rapid.T, c *capture.Conn) {
	run := func(query string) {
		_, err := c.ExecContext(context.Background(), query, nil)
		if err != nil && strings.Contains(err.Error(), "capture:") {
			r.Fatalf("%s: %v", query, err)
		}
	}
	if rapid.IntRange(0, 3).Draw(r, "autocommit") > 0 {
		run("BEGIN")
	}
	for _, query := range rapid.SliceOfN(sessionStatement, 1, 12).Draw(r, "statements") {
		run(query)
	}
	if !c.Autocommit() && rapid.IntRange(0, 5).Draw(r, "roll back") > 0 {
		run("COMMIT")
	}
	if !c.Autocommit() {
		run("ROLLBACK")
	}
}

var (
	tableName = rapid.SampledFrom([]string{"plain", "plain", "counted", "pair", "pair", "bare", "bare", "computed", "parent", "parent", "child", "child", "audit"})
	conflict  = rapid.SampledFrom([]string{"", "", "OR REPLACE", "OR REPLACE", "OR IGNORE", "OR FAIL", "OR ABORT", "OR ROLLBACK"})
	smallInt  = rapid.SampledFrom([]string{"1", "2", "3", "4", "5", "6"})
	keyValue  = rapid.OneOf(smallInt, rapid.SampledFrom([]string{"'one'", "'two'", "x'00ff'", "''", "CAST(x'610062' AS TEXT)"}))
	anyValue  = rapid.OneOf(keyValue, keyValue, rapid.SampledFrom([]string{
		"NULL", "1.0", "5.5", "-0.0", "9e999", "5e-324", "9007199254740993", "-9223372036854775808", "9.2e18",
		"'1'", "'1.0'", "CAST(x'fffe' AS TEXT)", "zeroblob(5000)", "x''", "hex(zeroblob(3000))",
	}))
)

// sessionStatement draws a statement. Values come from a few, so that they
// meet again.
var sessionStatement = rapid.Custom(func(r *rapid.T) string {
	name := tableName.Draw(r, "table")
	t := sessionTables[name]
	switch rapid.IntRange(0, 12).Draw(r, "kind") {
	case 0, 1, 2:
		return "INSERT " + conflict.Draw(r, "or") + insertInto(r, name, t)
	case 3:
		return "REPLACE" + insertInto(r, name, t)
	case 4, 5:
		keys := make([]string, len(t.keys))
		for i, k := range t.keys {
			keys[i] = t.columns[k]
		}
		return "INSERT" + insertInto(r, name, t) + " ON CONFLICT(" + strings.Join(keys, ", ") + ") DO UPDATE SET " + assignment(r, t)
	case 6, 7:
		return "UPDATE " + conflict.Draw(r, "or") + " " + name + " SET " + assignment(r, t) + where(r, t)
	case 8:
		i := t.keys[0]
		return fmt.Sprintf("UPDATE %s %s SET %s = %[3]s + 1", conflict.Draw(r, "or"), name, t.columns[i])
	case 9:
		return "DELETE FROM " + name + where(r, t)
	}
	point := rapid.SampledFrom([]string{"s1", "s2", "s3"}).Draw(r, "savepoint")
	return rapid.SampledFrom([]string{"SAVEPOINT ", "SAVEPOINT ", "ROLLBACK TO ", "RELEASE "}).Draw(r, "verb") + point
})

func insertInto(r *rapid.T, name string, t sessionTable) string {
	rows := make([]string, rapid.IntRange(1, 3).Draw(r, "rows"))
	for i := range rows {
		row := make([]string, len(t.columns))
		for j := range row {
			row[j] = valueFor(r, t, j)
		}
		rows[i] = "(" + strings.Join(row, ", ") + ")"
	}
	return " INTO " + name + "(" + strings.Join(t.columns, ", ") + ") VALUES " + strings.Join(rows, ", ")
}

func assignment(r *rapid.T, t sessionTable) string {
	i := rapid.IntRange(0, len(t.columns)-1).Draw(r, "set")
	j := rapid.IntRange(0, len(t.columns)-1).Draw(r, "and")
	set := t.columns[i] + " = " + valueFor(r, t, i)
	if i != j {
		set += ", " + t.columns[j] + " = " + valueFor(r, t, j)
	}
	return set
}

func where(r *rapid.T, t sessionTable) string {
	i := rapid.IntRange(0, len(t.columns)).Draw(r, "where")
	if i == len(t.columns) {
		return "" // all rows
	}
	return " WHERE " + t.columns[i] + rapid.SampledFrom([]string{" = ", " >= ", " <> "}).Draw(r, "operator") + valueFor(r, t, i)
}

func valueFor(r *rapid.T, t sessionTable, column int) string {
	switch name := t.columns[column]; {
	case name == "id", name == "p":
		return smallInt.Draw(r, name)
	case name == "k", name == "b":
		return keyValue.Draw(r, name)
	default:
		return anyValue.Draw(r, name)
	}
}
