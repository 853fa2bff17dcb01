package capture_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/sqlite"
	driver "modernc.org/sqlite"
)

// twins are a captured connection and one of the bare driver, to databases
// that hold the same.
type twins struct {
	captured, bare *sql.Conn
}

func newTwins(t *testing.T) twins {
	s := newSource(t, 0)
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(filepath.Join(t.TempDir(), "bare.db"))+"?_pragma=foreign_keys(ON)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=temp_store(MEMORY)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	bare, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bare.Close() })
	return twins{s.conn(t), bare}
}

// same runs fn on both and compares what it says.
func (w twins) same(t *testing.T, what string, fn func(c *sql.Conn) string) {
	t.Helper()
	if got, want := fn(w.captured), fn(w.bare); got != want {
		t.Errorf("%s\ncaptured: %s\nbare:     %s", what, got, want)
	}
}

// script is one step: query and its arguments.
type script struct {
	query string
	args  []any
}

var scripts = []script{
	{query: "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT UNIQUE, b CHECK(b IS NOT 'no')); CREATE TABLE n(a NOT NULL); CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE k(id REFERENCES p)"},
	{query: ""}, {query: " "}, {query: ";"}, {query: " ; ;; -- c"}, {query: "/* c"}, {query: "-- c\n"},
	{query: "SELECT 1"}, {query: "SELECT 1;"}, {query: "SELECT 1 ; "}, {query: "SELECT 1; SELECT 2, 3"}, {query: "SELECT 1; SELECT 2 AS x WHERE 0"},
	{query: "INSERT INTO t(a) VALUES('q'); SELECT * FROM t"},
	{query: "SELECT 1; INSERT INTO t(a) VALUES('r')"}, {query: "SELECT 1; INSERT INTO t(a) VALUES('s'); "}, {query: "SELECT 1; INSERT INTO t(a) VALUES('u') -- c"},
	{query: "INSERT INTO t(a) VALUES('v') RETURNING id, a"}, {query: "INSERT INTO t(a) VALUES('w') RETURNING id; INSERT INTO t(a) VALUES('x')"},
	{query: "INSERT INTO t(id,a) VALUES(?1,?2); SELECT ?2, ?1", args: []any{50, "z"}},
	{query: "INSERT INTO t(a,b) VALUES(?,?); SELECT ?", args: []any{"y", 2}},
	{query: "SELECT ?; SELECT ?; SELECT ?", args: []any{1, 2, 3}}, {query: "SELECT ?3", args: []any{1, 2, 3}}, {query: "SELECT ?2", args: []any{1}},
	{query: "SELECT :x, @y, $z; SELECT :x", args: []any{sql.Named("x", 1), sql.Named("y", "b"), sql.Named("z", nil)}}, {query: "SELECT :x", args: []any{1}},
	{query: "SELECT 1", args: []any{1, 2}}, {query: "CREATE TABLE a1(x)", args: []any{1}},
	{query: "INSERT INTO t(a) VALUES('q')"}, {query: "INSERT INTO t(id) VALUES(50)"}, {query: "INSERT INTO t(b) VALUES('no')"}, {query: "INSERT INTO n VALUES(NULL)"}, {query: "INSERT INTO k VALUES(9)"},
	{query: "INSERT INTO t(a) VALUES('m1'); INSERT INTO t(a) VALUES('q'); INSERT INTO t(a) VALUES('m2')"}, {query: "SELECT a FROM t ORDER BY id"},
	{query: "SELEC 1"}, {query: "SELECT 1; SELEC 1"}, {query: "SELEC 1; SELECT 1"}, {query: "SELECT * FROM nope"}, {query: "CREATE TABLE t(a)"}, {query: "CREATE TABLE t2(a); CREATE TABLE t2(a)"}, {query: "CREATE TABLE t3("}, {query: "DROP TABLE nope"},
	{query: "CREATE TABLE IF NOT EXISTS t(a)"}, {query: "CREATE TABLE c AS SELECT * FROM t; SELECT count(*) FROM c"}, {query: "CREATE TABLE c2(a); "}, {query: "CREATE TABLE c3(a)"}, {query: "SELECT 1; CREATE TABLE c4(a)"}, {query: "CREATE TABLE c5(a); SELECT 7"},
	{query: "ALTER TABLE t ADD COLUMN d DEFAULT 3"}, {query: "ALTER TABLE t ADD COLUMN d"}, {query: "ALTER TABLE nope RENAME TO x"}, {query: "ALTER TABLE t DROP COLUMN a"}, {query: "DROP TABLE c; DROP TABLE c2"},
	{query: "PRAGMA user_version"}, {query: "PRAGMA user_version=7"}, {query: "PRAGMA user_version(8)"}, {query: "PRAGMA user_version; PRAGMA application_id=3"}, {query: "PRAGMA main.user_version"}, {query: "PRAGMA foreign_keys; PRAGMA journal_mode"}, {query: "PRAGMA table_info(n)"}, {query: "PRAGMA nope"},
	{query: "BEGIN; INSERT INTO t(a) VALUES('tx'); COMMIT"}, {query: "BEGIN; INSERT INTO t(a) VALUES('tx2'); CREATE TABLE c6(a); ROLLBACK"}, {query: "COMMIT"}, {query: "ROLLBACK"}, {query: "RELEASE s"},
	{query: "BEGIN; BEGIN"}, {query: "VACUUM"}, {query: "CREATE TABLE c7(a)"}, {query: "ROLLBACK"}, {query: "VACUUM"}, {query: "ANALYZE"}, {query: "REINDEX; REINDEX nope"},
	{query: "SAVEPOINT s; INSERT INTO p VALUES(1); INSERT INTO k VALUES(1); ROLLBACK TO s; RELEASE s; SELECT count(*) FROM k"},
	{query: "CREATE TEMP TABLE tt(a); INSERT INTO tt VALUES(1),(2); SELECT count(*) FROM tt"}, {query: "DROP TABLE tt"},
	{query: "WITH x(a) AS (SELECT 5) INSERT INTO t(a) SELECT a FROM x RETURNING a"}, {query: "REPLACE INTO t(id,a) VALUES(1,'rep')"}, {query: "UPDATE t SET b=1"}, {query: "UPDATE t SET b=1 WHERE 0 RETURNING id"}, {query: "DELETE FROM t WHERE id>20 RETURNING id"}, {query: "VALUES(1),(2)"}, {query: "EXPLAIN QUERY PLAN SELECT * FROM n"},
	{query: "CREATE VIRTUAL TABLE f USING fts5(a); INSERT INTO f VALUES('one two'); SELECT rowid, a FROM f WHERE f MATCH 'two'"}, {query: "INSERT INTO f VALUES('three'); DELETE FROM f"}, {query: "CREATE VIRTUAL TABLE g USING nope(a)"}, {query: "DROP TABLE f"},
	{query: "CREATE TABLE s(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE); INSERT INTO s(a) VALUES(1)"}, {query: "INSERT OR IGNORE INTO s(a) VALUES(1)"}, {query: "INSERT INTO s(a) VALUES(2)"}, {query: "SELECT * FROM sqlite_sequence"},
	{query: "CREATE TRIGGER g AFTER INSERT ON n BEGIN INSERT INTO p VALUES(new.a); INSERT INTO p VALUES(new.a+100); END; INSERT INTO n VALUES(11),(12)"}, {query: "INSERT INTO n VALUES(11)"},
	{query: "DETACH nope"}, {query: "ATTACH ':memory:' AS m; CREATE TABLE m.x(a); INSERT INTO m.x VALUES(1); SELECT * FROM m.x"}, {query: "DETACH m"},
}

// TestWrapperIsNotSeen runs scripts in every way on both connections: rows,
// column names, errors, their codes and the counters are the bare driver's.
func TestWrapperIsNotSeen(t *testing.T) {
	for name, run := range map[string]func(*sql.Conn, script) string{"Exec": execScript, "Query": queryScript, "prepared Exec": preparedExec, "prepared Query": preparedQuery} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTwins(t)
			for _, s := range scripts {
				w.same(t, fmt.Sprintf("%q %v", s.query, s.args), func(c *sql.Conn) string { return run(c, s) + "  " + counters(c) })
			}
			for range 2 {
				w.same(t, "content", func(c *sql.Conn) string {
					return queryScript(c, script{query: "SELECT name, sql FROM sqlite_schema WHERE tbl_name NOT LIKE '\\_driftdb%' ESCAPE '\\' AND name NOT LIKE 'sqlite_%' ORDER BY name; SELECT * FROM t"})
				})
			}
		})
	}
}

func execScript(c *sql.Conn, s script) string {
	return result(c.ExecContext(context.Background(), s.query, s.args...))
}

func queryScript(c *sql.Conn, s script) string {
	return rows(c.QueryContext(context.Background(), s.query, s.args...))
}

func preparedExec(c *sql.Conn, s script) string {
	st, err := c.PrepareContext(context.Background(), s.query)
	if err != nil {
		return failure(err)
	}
	defer st.Close()
	return result(st.Exec(s.args...))
}

func preparedQuery(c *sql.Conn, s script) string {
	st, err := c.PrepareContext(context.Background(), s.query)
	if err != nil {
		return failure(err)
	}
	defer st.Close()
	return rows(st.Query(s.args...))
}

func failure(err error) string {
	if e, ok := errors.AsType[*driver.Error](err); ok {
		return fmt.Sprintf("driver error %d: %v", e.Code(), err)
	}
	return fmt.Sprintf("%T %d: %v", err, sqlite.Code(err), err)
}

func result(r sql.Result, err error) (s string) {
	if err != nil {
		return failure(err)
	}
	defer func() {
		if recover() != nil {
			s = "no result" // the driver has none for a script without a statement
		}
	}()
	id, err1 := r.LastInsertId()
	n, err2 := r.RowsAffected()
	if err1 != nil || err2 != nil {
		return "no result"
	}
	return fmt.Sprintf("id %d, %d rows", id, n)
}

func rows(r *sql.Rows, err error) string {
	if err != nil {
		return failure(err)
	}
	defer r.Close()
	names, err := r.Columns()
	if err != nil {
		return failure(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%q", names)
	values, into := make([]any, len(names)), make([]any, len(names))
	for i := range into {
		into[i] = &values[i]
	}
	for r.Next() {
		if err := r.Scan(into...); err != nil {
			return failure(err)
		}
		fmt.Fprintf(&b, " %#v", values)
	}
	if r.Err() != nil {
		return b.String() + failure(r.Err())
	}
	return b.String()
}

func counters(c *sql.Conn) string {
	return rows(c.QueryContext(context.Background(), "SELECT last_insert_rowid(), changes(), total_changes()"))
}
