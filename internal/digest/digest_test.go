package digest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"math"
	"math/big"
	"testing"

	"github.com/driftdb/driftdb-go/internal/change"
)

func integer(name string, v int64) change.Column {
	return change.Column{Name: name, Value: change.Value{Kind: change.Integer, Int: v}}
}

func text(name, v string) change.Column {
	return change.Column{Name: name, Value: change.Value{Kind: change.Text, Bytes: []byte(v)}}
}

// sumOf adds up, by the definition and with big numbers, what is given in hex.
func sumOf(t *testing.T, inputs ...string) (s Sum) {
	t.Helper()
	total := new(big.Int)
	for _, in := range inputs {
		b, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.Sum256(b)
		total.Add(total, new(big.Int).SetBytes(h[:16]))
	}
	total.Mod(total, new(big.Int).Lsh(big.NewInt(1), 128)).FillBytes(s[:])
	return s
}

// TestDefinition computes digests by hand. The last one is frozen: it is format
// version 1.
func TestDefinition(t *testing.T) {
	s := Set{"t": {}, "k": {}}
	s.Apply(&change.Entry{Op: change.Insert, Table: "t", HasRowID: true, RowID: -1, Key: []change.Column{text("a", "x")}, After: []change.Column{text("a", "x"), {Name: "b"}, integer("c", 5)}})
	if want := sumOf(t, "0001", "0001"+"0161"+"030178", "0001"+"0163"+"010a"); s["t"] != want {
		t.Errorf("%s, want %s", s["t"], want)
	}
	key := []change.Column{integer("id", 300), text("z", "")}
	s.Apply(&change.Entry{Op: change.Insert, Table: "k", Key: key, After: []change.Column{key[1], key[0], {Name: "r", Value: change.Value{Kind: change.Real, Real: math.Copysign(0, -1)}}, {Name: "b", Value: change.Value{Kind: change.Blob, Bytes: []byte{1}}}}})
	id := "02" + "01d804" + "0300"
	if want := sumOf(t, id, id+"017a"+"0300", id+"026964"+"01d804", id+"0172"+"020000000000000080", id+"0162"+"040101"); s["k"] != want {
		t.Errorf("%s, want %s", s["k"], want)
	}
	if got := s["k"].String(); got != "48744c215704271ff41410608641175c" {
		t.Errorf("the digest is %s", got)
	}
}

// TestMove: a row that gets another identity counts as another row.
func TestMove(t *testing.T) {
	row := func(id, a int64) []change.Column { return []change.Column{integer("id", id), integer("a", a)} }
	insert := func(id, a int64) *change.Entry {
		return &change.Entry{Op: change.Insert, Table: "t", Key: row(id, a)[:1], After: row(id, a)}
	}
	moved, direct := Set{"t": {}}, Set{"t": {}}
	moved.Apply(insert(1, 5))
	update := change.Entry{Op: change.Update, Table: "t", Key: row(1, 5)[:1], Before: row(1, 5), After: row(2, 5)}
	moved.Apply(&update)
	direct.Apply(insert(2, 5))
	if !maps.Equal(moved, direct) {
		t.Errorf("%v, want %v", moved, direct)
	}
	if err := moved.Revert(&update); err != nil {
		t.Fatal(err)
	}
	moved.Apply(&change.Entry{Op: change.Delete, Table: "t", Key: row(1, 5)[:1], Before: row(1, 5)})
	if moved["t"] != (Sum{}) {
		t.Errorf("an empty table has %v", moved["t"])
	}
}

// TestSchema: what a statement leaves known of the tables users and users_log.
func TestSchema(t *testing.T) {
	for sql, want := range map[string]string{
		"CREATE TABLE x(a)":                                          "all and x",
		"create table if not exists main . \"x\" (a)":                "all and x",
		"CREATE /* a ; */ TABLE -- b\n [x](a)":                       "all and x",
		"CREATE TABLE 'x'(a DEFAULT 'AS')":                           "all and x",
		"CREATE TABLE `x`(a)":                                        "all and x",
		"CREATE TABLE x AS SELECT 1":                                 "all",
		"CREATE TABLE sqlite_stat9(a)":                               "all",
		"CREATE TABLE \"x\xff\"(a)":                                  "all",
		"CREATE TABLE if(a)":                                         "all and if",
		"CREATE TABLE Users_Log(a)":                                  "all but users_log and Users_Log",
		"CREATE UNIQUE INDEX i ON users(a)":                          "all",
		"CREATE INDEX i ON users(a)":                                 "all",
		"CREATE VIEW v AS SELECT 1":                                  "all",
		"CREATE TRIGGER t AFTER INSERT ON users BEGIN SELECT 1; END": "all",
		"CREATE VIRTUAL TABLE v USING fts5(a)":                       "all",
		"CREATE VIRTUAL TABLE users USING fts5(a)":                   "none",
		"CREATE VIRTUAL INDEX v":                                     "none",
		"CREATE TEMP TABLE users(a)":                                 "none",
		"DROP TABLE USERS":                                           "all but users",
		"DROP TABLE IF EXISTS main.[users_log]":                      "all but users_log",
		"DROP TABLE user":                                            "all",
		"DROP TABLE":                                                 "none",
		"DROP VIEW users":                                            "all",
		"DROP INDEX users":                                           "all",
		"DROP TRIGGER users":                                         "all",
		"DROP SCHEMA users":                                          "none",
		"ALTER TABLE users ADD COLUMN b":                             "all",
		"ALTER TABLE users ADD b INTEGER CHECK (b <> 'DEFAULT') -- DEFAULT": "all",
		"ALTER TABLE users ADD b INTEGER GENERATED ALWAYS AS (1)":           "all",
		"ALTER TABLE users ADD COLUMN b default 1":                          "all but users",
		"ALTER TABLE users ADD COLUMN \"RowID\"":                            "all but users",
		"ALTER TABLE users ADD [_rowid_] TEXT":                              "all but users",
		"ALTER TABLE users ADD rowids":                                      "all",
		"ALTER TABLE users RENAME COLUMN a TO b":                            "all but users",
		"ALTER TABLE users RENAME a TO b":                                   "all but users",
		"ALTER TABLE users DROP COLUMN a":                                   "all but users",
		"ALTER TABLE users ALTER COLUMN a SET NOT NULL":                     "all but users",
		"ALTER TABLE \"users\" RENAME TO people":                            "users is people",
		"ALTER TABLE users RENAME TO Users":                                 "users is Users",
		"ALTER TABLE v RENAME TO users":                                     "none",
		"ALTER TABLE v RENAME TO w":                                         "all",
		"ALTER TABLE (":                                                     "none",
		"ALTER TABLE users RENAME TO (":                                     "none",
		"ALTER INDEX users":                                                 "none",
		"ANALYZE users":                                                     "all",
		"REINDEX":                                                           "all",
		"PRAGMA user_version = 5":                                           "all",
		"PRAGMA main.application_id(5)":                                     "all",
		"PRAGMA schema_version = 5":                                         "none",
		"PRAGMA writable_schema = 1":                                        "none",
		"VACUUM":                                                            "none",
		"":                                                                  "none",
		"\"CREATE\" TABLE x(a)":                                             "none",
	} {
		a, b := Sum{1}, Sum{2}
		s := Set{"users": a, "users_log": b}
		s.Apply(&change.Entry{Op: change.Schema, SQL: sql})
		expect := map[string]Set{
			"all": {"users": a, "users_log": b}, "all and x": {"users": a, "users_log": b, "x": {}}, "all and if": {"users": a, "users_log": b, "if": {}},
			"all but users": {"users_log": b}, "all but users_log": {"users": a}, "all but users_log and Users_Log": {"users": a, "Users_Log": {}},
			"users is people": {"people": a, "users_log": b}, "users is Users": {"Users": a, "users_log": b}, "none": {},
		}[want]
		if expect == nil || !maps.Equal(s, expect) {
			t.Errorf("%s: leaves %v, want %s", sql, s, want)
		}
		if err := s.Revert(&change.Entry{Op: change.Schema, SQL: sql}); !errors.Is(err, ErrIrreversible) {
			t.Errorf("%s: taken back with %v", sql, err)
		}
	}
	s := Set{"t": {}}
	barrier := change.Entry{Op: change.Barrier, Count: 9}
	if err := s.Revert(&barrier); !errors.Is(err, ErrIrreversible) || len(s) != 1 {
		t.Errorf("a barrier taken back: %v", err)
	}
	if s.Apply(&barrier); len(s) != 0 {
		t.Errorf("after a barrier: %v", s)
	}
}

func FuzzSchema(f *testing.F) {
	for _, sql := range []string{"CREATE TABLE IF NOT EXISTS main.\"t\"(a)", "ALTER TABLE [t] ADD b DEFAULT 'x'", "DROP TABLE 't''t' /* */ --", "PRAGMA user_version=1", "'", "[", "/*"} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		s := Set{"t": {1}}
		s.Apply(&change.Entry{Op: change.Schema, SQL: sql})
		for table, sum := range s {
			if sum != (Sum{}) && sum != (Sum{1}) || !Digestible(table) {
				t.Errorf("%q: %v", sql, s)
			}
		}
	})
}

func TestReports(t *testing.T) {
	a, b := Sum{1}, Sum{2}
	before := Set{"same": a, "changed": a, "gone": a}
	after := Set{"same": a, "changed": b, "new": b}
	r := after.Since(before)
	if len(r) != 3 || *r["changed"] != b || *r["new"] != b || r["gone"] != nil {
		t.Errorf("%v", r)
	}
	if _, named := r["gone"]; !named {
		t.Error("what is not known any more is not reported")
	}
	for _, s := range []Set{{"same": a, "changed": b, "gone": b}, {"same": a}} {
		if err := s.Take(r); err != nil || !maps.Equal(s, after) {
			t.Errorf("%v, %v", s, err)
		}
	}
	var wrong *MismatchError
	if err := maps.Clone(before).Take(r); !errors.As(err, &wrong) || *wrong != (MismatchError{"changed", b, a}) {
		t.Errorf("%v", err)
	}
	if err := after.Compare(Set{"same": a, "changed": b, "new": b, "more": a}); err != nil {
		t.Error(err)
	}
	if err := after.Compare(Set{"same": a, "changed": b, "new": a}); !errors.As(err, &wrong) || *wrong != (MismatchError{"new", b, a}) {
		t.Errorf("%v", err)
	}
	if err := (Set{"empty": {}}).Compare(Set{}); err == nil || errors.As(err, &wrong) && wrong.Table == "empty" {
		t.Errorf("a table that is not there: %v", err)
	}
	if len(after.Since(after)) != 0 {
		t.Error("nothing changed")
	}
}

func TestSumText(t *testing.T) {
	s := Sum{0x0f, 15: 0xff}
	text, err := s.MarshalText()
	var back Sum
	if err != nil || string(text) != s.String() || len(text) != 32 || back.UnmarshalText(text) != nil || back != s {
		t.Errorf("%s, %v, %v", text, back, err)
	}
	for _, bad := range []string{"", "00", "0F0000000000000000000000000000ff", "0g0000000000000000000000000000ff", string(text) + "00"} {
		if back.UnmarshalText([]byte(bad)) == nil || back != s {
			t.Errorf("%q was taken for %v", bad, back)
		}
	}
}
