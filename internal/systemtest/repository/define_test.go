package repository_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// wantSchemaError checks the place and a part of the reason.
func wantSchemaError(tb testing.TB, err error, table, column, reason string) {
	tb.Helper()
	e, ok := errors.AsType[*driftdb.SchemaError](err)
	if !ok || e.Table != table || e.Column != column || !strings.Contains(e.Reason, reason) {
		tb.Errorf("got %v, want a SchemaError on table %q, column %q: %q", err, table, column, reason)
	}
}

func TestDefineCreatesAndAdopts(t *testing.T) {
	ctx := t.Context()
	db := newDB(t)
	systemtest.Define[user](t, db, "users")
	ddl := systemtest.Must(driftdb.Select[string](ctx, db, "SELECT sql FROM sqlite_schema WHERE tbl_name = 'users' AND sql IS NOT NULL ORDER BY rowid"))
	want := []string{`CREATE TABLE "users" (
  "id" TEXT NOT NULL PRIMARY KEY,
  "createdAt" INTEGER NOT NULL,
  "updatedAt" INTEGER NOT NULL,
  "name" TEXT NOT NULL,
  "email" TEXT NOT NULL,
  "age" INTEGER,
  "role" TEXT NOT NULL DEFAULT 'member',
  "tags" TEXT NOT NULL,
  "seen" INTEGER NOT NULL
)`, `CREATE UNIQUE INDEX "users.email.unique" ON "users" ("email")`}
	if !slices.Equal(ddl, want) {
		t.Errorf("got %q", ddl)
	}
	version := systemtest.Must(driftdb.Select[int](ctx, db, "PRAGMA schema_version"))
	systemtest.Define[user](t, db, "users")
	if again := systemtest.Must(driftdb.Select[int](ctx, db, "PRAGMA schema_version")); !slices.Equal(again, version) {
		t.Error("a second definition changed the schema")
	}
}

func TestDefineAddsColumns(t *testing.T) {
	ctx := t.Context()
	db := newDB(t)
	systemtest.Exec(t, db, `CREATE TABLE users (id TEXT PRIMARY KEY, createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL, name TEXT NOT NULL, note TEXT DEFAULT 'none')`)
	systemtest.Exec(t, db, `INSERT INTO users VALUES ('1', 1, 1, 'Alice', NULL)`)
	type v2 struct {
		driftdb.Base
		Name  string
		Age   *int    `db:",index"`
		Role  string  `db:",omitzero,default=member"`
		Email *string `db:",unique"`
	}
	users := systemtest.Define[v2](t, db, "users")
	alice := systemtest.Must(users.FindByID(ctx, "1"))
	if alice.Name != "Alice" || alice.Age != nil || alice.Role != "member" {
		t.Errorf("got %+v", alice)
	}
	if notes := systemtest.Must(driftdb.Select[*string](ctx, db, "SELECT note FROM users")); notes[0] != nil {
		t.Error("a row was rewritten")
	}
	systemtest.Must(users.Create(ctx, v2{Name: "Bob"}))
	if notes := systemtest.Must(driftdb.Select[string](ctx, db, "SELECT note FROM users WHERE name = ?", "Bob")); notes[0] != "none" {
		t.Errorf("a column that is not ours got %q", notes[0])
	}
	if n := systemtest.Must(driftdb.Select[int](ctx, db, "SELECT count(*) FROM pragma_index_list('users') WHERE origin = 'c'")); n[0] != 2 {
		t.Errorf("there are %d indexes", n[0])
	}
}

// A default that only the table knows counts like one of the schema.
func TestDefaultOfTheTable(t *testing.T) {
	ctx := t.Context()
	db := newDB(t)
	systemtest.Exec(t, db, `CREATE TABLE notes (id TEXT PRIMARY KEY, createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL, note TEXT DEFAULT ('no' || 'ne'))`)
	notes := systemtest.Must(db.Define(ctx, "notes", driftdb.Schema{driftdb.Text("note")}))
	for _, row := range systemtest.Must(notes.CreateMany(ctx, make([]driftdb.Record, 3))) {
		if row["note"] != "none" {
			t.Errorf("created %v", row)
		}
	}
	if n := systemtest.Must(notes.Count(ctx, driftdb.Where{"note": "none"})); n != 3 {
		t.Errorf("%d rows have the default", n)
	}
}

func TestDefineRefuses(t *testing.T) {
	ctx := t.Context()
	db := newDB(t)
	systemtest.Exec(t, db, `CREATE TABLE users (id TEXT PRIMARY KEY, createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL, name TEXT)`)
	systemtest.Exec(t, db, `INSERT INTO users VALUES ('1', 1, 1, 'same'), ('2', 1, 1, 'same')`)
	before := systemtest.Must(driftdb.Select[int](ctx, db, "PRAGMA schema_version"))
	for _, tc := range []struct {
		table, column, reason string
		schema                driftdb.Schema
	}{
		{"users", "name", "it is TEXT in the table", driftdb.Schema{driftdb.Integer("name")}},
		{"users", "name", "may be NULL", driftdb.Schema{driftdb.Text("name").Required()}},
		{"users", "role", "cannot be added", driftdb.Schema{driftdb.Text("name"), driftdb.Text("role").Required()}},
		{"users", "name", "equal values", driftdb.Schema{driftdb.Integer("age"), driftdb.Text("name").Unique()}},
		{"users", "Name", "twice", driftdb.Schema{driftdb.Text("name"), driftdb.Text("Name")}},
		{"users", "id", "twice", driftdb.Schema{driftdb.Text("id")}},
		{"_driftdb_log", "", "reserved", nil},
		{"sqlite_sequence", "", "reserved", nil},
		{"", "", "empty", nil},
		{"t", "a", "default", driftdb.Schema{driftdb.Integer("a").Default("x")}},
		{"t", "", "empty", driftdb.Schema{{}}},
	} {
		_, err := db.Define(ctx, tc.table, tc.schema)
		wantSchemaError(t, err, tc.table, tc.column, tc.reason)
	}
	if after := systemtest.Must(driftdb.Select[int](ctx, db, "PRAGMA schema_version")); !slices.Equal(after, before) {
		t.Error("a refused definition changed the schema")
	}
	// A refused definition does not stand in the way of a good one.
	if _, err := db.Define(ctx, "users", driftdb.Schema{driftdb.Text("name")}); err != nil {
		t.Error(err)
	}
	type bare struct{ ID, Name string }
	_, err := driftdb.Define[bare](ctx, db, "bare")
	wantSchemaError(t, err, "bare", "createdAt", "embed driftdb.Base")
	_, err = driftdb.Define[driftdb.Record](ctx, db, "records")
	wantSchemaError(t, err, "records", "", "db.Define")
	_, err = driftdb.Define[struct {
		driftdb.Base
		C chan int
	}](ctx, db, "chans")
	wantSchemaError(t, err, "chans", "c", "chan int")
}

func TestDefinitionsAgree(t *testing.T) {
	ctx := t.Context()
	db := newDB(t)
	type team struct {
		driftdb.Base
		Name string `db:",index"`
		Size *int
	}
	teams := systemtest.Define[team](t, db, "teams")
	records := systemtest.Must(db.Define(ctx, "Teams", driftdb.Schema{driftdb.Integer("size"), driftdb.Text("name").Required().Index()}))
	made := systemtest.Must(teams.Create(ctx, team{Name: "x"}))
	if got := systemtest.Must(records.FindByID(ctx, made.ID)); got["name"] != "x" || got["size"] != nil {
		t.Errorf("got %v", got)
	}
	_, err := db.Define(ctx, "teams", driftdb.Schema{driftdb.Text("name").Required().Index()})
	wantSchemaError(t, err, "teams", "size", "already defined")
	_, err = db.Define(ctx, "teams", driftdb.Schema{driftdb.Text("name").Required(), driftdb.Integer("size")})
	wantSchemaError(t, err, "teams", "name", "already defined")
}

// Many definitions at once make one table.
func TestDefineConcurrently(t *testing.T) {
	db := newDB(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := driftdb.Define[user](t.Context(), db, fmt.Sprintf("users%d", i%2)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// Names that need quoting work everywhere.
func TestOddNames(t *testing.T) {
	ctx := t.Context()
	db := newDB(t)
	systemtest.Some(t, db, "safe", 2)
	for _, name := range []string{"select", "a b", `q"q`, "x'); DROP TABLE safe; --", `a"); DROP TABLE safe; --`, `x" AS SELECT 1; --`, "a'b", "a\n--", "\u202eevil\x1b[2J", "[b]", "`c`", "ünï", "a.b", "?1", "$gt", "1st", "100%"} {
		repo, err := db.Define(ctx, name, driftdb.Schema{
			driftdb.Integer(name).Unique(), driftdb.Text(name + "2").Default("d").Index(),
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		row := systemtest.Must(repo.Create(ctx, driftdb.Record{name: 1}))
		systemtest.Must(repo.CreateMany(ctx, []driftdb.Record{{name: 2, name + "2": "x"}, {name: 3, name + "2": "y"}}))
		systemtest.Must(repo.Update(ctx, driftdb.Where{name: 1}, driftdb.Set{name: 5}))
		systemtest.Must(repo.Upsert(ctx, driftdb.Where{name: 5}, driftdb.Set{name + "2": "e"}))
		got := systemtest.Must(repo.Find(ctx, driftdb.Query{Where: driftdb.Where{name: driftdb.Gte(5)}, OrderBy: []driftdb.Order{driftdb.Desc(name)}}))
		if len(got) != 1 || got[0]["id"] != row["id"] || got[0][name] != int64(5) || got[0][name+"2"] != "e" {
			t.Errorf("%s: got %v", name, got)
		}
		_, err = repo.Create(ctx, driftdb.Record{name: 5})
		if e, ok := errors.AsType[*driftdb.ConstraintError](err); !ok || e.Table != name || e.Column != name || e.Kind != driftdb.ConstraintUnique {
			t.Errorf("%s: got %v", name, err)
		}
		systemtest.Must(repo.Delete(ctx, driftdb.Where{name: 5}))
	}
	if n := systemtest.Count(t, db, "safe"); n != 2 {
		t.Errorf("another table has %d rows", n)
	}
	for _, name := range []string{"a\x00b", "sqlite_x", "_driftdb_meta"} {
		if _, err := db.Define(ctx, name, driftdb.Schema{}); err == nil {
			t.Errorf("%q is taken for a name", name)
		}
	}
}
