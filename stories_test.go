package driftdb_test

import "testing"

// TestStories: statements whose effect was once lost on the way to the bucket. What is
// restored is compared with the file when each ends.
func TestStories(t *testing.T) {
	for name, statements := range map[string][]string{
		"columns come to hide the rowid": {
			"CREATE TABLE t(a)", "INSERT INTO t VALUES(1), (2)",
			"ALTER TABLE t ADD COLUMN rowid", "ALTER TABLE t ADD COLUMN oid", "ALTER TABLE t ADD COLUMN _rowid_",
		},
		"columns come to hide the rowid, in quotes and capitals": {
			"CREATE TABLE t(a)", "INSERT INTO t VALUES(1), (2)", `ALTER TABLE t ADD "RowID" TEXT`, "UPDATE t SET a = 3 WHERE a = 1",
			"ALTER TABLE t ADD [_ROWID_]", "INSERT INTO t(a) VALUES(4)", "ALTER TABLE t ADD `oid`", "DELETE FROM t WHERE a = 2", "INSERT INTO t(a) VALUES(5)",
		},
		"columns hide the rowid from the beginning": {
			"CREATE TABLE t(rowid, oid, _rowid_)", "INSERT INTO t VALUES(1, 2, 3), (1, 2, 3)", "UPDATE t SET oid = 5",
		},
		"columns hide the rowid of a key": {
			"CREATE TABLE t(rowid INTEGER PRIMARY KEY, oid, _rowid_)", "INSERT INTO t VALUES(1, 2, 3), (2, 2, 3)", "UPDATE t SET rowid = 9 WHERE rowid = 1",
			"CREATE TABLE w(rowid TEXT, oid, _rowid_, PRIMARY KEY(oid)) WITHOUT ROWID", "INSERT INTO w VALUES(1, 2, 3), (2, 3, 3)", "DELETE FROM w WHERE oid = 2",
		},
		"a column is renamed to the rowid's last name": {
			"CREATE TABLE t(rowid, oid, c)", "INSERT INTO t VALUES(1, 2, 3), (1, 2, 3)", "ALTER TABLE t RENAME COLUMN c TO _rowid_", "INSERT INTO t VALUES(7, 8, 9)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t, config(t)) // compares at the end
			for _, s := range statements {
				if _, err := db.SQL().ExecContext(t.Context(), s); err != nil {
					t.Fatalf("%s: %v", s, err)
				}
			}
		})
	}
}
