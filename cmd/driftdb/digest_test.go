package main

import (
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go"
)

// TestDigest: whatever differs between two databases shows in their digests,
// and nothing else does.
func TestDigest(t *testing.T) {
	ctx := t.Context()
	take := func(script string) digest {
		t.Helper()
		db, err := driftdb.Open(ctx, driftdb.Config{Name: "d", Path: filepath.Join(t.TempDir(), "d.db")})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(ctx, script); err != nil {
			t.Fatal(err)
		}
		d, err := takeDigest(ctx, db)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	const table = "CREATE TABLE t (a, b); "
	base := take(table + "INSERT INTO t VALUES (1, 'x'), (2, NULL)")
	if base.rows != 2 || base.tables != 1 {
		t.Errorf("%d rows in %d tables", base.rows, base.tables)
	}
	if again := take(table + "INSERT INTO t VALUES (2, NULL), (3, 3); DELETE FROM t; INSERT INTO t VALUES (1, 'x'), (2, NULL)"); again != base {
		t.Error("two ways to the same rows have two digests")
	}
	for _, other := range []string{
		"",
		"INSERT INTO t VALUES (1, 'x')",
		"INSERT INTO t VALUES (2, NULL), (1, 'x')",
		"INSERT INTO t VALUES ('1', 'x'), (2, NULL)",
		"INSERT INTO t VALUES (1.0, 'x'), (2, NULL)",
		"INSERT INTO t VALUES (1, x'78'), (2, NULL)",
		"INSERT INTO t VALUES (1, 'x'), (2, '')",
		"INSERT INTO t VALUES (1, 'x'), (2, NULL); CREATE TABLE u (a)",
		"INSERT INTO t VALUES (1, 'x'), (2, NULL); ALTER TABLE t ADD COLUMN c",
	} {
		if take(table+other).sum == base.sum {
			t.Errorf("%q has the same digest", other)
		}
	}
}
