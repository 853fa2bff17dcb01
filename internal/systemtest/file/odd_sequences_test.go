package file_test

import (
	"testing"

	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestOddSequences: sqlite_sequence of a file may have rows that SQLite does not make,
// or no longer. They stay what they are, whatever is logged about their neighbours, and
// an edit that the log cannot describe is a barrier.
func TestOddSequences(t *testing.T) {
	for name, test := range map[string]struct {
		odd        string // what the file has beside the counter of t, which is 1
		statements []string
		barriers   int64
	}{
		"NULL":                         {"INSERT INTO sqlite_sequence VALUES('x', NULL)", []string{"INSERT INTO t(a) VALUES(2)"}, 0},
		"text":                         {"INSERT INTO sqlite_sequence VALUES('x', 'many')", []string{"INSERT INTO t(a) VALUES(2)"}, 0},
		"a fraction":                   {"INSERT INTO sqlite_sequence VALUES('x', 1.5)", []string{"INSERT INTO t(a) VALUES(2)"}, 0},
		"no name":                      {"INSERT INTO sqlite_sequence VALUES(NULL, 7)", []string{"INSERT INTO t(a) VALUES(2)"}, 0},
		"names of other types":         {"INSERT INTO sqlite_sequence VALUES(x'74', 7), (5, 8)", []string{"INSERT INTO t(a) VALUES(2)"}, 0},
		"a name twice":                 {"INSERT INTO sqlite_sequence VALUES('x', 40), ('x', 41)", []string{"INSERT INTO t(a) VALUES(2)"}, 0},
		"the table's own twice":        {"INSERT INTO sqlite_sequence VALUES('t', 40)", []string{"INSERT INTO t(a) VALUES(2)", "INSERT OR IGNORE INTO t(a) VALUES(2)", "INSERT INTO t(id, a) VALUES(50, 3)"}, 0},
		"the table's own is NULL":      {"UPDATE sqlite_sequence SET seq = NULL", []string{"UPDATE t SET a = 9"}, 0},
		"the table's own was NULL":     {"UPDATE sqlite_sequence SET seq = NULL", []string{"INSERT INTO t(a) VALUES(2)"}, 0},
		"the first of two is NULL":     {"UPDATE sqlite_sequence SET seq = NULL; INSERT INTO sqlite_sequence VALUES('t', 5)", []string{"UPDATE t SET a = 9", "INSERT OR IGNORE INTO t(a) VALUES(9)", "INSERT INTO t(a) VALUES(2)"}, 0},
		"odd rows are deleted":         {"INSERT INTO sqlite_sequence VALUES('x', NULL), ('y', 1), ('y', 2)", []string{"DELETE FROM sqlite_sequence WHERE name IN ('x', 'y')", "INSERT INTO t(a) VALUES(2)"}, 0},
		"one of two is deleted":        {"INSERT INTO sqlite_sequence VALUES('t', 40)", []string{"DELETE FROM sqlite_sequence WHERE seq = 1"}, 0},
		"a name of no text is deleted": {"INSERT INTO sqlite_sequence VALUES(x'74', 7)", []string{"DELETE FROM sqlite_sequence WHERE seq = 7"}, 1},
		"a name becomes a text":        {"INSERT INTO sqlite_sequence VALUES(5, 7)", []string{"UPDATE sqlite_sequence SET name = 'five' WHERE seq = 7"}, 1},
		"the edit of a neighbour":      {"INSERT INTO sqlite_sequence VALUES('x', NULL)", []string{"UPDATE sqlite_sequence SET seq = 70 WHERE name = 't'", "INSERT INTO t(a) VALUES(2)"}, 1},
		"odd by an edit":               {"SELECT 1", []string{"UPDATE sqlite_sequence SET seq = NULL", "INSERT INTO t(a) VALUES(2)"}, 1},
		"odd in the middle only":       {"SELECT 1", []string{"BEGIN; UPDATE sqlite_sequence SET seq = NULL; UPDATE sqlite_sequence SET seq = 6; COMMIT"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := systemtest.Config(t)
			script(t, cfg.Path, "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE); INSERT INTO t(a) VALUES(1); "+test.odd)
			db := systemtest.Open(t, cfg)              // compares at the end
			systemtest.Check(t, db.Flush(t.Context())) // the snapshot has what the file brought: the rest is replayed
			for _, s := range test.statements {
				systemtest.Exec(t, db, s)
			}
			if n := db.Metrics().Barriers; n != test.barriers {
				t.Errorf("%d barriers, want %d", n, test.barriers)
			}
		})
	}
}
