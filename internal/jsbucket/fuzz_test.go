package jsbucket

import (
	"encoding/json"
	"testing"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// FuzzChange makes changes that anybody may have written, and leaves the package's tables
// and SQLite's alone.
func FuzzChange(f *testing.F) {
	for _, entry := range []string{
		`{"sequence":1,"timestamp":1,"table":"users","operation":"insert","data":{"id":"u","createdAt":1,"updatedAt":1,"name":"Ann","age":1e400}}`,
		`{"sequence":1,"table":"users","operation":"update","data":{"where":{"id":{"$in":["a",1,null]},"age":{"$gt":1,"$ne":null}},"data":{"age":-0.5,"photo":{"type":"Buffer","data":[1,256]}}}}`,
		`{"sequence":1,"table":"new\"t","operation":"insert","data":{"a\"b":[1,{"c":"\ud800"}],"":true}}`,
		`{"sequence":1,"table":"users","operation":"delete","data":{"where":{"x":{"$in":[]}}}}`,
		`{"sequence":1,"table":"_driftdb_log","operation":"insert","data":{"a":1}}`,
		`{"sequence":1,"table":"users","operation":"update","data":{"where":[],"data":null}}`,
	} {
		f.Add([]byte(entry))
	}
	c, err := sqlite.Open(":memory:", sqlite.Options{ForeignKeys: true, Distrust: true, KeepJournal: true})
	ok(f, err)
	f.Cleanup(func() { ok(f, c.Close()) })
	ok(f, c.Exec(`CREATE TABLE users(id TEXT PRIMARY KEY, createdAt INTEGER, updatedAt INTEGER, name TEXT NOT NULL, age INTEGER, photo BLOB);
		CREATE TABLE _driftdb_log(a); INSERT INTO users VALUES('a', 1, 1, 'Ann', 2, x'00')`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var e entry
		if json.Unmarshal(text, &e) != nil {
			return
		}
		for _, partial := range []bool{false, true} {
			j := &job{ctx: t.Context(), c: c, opts: Options{Partial: partial}}
			ok(t, c.Exec("BEGIN"))
			if err := j.change(e); err == nil && partial {
				err = j.settleAll(t)
				ok(t, err)
			}
			if n, err := c.Int("SELECT count(*) FROM _driftdb_log"); err != nil || n != 0 {
				t.Errorf("%d rows of the package's table, %v", n, err)
			}
			ok(t, c.Rollback())
		}
	})
}

// settleAll looks at the tables that were made.
func (j *job) settleAll(t *testing.T) error {
	t.Helper()
	for name, table := range j.tables {
		if _, err := j.c.Int("SELECT count(*) FROM main." + quote(name)); err != nil {
			return err
		}
		if len(table.columns) == 0 {
			t.Errorf("table %q has no columns", name)
		}
	}
	return nil
}
