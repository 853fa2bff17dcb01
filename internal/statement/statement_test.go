package statement_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/apply"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/statement"
)

func row(pairs ...any) (out []change.Column) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, change.Column{Name: pairs[i].(string), Value: change.ValueOf(pairs[i+1])})
	}
	return out
}

// TestSQL: what the statements look like.
func TestSQL(t *testing.T) {
	for _, c := range []struct {
		entry change.Entry
		want  string
	}{
		{change.Entry{Op: change.Insert, Table: "users", HasRowID: true, RowID: 7, Key: row("id", "u1"), After: row("id", "u1", "name", "O'Hara", "score", 5.0)},
			`INSERT INTO "users"(_rowid_, "id", "name", "score") VALUES(7, 'u1', 'O''Hara', 5.0);`},
		{change.Entry{Op: change.Insert, Table: `a "b`, Key: row("id", int64(1)), After: row("id", int64(1), "x", []byte{0, 255}, "y", nil)},
			`INSERT INTO "a ""b"("id", "x", "y") VALUES(1, x'00ff', NULL);`},
		{change.Entry{Op: change.Update, Table: "t", HasRowID: true, RowID: 7, NewRowID: 8, After: row("_ROWID_", "a\nb")},
			`UPDATE "t" SET "_ROWID_"=CAST(x'610a62' AS TEXT), oid=8 WHERE oid=7;`},
		{change.Entry{Op: change.Update, Table: "t", HasRowID: true, RowID: 7, NewRowID: 7}, ``},
		{change.Entry{Op: change.Update, Table: "t", Key: row("a", "x", "b", int64(2)), After: row("c", 0.1)},
			`UPDATE "t" SET "c"=0.1 WHERE "a"='x' COLLATE BINARY AND "b"=2;`},
		{change.Entry{Op: change.Delete, Table: "t", Key: row("id", int64(-3)), Before: row("id", int64(-3))}, `DELETE FROM "t" WHERE "id"=-3;`},
		{change.Entry{Op: change.Schema, SQL: "CREATE TABLE t(a)"}, `CREATE TABLE t(a);`},
		{change.Entry{Op: change.Schema, SQL: "CREATE TABLE t(a) -- it's a table"}, "CREATE TABLE t(a) -- it's a table\n;"},
		{change.Entry{Op: change.Schema, SQL: "CREATE TABLE t(a DEFAULT '--') /* one"}, "CREATE TABLE t(a DEFAULT '--') /* one*/;"},
		{change.Entry{Op: change.Schema, SQL: "ALTER TABLE t RENAME TO u", Settings: change.Settings{LegacyAlterTable: true}},
			"PRAGMA legacy_alter_table=ON;\nALTER TABLE t RENAME TO u;\nPRAGMA legacy_alter_table=OFF;"},
		{change.Entry{Op: change.Barrier, Reason: "a\nb"}, "-- not recorded: a b"},
		{change.Entry{Op: change.Delete, Table: change.SequenceTable, Key: row("name", "t")}, "DELETE FROM sqlite_sequence WHERE name='t';"},
	} {
		if got := statement.SQL(&c.entry); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

const tables = `
	CREATE TABLE "a ""b"(x, y TEXT, z REAL, i INTEGER, n NUMERIC, b BLOB);
	CREATE TABLE hidden(rowid TEXT, _rowid_ TEXT, v);
	CREATE TABLE keyed(k TEXT COLLATE NOCASE, n, v, PRIMARY KEY(k COLLATE BINARY, n)) WITHOUT ROWID;
	CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, v, g AS (v || '!'));
	CREATE TRIGGER trap AFTER INSERT ON counted BEGIN DELETE FROM counted; END;`

// TestReplays: the statements do what a replay of the entries does, in this SQLite and in
// the sqlite3 shell.
func TestReplays(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	entries := randomEntries(rng, 3000)
	dir := t.TempDir()
	replayed, run := filepath.Join(dir, "replayed.sqlite"), filepath.Join(dir, "run.sqlite")

	c := create(t, replayed)
	replay, err := apply.NewReplay(c)
	check(t, err)
	for i := range entries {
		if err := replay.Apply(&entries[i]); err != nil {
			t.Fatalf("entry %d, %+v: %v", i, entries[i], err)
		}
	}
	replay.Close()
	check(t, c.Close())

	script := &strings.Builder{}
	for i := range entries {
		script.WriteString(statement.SQL(&entries[i]) + "\n")
	}
	c = create(t, run)
	replay, err = apply.NewReplay(c) // it has no triggers
	check(t, err)
	check(t, c.Exec("BEGIN;"+script.String()+"COMMIT"))
	replay.Close()
	check(t, c.Close())
	dbtest.Equal(t, replayed, run)

	shell, err := exec.LookPath("sqlite3")
	if err != nil {
		if os.Getenv("DRIFTDB_REQUIRE_TOOLS") != "" {
			t.Fatal(err)
		}
		t.Skip("there is no sqlite3 shell here; our own SQLite has run the script")
	}
	inShell := filepath.Join(dir, "shell.sqlite")
	check(t, create(t, inShell).Close())
	cmd := exec.Command(shell, inShell)
	cmd.Stdin = strings.NewReader(statement.Preamble + "BEGIN;\n" + script.String() + "COMMIT;\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dbtest.Equal(t, replayed, inShell)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, path string) *sqlite.Conn {
	t.Helper()
	c, err := sqlite.Open(path, sqlite.Options{})
	check(t, err)
	check(t, c.Exec(tables))
	return c
}

// world is the rows of the tables, so that entries fit them.
type world struct {
	rng  *rand.Rand
	rows map[int64][]change.Column // of the first table
	next int64
}

func randomEntries(rng *rand.Rand, n int) (out []change.Entry) {
	w := &world{rng: rng, rows: map[int64][]change.Column{}}
	for range n {
		switch rng.IntN(8) {
		case 0, 1, 2:
			out = append(out, w.insert())
		case 3, 4:
			out = append(out, w.change()...)
		case 5:
			w.next++
			out = append(out, change.Entry{Op: change.Insert, Table: "hidden", HasRowID: true, RowID: w.next - 1000, After: row("rowid", w.text(), "_rowid_", w.text(), "v", w.value())})
		case 6:
			w.next++
			out = append(out, change.Entry{Op: change.Insert, Table: "counted", Key: row("id", w.next), After: row("id", w.next, "v", w.value())},
				change.Entry{Op: change.Update, Table: change.SequenceTable, Key: row("name", "counted"), After: row("seq", w.next+rng.Int64N(5))})
		case 7:
			out = append(out, w.key()...)
		}
	}
	return out
}

func (w *world) insert() change.Entry {
	id := w.rng.Int64() - math.MaxInt64/2
	after := row("x", w.value(), "y", w.text(), "z", w.real(), "i", w.rng.Int64()-math.MaxInt64/2, "n", w.real()+0.5, "b", []byte(w.text()))
	w.rows[id] = after
	return change.Entry{Op: change.Insert, Table: `a "b`, HasRowID: true, RowID: id, After: after}
}

func (w *world) change() []change.Entry {
	for id, before := range w.rows { // any
		e := change.Entry{Op: change.Update, Table: `a "b`, HasRowID: true, RowID: id, NewRowID: id}
		delete(w.rows, id)
		switch w.rng.IntN(3) {
		case 0:
			e.Op, e.Before = change.Delete, before
			return []change.Entry{e}
		case 1:
			e.NewRowID++
			e.After, e.Before = before, before
		default:
			e.After, e.Before = row("x", w.value()), before[:1]
		}
		w.rows[e.NewRowID] = before
		return []change.Entry{e}
	}
	return nil
}

// key inserts rows whose keys differ in case only, and changes or deletes one of them.
func (w *world) key() []change.Entry {
	w.next++
	insert := func(k string) change.Entry {
		return change.Entry{Op: change.Insert, Table: "keyed", Key: row("k", k, "n", w.next), After: row("k", k, "n", w.next, "v", w.value())}
	}
	lower, upper := insert("key"), insert("KEY")
	out := []change.Entry{lower, upper}
	if w.rng.IntN(2) == 0 {
		return append(out, change.Entry{Op: change.Delete, Table: "keyed", Key: lower.Key, Before: lower.After})
	}
	return append(out, change.Entry{Op: change.Update, Table: "keyed", Key: upper.Key, After: row("k", fmt.Sprintf("Kéy\x00%d", w.next), "n", w.real(), "v", "moved"), Before: upper.After})
}

func (w *world) value() any {
	switch w.rng.IntN(5) {
	case 0:
		return nil
	case 1:
		return w.rng.Int64() - math.MaxInt64/2
	case 2:
		return w.real()
	case 3:
		return w.text()
	}
	return []byte(w.text())
}

func (w *world) text() string {
	alphabet := []string{"a", "'", "\"", "\n", "\x00", "é", "\xff", "😀", "\u202e", ";", "--", "x", "\r\n", "`", "%s"}
	var b bytes.Buffer
	b.WriteString("t") // no number
	for range w.rng.IntN(8) {
		b.WriteString(alphabet[w.rng.IntN(len(alphabet))])
	}
	return b.String()
}

func (w *world) real() float64 {
	switch w.rng.IntN(4) {
	case 0:
		return []float64{5, 0.1, 1e300, math.Inf(1), math.Inf(-1), math.Copysign(0, -1), math.SmallestNonzeroFloat64, math.MaxFloat64, 1 << 60, 2.2250738585072014e-308, -6.305699213543694e+274, 4.48656333624953e-300}[w.rng.IntN(12)]
	case 1:
		return float64(w.rng.Int64N(1e9)) / 100
	case 2:
		return w.rng.NormFloat64()
	}
	f := math.Float64frombits(w.rng.Uint64())
	if math.IsNaN(f) {
		return 1.5
	}
	return f
}

func BenchmarkSQL(b *testing.B) {
	e := change.Entry{Op: change.Insert, Table: "t", HasRowID: true, RowID: 1, After: row("a", 0.1, "b", "text", "c", 123.456)}
	for b.Loop() {
		if fmt.Sprint(statement.SQL(&e)) == "" {
			b.Fatal()
		}
	}
}
