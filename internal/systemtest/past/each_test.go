package past_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestSelectEach: values come as they are stored, whatever their column is declared as, and
// with the names that SQLite gives.
func TestSelectEach(t *testing.T) {
	ctx := t.Context()
	db := systemtest.Open(t, systemtest.Config(t))
	systemtest.Exec(t, db, "CREATE TABLE t(d DATETIME, b BOOLEAN, x)")
	systemtest.Exec(t, db, "INSERT INTO t VALUES('2026-01-31', 1, x'00ff'), (1.5, NULL, 'text'), (NULL, 0, 9223372036854775807)")
	read := func(c driftdb.Conn, query string, args ...any) (names []string, rows [][]any, err error) {
		for r, err := range driftdb.SelectEach(ctx, c, query, args...) {
			if err != nil {
				return names, rows, err
			}
			names, rows = r.Columns, append(rows, r.Values)
		}
		return names, rows, nil
	}
	want := [][]any{{"2026-01-31", int64(1), []byte{0, 255}}, {1.5, nil, "text"}, {nil, int64(0), int64(1<<63 - 1)}}
	names, rows, err := read(db, "SELECT d, b AS d, x FROM t ORDER BY rowid")
	if err != nil || fmt.Sprint(names) != "[d d x]" || !reflect.DeepEqual(rows, want) {
		t.Errorf("%q %v, %v", names, rows, err)
	}
	systemtest.Check(t, db.Tx(ctx, func(tx *driftdb.Tx) error {
		_, rows, err := read(tx, "INSERT INTO t(x) VALUES(?), (?) RETURNING x", 7, true)
		if fmt.Sprint(rows) != "[[7] [1]]" {
			t.Errorf("RETURNING: %v", rows)
		}
		if _, _, err := read(tx, "COMMIT"); err == nil {
			t.Error("COMMIT in a transaction")
		}
		return err
	}))
	for query, args := range map[string][]any{"SELECT ?": nil, "SELECT 1": {1}, "SELECT nothing_such": nil, "SELECT 1; SELECT 2": nil} {
		if _, rows, err := read(db, query, args...); err == nil || len(rows) > 0 {
			t.Errorf("%s: %v, %v", query, rows, err)
		}
	}
	if _, _, err := read(db, "DELETE FROM t"); !errors.Is(err, driftdb.ErrReadOnly) {
		t.Errorf("DELETE: %v", err)
	}
	for range driftdb.SelectEach(ctx, db, "SELECT * FROM t") {
		break // ends the read
	}
	if age := db.Metrics().OldestRead; age != 0 {
		t.Errorf("a read is open for %s", age)
	}
}
