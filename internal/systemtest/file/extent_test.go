package file_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// largestIn is how large the manifest in store says that its database has been.
func largestIn(t testing.TB, store objstore.Store) remote.Extent {
	t.Helper()
	body, _, err := store.Get(context.Background(), "databases/app/manifest.json", objstore.GetOptions{})
	systemtest.Check(t, err)
	defer body.Close()
	data, err := io.ReadAll(body)
	systemtest.Check(t, err)
	var m remote.Manifest
	systemtest.Check(t, json.Unmarshal(data, &m))
	return m.Largest
}

// announced is a store that notes what the manifest says whenever a batch comes that
// readers see: at once, or, if it is stored ahead of its epoch, with the next manifest.
type announced struct {
	objstore.Store
	t     testing.TB
	epoch string
	ahead bool
	said  []remote.Extent
}

func (s *announced) Put(ctx context.Context, key string, r io.Reader, o objstore.PutOptions) (objstore.Info, error) {
	if strings.Contains(key, "/logs/") {
		_, epoch, _ := strings.Cut(key, ".e")
		if s.ahead = epoch != s.epoch && epoch != "1.json"; !s.ahead {
			s.said = append(s.said, largestIn(s.t, s.Store))
		}
		s.epoch = epoch
	}
	info, err := s.Store.Put(ctx, key, r, o)
	if s.ahead && strings.HasSuffix(key, "/manifest.json") {
		s.said, s.ahead = append(s.said, largestIn(s.t, s.Store)), false
	}
	return info, err
}

// TestHonestGrowth: whatever a database has been, its manifest allows: before a batch is
// stored that needs it, and when the file has become small again.
func TestHonestGrowth(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes 250 MB")
	}
	store := &announced{Store: objstore.Mem(), t: t}
	cfg := systemtest.Config(t)
	cfg.Store = store
	c, err := new(sqlite.Driver).Open(cfg.Path, sqlite.Options{KeepJournal: true})
	systemtest.Check(t, err)
	systemtest.Check(t, c.Exec("PRAGMA auto_vacuum=FULL; CREATE TABLE pad(id INTEGER PRIMARY KEY, b AS (zeroblob(1000000)) STORED)"))
	systemtest.Check(t, c.Close())
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "INSERT INTO pad VALUES(1)")
	systemtest.Check(t, db.Flush(t.Context()))
	small := largestIn(t, store)
	grow := func(rows int64) (sequence int64) {
		systemtest.Exec(t, db, "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO pad SELECT i FROM n", rows)
		sequence = db.Sequence()
		systemtest.Exec(t, db, "DELETE FROM pad WHERE id > 1")
		return sequence
	}
	large := grow(100)
	systemtest.Check(t, db.Close())
	db = systemtest.Open(t, cfg) // which finds a small file
	systemtest.Check(t, db.Flush(t.Context()))
	larger := grow(150)
	systemtest.Check(t, db.Flush(t.Context()))
	if n := len(store.said); n != 3 || small.Pages != 1024 || store.said[1].Pages < 100_000_000/4096 || store.said[2].Pages < 150_000_000/4096 {
		t.Errorf("first the manifest says %+v, and before each batch %+v", small, store.said)
	}
	for sequence, rows := range map[int64]int64{0: 1, large: 100, larger: 150} {
		path := filepath.Join(t.TempDir(), fmt.Sprint(rows))
		res, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: "app", Path: path, Store: store, Sequence: sequence})
		if err != nil || res.Rows != rows {
			t.Errorf("sequence %d: %+v, %v", sequence, res, err)
		}
	}
}

// TestHonestShapes: neither is a database refused that statements make much larger than
// the log says.
func TestHonestShapes(t *testing.T) {
	grow := "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO %s SELECT i, %s FROM n"
	for name, script := range map[string][]string{
		"tables of many indexes":  {manyIndexes(40, 100)},
		"an index of expressions": {"CREATE TABLE t(a INTEGER PRIMARY KEY, b)", fmt.Sprintf(grow, 100, "t", "i"), "CREATE INDEX i ON t(zeroblob(1000000 + b))"},
		"WITHOUT ROWID":           {"CREATE TABLE t(a, b, PRIMARY KEY(b, a)) WITHOUT ROWID", "CREATE INDEX i ON t(b)", fmt.Sprintf(grow, 5_000, "t", "hex(randomblob(30)) || '"+strings.Repeat("x", 900)+"'")},
		"full text":               {"CREATE VIRTUAL TABLE t USING fts5(a, b, prefix='1 2 3 4 5 6')", fmt.Sprintf(grow, 2_000, "t", "hex(randomblob(200))"), "INSERT INTO t(t) VALUES('optimize')"},
		"columns that go":         {"CREATE TABLE t(a INTEGER PRIMARY KEY, b)", fmt.Sprintf(grow, 1800, "t", "i"), "ALTER TABLE t ADD COLUMN c DEFAULT '" + strings.Repeat("d", 50_000) + "'", "ALTER TABLE t DROP COLUMN b"},
		"a table of a query":      {"CREATE TABLE t(a INTEGER PRIMARY KEY, b)", fmt.Sprintf(grow, 100, "t", "i"), "CREATE TABLE u AS SELECT a.a, randomblob(1000) AS x FROM t a, t b"},
		"VACUUM":                  {"CREATE TABLE t(a INTEGER PRIMARY KEY, b AS (zeroblob(1000000)) STORED)", "CREATE TABLE n(i)", "INSERT INTO t SELECT value FROM json_each('[1" + strings.Repeat(",null", 99) + "]')", "DELETE FROM t", "VACUUM", "INSERT INTO n VALUES(1)"},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "full text" {
				t.Skip("it writes 100 MB")
			}
			db := systemtest.Open(t, systemtest.Config(t)) // which is restored, and compared, at the end
			for _, sql := range script {
				systemtest.Exec(t, db, sql)
			}
		})
	}
}

// manyIndexes is the definition of so many tables with so many indexes each: that is a
// page for every few letters.
func manyIndexes(tables, indexes int) string {
	var sql strings.Builder
	for i := range tables {
		fmt.Fprintf(&sql, "CREATE TABLE t%d(", i)
		for j := range indexes {
			fmt.Fprintf(&sql, "c%d UNIQUE, ", j)
		}
		sql.WriteString("z);")
	}
	return sql.String()
}
