package capture_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/cmem"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// TestTraps runs what has once broken a capture, each on a fresh database,
// replays its log and compares.
func TestTraps(t *testing.T) {
	for _, sc := range traps {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			runScenario(t, sc)
		})
	}
}

func (e *env) refused(query, because string) {
	e.Helper()
	if err := e.fail(query); !strings.Contains(err.Error(), because) {
		e.Fatalf("%s: %v; want an error that says %q", query, err, because)
	}
	_, _ = e.c.ExecContext(e.ctx, "ROLLBACK")
}

func (e *env) foreign(script string) {
	e.Helper()
	if err := e.s.plain(e).Exec(script); err != nil {
		e.Fatal(err)
	}
}

const own = "DriftDB's own"

var traps = []scenario{
	{name: "PRAGMA count_changes", f: func(e *env) {
		e.x(tableT + "; PRAGMA count_changes=ON; INSERT INTO t VALUES(1,'a',1); BEGIN; INSERT INTO t VALUES(2,'b',2); ALTER TABLE t ADD COLUMN c; UPDATE t SET c=1; COMMIT; DELETE FROM t WHERE id=1")
		e.x("CREATE TABLE s(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE); INSERT INTO s(a) VALUES(1); INSERT OR IGNORE INTO s(a) VALUES(1)")
	}},
	{name: "PRAGMA reverse_unordered_selects", f: func(e *env) {
		e.x(tableT + "; PRAGMA reverse_unordered_selects=ON; INSERT INTO t VALUES(1,'a',1); CREATE INDEX i ON t(b); INSERT INTO t VALUES(2,'b',2); BEGIN; UPDATE t SET b=3; DROP INDEX i; COMMIT")
		e.x("CREATE TABLE u AS SELECT * FROM t; CREATE TABLE s(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE); INSERT INTO s(a) VALUES(1),(2); INSERT OR IGNORE INTO s(a) VALUES(1)")
	}},
	{name: "PRAGMA temp_store", f: func(e *env) {
		e.x(tableT + "; INSERT INTO t VALUES(1,'a',1); PRAGMA temp_store=MEMORY; INSERT INTO t VALUES(2,'b',1); CREATE VIRTUAL TABLE f USING fts5(a)")
		var v any
		_ = e.c.QueryRowContext(e.ctx, "PRAGMA temp_store=FILE").Scan(&v)
		e.x("BEGIN; INSERT INTO f VALUES('x'); INSERT INTO t VALUES(3,'c',1); COMMIT")
		st, err := e.c.PrepareContext(e.ctx, "PRAGMA temp_store=MEMORY")
		if err != nil {
			e.Fatal(err)
		}
		for i := range 3 {
			if _, err := st.Exec(); err != nil {
				e.Fatal(err)
			}
			e.x("INSERT INTO t VALUES(?,?,1)", 10+i, i)
			e.x("PRAGMA temp_store=FILE")
		}
		e.fail("BEGIN; INSERT INTO t VALUES(4,'d',1); PRAGMA temp_store=MEMORY")
		e.x("INSERT INTO t VALUES(5,'e',1); COMMIT")
	}},
	{name: "TEMP objects wait for nobody", impatient: true, f: func(e *env) {
		e.x(tableT)
		if _, err := e.c2.ExecContext(e.ctx, "BEGIN IMMEDIATE"); err != nil {
			e.Fatal(err)
		}
		e.x("CREATE TEMP TABLE x(a); CREATE TEMPORARY VIEW v AS SELECT * FROM t; INSERT INTO x VALUES(1); CREATE TEMP TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO x VALUES(new.id); END; CREATE TEMP TABLE y AS SELECT * FROM x")
		start := time.Now()
		if err := e.fail("SELEC 1"); strings.Contains(err.Error(), "BUSY") {
			e.Fatal(err)
		}
		if err := e.fail("CREATE TABLE q(a)"); !strings.Contains(err.Error(), "SQLITE_BUSY") {
			e.Fatal(err)
		}
		if waited := time.Since(start); waited > 2*time.Second {
			e.Fatalf("waited %v where the busy timeout is 50 ms", waited)
		}
		if _, err := e.c2.ExecContext(e.ctx, "COMMIT"); err != nil {
			e.Fatal(err)
		}
		e.x("INSERT INTO t VALUES(1,'a',1)")
		e.want(e.one("SELECT count(*) FROM x"), "2")
	}},
	{name: "columns hide the rowid", barrier: "rowid, oid and _rowid_", f: func(e *env) {
		e.x("CREATE TABLE h(rowid, oid, _rowid_); INSERT INTO h VALUES(1,2,3)")
	}},
	{name: "columns hide two names of the rowid", f: func(e *env) {
		e.x("CREATE TABLE h(rowid, _rowid_); INSERT INTO h VALUES(1,2); UPDATE h SET rowid=7; CREATE TABLE h2 AS SELECT * FROM h; CREATE TABLE h3(rowid, oid, _rowid_ INTEGER PRIMARY KEY); INSERT INTO h3 VALUES(1,2,3); DELETE FROM h3; INSERT INTO h3 VALUES(1,2,9)")
	}},
	{name: "transaction over the limit", limit: 1 << 20, barrier: "a transaction of more than 1 MiB", f: func(e *env) {
		e.x("CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		e.x("BEGIN; INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<40000) SELECT i, zeroblob(1000) FROM n")
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
			e.Errorf("the heap grew by %d bytes", grown)
		}
		e.x("SAVEPOINT s; DELETE FROM t WHERE id>5; ROLLBACK TO s; COMMIT; INSERT INTO t(a) VALUES(1)")
	}},
	{name: "transaction over the limit, rolled back", limit: 1 << 20, f: func(e *env) {
		e.x("CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
		e.x("BEGIN; INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<3000) SELECT i, zeroblob(1000) FROM n; ROLLBACK; INSERT INTO t(a) VALUES(1)")
	}},
	{name: "VACUUM", barrier: "VACUUM may have renumbered rows", f: func(e *env) {
		e.x("CREATE TABLE t(a); INSERT INTO t VALUES(1),(2); DELETE FROM t WHERE a=1; VACUUM; INSERT INTO t VALUES(3)")
	}},
	{name: "VACUUM INTO", f: func(e *env) {
		e.x("CREATE TABLE t(a); INSERT INTO t VALUES(1),(2)")
		e.x("VACUUM INTO ?", e.s.path+".copy")
	}},
	{name: "foreign schema change, then a row", barrier: "schema was changed by a statement that was not captured", f: func(e *env) {
		e.x("CREATE TABLE t(a); INSERT INTO t VALUES(1)")
		e.foreign("ALTER TABLE t ADD COLUMN b")
		e.x("INSERT INTO t(a,b) VALUES(2,3)")
	}},
	{name: "foreign schema change, then another", barrier: "schema was changed by a statement that was not captured", f: func(e *env) {
		e.x("CREATE TABLE t(a)")
		e.foreign("CREATE TABLE u(a)")
		e.x("CREATE TABLE v(a)")
	}},
	{name: "foreign schema change, then a counter moves", barrier: "schema was changed by a statement that was not captured", f: func(e *env) {
		e.x("CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE); INSERT INTO t(a) VALUES(1)")
		e.foreign("CREATE TABLE u(a)")
		e.x("INSERT OR IGNORE INTO t(a) VALUES(1)")
	}},
	{name: "PRAGMA writable_schema", barrier: "writable_schema", f: func(e *env) {
		e.x("CREATE TABLE t(a); PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql='CREATE TABLE t(a, b)' WHERE name='t'")
	}},
	{name: "our tables are not the user's", f: func(e *env) {
		e.x(tableT + "; INSERT INTO t VALUES(0,'0',0)")
		for _, q := range []string{
			"DROP TABLE _driftdb_log", "ALTER TABLE _driftdb_log RENAME TO keep", "ALTER TABLE _driftdb_queue RENAME TO _driftdb_q",
			"ALTER TABLE _driftdb_log ADD COLUMN x", "CREATE TABLE _driftdb_mine(a)", "CREATE TABLE _DRIFTDB_Mine(a)", "CREATE INDEX i ON _driftdb_log(time)",
			"CREATE TRIGGER g AFTER INSERT ON _driftdb_log BEGIN SELECT 1; END",
			"BEGIN; INSERT INTO t VALUES(1,'a',1); DROP TABLE _driftdb_shape", "SAVEPOINT s; DROP TABLE _driftdb_shape",
			"DELETE FROM _driftdb_log", "UPDATE _driftdb_log SET data=x''", "INSERT INTO _driftdb_meta VALUES('a',1)", "BEGIN; INSERT INTO t VALUES(1,'a',1); DELETE FROM _driftdb_shape; COMMIT",
		} {
			e.refused(q, own)
		}
		_, _ = e.c.ExecContext(e.ctx, "BEGIN; INSERT INTO t VALUES(9,'a',1); DROP TABLE _driftdb_shape")
		e.refused("COMMIT", own)
		e.want(e.one("SELECT count(*) FROM t"), "1")
		e.x("INSERT INTO t VALUES(1,'a',1); CREATE TABLE driftdb_mine(a); CREATE TABLE x_driftdb_(a)")
	}},
	{name: "log altered by another connection", f: func(e *env) {
		e.x(tableT + "; INSERT INTO t VALUES(1,'a',1)")
		e.foreign("ALTER TABLE _driftdb_log RENAME COLUMN data TO d")
		e.refused("INSERT INTO t VALUES(2,'b',1)", "_driftdb_log")
		e.refused("BEGIN; INSERT INTO t VALUES(2,'b',1); COMMIT", "_driftdb_log")
		e.foreign("ALTER TABLE _driftdb_log RENAME COLUMN d TO data; UPDATE _driftdb_log SET schema=(SELECT schema_version FROM pragma_schema_version)")
		e.x("INSERT INTO t VALUES(3,'c',1)")
	}},
	{name: "log emptied by another connection", f: func(e *env) {
		e.x(tableT)
		e.foreign("CREATE TEMP TABLE keep AS SELECT * FROM _driftdb_log; DELETE FROM _driftdb_log")
		e.refused("INSERT INTO t VALUES(1,'b',1)", "_driftdb_log is empty")
		e.foreign("INSERT INTO _driftdb_log SELECT 0, 1, 0, schema_version, x'0100' FROM pragma_schema_version; CREATE TABLE z(a); DROP TABLE z; DROP TABLE t; UPDATE _driftdb_log SET schema=(SELECT schema_version FROM pragma_schema_version)")
		e.x("CREATE TABLE u(a)")
	}},
	{name: "Hub.Refuse", f: func(e *env) {
		e.x(tableT)
		lost := errors.New("this node has lost the database to another")
		e.s.hub.Refuse(lost)
		e.refused("INSERT INTO t VALUES(1,'a',1)", lost.Error())
		e.refused("BEGIN; INSERT INTO t VALUES(1,'a',1); COMMIT", lost.Error())
		e.refused("CREATE TABLE u(a)", lost.Error())
		e.want(e.one("SELECT count(*) FROM t"), "0")
		e.x("BEGIN; COMMIT; CREATE TEMP TABLE x(a); INSERT INTO x VALUES(1)")
		if !errors.Is(e.s.hub.Refused(), lost) {
			e.Fatal(e.s.hub.Refused())
		}
	}},
	{name: "more virtual tables than ours", barrier: "more virtual tables", f: func(e *env) {
		e.x("CREATE TABLE t(a); BEGIN")
		for i := range 12 {
			e.x(fmt.Sprintf("CREATE VIRTUAL TABLE f%d USING fts5(a); INSERT INTO f%[1]d VALUES('x')", i))
		}
		e.x("COMMIT; INSERT INTO f11 VALUES('y')")
	}},
	{name: "many virtual tables", f: func(e *env) {
		for i := range 12 {
			e.x(fmt.Sprintf("CREATE VIRTUAL TABLE f%d USING fts5(a)", i))
		}
		e.x("BEGIN")
		for i := range 12 {
			e.x(fmt.Sprintf("INSERT INTO f%d VALUES('x'); SAVEPOINT s; INSERT INTO f%[1]d VALUES('y'); ROLLBACK TO s", i))
		}
		e.x("COMMIT")
	}},
	{name: "records older than a column", barrier: "older than a column", f: func(e *env) {
		e.x("CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES(1,1); ALTER TABLE t ADD COLUMN b DEFAULT 7; CREATE TABLE u(id INTEGER PRIMARY KEY, a, b DEFAULT 7); INSERT INTO u SELECT * FROM t")
	}},
	{name: "records older than a column without a default", f: func(e *env) {
		e.x("CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES(1,1); ALTER TABLE t ADD COLUMN b; ALTER TABLE t ADD COLUMN c DEFAULT NULL; CREATE TABLE u(id INTEGER PRIMARY KEY, a, b, c); INSERT INTO u SELECT * FROM t; INSERT INTO t VALUES(2,2,2,2)")
		e.x("CREATE TABLE v(a, b DEFAULT 7, c DEFAULT 'x'); INSERT INTO v VALUES(1,NULL,NULL),(2,3,4); CREATE TABLE w(a, b DEFAULT 7, c DEFAULT 'x'); INSERT INTO w SELECT * FROM v")
	}},
	{name: "300 savepoints", f: func(e *env) {
		e.x(tableT + "; BEGIN")
		for i := range 300 {
			e.x(fmt.Sprintf("SAVEPOINT s%d; INSERT INTO t VALUES(%[1]d, %[1]d, 0)", i))
		}
		e.x("ROLLBACK TO s280; INSERT INTO t VALUES(1000,'x',1); RELEASE s270; UPDATE t SET b=1; ROLLBACK TO s3; INSERT INTO t VALUES(1001,'y',1); COMMIT")
		e.want(e.one("SELECT group_concat(id) FROM t"), "0,1,2,1001")
	}},
	{name: "savepoints older than the first change", f: func(e *env) {
		e.x(tableT + "; SAVEPOINT a; SAVEPOINT b; SAVEPOINT c; INSERT INTO t VALUES(1,'x',1); ROLLBACK TO b; INSERT INTO t VALUES(2,'y',1); SAVEPOINT d; INSERT INTO t VALUES(3,'z',1); ROLLBACK TO d; RELEASE a")
	}},
	{name: "own file attached", f: func(e *env) {
		e.x(tableT)
		for _, q := range []string{"ATTACH ? AS twin", "/**/attach database ? AS [t\"win]"} {
			if _, err := e.c.ExecContext(e.ctx, q, e.s.path); err == nil || !strings.Contains(err.Error(), "attached") {
				e.Fatal(err)
			}
		}
		e.want(e.one("SELECT count(*) FROM pragma_database_list WHERE name <> 'temp'"), "1")
		e.x("ATTACH ? AS other; CREATE TABLE other.t(id); INSERT INTO other.t VALUES(1); INSERT INTO t VALUES(1,'a',1); DETACH other", e.s.path+".other")
	}},
	{name: "NUL ends a script", f: func(e *env) {
		e.x("CREATE TABLE t(a)\x00; DROP TABLE t; garbage")
		e.x("INSERT INTO t VALUES(1); INSERT INTO t VALUES(2)\x00; garbage")
		e.x("\x00; garbage")
	}},
	{name: "PRAGMA optimize", f: func(e *env) {
		e.x("CREATE TABLE t(a, b); CREATE INDEX i ON t(a); INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<500) SELECT i, i%7 FROM n; ANALYZE")
		e.x("INSERT INTO t SELECT * FROM t; INSERT INTO t SELECT * FROM t; INSERT INTO t SELECT * FROM t; INSERT INTO t SELECT * FROM t")
		rows, err := e.c.QueryContext(e.ctx, "PRAGMA optimize=0x10002")
		if err != nil {
			e.Fatal(err)
		}
		rows.Close()
		rows, err = e.c.QueryContext(e.ctx, "PRAGMA main.optimize")
		if err != nil {
			e.Fatal(err)
		}
		rows.Close()
		e.x("INSERT INTO t VALUES(0,0)")
		e.want(e.one("PRAGMA user_version /* = ( */"), "0")
	}},
	{name: "ALTER TABLE within a transaction", f: func(e *env) {
		e.x("CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES(1,1)")
		for i, alter := range []string{"ADD COLUMN n%d DEFAULT 5", "RENAME COLUMN a TO b%d", "DROP COLUMN z", "RENAME TO t%d"} {
			for j, end := range []string{"ROLLBACK", "ROLLBACK TO s; UPDATE t SET z=z+1; INSERT INTO t(z) VALUES(8); COMMIT", "COMMIT"} {
				e.x("DROP TABLE t; CREATE TABLE t(id INTEGER PRIMARY KEY, a, z); INSERT INTO t VALUES(1,2,3),(2,3,4)")
				e.x("BEGIN; UPDATE t SET a=a+1; SAVEPOINT s")
				alter := alter
				if strings.Contains(alter, "%") {
					alter = fmt.Sprintf(alter, 10*i+j)
				}
				e.x("ALTER TABLE t " + alter)
				table := "t"
				if strings.HasPrefix(alter, "RENAME TO ") {
					table = strings.TrimPrefix(alter, "RENAME TO ")
				}
				e.x("UPDATE " + table + " SET id=id+10; INSERT INTO " + table + "(id) VALUES(77); DELETE FROM " + table + " WHERE id=11")
				e.x(end)
				if end == "COMMIT" && table != "t" {
					e.x("CREATE TABLE t(a)")
				}
			}
		}
		e.x("INSERT INTO t(a) VALUES(1)")
	}},
	{name: "a shape that was rolled back", f: func(e *env) {
		e.x("CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE t(id INTEGER PRIMARY KEY, a, k REFERENCES p DEFERRABLE INITIALLY DEFERRED); CREATE TABLE u(a)")
		e.x("BEGIN; INSERT INTO t VALUES(1,1,NULL); ROLLBACK; INSERT INTO u VALUES(1); INSERT INTO t VALUES(2,2,NULL)")
	}},
	{name: "a shape whose COMMIT was busy", mode: "DELETE", f: func(e *env) {
		e.x("CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE TABLE u(a); BEGIN; SAVEPOINT s; INSERT INTO t VALUES(1,1)")
		rows, err := e.c2.QueryContext(e.ctx, "SELECT * FROM sqlite_schema")
		if err != nil || !rows.Next() {
			e.Fatal(err)
		}
		e.fail("COMMIT") // the shape is stored …
		rows.Close()
		e.x("ROLLBACK TO s; INSERT INTO u VALUES(1); INSERT INTO t VALUES(2,2); COMMIT") // … and is not any more
		e.x("INSERT INTO t VALUES(3,3)")
	}},
	{name: "a counter whose COMMIT was busy", mode: "DELETE", f: func(e *env) {
		e.x("CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE); CREATE TABLE u(a); INSERT INTO t(a) VALUES(1); BEGIN; INSERT OR IGNORE INTO t(a) VALUES(1); INSERT INTO u VALUES(1); SAVEPOINT s; INSERT INTO u VALUES(2)")
		rows, err := e.c2.QueryContext(e.ctx, "SELECT * FROM sqlite_schema")
		if err != nil || !rows.Next() {
			e.Fatal(err)
		}
		e.fail("COMMIT")
		rows.Close()
		e.x("ROLLBACK TO s; COMMIT")
	}},
	{name: "cancelled in the middle", f: func(e *env) {
		e.x("CREATE TABLE t(a); BEGIN; INSERT INTO t VALUES(0)")
		ctx, cancel := context.WithCancel(e.ctx)
		rows, err := e.c.QueryContext(ctx, "SELECT 1 UNION ALL SELECT 2")
		if err != nil {
			e.Fatal(err)
		}
		rows.Close()
		stop := make(chan struct{})
		go func() {
			defer close(stop)
			for e.s.hub.Sequence() == 0 {
				runtime.Gosched()
			}
			time.AfterFunc(20*time.Millisecond, cancel)
		}()
		_, err = e.c.ExecContext(ctx, "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT i FROM n")
		<-stop
		if !errors.Is(err, context.Canceled) {
			e.Fatal(err)
		}
		_, _ = e.c2.ExecContext(e.ctx, "INSERT INTO t VALUES(5)")
	}},
}

// TestBlobWrite changes rows by incremental blob I/O, which the hook sees
// without the new value.
func TestBlobWrite(t *testing.T) {
	s := newSource(t, 0)
	c, err := capture.Open(s.path, s.opts, s.hub)
	if err != nil {
		t.Fatal(err)
	}
	exec := func(q string) {
		t.Helper()
		if _, err := c.ExecContext(t.Context(), q, nil); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	exec("CREATE TABLE t(id INTEGER PRIMARY KEY, b); CREATE TABLE h(rowid, b); INSERT INTO t VALUES(1,zeroblob(9)),(2,zeroblob(9)),(3,zeroblob(9)),(4,zeroblob(9)); INSERT INTO h VALUES(7,zeroblob(9))")
	writeBlob(t, c, "t", 1, "auto")
	writeBlob(t, c, "h", 1, "hidden")
	exec("BEGIN")
	writeBlob(t, c, "t", 2, "moved")
	exec("UPDATE t SET id=20 WHERE id=2")
	writeBlob(t, c, "t", 3, "deleted")
	exec("DELETE FROM t WHERE id=3")
	writeBlob(t, c, "t", 4, "kept")
	exec("SAVEPOINT s; UPDATE t SET id=40 WHERE id=4; ROLLBACK TO s")
	writeBlob(t, c, "t", 1, "undone")
	exec("ROLLBACK TO s; COMMIT")
	exec("BEGIN")
	writeBlob(t, c, "t", 1, "twice")
	writeBlob(t, c, "t", 1, "more")
	exec("SAVEPOINT a; SAVEPOINT b")
	writeBlob(t, c, "t", 1, "undone")
	exec("ROLLBACK TO b; ROLLBACK TO a; COMMIT")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	s.mustEqual(t)
	d, err := dbtest.Dump(s.path)
	if err != nil || !strings.Contains(d, fmt.Sprintf("%x", "kept")) || strings.Contains(d, fmt.Sprintf("%x", "undone")) {
		t.Fatalf("%v\n%s", err, d)
	}
}

func writeBlob(t *testing.T, c *capture.Conn, table string, rowid int64, text string) {
	t.Helper()
	var strs []uintptr
	for _, s := range []string{"main", table, "b", text} {
		z, err := libc.CString(s)
		if err != nil {
			t.Fatal(err)
		}
		defer libc.Xfree(c.TLS, z)
		strs = append(strs, z)
	}
	cell := libc.Xcalloc(c.TLS, 1, 8)
	defer libc.Xfree(c.TLS, cell)
	if rc := lib.Xsqlite3_blob_open(c.TLS, c.DB, strs[0], strs[1], strs[2], rowid, 1, cell); rc != 0 {
		t.Fatal(c.Err(rc))
	}
	blob := *cmem.At[uintptr](cell)
	if rc := lib.Xsqlite3_blob_write(c.TLS, blob, strs[3], int32(len(text)), 0); rc != 0 {
		t.Fatal(c.Err(rc))
	}
	if rc := lib.Xsqlite3_blob_close(c.TLS, blob); rc != 0 {
		t.Fatal(c.Err(rc))
	}
}
