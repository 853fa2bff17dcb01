package check_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/driftdb/driftdb-go/internal/check"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

var files = flag.Int("files", 400, "how many files TestDamage damages")

// TestDamage flips bytes of a database with many indexes. What SQLite's own check finds
// is found, and a check that reads the rows beside it says the same as one that has a
// single connection.
func TestDamage(t *testing.T) {
	c := open(t, `PRAGMA page_size=1024; PRAGMA journal_mode=DELETE;
		CREATE TABLE p(id INTEGER PRIMARY KEY, a TEXT NOT NULL UNIQUE, b REAL, c BLOB, CHECK(length(a) > 0));
		CREATE INDEX pb ON p(b DESC, a COLLATE NOCASE); CREATE INDEX pc ON p(c) WHERE c IS NOT NULL; CREATE INDEX pe ON p(lower(a) || id);
		CREATE TABLE w(a TEXT COLLATE NOCASE, b INT, c REFERENCES p(a), PRIMARY KEY(a, b)) WITHOUT ROWID; CREATE UNIQUE INDEX wc ON w(c, b);
		CREATE TABLE s(i INT, t TEXT, r REAL) STRICT; CREATE INDEX st ON s(t, i);
		INSERT INTO p WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 120)
			SELECT i, 'Name ' || i, i / 7.0, CASE WHEN i % 3 THEN zeroblob(i * 13 % 1500) END FROM n;
		INSERT INTO w SELECT 'Key ' || id % 17, id, a FROM p; INSERT INTO s SELECT id, a, b FROM p;
		CREATE TABLE gone AS SELECT * FROM p; DROP TABLE gone`)
	path, err := c.Text("SELECT file FROM pragma_database_list WHERE name = 'main'")
	if err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "damaged.db")
	n, bad := *files, 0
	if testing.Short() {
		n = min(n, 25)
	}
	for seed := range uint64(n) {
		random := rand.New(rand.NewPCG(seed, 0))
		data := append([]byte(nil), sound...)
		for range 1 + random.IntN(4) {
			data[100+random.IntN(len(data)-100)] ^= 1 << random.IntN(8)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if damaged(t, path, fmt.Sprint("seed ", seed)) {
			bad++
		}
	}
	t.Logf("SQLite's check found damage in %d of %d files", bad, n)
	if bad < n/4 {
		t.Errorf("too few to prove anything")
	}
}

// damaged compares what is found in a file, and says whether SQLite's check finds any.
func damaged(t *testing.T, path, what string) (bad bool) {
	t.Helper()
	c, err := sqlite.Open(path, sqlite.Options{MustExist: true, KeepJournal: true, QueryOnly: true})
	if sqlite.IsNotDatabase(err) {
		return false
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer c.Close()
	var said []string
	checked := c.Each("PRAGMA integrity_check", func(st *sqlite.Stmt) error {
		if s := st.Text(0); s != "ok" {
			said = append(said, s)
		}
		return nil
	})
	bad = checked != nil || len(said) > 0
	alone, errAlone := check.Run(t.Context(), c, check.Options{})
	beside, errBeside := check.Run(t.Context(), c, check.Options{Open: another(t, c)})
	if bad && errAlone == nil && len(alone.Faults) == 0 {
		t.Errorf("%s: SQLite says %q, %v, and nothing was found", what, said, checked)
	}
	if fmt.Sprint(errAlone) != fmt.Sprint(errBeside) || errAlone == nil && !same(alone, beside) {
		t.Errorf("%s: a connection finds %+v, %v; two find %+v, %v", what, alone, errAlone, beside, errBeside)
	}
	return bad
}

func same(a, b check.Report) bool {
	return reflect.DeepEqual(a.Faults, b.Faults) && reflect.DeepEqual(a.Digests, b.Digests) && a.Rows == b.Rows &&
		a.Violations == b.Violations && a.Whole == b.Whole && reflect.DeepEqual(a.Checked, b.Checked)
}
