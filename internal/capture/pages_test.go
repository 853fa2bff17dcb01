package capture_test

import "testing"

const writePage = "UPDATE sqlite_dbpage SET data = data WHERE pgno = 2"

// TestPagesWithoutEntry: a commit that changed pages of main and has no entry is a
// barrier, and nothing else is one.
func TestPagesWithoutEntry(t *testing.T) {
	for name, c := range map[string]struct {
		sql  string
		want int
	}{
		"alone":               {writePage, 1},
		"in a transaction":    {"BEGIN; " + writePage + "; COMMIT", 1},
		"before a row":        {"BEGIN; " + writePage + "; INSERT INTO t(a) VALUES(9); COMMIT", 1},
		"behind a row":        {"BEGIN; INSERT INTO t(a) VALUES(9); " + writePage + "; COMMIT", 1},
		"before a table":      {"BEGIN; " + writePage + "; CREATE TABLE u(a); COMMIT", 1},
		"twice":               {writePage + "; " + writePage, 2},
		"rolled back":         {"BEGIN; " + writePage + "; ROLLBACK; INSERT INTO t(a) VALUES(9)", 0},
		"only a counter":      {"INSERT OR IGNORE INTO t(a) VALUES(0)", 0},
		"nothing to write":    {"BEGIN IMMEDIATE; COMMIT; DELETE FROM t WHERE 0; CREATE TABLE IF NOT EXISTS t(a)", 0},
		"another database":    {"ATTACH ':memory:' AS m; CREATE TABLE m.x(a); INSERT INTO m.x VALUES(1); CREATE TEMP TABLE y AS SELECT 1", 0},
		"a checkpoint":        {"INSERT INTO t(a) VALUES(9); PRAGMA wal_checkpoint", 0},
		"a setting":           {"PRAGMA user_version=7", 0},
		"free pages":          {"CREATE TABLE u(a); INSERT INTO u VALUES(zeroblob(100000)); DROP TABLE u; PRAGMA incremental_vacuum", 0},
		"an index made again": {"REINDEX", 0},
		"statistics":          {"ANALYZE", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSource(t, 0)
			if err := s.plain(t).Exec("PRAGMA auto_vacuum=INCREMENTAL; VACUUM"); err != nil {
				t.Fatal(err)
			}
			s.watch(t)
			a := s.conn(t)
			exec(t, a, "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE); INSERT INTO t(a) VALUES(0)")
			before := len(s.barriers(t))
			exec(t, a, c.sql)
			if got := s.barriers(t)[before:]; len(got) != c.want {
				t.Errorf("barriers: %q, want %d", got, c.want)
			}
		})
	}
}

// TestPagesBesideCounters: a connection that meets a counter for the first time takes it
// for one that has moved. That explains no page but its own.
func TestPagesBesideCounters(t *testing.T) {
	for name, c := range map[string]struct {
		sql  string
		want int
	}{
		"a field of the header":       {"PRAGMA default_cache_size=123", 1},
		"the way of vacuuming":        {"PRAGMA auto_vacuum=INCREMENTAL", 1},
		"in a transaction":            {"BEGIN; PRAGMA default_cache_size=123; COMMIT", 1},
		"with a counter that moves":   {"BEGIN; PRAGMA default_cache_size=123; INSERT OR IGNORE INTO t(a) VALUES(0); COMMIT", 1},
		"pages under another name":    {"UPDATE p SET data = data WHERE pgno = 2", 1},
		"that, in a transaction":      {"BEGIN; UPDATE p SET data = data WHERE pgno = 2; COMMIT", 1},
		"only a counter":              {"INSERT OR IGNORE INTO t(a) VALUES(0)", 0},
		"a counter, in a transaction": {"BEGIN; INSERT OR IGNORE INTO t(a) VALUES(0); COMMIT", 0},
		"nothing":                     {"BEGIN IMMEDIATE; COMMIT; PRAGMA default_cache_size", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSource(t, 0)
			if err := s.plain(t).Exec("PRAGMA auto_vacuum=FULL; VACUUM"); err != nil {
				t.Fatal(err)
			}
			s.watch(t)
			exec(t, s.conn(t), "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE); INSERT INTO t(a) VALUES(0); CREATE VIRTUAL TABLE p USING sqlite_dbpage")
			before := len(s.barriers(t))
			exec(t, s.conn(t), c.sql)
			if got := s.barriers(t)[before:]; len(got) != c.want {
				t.Errorf("barriers: %q, want %d", got, c.want)
			}
		})
	}
}
