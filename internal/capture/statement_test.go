package capture

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

func TestClassify(t *testing.T) {
	for query, want := range map[string]class{
		"":                                   plain,
		" ; ;":                               plain,
		"-- DROP TABLE t":                    plain,
		"/* DROP TABLE t":                    plain,
		"SELECT 1":                           plain,
		"\ufeffselect 1":                     plain,
		"; /* c */ -- d\n\tInSeRt INTO t":    plain,
		"WITH x AS (SELECT 1) DELETE FROM x": plain,
		"EXPLAIN DROP TABLE t":               plain,
		"BEGIN":                              plain,
		"END":                                plain,
		"CREATE TEMP TABLE x(a)":             plain,
		"create/**/temporary\nview v":        plain,
		"PRAGMA user_version":                plain,
		"PRAGMA main . user_version /*=(*/":  plain,
		"PRAGMA user_version;":               plain,
		"PRAGMA foreign_keys=ON":             plain,
		"PRAGMA user_version=1":              schema,
		"PRAGMA main.user_version = 1":       schema,
		"PRAGMA \"main\".[user_version](1)":  schema,
		"PRAGMA/**/application_id/**/=1":     schema,
		"PRAGMA schema_version=9":            schema,
		"PRAGMA optimize":                    schema,
		"PRAGMA main.optimize(2)":            schema,
		"CREATE TABLE temp.x(a)":             schema,
		"CREATE TABLE \"TEMP\"(a)":           schema,
		"DROP TABLE t":                       schema,
		"--\nALTER TABLE t RENAME TO u":      schema,
		"/* SELECT */DROP TABLE t":           schema,
		"/*/ SELECT */DROP TABLE t":          schema,
		";\ufeff;DROP TABLE t":               schema,
		"ANALYZE":                            schema,
		"REINDEX":                            schema,
		"FROBNICATE":                         schema,
		"SELECT$":                            schema, // a word of its own
		"VACUUM":                             vacuum,
		"vacuum main into 'x'":               vacuum,
		"ATTACH 'x' AS y":                    attach,
	} {
		if got := classify(query); got != want {
			t.Errorf("classify(%q) is %d, want %d", query, got, want)
		}
	}
}

func TestIsCreateAs(t *testing.T) {
	for query, want := range map[string]bool{
		"CREATE TABLE x AS SELECT 1":                                   true,
		"create table if not exists main . \"x \"\"AS\" as select 1":   true,
		"CREATE/**/TABLE/**/[a.b]/**/AS/**/SELECT 1":                   true,
		"CREATE TABLE `x`AS SELECT 1":                                  true,
		"CREATE TABLE 'x'AS SELECT 1":                                  true,
		"CREATE TABLE \"IF\" AS SELECT 1":                              true,
		"CREATE TABLE x(a AS (1))":                                     false,
		"CREATE TABLE \"as\"(a)":                                       false,
		"CREATE TABLE x(a)":                                            false,
		"CREATE VIEW x AS SELECT 1":                                    false,
		"CREATE TABLE":                                                 false,
		"CREATE TABLE IF NOT EXISTS main.x(y DEFAULT ' AS SELECT 1 ')": false,
	} {
		if got := isCreateAs(query); got != want {
			t.Errorf("isCreateAs(%q) is %v", query, got)
		}
	}
}

func TestStatementText(t *testing.T) {
	for query, want := range map[string]string{
		" ;-- c\n CREATE TABLE x(a) ; \n":    "CREATE TABLE x(a) ; \n",
		"/* c */CREATE VIEW v AS SELECT ';'": "CREATE VIEW v AS SELECT ';'",
	} {
		if got := statementText(query); got != want {
			t.Errorf("statementText(%q) is %q", query, got)
		}
	}
}

// FuzzClassify compares with SQLite: what it calls read-only, and what it
// takes for white space, must be so for us. Whatever may write the schema is
// never plain.
func FuzzClassify(f *testing.F) {
	for _, q := range []string{"SELECT 1", "/*;*/ create table x(a)", "PRAGMA main.user_version=1", "\ufeff;;--\n\"x", "CREATE TABLE [a AS", "drop/**/table t", "EXPLAIN SELECT 1; x", "CREATE TABLE x AS SELECT 1", "ALTER TABLE t ADD b"} {
		f.Add(q)
	}
	c, err := new(sqlite.Driver).Open(filepath.Join(f.TempDir(), "x.db"), sqlite.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { c.Close() })
	if err := c.Exec("CREATE TABLE t(a)"); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query string) {
		query = cString(query)
		got := classify(query)
		isCreateAs(query)
		if text := statementText(query); !strings.Contains(query, text) {
			t.Fatalf("statementText(%q) is %q", query, text)
		}
		st, tail, err := c.PrepareTail(query)
		if err != nil || st == nil {
			return
		}
		defer st.Finalize()
		if tail != "" && !severalStatements(query) && strings.Trim(tail, "; \t\r\n\f") != "" {
			t.Fatalf("%q holds one statement to us, and %q comes after it", query, tail)
		}
		if got != plain || st.ReadOnly() {
			return
		}
		switch w := words(query, 2); w[0] {
		case "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE", "DETACH", "PRAGMA", "SELECT":
		case "CREATE":
			if w[1] != "TEMP" && w[1] != "TEMPORARY" {
				t.Fatalf("%q is plain", query)
			}
		default:
			t.Fatalf("%q is plain", query)
		}
	})
}
