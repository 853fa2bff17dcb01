package schema_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/schema"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"pgregory.net/rapid"
)

// genName draws names that need quoting as often as not, in lower case, so
// that two different ones are different for SQLite.
func genName() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[a-z]{1,4}`),
		rapid.SampledFrom([]string{"select", "group", "a b", `q"q`, "x'); --", "[b]", "`t`", "ünï", "a.b", "?1", "$x", ":y", "1st", "rowid", "%"}),
	).Filter(func(s string) bool { return s != "id" })
}

func genColumn() *rapid.Generator[schema.Column] {
	return rapid.Custom(func(t *rapid.T) schema.Column {
		c := schema.Column{
			Name:     genName().Draw(t, "name"),
			Type:     schema.Type(rapid.IntRange(int(schema.Text), int(schema.JSON)).Draw(t, "type")),
			Required: rapid.Bool().Draw(t, "required"),
			Index:    rapid.Bool().Draw(t, "index"),
			Unique:   rapid.Bool().Draw(t, "unique"),
		}
		if rapid.Bool().Draw(t, "hasDefault") {
			c.Default = genValue(c.Type).Draw(t, "default")
		}
		return c
	})
}

// genValue draws Go values that fit a column and a DEFAULT.
func genValue(typ schema.Type) *rapid.Generator[any] {
	switch typ {
	case schema.Integer, schema.Time:
		return rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{math.MinInt64, math.MaxInt64, 0})).AsAny()
	case schema.Real:
		return rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{math.Inf(1), math.Inf(-1), math.MaxFloat64, 5e-324, 3, 1 << 60})).AsAny()
	case schema.Boolean:
		return rapid.Bool().AsAny()
	case schema.Blob:
		return rapid.SliceOf(rapid.Byte()).AsAny()
	case schema.JSON:
		return rapid.MapOf(rapid.String(), rapid.Int()).AsAny()
	default:
		return rapid.String().Filter(func(s string) bool { return !strings.Contains(s, "\x00") }).AsAny()
	}
}

func genColumns() *rapid.Generator[[]schema.Column] {
	return rapid.SliceOfNDistinct(genColumn(), 0, 6, func(c schema.Column) string { return c.Name })
}

// Any schema can be created and is then up to date; any columns that may be
// added are added, and the table is up to date again. Defaults come back as
// the values they were.
func TestCreateAndEvolve(t *testing.T) {
	c := openDB(t)
	rapid.Check(t, func(t *rapid.T) {
		exec(t, c, "BEGIN")
		defer exec(t, c, "ROLLBACK")
		name := genName().Draw(t, "table")
		columns := genColumns().Draw(t, "columns")
		cut := rapid.IntRange(0, len(columns)).Draw(t, "cut")
		reconcile := func(columns []schema.Column) *schema.Table {
			tab := table(t, name, columns...)
			ddl, err := tab.Reconcile(inspect(t, c, name))
			if err != nil {
				t.Fatal(err)
			}
			exec(t, c, ddl...)
			if again, err := tab.Reconcile(inspect(t, c, name)); err != nil || len(again) > 0 {
				t.Fatalf("not up to date after %q: %q, %v", ddl, again, err)
			}
			return tab
		}
		reconcile(columns[:cut])
		for i := range columns[cut:] {
			added := &columns[cut+i]
			added.Required = added.Required && added.Default != nil
		}
		tab := reconcile(columns)
		checkDefaults(t, c, tab, columns)
	})
}

// checkDefaults creates a row with nothing given where there is a default.
func checkDefaults(t *rapid.T, c *sqlite.Conn, tab *schema.Table, columns []schema.Column) {
	want := make([]schema.Value, len(columns)+3)
	row := make([]schema.Value, len(want))
	record := map[string]any{"id": "x", "createdAt": 1, "updatedAt": 2}
	for _, col := range columns {
		record[col.Name] = col.Default
		if col.Required && col.Default == nil {
			record[col.Name] = map[schema.Type]any{schema.Text: "", schema.Blob: []byte{}, schema.JSON: 1}[col.Type]
			if record[col.Name] == nil {
				record[col.Name] = 0
			}
		}
	}
	if err := tab.EncodeRecord(record, want); err != nil {
		t.Fatal(err)
	}
	copy(row, want)
	for i, col := range columns {
		if !col.Required || col.Default != nil {
			row[3+i] = schema.Value{}
		}
	}
	run(t, c, tab.Insert(row), func(st *sqlite.Stmt) error {
		for i, w := range want {
			got := schema.Value{Kind: st.Type(i), Int: st.Int64(i)}
			switch w.Kind {
			case schema.KindReal:
				got.Real = st.Float(i)
			case schema.KindText:
				got.Text = st.Text(i)
			case schema.KindBlob:
				got.Blob = st.Blob(i)
			}
			if got.Kind != w.Kind || w.Kind == schema.KindInteger && got.Int != w.Int ||
				got.Real != w.Real || got.Text != w.Text || !slices.Equal(got.Blob, w.Blob) {
				t.Fatalf("column %q: got %+v, want %+v", tab.Columns[i].Name, got, w)
			}
		}
		return nil
	})
}

func TestReconcileRefuses(t *testing.T) {
	const base = `id TEXT PRIMARY KEY, "createdAt" INTEGER NOT NULL, "updatedAt" INTEGER NOT NULL`
	text := func(c schema.Column) []schema.Column { c.Name, c.Type = "a", schema.Text; return []schema.Column{c} }
	for name, tc := range map[string]struct {
		ddl     string
		columns []schema.Column
		column  string
		reason  string
	}{
		"required, no default":    {"CREATE TABLE t (" + base + ")", text(schema.Column{Required: true}), "a", "cannot be added"},
		"other type":              {"CREATE TABLE t (" + base + ", a INTEGER)", text(schema.Column{}), "a", "it is INTEGER in the table, TEXT in the schema"},
		"JSON as a type":          {"CREATE TABLE t (" + base + ", a JSON)", text(schema.Column{}), "a", "it is JSON in the table"},
		"table allows NULL":       {"CREATE TABLE t (" + base + ", a TEXT)", text(schema.Column{Required: true}), "a", "may be NULL"},
		"table does not":          {"CREATE TABLE t (" + base + ", a TEXT NOT NULL)", text(schema.Column{}), "a", "NOT NULL"},
		"other default":           {"CREATE TABLE t (" + base + ", a TEXT DEFAULT 'x')", text(schema.Column{Default: "y"}), "a", "its default is 'x' in the table, 'y' in the schema"},
		"no default":              {"CREATE TABLE t (" + base + ", a TEXT)", text(schema.Column{Default: "y"}), "a", "its default is nothing"},
		"generated":               {"CREATE TABLE t (" + base + ", a TEXT AS (id))", text(schema.Column{}), "a", "generated"},
		"column that we lack":     {"CREATE TABLE t (" + base + ", b TEXT NOT NULL)", nil, "b", "no row could be created"},
		"a view":                  {"CREATE VIEW t AS SELECT 1 AS id", nil, "", "a view has this name"},
		"id is a number":          {`CREATE TABLE t (id INTEGER PRIMARY KEY, "createdAt" INTEGER NOT NULL, "updatedAt" INTEGER NOT NULL)`, nil, "id", "INTEGER"},
		"id is not unique":        {`CREATE TABLE t (id TEXT NOT NULL, "createdAt" INTEGER NOT NULL, "updatedAt" INTEGER NOT NULL)`, nil, "id", "neither"},
		"id is half a key":        {`CREATE TABLE t (id TEXT NOT NULL, "createdAt" INTEGER NOT NULL, "updatedAt" INTEGER NOT NULL, PRIMARY KEY (id, "createdAt"))`, nil, "id", "neither"},
		"nothing but a key":       {"CREATE TABLE t (id TEXT PRIMARY KEY)", nil, "createdAt", "cannot be added"},
		"unique index is partial": {`CREATE TABLE t (id TEXT NOT NULL, "createdAt" INTEGER NOT NULL, "updatedAt" INTEGER NOT NULL); CREATE UNIQUE INDEX i ON t (id) WHERE id > ''`, nil, "id", "neither"},
	} {
		t.Run(name, func(t *testing.T) {
			c := openDB(t)
			exec(t, c, tc.ddl)
			_, err := table(t, "t", tc.columns...).Reconcile(inspect(t, c, "t"))
			wantError(t, err, "t", tc.column, tc.reason)
		})
	}
}

// A table that somebody else made is taken as it is, where it serves.
func TestReconcileAdopts(t *testing.T) {
	c := openDB(t)
	exec(t, c, `CREATE TABLE "T" (ID VARCHAR(36) NOT NULL UNIQUE, createdat BIGINT NOT NULL, updatedat BIGINT NOT NULL,
		a VARCHAR(10) DEFAULT ('x'), b TINYINT NOT NULL DEFAULT TRUE, c DOUBLE, d, e NOT NULL DEFAULT 1, f AS (a), g DECIMAL(5, 2));
		CREATE INDEX i ON "T" (a, b)`)
	tab := table(t, "T",
		schema.Column{Name: "a", Type: schema.Text, Default: "x", Index: true},
		schema.Column{Name: "b", Type: schema.Boolean, Required: true, Default: true},
		schema.Column{Name: "c", Type: schema.Real},
		schema.Column{Name: "d", Type: schema.Blob},
		schema.Column{Name: "g", Type: schema.Real, Unique: true})
	ddl, err := tab.Reconcile(inspect(t, c, "T"))
	want := []string{`CREATE UNIQUE INDEX "T.g.unique" ON "T" ("g")`}
	if err != nil || !slices.Equal(ddl, want) {
		t.Errorf("got %q, %v, want %q", ddl, err, want)
	}
}
