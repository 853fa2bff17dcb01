package capture_test

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

// TestReals: what SQLite keeps on disk as an integer is a REAL all the same,
// in a batch and in what an update says to have changed.
func TestReals(t *testing.T) {
	s := newSource(t, 0)
	c := s.conn(t)
	exec := func(q string, args ...any) {
		t.Helper()
		if _, err := c.ExecContext(t.Context(), q, args...); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	exec("CREATE TABLE r(id INTEGER PRIMARY KEY, a REAL, b DOUBLE PRECISION, c FLOATING POINT, d)")
	exec("INSERT INTO r VALUES(1, 5, 6, 7, 8.0), (2, 5.5, NULL, 'x', x'00')")
	exec("UPDATE r SET d = 9 WHERE id = 1")
	exec("UPDATE r SET a = 5.0, b = 60")
	exec("CREATE TABLE k(a REAL PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO k VALUES(5, 1); UPDATE k SET b = 2; UPDATE k SET a = 6; DELETE FROM k")
	data, err := s.batch()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"data":{"id":1,"a":5.0,"b":6.0,"c":7,"d":8.0}`,
		`"data":{"where":{"id":1},"data":{"d":9}},"before":{"d":8.0}`,
		`"data":{"where":{"id":1},"data":{"b":60.0}},"before":{"b":6.0}`,
		`"data":{"where":{"a":5.0},"data":{"b":2}},"before":{"b":1}`,
		`"before":{"a":6.0,"b":2}`,
	} {
		if !bytes.Contains(data, []byte(want)) {
			t.Errorf("the batch has no %s", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", data)
	}
	s.mustEqual(t)
}

// TestExactValues puts every kind of edge into every kind of column, in every
// kind of table, and changes each into each.
func TestExactValues(t *testing.T) {
	values := []any{
		nil, "", "a\x00b", "\x00", "bad\xff\xfe", "\xed\xa0\x80", "123", " 1.50 ", "1e3", "0x10", []byte{}, []byte{0}, []byte("text"), []byte{0xff, 0},
		0.0, math.Copysign(0, -1), 5.0, -5.0, 0.1, math.Pi, 1e300, 1e-300, 4.9e-324, 2.2250738585072009e-308, math.MaxFloat64, math.Inf(1), math.Inf(-1), math.NaN(),
		9007199254740991.0, 9007199254740993.0, 9223372036854775807.0, -9223372036854775808.0, 1e15, 1e16, 1e21,
		int64(0), int64(-1), int64(math.MaxInt64), int64(math.MinInt64), int64(math.MaxInt64 - 1), int64(1<<53 + 1), int64(-1<<53 - 1), int64(math.MaxInt32), int64(math.MinInt32), int64(127), int64(-128), int64(32768),
	}
	s := newSource(t, 0)
	c := s.conn(t)
	for _, table := range []string{
		"CREATE TABLE %(n, r REAL, t TEXT, i INTEGER, b BLOB, u NUMERIC, k)",
		"CREATE TABLE %(n, r REAL, t TEXT, i INTEGER, b BLOB, u NUMERIC, k INTEGER PRIMARY KEY)",
		"CREATE TABLE %(n, r REAL, t TEXT, i INTEGER, b BLOB, u NUMERIC, k PRIMARY KEY) WITHOUT ROWID",
		"CREATE TABLE %(n ANY, r REAL, t ANY, i ANY, b ANY, u ANY, k ANY) STRICT",
	} {
		name := "x" + strings.Repeat("y", len(table)%17)
		if _, err := c.ExecContext(t.Context(), strings.Replace(table, "%", name, 1)); err != nil {
			t.Fatal(err)
		}
		tx, err := c.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		insert, err := tx.Prepare("INSERT OR IGNORE INTO " + name + " VALUES(?1,CASE WHEN typeof(?1) IN ('integer','real') THEN ?1 END,?1,?1,?1,?1,?2)")
		if err != nil {
			t.Fatal(err)
		}
		update, err := tx.Prepare("UPDATE " + name + " SET n=?1, t=?1, i=?1, b=?1, u=?1 WHERE k=?2")
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range values {
			if _, err := insert.Exec(v, i); err != nil {
				t.Fatal(err)
			}
			for _, to := range values[:min(i, 20)] {
				if _, err := update.Exec(to, i); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := update.Exec(v, i); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := tx.Exec("UPDATE " + name + " SET k = k + 1000 WHERE k % 3 = 0; DELETE FROM " + name + " WHERE k % 7 = 0"); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	exec := func(q string, args ...any) {
		t.Helper()
		if _, err := c.ExecContext(t.Context(), q, args...); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	exec("CREATE TABLE \"odd \"\"name\n\"(\"a \"\"b\" PRIMARY KEY, \"\u00fc\", \"$blob\", \"where\", \"\")")
	exec("INSERT INTO \"odd \"\"name\n\" VALUES('{\"$blob\":\"\"}',2,3,4,5); UPDATE \"odd \"\"name\n\" SET \"$blob\"='x', \"\"=x''")
	exec("CREATE TABLE keys(a, b, PRIMARY KEY(a,b)); INSERT INTO keys VALUES(NULL,1),(NULL,1),(x'',''),(9223372036854775807,-0.0); DELETE FROM keys WHERE a IS NULL AND rowid=1; UPDATE keys SET b=-9223372036854775808")
	exec("CREATE TABLE far(a); INSERT INTO far(rowid,a) VALUES(-9223372036854775808,1),(9223372036854775807,2); UPDATE far SET rowid=~rowid-1 WHERE a=1; UPDATE OR REPLACE far SET rowid=-9223372036854775808 WHERE a=2")
	exec("CREATE TABLE dflt(id INTEGER PRIMARY KEY, r REAL DEFAULT 5, i DEFAULT -0.0, t DEFAULT 'a'); INSERT INTO dflt DEFAULT VALUES; ALTER TABLE dflt ADD COLUMN s REAL DEFAULT 7; UPDATE dflt SET t=1; UPDATE dflt SET s=7; DELETE FROM dflt")
	s.mustEqual(t)
}

// TestNamesThatAreNotUTF8: JSON cannot name such a table or column, so its
// rows are barriers; the user's writes go on.
func TestNamesThatAreNotUTF8(t *testing.T) {
	for _, sc := range []scenario{
		{name: "column", barrier: "not UTF-8", f: func(e *env) { e.x("CREATE TABLE t(\"a\xff\"); INSERT INTO t VALUES(1)") }},
		{name: "table", barrier: "not UTF-8", f: func(e *env) { e.x("CREATE TABLE \"t\xff\"(a); INSERT INTO \"t\xff\" VALUES(1)") }},
		{name: "counter", barrier: "not UTF-8", f: func(e *env) {
			e.x("CREATE TABLE \"t\xff\"(a INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO \"t\xff\" VALUES(1)")
		}},
		{name: "text", f: func(e *env) {
			e.x("CREATE TABLE t(a DEFAULT 'x\xff'); INSERT INTO t DEFAULT VALUES; CREATE VIEW v AS SELECT '\xfe'")
		}},
	} {
		t.Run(sc.name, func(t *testing.T) { runScenario(t, sc) })
	}
}
