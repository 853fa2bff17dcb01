package capture_test

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// TestShapes: whatever a table looks like, its log can be replayed, or a barrier
// says that it cannot.
func TestShapes(t *testing.T) {
	eachSeed(t, 10, 80, func(t *testing.T, seed uint64) {
		s := newSource(t, 0)
		c := s.conn(t)
		g := &shapes{Rand: random(seed, 7)}
		ddl := g.table()
		if _, err := c.ExecContext(t.Context(), ddl[0]); err != nil {
			t.Fatalf("%v\n%s", err, clip(ddl[0]))
		}
		for _, q := range ddl[1:] {
			g.try(t, c, q)
		}
		for range 30 {
			g.try(t, c, g.statement())
		}
		c.Close()
		if _, _, err := s.replay(t); errors.Is(err, restore.ErrBarrier) && g.nameless {
			return
		}
		s.mustEqual(t)
		if t.Failed() {
			t.Log(clip(strings.Join(ddl, ";\n")))
		}
	})
}

// shapes makes a random table, and statements for it.
type shapes struct {
	*rand.Rand
	name     string
	columns  []string // that can be written …
	types    map[string]string
	key      []string // … and are the primary key's
	nameless bool     // its rowid has no name
}

func (g *shapes) try(t *testing.T, c *sql.Conn, q string) {
	t.Helper()
	_, err := c.ExecContext(t.Context(), q)
	if err != nil && !strings.Contains(err.Error(), "constraint") && !strings.Contains(err.Error(), "mismatch") &&
		!strings.Contains(err.Error(), "cannot store") {
		t.Logf("%v: %s", err, clip(q))
	}
}

func clip(s string) string { return s[:min(len(s), 2000)] }

var oddNames = []string{"a", "b", `q"uote`, "select", "ünï", "", "rowid", "_rowid_", "oid", "Order", "x y", "[z]", "'s'", "key", "c;d", "--e"}

func (g *shapes) table() (ddl []string) {
	g.name = pick(g.Rand, "t", `t"x`, "table", "Ünï", "t.t", "x-- y", "rowid")
	n := pick(g.Rand, 1, 2, 3, 4, 6, 8)
	if g.IntN(20) == 0 {
		n = pick(g.Rand, 64, 300, 1100, 2000)
	}
	strict, without := g.IntN(4) == 0, g.IntN(2) == 0
	names := g.names(n)
	key := g.Perm(n)[:g.IntN(min(n, 4)+1)]
	if n > 60 && g.IntN(2) == 0 {
		key = g.Perm(n)[:n*3/4]
	}
	if without && len(key) == 0 {
		key = []int{0}
	}
	for _, i := range key {
		g.key = append(g.key, names[i])
	}
	g.types = map[string]string{}
	var parts []string
	inline := len(key) == 1 && g.IntN(2) == 0
	for i, name := range names {
		g.types[name] = g.typ(strict)
		def := sqlite.Quote(name) + " " + g.types[name]
		switch generated := !slices.Contains(key, i) && i > 0 && g.IntN(8) == 0; {
		case generated:
			def += " AS (" + sqlite.Quote(names[0]) + ") " + pick(g.Rand, "VIRTUAL", "STORED")
		case inline && key[0] == i:
			def += " PRIMARY KEY" + pick(g.Rand, "", " DESC")
			g.columns = append(g.columns, name)
		default:
			g.columns = append(g.columns, name)
		}
		def += pick(g.Rand, "", "", collate(g.Rand))
		if slices.Contains(g.columns, name) {
			def += pick(g.Rand, "", "", "", " DEFAULT 'd'", " DEFAULT 7", " NOT NULL DEFAULT 0", " CHECK(1)")
		}
		parts = append(parts, def)
	}
	if len(key) > 0 && !inline {
		var k []string
		for _, i := range key {
			k = append(k, sqlite.Quote(names[i])+pick(g.Rand, "", collate(g.Rand))+pick(g.Rand, "", " DESC"))
		}
		if g.IntN(6) == 0 { // the same column under another collation
			k = append(k, sqlite.Quote(names[key[0]])+collate(g.Rand))
		}
		parts = append(parts, "PRIMARY KEY("+strings.Join(k, ", ")+")")
	}
	if g.IntN(4) == 0 {
		parts = append(parts, "UNIQUE("+sqlite.Quote(pick(g.Rand, names...))+collate(g.Rand)+")")
	}
	var options []string
	if strict {
		options = append(options, "STRICT")
	}
	if without {
		options = append(options, "WITHOUT ROWID")
	}
	g.nameless = !without && slices.Contains(names, "rowid") && slices.Contains(names, "oid") && slices.Contains(names, "_rowid_")
	q := sqlite.Quote(g.name)
	return []string{
		"CREATE TABLE " + q + "(" + strings.Join(parts, ", ") + ") " + strings.Join(options, ", "),
		"CREATE INDEX i1 ON " + q + "(" + sqlite.Quote(pick(g.Rand, names...)) + collate(g.Rand) + ")  -- ;",
		"CREATE UNIQUE INDEX i2 ON " + q + "(" + sqlite.Quote(pick(g.Rand, names...)) + ") WHERE " + sqlite.Quote(names[0]) + " > 'b' ",
		"CREATE INDEX i3 ON " + q + "(length(" + sqlite.Quote(names[0]) + "))",
	}[:1+g.IntN(4)]
}

func (g *shapes) names(n int) []string {
	odd := g.Perm(len(oddNames))
	var out []string
	for i := range n {
		if i < len(odd) && n < 60 {
			out = append(out, oddNames[odd[i]])
		} else {
			out = append(out, fmt.Sprintf("c%d", i))
		}
	}
	return out
}

func (g *shapes) typ(strict bool) string {
	if strict {
		return pick(g.Rand, "INT", "INTEGER", "REAL", "TEXT", "BLOB", "ANY")
	}
	return pick(g.Rand, "", "INT", "INTEGER", "REAL", "TEXT", "BLOB", "NUMERIC", "VARCHAR(3)", "DOUBLE", "odd type")
}

func collate(r *rand.Rand) string {
	return pick(r, "", " COLLATE BINARY", " COLLATE NOCASE", " COLLATE RTRIM")
}

func (g *shapes) value() string {
	return pick(g.Rand, "NULL", "0", "1", "2", "-1", "1.0", "2.5", "9e18", "'a'", "'A'", "'a '", "'A  '", "'b'", "''", "'1'", "' 1'", "'1.0'", "x''", "x'61'", "'é'", "'É'",
		"9007199254740993", "-0.0", "1e400", fmt.Sprint(g.IntN(100)))
}

func (g *shapes) statement() string {
	q := sqlite.Quote(g.name)
	or := pick(g.Rand, "", "", "OR REPLACE ", "OR IGNORE ")
	if len(g.columns) == 0 {
		return "INSERT INTO " + q + " DEFAULT VALUES"
	}
	column := sqlite.Quote(pick(g.Rand, g.columns...))
	where := pick(g.Rand, "", " WHERE "+column+" = "+g.value(), " WHERE "+column+" > "+g.value())
	switch g.IntN(6) {
	case 0:
		return "DELETE FROM " + q + where
	case 1, 2:
		return "UPDATE " + or + q + " SET " + column + " = " + g.value() + where
	}
	var names, values []string
	for _, c := range g.columns {
		names = append(names, sqlite.Quote(c))
		values = append(values, g.value())
	}
	return "INSERT " + or + "INTO " + q + "(" + strings.Join(names, ", ") + ") VALUES(" + strings.Join(values, ", ") + ")"
}
