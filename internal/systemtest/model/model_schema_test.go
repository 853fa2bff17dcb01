//go:build !race

package model_test

import (
	"fmt"
	"path/filepath"
)

// Tables are t0, t1, …, of every kind, with the columns a, b and c, most with
// an id; so most statements fit most tables. Columns that are added are d0, d1, …

func (m *model) table() string { return fmt.Sprint("t", m.below(4)) }

// createTable makes a table: mostly a plain one, with random columns.
func (m *model) createTable(name string) string {
	if m.one(5) {
		return m.createVirtual(name)
	}
	create := "CREATE TABLE "
	if m.one(5) {
		create += "IF NOT EXISTS "
	}
	if m.one(10) {
		return create + name + " AS SELECT * FROM " + m.table()
	}
	key := m.word("", "id INTEGER PRIMARY KEY, ", "id INTEGER PRIMARY KEY AUTOINCREMENT, ", "id INT PRIMARY KEY, ", "id TEXT PRIMARY KEY DEFAULT 'x', ", "id INTEGER PRIMARY KEY DESC, ", "id INTEGER PRIMARY KEY ON CONFLICT REPLACE, ", "id INT NOT NULL UNIQUE DEFAULT 1, ")
	strict := m.one(6)
	columns := key
	for i, column := range []string{"a", "b", "c"} {
		if i > 0 {
			columns += ", "
		}
		columns += column + m.columnType(strict) + m.columnRule()
	}
	columns += m.word("", "", "", ", g AS (a || 'g')", ", gs TEXT AS (b || c) STORED", ", g INT AS (length(a)) NOT NULL", ", rowid INT", ", oid INT, _rowid_ INT")
	if key == "" {
		columns += m.word("", ", PRIMARY KEY(b, a)", ", PRIMARY KEY(a DESC, c) ON CONFLICT IGNORE", ", PRIMARY KEY(b COLLATE NOCASE, a)")
	}
	columns += m.word("", "", "", ", UNIQUE(a, b)", ", UNIQUE(c, a) ON CONFLICT REPLACE", ", CONSTRAINT k CHECK(a IS NOT b)")
	if m.one(15) { // mostly a mismatch, which keeps both tables from being written
		columns += ", FOREIGN KEY(a, b) REFERENCES " + m.table() + "(a, b) ON DELETE CASCADE ON UPDATE SET NULL"
	}
	options := m.word("", "", "", "", " WITHOUT ROWID")
	switch {
	case strict && options != "":
		options += ", STRICT"
	case strict:
		options = " STRICT"
	}
	return create + name + "(" + columns + ")" + options
}

func (m *model) columnType(strict bool) string {
	if strict {
		return m.word(" ANY", " INT", " INTEGER", " TEXT", " REAL", " BLOB")
	}
	return m.word("", "", " INTEGER", " TEXT", " REAL", " NUMERIC", " BLOB", " VARCHAR(9)")
}

func (m *model) columnRule() string {
	return m.word("", "", "", "", "", " UNIQUE", " NOT NULL DEFAULT 7", " NOT NULL ON CONFLICT REPLACE DEFAULT 'd'", " COLLATE NOCASE", " CHECK(typeof(b) <> 'blob')",
		" DEFAULT (random())", " UNIQUE ON CONFLICT IGNORE", " REFERENCES p ON DELETE "+m.word("CASCADE", "SET NULL", "SET DEFAULT")+" ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED", " DEFAULT -0.0", " DEFAULT x'00ff'")
}

// createVirtual makes a full text table or an R-Tree. There is none with
// contentless_unindexed: SQLite forgets a part of it in ALTER TABLE RENAME, and
// calls the database malformed from then on. Nor is there one with content=”
// and columnsize=0, whose writes are refused outside a transaction.
func (m *model) createVirtual(name string) string {
	return "CREATE VIRTUAL TABLE " + name + " USING " + m.word(
		"fts5(a, b, c)",
		"fts5(a, b UNINDEXED, c, prefix='1 2')",
		"fts5(a, b, c, detail=none)",
		"fts5(a, b, c, detail=column, columnsize=0)",
		"fts5(a, b, c, tokenize='porter unicode61')",
		"fts5(a, b, c, tokenize='trigram')",
		"fts5(a, b, c, content='')",
		"fts5(a, b, c, content='', contentless_delete=1)",
		"fts5(a, b, c, content='"+m.table()+"')",
		"fts5(a, b, c, content='"+m.table()+"', content_rowid='id')",
		"rtree(id, a, b, +c)",
		"rtree_i32(id, a, b, +c)",
	)
}

// schemaStatement changes the schema, of main or of somebody else.
func (m *model) schemaStatement() string {
	t := m.table()
	d := fmt.Sprint("d", m.below(3))
	switch m.below(26) {
	case 0, 1, 2:
		return m.createTable(t)
	case 24:
		return search
	case 3:
		return "DROP TABLE " + m.word("", "IF EXISTS ") + t
	case 4:
		return "ALTER TABLE " + t + " RENAME TO " + m.table()
	case 5:
		return "ALTER TABLE " + t + " RENAME COLUMN " + m.word("a TO d0", "d0 TO a", "b TO "+d, d+" TO b", "id TO "+d, "c TO C")
	case 6, 7:
		return "ALTER TABLE " + t + " ADD COLUMN " + d + m.word("", " DEFAULT 5", " TEXT NOT NULL DEFAULT 'it''s'", " REAL DEFAULT 2", " REFERENCES p", " AS (a || b)", " CHECK("+d+" IS NULL)", " DEFAULT \"quoted\"")
	case 8:
		return "ALTER TABLE " + t + " DROP COLUMN " + m.word(d, d, "c", "g")
	case 9:
		return "ALTER TABLE " + t + m.word(" ALTER COLUMN c SET NOT NULL", " ALTER COLUMN b DROP NOT NULL", " ADD CONSTRAINT k CHECK(c IS NOT 3)", " DROP CONSTRAINT k")
	case 10, 11:
		return "CREATE " + m.word("", "UNIQUE ") + "INDEX " + m.word("", "IF NOT EXISTS ") + m.object("i") + " ON " + t + m.word("(a)", "(b DESC, a)", "(lower(b))", "(a) WHERE b IS NOT NULL", "(c COLLATE NOCASE)", "(a, length(c))")
	case 12:
		return "DROP INDEX IF EXISTS " + m.object("i")
	case 13:
		return "CREATE VIEW IF NOT EXISTS " + m.object("v") + m.word(" AS SELECT * FROM ", "(a, b) AS SELECT b, a FROM ") + t
	case 14:
		return "DROP VIEW IF EXISTS " + m.object("v")
	case 15, 16:
		return m.createTrigger()
	case 17:
		return "DROP TRIGGER IF EXISTS " + m.object("g")
	case 18:
		return m.word("CREATE TEMP TABLE "+t+"(id INTEGER PRIMARY KEY, a, b, c)", "CREATE TEMP VIEW "+m.object("v")+" AS SELECT * FROM "+t, "CREATE TEMP TRIGGER "+m.object("g")+" AFTER INSERT ON "+t+" BEGIN DELETE FROM "+m.table()+" WHERE a = new.a; END", "DROP TABLE IF EXISTS temp."+t)
	case 19:
		return m.word("ATTACH ':memory:' AS other", "ATTACH '"+filepath.ToSlash(m.dir)+"/other.sqlite' AS other", "CREATE TABLE other."+t+"(id INTEGER PRIMARY KEY, a, b, c)", "INSERT INTO other."+t+"(a) VALUES(1)", "DROP TABLE other."+t, "DETACH other")
	case 20:
		return fmt.Sprint("PRAGMA ", m.word("user_version", "application_id", "main.user_version"), " = ", m.below(5))
	case 21:
		return "PRAGMA " + m.word("foreign_keys = OFF", "foreign_keys = ON", "recursive_triggers = ON", "legacy_alter_table = ON", "legacy_alter_table = OFF", "defer_foreign_keys = ON", "case_sensitive_like = ON", "reverse_unordered_selects = ON", "count_changes = ON")
	case 22:
		return m.word("ANALYZE", "REINDEX", "REINDEX "+t, "PRAGMA optimize")
	}
	return "DROP TABLE IF EXISTS " + t + "; " + m.createTable(t)
}

// search is a table with an index that triggers keep, as SQLite's documentation
// has it. It is made again now and then, and has the columns of the others.
const search = `
DROP TABLE IF EXISTS t0; DROP TABLE IF EXISTS t1;
CREATE TABLE t0(id INTEGER PRIMARY KEY, a, b, c);
CREATE VIRTUAL TABLE t1 USING fts5(a, b, c, content='t0', content_rowid='id');
CREATE TRIGGER t0i AFTER INSERT ON t0 BEGIN INSERT INTO t1(rowid, a, b, c) VALUES(new.id, new.a, new.b, new.c); END;
CREATE TRIGGER t0d AFTER DELETE ON t0 BEGIN INSERT INTO t1(t1, rowid, a, b, c) VALUES('delete', old.id, old.a, old.b, old.c); END;
CREATE TRIGGER t0u AFTER UPDATE ON t0 BEGIN
	INSERT INTO t1(t1, rowid, a, b, c) VALUES('delete', old.id, old.a, old.b, old.c);
	INSERT INTO t1(rowid, a, b, c) VALUES(new.id, new.a, new.b, new.c);
END`

// object is the name of an index, a view or a trigger.
func (m *model) object(kind string) string { return fmt.Sprint(kind, m.below(3)) }

func (m *model) createTrigger() string {
	t, u := m.table(), m.table()
	when := m.word("AFTER INSERT ON "+t, "BEFORE UPDATE OF a ON "+t, "AFTER UPDATE ON "+t, "BEFORE DELETE ON "+t, "AFTER DELETE ON "+t, "INSTEAD OF INSERT ON "+m.object("v"))
	do := m.word(
		"INSERT OR IGNORE INTO "+u+"(a, b) VALUES(1, 'by trigger')",
		"UPDATE "+u+" SET c = c + 1 WHERE a < 5",
		"DELETE FROM "+u+" WHERE a = 3; INSERT INTO "+u+"(a) VALUES(3)",
		"SELECT RAISE(IGNORE)",
		"SELECT RAISE(FAIL, 'no') FROM "+u+" WHERE a = 2",
		"SELECT RAISE(ROLLBACK, 'never') FROM "+u+" WHERE a = 4",
		"INSERT INTO "+u+"("+u+", rowid, a, b, c) VALUES('delete', old.rowid, old.a, old.b, old.c)",
		"INSERT INTO "+u+"(rowid, a, b, c) VALUES(new.rowid, new.a, new.b, new.c)",
	)
	return "CREATE TRIGGER IF NOT EXISTS " + m.object("g") + " " + when + m.word("", " WHEN random() <> 0") + " BEGIN " + do + "; END"
}
