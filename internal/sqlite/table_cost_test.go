package sqlite

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// tables is a database with n tables of each kind.
func tables(t *testing.T, n int) *Conn {
	t.Helper()
	c, err := new(Driver).Open(filepath.Join(t.TempDir(), "t.sqlite"), Options{Synchronous: SyncOff})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Exec("BEGIN"); err != nil {
		t.Fatal(err)
	}
	for i := range n / 2 {
		if err := c.Exec(fmt.Sprintf("CREATE TABLE a%d(id INTEGER PRIMARY KEY AUTOINCREMENT, v); CREATE TABLE b%d(k TEXT PRIMARY KEY, v) WITHOUT ROWID", i, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Exec("COMMIT"); err != nil {
		t.Fatal(err)
	}
	return c
}

// cost is the least time that it takes to read what the schema says of two tables.
func cost(t *testing.T, c *Conn) time.Duration {
	t.Helper()
	least := time.Hour
	for range 200 {
		began := time.Now()
		for _, name := range []string{"a0", "b0"} {
			if _, err := c.Table(name); err != nil {
				t.Fatal(err)
			}
		}
		least = min(least, time.Since(began))
	}
	return least
}

// TestTableCost: what it costs to read about a table does not grow with the number of
// others. A search through all of them takes ten times as long here.
func TestTableCost(t *testing.T) {
	few, many := cost(t, tables(t, 300)), cost(t, tables(t, 3000))
	if many > 3*few {
		t.Errorf("among 300 tables it takes %s, among 3000 %s", few, many)
	}
}

// TestTableKinds: what Table says of a table's rowid, however columns are called.
func TestTableKinds(t *testing.T) {
	c := tables(t, 0)
	for sql, want := range map[string]Table{
		"(a)":                   {HasRowID: true, RowID: "rowid"},
		"(rowid, a)":            {HasRowID: true, RowID: "_rowid_"},
		"(rowid, oid, _ROWID_)": {HasRowID: true},
		"(rowid, oid PRIMARY KEY, _rowid_) WITHOUT ROWID": {},
		"(a PRIMARY KEY) WITHOUT ROWID":                   {},
		"(rowid PRIMARY KEY) WITHOUT ROWID":               {},
		"(id INTEGER PRIMARY KEY)":                        {HasRowID: true, IsKey: true, RowID: `"id"`},
		"(id INTEGER PRIMARY KEY /* AUTOINCREMENT */)":    {HasRowID: true, IsKey: true, RowID: `"id"`},
		"(id INTEGER PRIMARY KEY AUTOINCREMENT)":          {HasRowID: true, IsKey: true, RowID: `"id"`, Counted: true},
		"(id INTEGER PRIMARY KEY DESC)":                   {HasRowID: true, RowID: "rowid"},
		"(rowid INTEGER PRIMARY KEY)":                     {HasRowID: true, IsKey: true, RowID: `"rowid"`},
	} {
		if err := c.Exec(`DROP TABLE IF EXISTS "x ä"; CREATE TABLE "x ä"` + sql); err != nil {
			t.Fatal(err)
		}
		got, err := c.Table("x ä")
		if err != nil {
			t.Fatal(err)
		}
		if got.HasRowID != want.HasRowID || got.IsKey != want.IsKey || got.RowID != want.RowID || got.Counted != want.Counted {
			t.Errorf("%s: %+v", sql, got)
		}
	}
}
