//go:build !race

package model_test

import (
	"fmt"
	"math"
	"strings"

	"pgregory.net/rapid"
)

// statement is anything that a program may send.
func (m *model) statement() (query string, args []any) {
	switch n := m.below(20); {
	case n < 13:
		return m.dataStatement()
	case n < 17:
		return m.schemaStatement(), nil
	}
	return m.script()
}

// script is several statements in one, some with their own transaction. All of
// them see the same arguments, so they have none here.
func (m *model) script() (string, []any) {
	var parts []string
	for range 2 + m.below(3) {
		part := m.schemaStatement()
		if !m.one(3) {
			part = m.literals(m.dataStatement())
		}
		parts = append(parts, part)
	}
	script := strings.Join(parts, "; ")
	switch m.below(4) {
	case 0:
		script = "BEGIN; " + script + m.word("; COMMIT", "; COMMIT", "; ROLLBACK", "")
	case 1:
		script = "SAVEPOINT a; " + script + "; SAVEPOINT b; " + parts[0] + "; ROLLBACK TO b; RELEASE a"
	}
	return script, nil
}

// literals puts the arguments into a statement.
func (m *model) literals(query string, args []any) string {
	for _, arg := range args {
		literal := "NULL"
		switch v := arg.(type) {
		case string:
			literal = fmt.Sprintf("CAST(x'%x' AS TEXT)", v)
		case []byte:
			literal = fmt.Sprintf("x'%x'", v)
		case float64:
			literal = strings.NewReplacer("+Inf", "9e999", "-Inf", "-9e999", "NaN", "NULL").Replace(fmt.Sprintf("%e", v))
		case int64:
			literal = fmt.Sprint(v)
		}
		query = strings.Replace(query, "?", literal, 1)
	}
	return query
}

// dataStatement changes rows, or reads them.
func (m *model) dataStatement() (string, []any) {
	t := m.table()
	switch m.below(22) {
	case 0, 1, 2, 3, 4:
		return m.insert(t)
	case 20:
		return m.verb("INSERT") + " INTO p(id, a) VALUES(?, ?)" + m.returning(), m.values(2)
	case 21:
		return m.word("DELETE FROM p WHERE id < ?", "UPDATE p SET id = id + 1 WHERE id > ?"), []any{int64(m.below(9))}
	case 5:
		return m.verb("INSERT") + " INTO " + t + m.word("(id, a, b, c)", "(rowid, a, b, c)", "(_rowid_, c, b, a)") + " VALUES(?, ?, ?, ?)" + m.returning(), m.values(4)
	case 6:
		return m.verb("INSERT") + " INTO " + t + m.word("(a, b, c) SELECT a, b, c FROM ", "(b, a) SELECT a, b FROM ", " SELECT * FROM ") + m.table() + " LIMIT 6", nil
	case 7, 8, 9:
		return m.verb("UPDATE") + " " + t + " SET " + m.word("a = ?, c = ?", "b = ?, a = ?", "c = c + 1, a = ?, b = ?") + m.where() + m.returning(), append(m.values(2), m.value())
	case 10:
		return m.verb("UPDATE") + " " + t + " SET " + m.word("rowid = rowid + 3", "id = id + 1", "id = -id", "(a, b) = (b, a)", "b = b || '!'", "a = a", "rowid = -rowid"), nil
	case 11:
		return "UPDATE " + t + " SET c = u.b FROM " + m.table() + " AS u WHERE u.a = " + t + ".a", nil
	case 12, 13:
		return "DELETE FROM " + t + m.where() + m.returning(), []any{m.value()}
	case 14:
		return "DELETE FROM " + t, nil
	case 15:
		return m.fullText(t)
	case 16:
		return m.word("INSERT INTO "+t+" DEFAULT VALUES", "INSERT INTO "+m.object("v")+" VALUES(1, 2)", "DELETE FROM main."+t+" WHERE a IN (SELECT a FROM "+m.table()+")"), nil
	case 17:
		return m.word("UPDATE sqlite_sequence SET seq = seq + 10", "DELETE FROM sqlite_sequence", "INSERT INTO sqlite_sequence VALUES('"+t+"', 50)", "UPDATE sqlite_sequence SET seq = NULL WHERE name = '"+t+"'"), nil
	case 18:
		return "SELECT * FROM " + t + m.where(), []any{m.value()}
	}
	return "SELECT a.a, b.b FROM " + t + " AS a, " + m.table() + " AS b", nil
}

func (m *model) insert(t string) (string, []any) {
	rows := 1 + m.below(3)
	query := m.verb("INSERT") + " INTO " + t + "(a, b, c) VALUES(?, ?, ?)" + strings.Repeat(", (?, ?, ?)", rows-1)
	query += m.word("", "", "", " ON CONFLICT DO NOTHING", " ON CONFLICT(a) DO UPDATE SET b = excluded.b, c = 'upsert'", " ON CONFLICT DO UPDATE SET c = excluded.c WHERE a > 1", " ON CONFLICT(b, a) DO UPDATE SET a = a + 1")
	return query + m.returning(), m.values(3 * rows)
}

func (m *model) verb(verb string) string {
	return verb + m.word("", "", "", " OR IGNORE", " OR REPLACE", " OR FAIL", " OR ABORT", " OR ROLLBACK")
}

func (m *model) returning() string { return m.word("", "", "", "", " RETURNING *", " RETURNING a, b") }

func (m *model) where() string {
	return m.word(" WHERE a = ?", " WHERE a > ?", " WHERE b IS NOT ?", " WHERE rowid IN (SELECT rowid FROM t0 WHERE a < ?)", " WHERE c IS NULL OR a = ?", " WHERE id < ?")
}

// fullText is a command to an FTS5 table, which is an insert into it.
func (m *model) fullText(t string) (string, []any) {
	switch m.below(4) {
	case 0:
		return "INSERT INTO " + t + "(" + t + ") VALUES('" + m.word("rebuild", "optimize", "delete-all", "integrity-check", "flush") + "')", nil
	case 1:
		setting := m.word("'automerge', 2", "'crisismerge', 3", "'pgsz', 64", "'merge', -16", "'usermerge', 2", "'rank', 'bm25(2.0, 1.0)'", "'secure-delete', 1", "'deletemerge', 5", "'hashsize', 100")
		return "INSERT INTO " + t + "(" + t + ", rank) VALUES(" + setting + ")", nil
	case 2:
		return "INSERT INTO " + t + "(" + t + ", rowid, a, b, c) VALUES('delete', ?, ?, ?, ?)", append([]any{int64(m.below(9))}, m.values(3)...)
	}
	return "SELECT rowid, * FROM " + t + " WHERE " + t + " MATCH 'one OR th*' ORDER BY rank", nil
}

func (m *model) values(n int) []any {
	out := make([]any, n)
	for i := range out {
		out[i] = m.value()
	}
	return out
}

// value is small most of the time, so that keys collide.
func (m *model) value() any {
	switch m.below(12) {
	case 7, 8:
		return m.text()
	case 9:
		return pick[any](m.T, nil, int64(math.MaxInt64), int64(math.MinInt64), int64(1<<53+1), int64(-1))
	case 10:
		return pick(m.T, 0.5, 1, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.SmallestNonzeroFloat64, math.MaxFloat64, 1<<53, 0.1+0.2, math.NaN())
	case 11:
		return pick(m.T, []byte{}, []byte{0}, []byte("1"), []byte{0xff, 0xfe}, make([]byte, 5000))
	}
	return int64(m.below(8))
}

var texts = rapid.SampledFrom([]string{"one", "one two", "three", "", "1", "ONE", "nul\x00nul", "\xff\xfe", "quote'\"", "héllo wörld", "日本", "2.0", strings.Repeat("long ", 1000)})

func (m *model) text() string { return texts.Draw(m.T, "text") }
