package capture_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestSequences: sqlite_sequence after a replay is what it is in the source,
// whichever way a counter was moved.
func TestSequences(t *testing.T) {
	for _, sc := range sequenceScenarios {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			runScenario(t, sc)
		})
	}
}

const counted = "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE, b NOT NULL DEFAULT 0); CREATE TABLE u(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE)"

var sequenceScenarios = []scenario{
	{name: "VACUUM without AUTOINCREMENT tables", barrier: "VACUUM", f: func(e *env) {
		e.x("CREATE TABLE n(a); CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO t VALUES(1); DROP TABLE t; VACUUM; INSERT INTO n VALUES(1)")
		e.want(e.one("SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_sequence'"), "0")
		e.x("CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE); INSERT INTO t VALUES(1, 1); INSERT OR IGNORE INTO t(a) VALUES(1)")
	}},
	{name: "an edit that is rolled back with the table", barrier: "VACUUM", f: func(e *env) {
		e.x("CREATE TABLE n(a); BEGIN; SAVEPOINT s; CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO t VALUES(1); UPDATE sqlite_sequence SET seq=5; ROLLBACK TO s; INSERT INTO n VALUES(1); COMMIT")
		e.x("CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO t VALUES(1); BEGIN; UPDATE sqlite_sequence SET seq=5; ROLLBACK; DROP TABLE t; VACUUM; INSERT INTO n VALUES(2)")
	}},
	{name: "rows without a counter", f: func(e *env) {
		e.x(counted)
		_, _ = e.c.ExecContext(e.ctx, "INSERT OR FAIL INTO t(a) VALUES(1),(2),(1)")
		e.want(e.one("SELECT (SELECT count(*) FROM t) || (SELECT count(*) FROM sqlite_sequence)"), "20")
		e.x("UPDATE t SET b=1; INSERT INTO u(a) VALUES(1); DELETE FROM sqlite_sequence")
		_, _ = e.c.ExecContext(e.ctx, "BEGIN; INSERT OR FAIL INTO u(a) VALUES(2),(3),(2)")
		e.x("COMMIT")
		e.want(e.one("SELECT count(*) FROM sqlite_sequence"), "0")
	}},
	{name: "the first AUTOINCREMENT table is rolled back", f: func(e *env) {
		e.x("CREATE TABLE n(a); BEGIN; CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO t VALUES(1); SAVEPOINT s; ROLLBACK; INSERT INTO n VALUES(1)")
		e.x("CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE); INSERT INTO t VALUES(1, 1); INSERT OR IGNORE INTO t(a) VALUES(1)")
	}},
	{name: "conflict clauses", f: func(e *env) {
		e.x(counted + "; INSERT INTO t(a) VALUES(1),(2),(3); INSERT INTO u(a) VALUES(1)")
		for i, or := range []string{"IGNORE", "FAIL", "REPLACE", "ABORT", "ROLLBACK"} {
			for _, tx := range []string{"", "BEGIN", "SAVEPOINT s"} {
				e.x(tx)
				for _, q := range []string{"INTO t(a) VALUES(?,0),(1,0),(?,0)", "INTO t(a,b) VALUES(?,NULL)", "INTO t(id,a) VALUES(2,?),(2,1),(900,3)", "INTO u(a) SELECT a FROM t"} {
					_, _ = e.c.ExecContext(e.ctx, "INSERT OR "+or+" "+q, fmt.Sprint(i, tx, q), fmt.Sprint(i, tx, q, 2))
				}
				_, _ = e.c.ExecContext(e.ctx, "COMMIT")
			}
		}
		e.x("INSERT INTO t(a) VALUES('last'); INSERT OR IGNORE INTO t(a) VALUES('last')")
	}},
	{name: "OR IGNORE alone", f: func(e *env) {
		e.x(counted + "; INSERT INTO t(a) VALUES(1); INSERT OR IGNORE INTO t(a) VALUES(1); INSERT OR IGNORE INTO u(a) SELECT 1 UNION ALL SELECT 1; SELECT 1; INSERT OR IGNORE INTO t(a) VALUES(1)")
		rows, err := e.c.QueryContext(e.ctx, "INSERT OR IGNORE INTO t(a) VALUES(1) RETURNING id")
		if err != nil {
			e.Fatal(err)
		}
		rows.Next()
		rows.Close()
		st, err := e.c.PrepareContext(e.ctx, "INSERT OR IGNORE INTO t(a) VALUES(1)")
		if err != nil {
			e.Fatal(err)
		}
		for range 3 {
			if _, err := st.Exec(); err != nil {
				e.Fatal(err)
			}
		}
		tx, err := e.c.BeginTx(e.ctx, nil)
		if err != nil {
			e.Fatal(err)
		}
		if _, err := tx.Exec("INSERT OR IGNORE INTO t(a) VALUES(1)"); err != nil {
			e.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			e.Fatal(err)
		}
	}},
	{name: "rolled back", f: func(e *env) {
		e.x(counted + "; INSERT INTO t(a) VALUES(1); BEGIN; INSERT INTO t(a) VALUES(2); SAVEPOINT s; INSERT INTO t(a) VALUES(3); INSERT OR IGNORE INTO t(a) VALUES(1); ROLLBACK TO s; INSERT OR IGNORE INTO u(a) VALUES(1); COMMIT")
		e.x("BEGIN; INSERT OR IGNORE INTO t(a) VALUES(1); ROLLBACK; BEGIN; INSERT OR IGNORE INTO t(a) VALUES(1); INSERT INTO t(a) VALUES(9); COMMIT; DELETE FROM t")
	}},
	{name: "by the user", f: func(e *env) {
		e.x(counted + "; INSERT INTO t(a) VALUES(1); INSERT INTO u(a) VALUES(1)")
		e.x("UPDATE sqlite_sequence SET seq=100 WHERE name='t'; INSERT INTO t(a) VALUES(2)")
		e.x("BEGIN; UPDATE sqlite_sequence SET seq=seq+5; INSERT INTO t(a) VALUES(3); UPDATE sqlite_sequence SET seq=0 WHERE name='t'; COMMIT")
		e.x("BEGIN; DELETE FROM sqlite_sequence WHERE name='u'; INSERT INTO u(a) VALUES(2); SAVEPOINT s; DELETE FROM sqlite_sequence; ROLLBACK TO s; COMMIT")
		e.x("UPDATE sqlite_sequence SET name='other' WHERE name='u'; INSERT INTO u(a) VALUES(3); UPDATE sqlite_sequence SET name=name||'x', seq=-3")
		e.x("DELETE FROM sqlite_sequence; INSERT INTO sqlite_sequence VALUES('t',9223372036854775806),('gone',-1); INSERT INTO t(a) VALUES(4)")
		e.x("DELETE FROM sqlite_sequence")
	}},
	{name: "what entries cannot say", barrier: "sqlite_sequence was edited", f: func(e *env) {
		for i, q := range []string{"INSERT INTO sqlite_sequence VALUES('t',5)", "INSERT OR REPLACE INTO sqlite_sequence VALUES('t',5)", "UPDATE sqlite_sequence SET seq='five'", "UPDATE sqlite_sequence SET seq=NULL", "INSERT INTO sqlite_sequence VALUES(NULL,1)", "BEGIN; UPDATE sqlite_sequence SET seq=1.5; COMMIT"} {
			e.x("DROP TABLE IF EXISTS t; DROP TABLE IF EXISTS u; " + counted + "; DELETE FROM sqlite_sequence; INSERT INTO t(a) VALUES(1)")
			before := len(e.s.barriers(e))
			e.x(q)
			if n := len(e.s.barriers(e)) - before; n != 1 {
				e.Errorf("%d: %s: %d barriers", i, q, n)
			}
		}
	}},
	{name: "what entries can say when it is committed", f: func(e *env) {
		e.x(counted + "; INSERT INTO t(a) VALUES(1)")
		e.x("BEGIN; DELETE FROM sqlite_sequence; INSERT INTO sqlite_sequence VALUES('t',3),('t',4); DELETE FROM sqlite_sequence WHERE seq=3; COMMIT; INSERT INTO t(a) VALUES(2)")
	}},
	{name: "schema changes", f: func(e *env) {
		e.x(counted + "; INSERT INTO t(a) VALUES(1),(2); ALTER TABLE t RENAME TO t2; INSERT OR IGNORE INTO t2(a) VALUES(1); INSERT INTO t2(a) VALUES(5)")
		e.x("BEGIN; DROP TABLE u; CREATE TABLE u(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE); INSERT INTO u(a) VALUES(7); ALTER TABLE u RENAME TO u3; INSERT INTO u3(a) VALUES(8); COMMIT")
		e.x("DROP TABLE t2; CREATE TABLE t2(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE); INSERT INTO t2(a) VALUES(1),(2),(3); BEGIN; CREATE TABLE z(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO z DEFAULT VALUES; ROLLBACK; DROP TABLE u3")
	}},
	{name: "connections that have not seen the counters", f: func(e *env) {
		for i, script := range []string{
			"BEGIN; NOTHING; MOVES; COMMIT", "BEGIN IMMEDIATE; NOTHING; SAVEPOINT s; MOVES; RELEASE s; COMMIT",
			"NOTHING; MOVES; NOTHING", "MOVES; NOTHING", "BEGIN; SAVEPOINT s; MOVES; ROLLBACK TO s; NOTHING; COMMIT; NOTHING",
			"BEGIN; MOVES; NOTHING; COMMIT", // the last one: any other connection's next entry would make up for it
		} {
			table := fmt.Sprint("t", i)
			e.x("CREATE TABLE " + table + "(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE); INSERT INTO " + table + "(a) VALUES(1)")
			c := e.s.conn(e)
			script = strings.NewReplacer("MOVES", "INSERT OR IGNORE INTO "+table+"(a) VALUES(1)", "NOTHING", "CREATE TABLE IF NOT EXISTS "+table+"(a)").Replace(script)
			if _, err := c.ExecContext(e.ctx, script); err != nil {
				e.Fatalf("%s: %v", script, err)
			}
			c.Close()
		}
	}},
	{name: "four connections", f: func(e *env) {
		e.x(counted)
		var wg sync.WaitGroup
		for w := range 4 {
			c := e.s.conn(e)
			wg.Go(func() {
				defer c.Close()
				for i := range 40 {
					for _, q := range []string{"INSERT OR IGNORE INTO t(a) VALUES(?)", "INSERT OR REPLACE INTO u(a) VALUES(?)", "BEGIN IMMEDIATE; INSERT OR FAIL INTO t(a) VALUES('x'||?),(1); COMMIT"} {
						_, _ = c.ExecContext(e.ctx, q, (i+w)%7)
						_, _ = c.ExecContext(e.ctx, "COMMIT")
					}
				}
			})
		}
		wg.Wait()
	}},
}
