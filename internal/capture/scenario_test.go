package capture_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/restore"
)

// env is a database with two captured connections.
type env struct {
	*testing.T
	s     *source
	c, c2 *sql.Conn
	ctx   context.Context
}

func (e *env) x(q string, a ...any) {
	e.Helper()
	if _, err := e.c.ExecContext(e.ctx, q, a...); err != nil {
		e.Fatalf("%s: %v", q, err)
	}
}

func (e *env) fail(q string, a ...any) error {
	e.Helper()
	_, err := e.c.ExecContext(e.ctx, q, a...)
	if err == nil {
		e.Fatalf("no error: %s", q)
	}
	return err
}

func (e *env) one(q string, a ...any) (v any) {
	e.Helper()
	if err := e.c.QueryRowContext(e.ctx, q, a...).Scan(&v); err != nil {
		e.Fatalf("%s: %v", q, err)
	}
	return v
}

func (e *env) want(got any, want string) {
	e.Helper()
	if fmt.Sprint(got) != want {
		e.Fatalf("got %v, want %v", got, want)
	}
}

// TestScenarios runs each scenario on a fresh database, replays its log and
// compares.
func TestScenarios(t *testing.T) {
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			runScenario(t, sc)
		})
	}
}

func runScenario(t *testing.T, sc scenario) {
	s := newSource(t, sc.limit)
	if sc.mode != "" {
		s.opts.KeepJournal = true
		db := s.pool(t)
		if _, err := db.Exec("PRAGMA journal_mode=" + sc.mode); err != nil {
			t.Fatal(err)
		}
		db.Close()
	}
	if sc.mode != "" || sc.impatient {
		s.opts.BusyTimeout = 50 * time.Millisecond
	}
	e := &env{T: t, s: s, ctx: t.Context(), c: s.conn(t), c2: s.conn(t)}
	sc.f(e)
	e.c.Close()
	e.c2.Close()
	if sc.barrier == "" {
		s.mustEqual(t)
		return
	}
	if _, _, err := s.replay(t); !errors.Is(err, restore.ErrBarrier) || !strings.Contains(err.Error(), sc.barrier) {
		t.Fatalf("replay: %v, want a barrier that says %q", err, sc.barrier)
	}
}

type scenario struct {
	name      string
	mode      string // journal mode, WAL when empty
	limit     int    // of bytes that a transaction may buffer, default when 0
	impatient bool   // a lock is waited for briefly
	barrier   string // the replay must stop at a barrier with this reason
	f         func(e *env)
}

const tableT = "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT UNIQUE, b)"

var scenarios = []scenario{
	{name: "autocommit", f: func(e *env) {
		e.x(tableT)
		e.x("INSERT INTO t VALUES(1,'x',1.5)")
		e.x("UPDATE t SET b=2 WHERE id=1")
		e.x("INSERT INTO t VALUES(2,'y',NULL)")
		e.x("DELETE FROM t WHERE id=1")
	}},
	{name: "script own BEGIN/COMMIT", f: func(e *env) {
		e.x(tableT + `; BEGIN; INSERT INTO t VALUES(1,'a',1); INSERT INTO t VALUES(2,'b',2); UPDATE t SET b=9; COMMIT; INSERT INTO t VALUES(3,'c',3)`)
	}},
	{name: "RETURNING, half read", f: func(e *env) {
		e.x(tableT)
		r, err := e.c.QueryContext(e.ctx, "INSERT INTO t(a) VALUES('a'),('b'),('c') RETURNING id")
		if err != nil {
			e.Fatal(err)
		}
		r.Next()
		r.Close()
		e.want(e.one("SELECT count(*) FROM t"), "3")
		e.want(e.one("INSERT INTO t(a) VALUES('d') RETURNING id"), "4")
	}},
	{name: "nested savepoints, partial", f: func(e *env) {
		e.x(tableT)
		e.x(`BEGIN; INSERT INTO t VALUES(1,'a',1); SAVEPOINT s1; INSERT INTO t VALUES(2,'b',2); SAVEPOINT s2; INSERT INTO t VALUES(3,'c',3); ROLLBACK TO s2; INSERT INTO t VALUES(4,'d',4); RELEASE s2; SAVEPOINT s3; DELETE FROM t; ROLLBACK TO s3; ROLLBACK TO s1; INSERT INTO t VALUES(5,'e',5); RELEASE s1; COMMIT`)
		// first change comes deep inside savepoints, then roll back to the outermost; 300 levels
		e.x("BEGIN")
		for i := 0; i < 300; i++ {
			e.x(fmt.Sprintf("SAVEPOINT p%d", i))
		}
		e.x("INSERT INTO t VALUES(10,'deep',1)")
		e.x("ROLLBACK TO p7")
		e.x("INSERT INTO t VALUES(11,'after',1)")
		e.x("COMMIT")
		e.x("SAVEPOINT a; SAVEPOINT b; INSERT INTO t VALUES(20,'x20',1); ROLLBACK TO a; INSERT INTO t VALUES(21,'x21',1); RELEASE a")
	}},
	{name: "outermost SAVEPOINT/RELEASE", f: func(e *env) {
		e.x(tableT)
		e.x("SAVEPOINT o; INSERT INTO t VALUES(1,'a',1); SAVEPOINT i; INSERT INTO t VALUES(2,'b',1); RELEASE i; RELEASE o")
		e.x("SAVEPOINT o; INSERT INTO t VALUES(3,'c',1); ROLLBACK TO o; RELEASE o")
	}},
	{name: "conflict clauses", f: func(e *env) {
		e.x(tableT + ";INSERT INTO t VALUES(1,'a',1),(2,'b',2),(5,'e',5)")
		for _, tx := range []bool{false, true} {
			for _, k := range []string{"ABORT", "FAIL", "IGNORE", "REPLACE", "ROLLBACK"} {
				if tx {
					e.x("BEGIN; UPDATE t SET b=b+1")
				}
				_, err := e.c.ExecContext(e.ctx, "INSERT OR "+k+" INTO t(a,b) VALUES('n"+k+fmt.Sprint(tx)+"',1),('a',7),('z"+k+fmt.Sprint(tx)+"',1)")
				if (err == nil) != (k == "IGNORE" || k == "REPLACE") {
					e.Fatal(k)
				}
				e.c.ExecContext(e.ctx, "UPDATE OR "+k+" t SET a='b', id=id+100 WHERE id IN (1,5)")
				if tx && k != "ROLLBACK" {
					e.x("COMMIT")
				}
			}
		}
	}},
	{name: "upsert", f: func(e *env) {
		e.x(tableT + ";INSERT INTO t VALUES(1,'a',1)")
		e.x("INSERT INTO t VALUES(9,'a',5),(3,'c',6),(4,'a',7) ON CONFLICT(a) DO UPDATE SET b=excluded.b+t.b WHERE excluded.b<7")
		e.x("INSERT INTO t VALUES(1,'q',5) ON CONFLICT DO NOTHING")
		e.x("UPDATE t SET id=id+10 WHERE a='a' RETURNING *")
	}},
	{name: "triggers, cascades", f: func(e *env) {
		e.x(`CREATE TABLE p(id INTEGER PRIMARY KEY, n INT); CREATE TABLE c(id INTEGER PRIMARY KEY, pid REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE, d DEFAULT 7 REFERENCES p ON DELETE SET NULL ON UPDATE SET NULL);
CREATE TABLE au(x); CREATE TRIGGER tr AFTER INSERT ON c BEGIN INSERT INTO au VALUES(new.id); UPDATE p SET n=n+1 WHERE id=new.pid; END;
CREATE TRIGGER tb BEFORE DELETE ON p BEGIN INSERT INTO au VALUES('del'||old.id); END; CREATE VIEW v AS SELECT * FROM p; CREATE TRIGGER ti INSTEAD OF INSERT ON v BEGIN INSERT INTO p VALUES(new.id,0); END;`)
		e.x("INSERT INTO v(id) VALUES(1),(2),(7)")
		e.x("INSERT INTO c(pid,d) VALUES(1,2),(2,1),(1,NULL)")
		e.x("UPDATE p SET id=50 WHERE id=1")
		e.x("DELETE FROM p WHERE id IN (50)")
	}},
	{name: "deferred FK fails at COMMIT", f: func(e *env) {
		e.x("CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(id INTEGER PRIMARY KEY, pid REFERENCES p DEFERRABLE INITIALLY DEFERRED)")
		e.x("BEGIN; INSERT INTO c VALUES(1,9)")
		e.fail("COMMIT")
		e.x("INSERT INTO p VALUES(9)")
		e.x("COMMIT")
	}},
	{name: "BUSY at COMMIT, retry", mode: "DELETE", f: func(e *env) {
		e.x(tableT)
		e.x("BEGIN; INSERT INTO t VALUES(1,'a',1); SAVEPOINT s; INSERT INTO t VALUES(2,'b',2)")
		r, err := e.c2.QueryContext(e.ctx, "SELECT * FROM sqlite_schema")
		if err != nil || !r.Next() {
			e.Fatal("reader")
		}
		if err := e.fail("COMMIT"); !strings.Contains(err.Error(), "SQLITE_BUSY") {
			e.Fatal(err)
		}
		r.Close()
		e.x("COMMIT")
		// BUSY, then ROLLBACK TO a savepoint older than the flush, more work, COMMIT
		e.x("BEGIN; INSERT INTO t VALUES(3,'c',1); SAVEPOINT s; INSERT INTO t VALUES(4,'d',2)")
		r, _ = e.c2.QueryContext(e.ctx, "SELECT * FROM sqlite_schema")
		r.Next()
		e.fail("COMMIT")
		r.Close()
		e.x("ROLLBACK TO s; INSERT INTO t VALUES(5,'e',2); COMMIT")
	}},
	{name: "write under an open cursor", f: func(e *env) {
		e.x(tableT + ";INSERT INTO t VALUES(1,'a',1),(2,'b',2),(3,'c',3)")
		r, _ := e.c.QueryContext(e.ctx, "SELECT id FROM t")
		for i := 0; i < 2 && r.Next(); i++ {
			e.x("INSERT INTO t(a) VALUES(?)", fmt.Sprint("w", i))
		}
		if _, err := e.c.ExecContext(e.ctx, "INSERT INTO t(a) VALUES('ok'),('a')"); err == nil {
			e.Fatal("no conflict")
		}
		r.Close()
	}},
	{name: "WITHOUT ROWID, composite, no key", f: func(e *env) {
		e.x(`CREATE TABLE w(a TEXT, b INT, c, PRIMARY KEY(b,a)) WITHOUT ROWID; CREATE TABLE k(a,b,c, PRIMARY KEY(a,b)); CREATE TABLE n(a,b); CREATE TABLE r3(rowid, oid, x); CREATE TABLE ip(x, i INTEGER PRIMARY KEY DESC)`)
		for _, t := range []string{"w", "k"} {
			e.x("INSERT INTO " + t + " VALUES('x',1,1),('y',1,2),('z',2,3)")
			e.x("UPDATE " + t + " SET b=b+10, c=c||'!' WHERE a<>'z'")
			e.x("INSERT OR REPLACE INTO " + t + " VALUES('z',2,'r'),('q',5,6)")
			e.x("DELETE FROM " + t + " WHERE a='x'")
		}
		e.x("INSERT INTO n VALUES(1,1),(1,1),(2,2); DELETE FROM n WHERE rowid=2; UPDATE n SET b=7 WHERE rowid=1; INSERT INTO r3 VALUES(5,6,7); INSERT INTO ip VALUES(1,5); UPDATE ip SET i=6")
		e.x("INSERT INTO n SELECT * FROM n; CREATE TABLE n2(a,b); INSERT INTO n2 SELECT * FROM n; DELETE FROM n; REPLACE INTO w SELECT * FROM k")
	}},
	{name: "AUTOINCREMENT", f: func(e *env) {
		e.x("CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE); INSERT INTO t(a) VALUES(1),(2),(3); DELETE FROM t WHERE id=3; BEGIN; INSERT INTO t(a) VALUES(9); ROLLBACK")
	}},
	{name: "AUTOINCREMENT + OR IGNORE", f: func(e *env) {
		e.x("CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE); INSERT INTO t(a) VALUES(1); INSERT OR IGNORE INTO t(a) VALUES(1)")
	}},
	{name: "UPDATE sqlite_sequence", f: func(e *env) {
		e.x("CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a); INSERT INTO t(a) VALUES(1); UPDATE sqlite_sequence SET seq=100 WHERE name='t'; INSERT INTO t(a) VALUES(2); DELETE FROM sqlite_sequence")
	}},
	{name: "generated columns, STRICT", f: func(e *env) {
		e.x("CREATE TABLE g(a INT, v INT AS (a*2), b TEXT, s TEXT AS (b||'s') STORED, c, v2 AS (v+1), d); CREATE INDEX gi ON g(v2); INSERT INTO g(a,b,c,d) VALUES(1,'x',3,4),(2,'y',5,6); UPDATE g SET a=10,d='d' WHERE b='x'; DELETE FROM g WHERE a=2")
		e.x("CREATE TABLE st(i INTEGER PRIMARY KEY, r REAL, t TEXT, b BLOB, x ANY, n INT) STRICT; INSERT INTO st VALUES(1,3,'t',x'00ff','any',4),(2,NULL,NULL,x'','7',NULL); UPDATE st SET r=4, x=7 WHERE i=2; INSERT INTO st(r,x) VALUES(9007199254740993, 1.0)")
	}},
	{name: "values", f: func(e *env) {
		e.x("CREATE TABLE v(id INTEGER PRIMARY KEY, n, r REAL, t TEXT, i INTEGER, b BLOB, nu NUMERIC)")
		for _, x := range []any{"a\x00b", "\x00", "", "bad\xff\xfe utf", []byte{}, []byte{0, 1, 0}, math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 0.1, 5.0, 1e300, int64(math.MinInt64), int64(math.MaxInt64), nil, "123", "1.50", 9007199254740993.0, 4.9e-324} {
			e.x("INSERT INTO v(n,r,t,i,b,nu) VALUES(?1,?1,?1,?1,?1,?1)", x)
		}
		e.x("UPDATE v SET n=t, t=n||'x'||char(0)||'y', r=r WHERE id%2=0; INSERT INTO v(n,t,b) VALUES(zeroblob(5000), printf('%.*c',3000,'x'), CAST(x'61006200' AS TEXT)); UPDATE v SET b=zeroblob(70000) WHERE id<3; DELETE FROM v WHERE id=4")
		e.x("INSERT INTO v(id,n) VALUES(-5,'neg'),(9223372036854775807,'max')")
	}},
	{name: "added column defaults", f: func(e *env) {
		e.x("CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES(1,1),(2,2),(3,3)")
		e.x("ALTER TABLE t ADD COLUMN d DEFAULT 'dflt'; ALTER TABLE t ADD COLUMN r REAL DEFAULT 5; UPDATE t SET a=9 WHERE id=1; UPDATE t SET d='z' WHERE id=2; DELETE FROM t WHERE id=3")
	}},
	{name: "last_insert_rowid, changes()", f: func(e *env) {
		e.x(tableT + ";INSERT INTO t VALUES(77,'a',1),(78,'b',1)")
		e.want(e.one("SELECT last_insert_rowid()||' '||changes()||' '||total_changes()"), "78 2 2")
		e.x("BEGIN; UPDATE t SET b=1; COMMIT")
		e.want(e.one("SELECT last_insert_rowid()||' '||changes()||' '||total_changes()"), "78 2 4")
		e.x("BEGIN; CREATE TABLE z(a); COMMIT")
		e.want(e.one("SELECT last_insert_rowid()||' '||changes()||' '||total_changes()"), "78 2 4")
	}},
	{name: "log dropped: fail closed", f: func(e *env) {
		e.x(tableT + ";INSERT INTO t VALUES(1,'a',1)")
		e.fail("ALTER TABLE _driftdb_log RENAME TO keep")
		out, err := sql.Open("sqlite", e.s.path)
		if err != nil {
			e.Fatal(err)
		}
		if _, err = out.Exec("ALTER TABLE _driftdb_log RENAME TO keep"); err != nil {
			e.Fatal(err)
		}
		defer func() {
			_, _ = out.Exec("ALTER TABLE keep RENAME TO _driftdb_log")
			out.Close()
		}()

		err = e.fail("INSERT INTO t VALUES(2,'b',1)")
		e.fail("BEGIN; INSERT INTO t VALUES(3,'c',1); COMMIT")
		_, _ = e.c.ExecContext(e.ctx, "ROLLBACK")
		e.fail("CREATE TABLE q(a)")
		e.want(e.one("SELECT count(*) FROM t"), "1")
		e.Log(err)
	}},
	{name: "vtab dropped: fail closed", f: func(e *env) {
		e.x(tableT + ";INSERT INTO t VALUES(1,'a',1)")
		err := e.fail("DROP TABLE temp._driftdb_cap0")
		e.x("INSERT INTO t VALUES(2,'b',1)")
		e.Log(err)
	}},
	{name: "TEMP and ATTACH", f: func(e *env) {
		e.x("CREATE TEMP TABLE tt(a); INSERT INTO tt VALUES(1); ATTACH ':memory:' AS x; CREATE TABLE x.y(a); INSERT INTO x.y VALUES(1); CREATE TABLE m(a); CREATE TEMP TABLE m2(a); CREATE TABLE main.m2(a)")
		e.x("BEGIN; INSERT INTO tt VALUES(2); INSERT INTO m SELECT * FROM tt; INSERT INTO x.y VALUES(3); COMMIT; INSERT INTO m2 VALUES(5); DROP TABLE m2; INSERT INTO m2 VALUES(6); CREATE TEMP TRIGGER q AFTER INSERT ON m BEGIN INSERT INTO m2 VALUES(new.a); END; INSERT INTO m VALUES(88)")
	}},
	{name: "DDL in order in a transaction", f: func(e *env) {
		e.x("CREATE TABLE t(id INTEGER PRIMARY KEY, a); BEGIN; INSERT INTO t VALUES(1,1); ALTER TABLE t ADD COLUMN b DEFAULT 3; INSERT INTO t VALUES(2,2,2); ALTER TABLE t RENAME COLUMN a TO aa; UPDATE t SET aa=5; ALTER TABLE t DROP COLUMN b; INSERT INTO t VALUES(3,3); ALTER TABLE t RENAME TO u; INSERT INTO u VALUES(4,4); CREATE INDEX ui ON u(aa); DROP TABLE u; CREATE TABLE u(z); INSERT INTO u VALUES(1); COMMIT")
	}},
	{name: "DDL only", f: func(e *env) {
		e.x("CREATE TABLE t(a)")
		e.x("BEGIN; CREATE TABLE t2(a); CREATE VIEW v AS SELECT 1; COMMIT")
		e.x("BEGIN; CREATE TABLE gone(a); ROLLBACK")
		e.x("SAVEPOINT s; CREATE TABLE gone(a); ROLLBACK TO s; CREATE TABLE kept(a); RELEASE s")
		e.x("CREATE TABLE IF NOT EXISTS t(b); DROP TABLE IF EXISTS nope")
		e.fail("CREATE TABLE t(c)")
		e.fail("BEGIN; CREATE TABLE t(c)")
		e.x("INSERT INTO t VALUES(1); COMMIT")
		e.x("PRAGMA user_version=42")
		e.x("BEGIN; PRAGMA user_version=43; INSERT INTO t VALUES(2); COMMIT; /* c */ -- d\n  create table lower(a); ;; \n;")
		st, err := e.c.PrepareContext(e.ctx, "CREATE TABLE prepared(a)")
		if err != nil {
			e.Fatal(err)
		}
		if _, err = st.ExecContext(e.ctx); err != nil {
			e.Fatal(err)
		}
		r, err := e.c.QueryContext(e.ctx, "CREATE TABLE byquery(a)")
		if err != nil {
			e.Fatal(err)
		}
		r.Next()
		r.Close()
		tx, _ := e.c.BeginTx(e.ctx, nil)
		tx.Exec("CREATE TABLE bytx(a)")
		tx.Exec("INSERT INTO bytx VALUES(1)")
		if err := tx.Commit(); err != nil {
			e.Fatal(err)
		}
		e.x("ANALYZE; REINDEX; DROP VIEW v")
	}},
	{name: "DDL from two connections", f: func(e *env) {
		e.x("CREATE TABLE t(a)")
		for i := 0; i < 5; i++ {
			e.x(fmt.Sprintf("ALTER TABLE t ADD COLUMN c%d", i))
			if _, err := e.c2.ExecContext(e.ctx, fmt.Sprintf("INSERT INTO t(c%d) VALUES(1); ALTER TABLE t ADD COLUMN d%d; INSERT INTO t(d%d) VALUES(2)", i, i, i)); err != nil {
				e.Fatal(err)
			}
			e.x(fmt.Sprintf("INSERT INTO t(d%d) VALUES(2)", i))
		}
	}},
	{name: "CREATE TABLE AS", f: func(e *env) {
		e.x("CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES(1,x''),(2,'a'||char(0)||'b'); CREATE TABLE c AS SELECT a, id*2 d, random() r FROM t; BEGIN; UPDATE t SET a=1; CREATE TABLE c2 AS SELECT * FROM t; UPDATE c2 SET a=2; COMMIT; CREATE TABLE c3 AS SELECT * FROM t WHERE 0")
	}},
	{name: "DROP TABLE with FK actions", f: func(e *env) {
		e.x("CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(id INTEGER PRIMARY KEY, pid REFERENCES p ON DELETE CASCADE, q REFERENCES p ON DELETE SET NULL); INSERT INTO p VALUES(1),(2); INSERT INTO c VALUES(1,1,NULL),(2,NULL,2); DROP TABLE p")
	}},
	{name: "FTS5 normal", f: func(e *env) {
		e.x("CREATE VIRTUAL TABLE f USING fts5(a,b); INSERT INTO f VALUES('hello world','x'),('foo bar','y')")
		e.x("BEGIN; INSERT INTO f VALUES('tx one','z'); UPDATE f SET a='changed' WHERE rowid=1; DELETE FROM f WHERE rowid=2; COMMIT; INSERT INTO f(f) VALUES('optimize'); INSERT INTO f(f,rank) VALUES('automerge',2)")
		e.x("CREATE TABLE t(a); BEGIN; INSERT INTO t VALUES(1); INSERT INTO f VALUES('after table','q'); INSERT INTO t VALUES(2); SAVEPOINT s; INSERT INTO f VALUES('gone','q'); ROLLBACK TO s; INSERT INTO f VALUES('kept','q'); COMMIT; CREATE TABLE f_x(a); INSERT INTO f_x VALUES(1); ALTER TABLE f RENAME TO ff; INSERT INTO ff VALUES('renamed',1)")
	}},
	{name: "FTS5 external, contentless, triggers", f: func(e *env) {
		e.x("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); CREATE VIRTUAL TABLE fe USING fts5(a,b,content='t',content_rowid='id'); CREATE VIRTUAL TABLE fc USING fts5(a,content=''); CREATE VIRTUAL TABLE fd USING fts5(a,content='',contentless_delete=1)")
		e.x("CREATE TRIGGER ai AFTER INSERT ON t BEGIN INSERT INTO fe(rowid,a,b) VALUES(new.id,new.a,new.b); INSERT INTO fc(rowid,a) VALUES(new.id,new.a); INSERT INTO fd(rowid,a) VALUES(new.id,new.a); END; CREATE TRIGGER ad AFTER DELETE ON t BEGIN INSERT INTO fe(fe,rowid,a,b) VALUES('delete',old.id,old.a,old.b); DELETE FROM fd WHERE rowid=old.id; END;")
		e.x("INSERT INTO t(a,b) VALUES('one two','x'),('three','y'); BEGIN; INSERT INTO t(a,b) VALUES('four','z'); DELETE FROM t WHERE id=1; INSERT INTO t(a,b) VALUES('five','z'); COMMIT")
		e.x("INSERT INTO fe(fe) VALUES('rebuild')")
	}},
	{name: "FTS5 contentless columnsize=0", f: func(e *env) {
		e.x("CREATE VIRTUAL TABLE fc USING fts5(a,content='',columnsize=0)")
		e.x("INSERT INTO fc(rowid,a) VALUES(1,'one'); BEGIN; INSERT INTO fc(rowid,a) VALUES(2,'one'); COMMIT")
	}},
	{name: "FTS5 created and used in one tx", f: func(e *env) {
		e.x("BEGIN; CREATE VIRTUAL TABLE f USING fts5(a); INSERT INTO f VALUES('one two'); CREATE VIRTUAL TABLE fc USING fts5(a,content='',columnsize=0); INSERT INTO fc(rowid,a) VALUES(1,'zwei drei'); COMMIT; INSERT INTO f VALUES('three'); DROP TABLE fc; BEGIN; DELETE FROM f; DROP TABLE f; COMMIT; CREATE VIRTUAL TABLE f USING fts5(a); INSERT INTO f VALUES('one two')")
	}},
	{name: "R-Tree", f: func(e *env) {
		e.x("CREATE VIRTUAL TABLE r USING rtree(id,x0,x1,+aux); INSERT INTO r VALUES(1,0,1,'a'),(2,1,2,'b'); UPDATE r SET x1=9 WHERE id=1; DELETE FROM r WHERE id=2")
		e.x("WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i+1 FROM n WHERE i<300) INSERT INTO r SELECT i,i,i+1,'z' FROM n; BEGIN; DELETE FROM r WHERE id%3=0; COMMIT")
	}},
	{name: "cancelled context", f: func(e *env) {
		e.x("CREATE TABLE t(a); INSERT INTO t VALUES(1)")
		for i := 0; i < 30; i++ {
			c2, cancel := context.WithTimeout(e.ctx, time.Duration(i)*200*time.Microsecond)
			_, err := e.c.ExecContext(c2, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<3000) INSERT INTO t SELECT i FROM n")
			cancel()
			if err == nil {
				break
			}
			_ = errors.Is(err, context.DeadlineExceeded)
		}
	}},
	{name: "large transaction", f: func(e *env) {
		e.x("CREATE TABLE t(id INTEGER PRIMARY KEY,a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<50000) INSERT INTO t SELECT i,hex(randomblob(20)) FROM n; UPDATE t SET id=id+1000000; DELETE FROM t WHERE id%2")
	}},
}
