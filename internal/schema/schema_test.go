package schema_test

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/schema"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// openDB opens a database of the test's own.
func openDB(tb testing.TB) *sqlite.Conn {
	tb.Helper()
	var d sqlite.Driver
	c, err := d.Open(filepath.Join(tb.TempDir(), "test.sqlite"), sqlite.Options{ForeignKeys: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// table is New with the columns of Base in front.
func table(tb fatal, name string, columns ...schema.Column) *schema.Table {
	tb.Helper()
	t, err := schema.New(name, append(schema.Base(), columns...))
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// fatal is what testing.TB and rapid.T have in common.
type fatal interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func exec(tb fatal, c *sqlite.Conn, statements ...string) {
	tb.Helper()
	for _, s := range statements {
		if err := c.Exec(s); err != nil {
			tb.Fatalf("%s: %v", s, err)
		}
	}
}

// run binds and steps a statement to its end.
func run(tb fatal, c *sqlite.Conn, s schema.Statement, row func(*sqlite.Stmt) error) {
	tb.Helper()
	st, err := c.Cached(s.SQL)
	if err != nil {
		tb.Fatalf("%s: %v", s.SQL, err)
	}
	defer st.Release()
	s.Bind(st)
	if err := st.Each(row); err != nil {
		tb.Fatalf("%s: %v", s.SQL, err)
	}
}

// inspect reads a table as PRAGMAs show it.
func inspect(tb fatal, c *sqlite.Conn, name string) (have schema.Existing) {
	tb.Helper()
	pragma := func(sql, arg string, row func(*sqlite.Stmt)) {
		st, err := c.Prepare(sql)
		if err != nil {
			tb.Fatal(err)
		}
		defer st.Finalize()
		st.BindText(1, arg)
		if err := st.Each(func(st *sqlite.Stmt) error { row(st); return nil }); err != nil {
			tb.Fatal(err)
		}
	}
	pragma("SELECT type FROM sqlite_schema WHERE type IN ('table', 'view') AND name = ?", name, func(st *sqlite.Stmt) {
		have.Type = st.Text(0)
	})
	pragma(`SELECT name, type, "notnull", coalesce(dflt_value, ''), pk, hidden FROM pragma_table_xinfo(?)`, name, func(st *sqlite.Stmt) {
		have.Columns = append(have.Columns, schema.ExistingColumn{Name: st.Text(0), Type: st.Text(1),
			NotNull: st.Int64(2) != 0, Default: st.Text(3), PrimaryKey: int(st.Int64(4)), Hidden: int(st.Int64(5))})
	})
	var names []string
	pragma(`SELECT name, "unique", partial FROM pragma_index_list(?)`, name, func(st *sqlite.Stmt) {
		names = append(names, st.Text(0))
		have.Indexes = append(have.Indexes, schema.ExistingIndex{Unique: st.Int64(1) != 0, Partial: st.Int64(2) != 0})
	})
	for i, index := range names {
		pragma("SELECT coalesce(name, '') FROM pragma_index_info(?)", index, func(st *sqlite.Stmt) {
			have.Indexes[i].Columns = append(have.Indexes[i].Columns, st.Text(0))
		})
	}
	return have
}

// wantError checks an *schema.Error's place and a part of its reason.
func wantError(tb testing.TB, err error, table, column, reason string) {
	tb.Helper()
	e, ok := errors.AsType[*schema.Error](err)
	if !ok {
		tb.Fatalf("got %v, want a schema.Error with %q", err, reason)
	}
	if e.Table != table || e.Column != column || !strings.Contains(e.Reason, reason) {
		tb.Errorf("got %#v, want table %q, column %q, reason %q", e, table, column, reason)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		table   string
		columns []schema.Column
		column  string
		reason  string
	}{
		"empty table name":    {"", nil, "", "empty"},
		"NUL in table name":   {"a\x00b", nil, "", "NUL"},
		"ours":                {"_driftdb_log", nil, "", "reserved"},
		"ours in capitals":    {"_DriftDB_x", nil, "", "reserved"},
		"ours alone":          {"_driftdb", nil, "", "reserved"},
		"SQLite's":            {"SQLITE_x", nil, "", "reserved"},
		"empty column name":   {"t", []schema.Column{{Type: schema.Text}}, "", "empty"},
		"NUL in column name":  {"t", []schema.Column{{Name: "a\x00", Type: schema.Text}}, "a\x00", "NUL"},
		"column twice":        {"t", []schema.Column{{Name: "a", Type: schema.Text}, {Name: "A", Type: schema.Text}}, "A", "twice"},
		"a second id":         {"t", []schema.Column{{Name: "id", Type: schema.Text}}, "id", "twice"},
		"default of its type": {"t", []schema.Column{{Name: "a", Type: schema.Integer, Default: "x"}}, "a", "default"},
		"default with NUL":    {"t", []schema.Column{{Name: "a", Type: schema.Text, Default: "x\x00"}}, "a", "NUL"},
		"default NULL":        {"t", []schema.Column{{Name: "a", Type: schema.Text, Default: (*string)(nil)}}, "a", "NULL"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := schema.New(tc.table, append(schema.Base(), tc.columns...))
			wantError(t, err, tc.table, tc.column, tc.reason)
		})
	}
	_, err := schema.New("t", schema.Base()[:2])
	wantError(t, err, "t", "updatedAt", "embed driftdb.Base")
	_, err = schema.New("t", append(schema.Base()[1:], schema.Column{Name: "id", Type: schema.Integer, Required: true}))
	wantError(t, err, "t", "id", "embed driftdb.Base")
}

func TestAgrees(t *testing.T) {
	a := schema.Column{Name: "a", Type: schema.Integer}
	one := table(t, "t", a)
	if err := table(t, "t", schema.Column{Name: "a", Type: schema.Time}).Agrees(one); err != nil {
		t.Errorf("both are INTEGER: %v", err)
	}
	for reason, other := range map[string][]schema.Column{
		"without this column":           {a, {Name: "b", Type: schema.Text}},
		"as INTEGER":                    {{Name: "a", Type: schema.Integer, Required: true}},
		"this column as INTEGER":        {{Name: "a", Type: schema.Text}},
		"with this column as INTEGER":   {{Name: "a", Type: schema.Integer, Unique: true}},
		"program, with this column as ": {{Name: "a", Type: schema.Integer, Default: 1}},
	} {
		column := other[len(other)-1].Name
		wantError(t, table(t, "t", other...).Agrees(one), "t", column, reason)
	}
	wantError(t, table(t, "t").Agrees(one), "t", "a", "with this column too")
}

func TestCreateText(t *testing.T) {
	tab := table(t, `my "table"`,
		schema.Column{Name: "name", Type: schema.Text, Required: true, Default: "it's"},
		schema.Column{Name: "select", Type: schema.Real, Unique: true, Default: 1},
		schema.Column{Name: "on", Type: schema.Boolean, Index: true, Default: true},
		schema.Column{Name: "raw", Type: schema.Blob, Default: []byte{0, 255}})
	want := []string{
		`CREATE TABLE "my ""table""" (
  "id" TEXT NOT NULL PRIMARY KEY,
  "createdAt" INTEGER NOT NULL,
  "updatedAt" INTEGER NOT NULL,
  "name" TEXT NOT NULL DEFAULT 'it''s',
  "select" REAL DEFAULT 1.0,
  "on" BOOLEAN DEFAULT 1,
  "raw" BLOB DEFAULT X'00FF'
)`,
		`CREATE UNIQUE INDEX "my ""table"".select.unique" ON "my ""table""" ("select")`,
		`CREATE INDEX "my ""table"".on.index" ON "my ""table""" ("on")`,
	}
	if got := tab.Create(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	exec(t, openDB(t), want...)
}
