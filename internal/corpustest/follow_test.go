package corpustest

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

var (
	seedsFlag  = flag.String("seeds", "1", "what TestFiles makes its statements from, `from-to` or one number")
	statements = flag.Int("statements", 120, "how many statements TestFiles runs on a file")
)

// TestFiles: a database that another program has made is adopted and followed. Random
// statements run on it; at its end and at five points between, a restore is equal.
func TestFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("files of megabytes")
	}
	var from, to uint64
	if n, err := fmt.Sscanf(*seedsFlag, "%d-%d", &from, &to); n == 0 {
		t.Fatalf("-seeds %s: %v", *seedsFlag, err)
	}
	for _, f := range files(t) {
		for seed := from; seed <= max(from, to); seed++ {
			t.Run(fmt.Sprintf("%s/seed=%d", f.name, seed), func(t *testing.T) {
				t.Parallel()
				follow(t, f, seed)
			})
		}
	}
}

// point is a state that was flushed.
type point struct {
	sequence int64
	dump     string // a file that describes it
}

func follow(t *testing.T, f file, seed uint64) {
	dir := systemtest.MemoryDir(t)
	cfg := driftdb.Config{Name: "app", Path: filepath.Join(dir, "app.sqlite"), Store: objstore.Mem(), ManualSync: true}
	data, err := os.ReadFile(f.path)
	if err == nil {
		err = os.WriteFile(cfg.Path, data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	db := adopt(t, cfg)
	defer db.Close()
	w := &writer{r: rand.New(rand.NewPCG(seed, uint64(len(data)))), db: db.SQL()}
	var points []point
	const parts = 6
	for part := range parts {
		for range *statements / parts {
			if err := w.step(); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Flush(t.Context()); err != nil {
			t.Fatalf("flush: %v\nseed %d, after\n%s", err, seed, w.last())
		}
		dump, err := dbtest.Dump(cfg.Path)
		if err != nil {
			t.Fatal(err)
		}
		p := point{db.Sequence(), filepath.Join(dir, fmt.Sprint("dump", part))}
		if err := os.WriteFile(p.dump, []byte(dump), 0o644); err != nil {
			t.Fatal(err)
		}
		points = append(points, p)
	}
	for _, p := range points {
		if err := p.compare(t.Context(), cfg, filepath.Join(dir, "restored.sqlite")); err != nil {
			t.Fatalf("the restore of %d: %v\nseed %d, after\n%s", p.sequence, err, seed, w.last())
		}
	}
	t.Logf("%d statements, %d of them failed, %d changes", w.ran, w.failed, points[parts-1].sequence)
}

// adopt opens a database that DriftDB has never seen. The test is skipped if it is
// refused, and has failed if it is not as it was then.
func adopt(t *testing.T, cfg driftdb.Config) *driftdb.DB {
	t.Helper()
	before, err := place(filepath.Dir(cfg.Path))
	if err != nil {
		t.Fatal(err)
	}
	db, err := driftdb.Open(t.Context(), cfg)
	if err == nil {
		return db
	}
	if after, err2 := place(filepath.Dir(cfg.Path)); err2 != nil || after != before {
		t.Fatalf("refused with %v, and not as it was (%v):\n%s\n%s", err, err2, before, after)
	}
	t.Skipf("refused: %v", err)
	return nil
}

// compare restores the state to a file, and compares it.
func (p point) compare(ctx context.Context, cfg driftdb.Config, path string) error {
	_, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Path: path, Store: cfg.Store, Sequence: p.sequence, Overwrite: true})
	if err != nil {
		return err
	}
	again, err := dbtest.Dump(path)
	if err != nil {
		return err
	}
	dump, err := os.ReadFile(p.dump)
	if err == nil && string(dump) != again {
		err = errors.New(dbtest.Diff(string(dump), again))
	}
	return err
}

// writer runs random statements on a database whose schema it reads anew each time.
type writer struct {
	r           *rand.Rand
	db          *sql.DB
	log         []string
	ran, failed int
}

// last are the statements that ran last.
func (w *writer) last() string { return strings.Join(w.log[max(0, len(w.log)-40):], "\n") }

// step runs a transaction, or a statement on its own.
func (w *writer) step() error {
	ctx := context.Background()
	if w.r.IntN(3) > 0 {
		w.run(w.db, w.statement(w.db))
		return nil
	}
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for range 1 + w.r.IntN(5) {
		w.run(tx, w.statement(tx))
	}
	if w.r.IntN(4) == 0 {
		err = tx.Rollback()
	} else {
		err = tx.Commit()
	}
	if err != nil {
		w.log = append(w.log, "-- "+err.Error()) // such as a foreign key that was deferred
		_ = tx.Rollback()
	}
	return nil
}

// runner is a database, or a transaction on it.
type runner interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func (w *writer) run(on runner, statement string) {
	w.ran++
	_, err := on.ExecContext(context.Background(), statement)
	if err != nil {
		w.failed++
		statement += " -- " + err.Error()
	}
	w.log = append(w.log, statement)
}

// texts is the first column of what a query finds.
func (w *writer) texts(on runner, query string, args ...any) (out []string) {
	rows, err := on.QueryContext(context.Background(), query, args...)
	if err != nil {
		return nil // such as a view of a table that is gone
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if rows.Scan(&s) != nil {
			return nil
		}
		out = append(out, s)
	}
	return out
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// statement is a random one that the schema has a use for.
func (w *writer) statement(on runner) string {
	r := w.r
	tables := w.texts(on, `SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual')
		AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name NOT LIKE '\_driftdb%' ESCAPE '\' ORDER BY name`)
	if len(tables) == 0 || r.IntN(25) == 0 {
		return fmt.Sprintf("CREATE TABLE made%d(id INTEGER PRIMARY KEY, a, b TEXT COLLATE NOCASE, c REAL DEFAULT 0.5)", r.IntN(1000))
	}
	table := pick(r, tables)
	columns := w.texts(on, "SELECT name FROM pragma_table_xinfo(?, 'main') WHERE hidden = 0", table)
	if len(columns) == 0 {
		return "DROP TABLE " + quote(table)
	}
	column := quote(pick(r, columns))
	name := quote(table)
	some := fmt.Sprintf("(SELECT %s FROM %s LIMIT %d OFFSET %d)", column, name, 1+r.IntN(20), r.IntN(50))
	switch n := r.IntN(100); {
	case n < 30:
		return fmt.Sprintf("UPDATE OR %s %s SET %s = %s WHERE %s IN %s", pick(r, []string{"ABORT", "IGNORE", "REPLACE", "FAIL", "ROLLBACK"}), name, column, w.value(), quote(pick(r, columns)), some)
	case n < 45:
		return fmt.Sprintf("DELETE FROM %s WHERE %s IN %s", name, column, some)
	case n < 75:
		return w.insert(name, columns)
	case n < 78:
		return fmt.Sprintf("UPDATE %s SET %s = (SELECT %s FROM %s LIMIT 1 OFFSET %d)", name, column, column, name, r.IntN(50))
	}
	return w.definition(on, name, column)
}

func (w *writer) insert(name string, columns []string) string {
	r := w.r
	var into, values, other []string
	for _, c := range columns {
		if r.IntN(6) == 0 {
			continue
		}
		into, values, other = append(into, quote(c)), append(values, w.value()), append(other, quote(c))
		if r.IntN(3) == 0 {
			other[len(other)-1] = w.value()
		}
	}
	if len(into) == 0 {
		return fmt.Sprintf("INSERT INTO %s DEFAULT VALUES", name)
	}
	or := pick(r, []string{"ABORT", "IGNORE", "REPLACE"})
	if r.IntN(2) == 0 {
		return fmt.Sprintf("INSERT OR %s INTO %s(%s) VALUES(%s)", or, name, strings.Join(into, ", "), strings.Join(values, ", "))
	}
	return fmt.Sprintf("INSERT OR %s INTO %s(%s) SELECT %s FROM %s LIMIT %d OFFSET %d", or, name, strings.Join(into, ", "), strings.Join(other, ", "), name, 1+r.IntN(50), r.IntN(50))
}

// definition is a statement that changes the schema, or what belongs to it.
func (w *writer) definition(on runner, name, column string) string {
	r, n := w.r, w.r.IntN(1000)
	index := w.texts(on, "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY name")
	switch r.IntN(12) {
	case 0:
		return fmt.Sprintf("CREATE INDEX made%d ON %s(%s)", n, name, column)
	case 1:
		return fmt.Sprintf("CREATE INDEX made%d ON %s(%s COLLATE NOCASE DESC) WHERE %s IS NOT NULL", n, name, column, column)
	case 2:
		if len(index) > 0 {
			return "DROP INDEX " + quote(pick(r, index))
		}
		return "REINDEX"
	case 3:
		return fmt.Sprintf("ALTER TABLE %s ADD COLUMN made%d %s DEFAULT %s", name, n, pick(r, []string{"", "INTEGER", "REAL", "TEXT", "BLOB"}), w.literal())
	case 4:
		return fmt.Sprintf("ALTER TABLE %s RENAME COLUMN %s TO made%d", name, column, n)
	case 5:
		return fmt.Sprintf("ALTER TABLE %s RENAME TO made%d", name, n)
	case 6:
		return fmt.Sprintf("ALTER TABLE %s DROP COLUMN %s", name, column)
	case 7:
		return fmt.Sprintf("CREATE TABLE made%d AS SELECT * FROM %s LIMIT 100", n, name)
	case 8:
		return fmt.Sprintf("CREATE TRIGGER made%d AFTER UPDATE ON %s WHEN length(new.%s) %% 3 = 0 BEGIN DELETE FROM %s WHERE %s = old.%s; END", n, name, column, name, column, column)
	case 9:
		return fmt.Sprintf("CREATE VIEW made%d AS SELECT %s FROM %s", n, column, name)
	case 10:
		return pick(r, []string{"ANALYZE", "REINDEX " + name, fmt.Sprintf("PRAGMA user_version = %d", n), "PRAGMA optimize"})
	}
	if r.IntN(4) == 0 {
		return "DROP TABLE " + name
	}
	return fmt.Sprintf("CREATE TABLE IF NOT EXISTS made%d(k TEXT, n INTEGER, v BLOB, PRIMARY KEY(k, n)) WITHOUT ROWID", n)
}

func (w *writer) literal() string {
	r := w.r
	return pick(r, []string{
		"NULL", "''", "0", fmt.Sprint(r.IntN(1000)), fmt.Sprint(int64(r.Uint64())), fmt.Sprintf("%g", r.NormFloat64()*1e3), "-0.0", "9e999",
		fmt.Sprintf("'text %d'", r.IntN(1000)), fmt.Sprintf("'%s'", strings.Repeat("ä long one ", r.IntN(300))), fmt.Sprintf("x'%x'", r.Uint64()), "'1.0'", "'{\"a\":[1,2]}'",
	})
}

func (w *writer) value() string {
	if w.r.IntN(5) == 0 {
		return pick(w.r, []string{"zeroblob(3000)", "char(0, 228, 65)", "CAST(x'fffe41' AS TEXT)"})
	}
	return w.literal()
}
