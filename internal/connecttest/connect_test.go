// Package connecttest tests what a program registers on DriftDB's connections.
package connecttest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"modernc.org/sqlite/vtab"
)

// total is an aggregate that can be a window function.
type total struct{ n int64 }

func (t *total) Step(args []any) error    { t.n += args[0].(int64); return nil }
func (t *total) Inverse(args []any) error { t.n -= args[0].(int64); return nil }
func (t *total) Value() (any, error)      { return t.n, nil }

// numbers is a virtual table with the rows 1, 2, 3.
type numbers struct{}

type cursor struct{ at int64 }

func (*numbers) Create(c vtab.Context, _ []string) (vtab.Table, error) {
	return new(numbers), c.Declare("CREATE TABLE x(n)")
}
func (m *numbers) Connect(c vtab.Context, args []string) (vtab.Table, error) {
	return m.Create(c, args)
}
func (*numbers) BestIndex(*vtab.IndexInfo) error         { return nil }
func (*numbers) Open() (vtab.Cursor, error)              { return &cursor{}, nil }
func (*numbers) Disconnect() error                       { return nil }
func (*numbers) Destroy() error                          { return nil }
func (c *cursor) Filter(int, string, []vtab.Value) error { c.at = 1; return nil }
func (c *cursor) Next() error                            { c.at++; return nil }
func (c *cursor) Eof() bool                              { return c.at > 3 }
func (c *cursor) Column(int) (vtab.Value, error)         { return c.at, nil }
func (c *cursor) Rowid() (int64, error)                  { return c.at, nil }
func (*cursor) Close() error                             { return nil }

var module = new(numbers)

// sliced cannot be compared.
type sliced struct {
	*numbers
	_ []int
}

// register registers one of everything.
func register(_ context.Context, r *driftdb.Registrar) error {
	twice := func(args []any) (any, error) { return fmt.Sprint(args[0], args[0]), nil }
	return errors.Join(
		r.Function(driftdb.Function{Name: "twice", Args: 1, Deterministic: true, Scalar: twice}),
		r.Function(driftdb.Function{Name: "twice", Args: 2, Deterministic: true, Scalar: func([]any) (any, error) { return "of two", nil }}),
		r.Function(driftdb.Function{Name: "echo", Args: 1, Scalar: func(args []any) (any, error) { return args[0], nil }}),
		r.Function(driftdb.Function{Name: "total2", Args: 1, Aggregate: func() driftdb.Aggregate { return new(total) }}),
		r.Function(driftdb.Function{Name: "refuse", Args: -1, Scalar: func([]any) (any, error) { return nil, errors.New("not today") }}),
		r.Function(driftdb.Function{Name: "explode", Args: 0, Scalar: func([]any) (any, error) { panic("boom") }}),
		r.Function(driftdb.Function{Name: "odd", Args: 0, Scalar: func([]any) (any, error) { return struct{}{}, nil }}),
		r.Collation("reversed", func(a, b string) int { return strings.Compare(b, a) }),
		r.Module("numbers", module))
}

func config(t *testing.T) driftdb.Config {
	cfg := systemtest.Config(t)
	cfg.OnConnect = register
	return cfg
}

func open(t *testing.T, cfg driftdb.Config) *driftdb.DB {
	t.Helper()
	db, err := driftdb.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

const schema = `
CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, g AS (twice(a)) STORED, CHECK(twice(a) <> 'xx'));
CREATE INDEX i ON t(twice(a)) WHERE twice(a) > 'b';
CREATE TABLE u(a TEXT COLLATE reversed PRIMARY KEY, b) WITHOUT ROWID;
CREATE VIRTUAL TABLE v USING numbers;
INSERT INTO t(a) VALUES('a'), ('b'), ('c');
INSERT INTO u VALUES('a', 1), ('b', 2), ('c', 3);`

// TestStatements: what is registered is there on every way to the database.
func TestStatements(t *testing.T) {
	db := open(t, config(t))
	systemtest.Exec(t, db, schema)
	const query = `SELECT (SELECT group_concat(g ORDER BY id) FROM t) || ' ' || (SELECT group_concat(a, '') FROM (SELECT a FROM u ORDER BY a))
		|| ' ' || (SELECT sum(n) FROM v) || ' ' || twice(1, 2) || ' ' || (SELECT group_concat(s) FROM (SELECT total2(b) OVER (ORDER BY b ROWS 1 PRECEDING) s FROM u))
		|| ' ' || (SELECT total2(b) FROM u)`
	const want = "aa,bb,cc cba 6 of two 1,3,5 6"
	read := func(how string, fn func() (string, error)) {
		if got, err := fn(); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", how, got, err, want)
		}
	}
	one := func(c driftdb.Conn) (string, error) {
		rows, err := driftdb.Select[string](t.Context(), c, query)
		return strings.Join(rows, "|"), err
	}
	read("a reader", func() (string, error) { return one(db) })
	read("SQL", func() (s string, err error) { return s, db.SQL().QueryRow(query).Scan(&s) })
	read("the writer", func() (s string, err error) {
		err = db.Tx(t.Context(), func(tx *driftdb.Tx) error { s, err = one(tx); return err })
		return s, err
	})
}

// TestValues: every value comes back as it went in.
func TestValues(t *testing.T) {
	db := open(t, config(t))
	for _, v := range []string{"NULL", "0", "-9223372036854775808", "0.5", "9e999", "''", "'ä' || char(0) || 'b'", "x''", "x'00ff'", "zeroblob(100000)"} {
		var same bool
		if err := db.SQL().QueryRow("SELECT echo(" + v + ") IS " + v + " AND typeof(echo(" + v + ")) = typeof(" + v + ")").Scan(&same); err != nil || !same {
			t.Errorf("%s: %v, %v", v, same, err)
		}
	}
	for query, want := range map[string]string{
		"SELECT refuse()":       "refuse: not today",
		"SELECT explode()":      "explode: panic: boom",
		"SELECT odd()":          "struct {}",
		"SELECT total2('text')": "total2: panic",
	} {
		var v any
		if err := db.SQL().QueryRow(query).Scan(&v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", query, err, want)
		}
	}
	systemtest.Exec(t, db, "CREATE TABLE after(a)") // nothing is locked
}

// TestRestore: a restore that registers the same gives the same; one that does not
// says what it lacks, and how to give it.
func TestRestore(t *testing.T) {
	cfg := config(t)
	db := open(t, cfg)
	systemtest.Exec(t, db, schema)
	if _, err := db.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	systemtest.Exec(t, db, "UPDATE t SET a = 'd' WHERE id = 1; DELETE FROM u WHERE a = 'b'; INSERT INTO u VALUES('bb', 4); CREATE INDEX j ON t(g, twice(a))")
	if err := db.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	restored := filepath.Join(t.TempDir(), "restored.sqlite")
	rc := driftdb.RestoreConfig{Name: cfg.Name, Path: restored, Store: cfg.Store, OnConnect: register}
	if _, err := driftdb.Restore(t.Context(), rc); err != nil {
		t.Fatal(err)
	}
	if err := dbtest.Compare(cfg.Path, restored); err != nil {
		t.Error(err)
	}
	if _, err := driftdb.Verify(t.Context(), rc); err != nil {
		t.Error(err)
	}
	rc.Path, rc.OnConnect = filepath.Join(t.TempDir(), "none.sqlite"), nil
	_, err := driftdb.Restore(t.Context(), rc)
	if err == nil || !strings.Contains(err.Error(), "OnConnect") {
		t.Errorf("a restore without the functions: %v", err)
	}

	// The database itself comes back, and goes on.
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Path, cfg.AutoRestore = filepath.Join(t.TempDir(), "again.sqlite"), true
	db = open(t, cfg)
	systemtest.Exec(t, db, "INSERT INTO t(a) VALUES('e')")
	if err := db.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestCatchUp: a file that is behind its bucket is brought up to date with what is
// registered, and is snapshot with it.
func TestCatchUp(t *testing.T) {
	cfg := config(t)
	db := open(t, cfg)
	systemtest.Exec(t, db, schema)
	if err := errors.Join(db.Flush(t.Context()), db.Close()); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(t.TempDir(), "app.sqlite")
	for _, suffix := range []string{"", "-lock"} {
		data, err := os.ReadFile(cfg.Path + suffix)
		if err == nil {
			err = os.WriteFile(old+suffix, data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	db = open(t, cfg)
	systemtest.Exec(t, db, "UPDATE t SET a = a || 'z'; DELETE FROM u WHERE a = 'b'; INSERT INTO u VALUES('bb', 4); CREATE INDEX j ON t(g, twice(a))")
	if err := errors.Join(db.Flush(t.Context()), db.Close()); err != nil {
		t.Fatal(err)
	}
	behind := cfg
	behind.Path, behind.ManualSync = old, false
	db = open(t, behind)
	rows, err := driftdb.Select[string](t.Context(), db, "SELECT group_concat(g ORDER BY id) || (SELECT group_concat(a) FROM u) FROM t")
	if want := "azaz,bzbz,czczc,bb,a"; err != nil || len(rows) != 1 || rows[0] != want {
		t.Errorf("%q, %v; want %q", rows, err, want)
	}
	if _, err := db.Snapshot(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestRefused: an OnConnect that fails, and names that cannot be registered, fail
// Open, which leaves nothing behind.
func TestRefused(t *testing.T) {
	errMine := errors.New("no dictionary")
	scalar := func([]any) (any, error) { return nil, nil }
	for want, fn := range map[string]func(r *driftdb.Registrar) error{
		"no dictionary": func(*driftdb.Registrar) error { return errMine },
		"Scalar or Aggregate": func(r *driftdb.Registrar) error {
			return r.Function(driftdb.Function{Name: "f"})
		},
		"-1 stands for any": func(r *driftdb.Registrar) error {
			return r.Function(driftdb.Function{Name: "f", Args: -2, Scalar: scalar})
		},
		"function many": func(r *driftdb.Registrar) error {
			return r.Function(driftdb.Function{Name: "many", Args: 1 << 20, Scalar: scalar})
		},
		"driftdb": func(r *driftdb.Registrar) error { return r.Module("DriftDB_Capture", module) },
		"twice":   func(r *driftdb.Registrar) error { return errors.Join(r.Module("m", module), r.Module("M", module)) },
		"pointer": func(r *driftdb.Registrar) error { return r.Module("m", sliced{module, nil}) },
		"nil":     func(r *driftdb.Registrar) error { return r.Collation("c", nil) },
		`""`:      func(r *driftdb.Registrar) error { return r.Collation("", strings.Compare) },
	} {
		cfg := config(t)
		cfg.OnConnect = func(_ context.Context, r *driftdb.Registrar) error { return fn(r) }
		_, err := driftdb.Open(t.Context(), cfg)
		if err == nil || !strings.Contains(err.Error(), "OnConnect") || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
		if want == errMine.Error() && !errors.Is(err, errMine) {
			t.Errorf("%v is not the error that OnConnect gave", err)
		}
		left, err := os.ReadDir(filepath.Dir(cfg.Path))
		if err != nil || len(left) > 0 {
			t.Errorf("%s: %v is left, %v", want, left, err)
		}
	}
}

// TestLateRefusal: an OnConnect that fails later fails what needs the connection.
func TestLateRefusal(t *testing.T) {
	var refuse atomic.Bool
	cfg := config(t)
	cfg.OnConnect = func(context.Context, *driftdb.Registrar) error {
		if refuse.Load() {
			return errors.New("no dictionary")
		}
		return nil
	}
	db := open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t(a)")
	refuse.Store(true)
	if _, err := db.SQL().Exec("INSERT INTO t VALUES(1)"); err == nil || !strings.Contains(err.Error(), "OnConnect: no dictionary") {
		t.Errorf("%v", err)
	}
	refuse.Store(false)
	if _, err := db.SQL().Exec("INSERT INTO t VALUES(1)"); err != nil {
		t.Error(err)
	}
}

// TestContext: the context has the values of Open's, and outlives it.
func TestContext(t *testing.T) {
	type key struct{}
	cfg := config(t)
	var wrong atomic.Int32
	cfg.OnConnect = func(ctx context.Context, _ *driftdb.Registrar) error {
		if ctx.Value(key{}) != "mine" || ctx.Err() != nil {
			wrong.Add(1)
		}
		return nil
	}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "mine"))
	db, err := driftdb.Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	cancel()
	systemtest.Exec(t, db, "CREATE TABLE t(a)")
	if _, err := db.SQL().Exec("INSERT INTO t VALUES(1)"); err != nil || wrong.Load() > 0 {
		t.Errorf("%v; %d calls with another context", err, wrong.Load())
	}
}
