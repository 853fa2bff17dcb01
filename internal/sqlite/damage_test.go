package sqlite_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// TestDamage: pages that contradict each other are found, and nothing else.
func TestDamage(t *testing.T) {
	const whole = "CREATE TABLE t(a NOT NULL, b UNIQUE, CHECK(b <> 1)); INSERT INTO t VALUES(1, 2), (3, 4);"
	for name, test := range map[string]struct {
		script string
		edit   func(b []byte)
		want   string
	}{
		"whole":     {script: whole},
		"check":     {script: whole + "PRAGMA ignore_check_constraints=ON; INSERT INTO t VALUES(1, 1)"},
		"not null":  {script: whole + "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE t(a, b UNIQUE)' WHERE name = 't'; PRAGMA writable_schema=RESET; INSERT INTO t VALUES(NULL, 9)"},
		"unused":    {script: whole + "CREATE TABLE gone(a); PRAGMA writable_schema=ON; DELETE FROM sqlite_schema WHERE name = 'gone'"},
		"collation": {script: whole + "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = replace(sql, 'UNIQUE', 'COLLATE klingon UNIQUE')"},
		"function":  {script: whole + "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = replace(sql, 'b <> 1', 'warp(b)')"},
		"generated": {script: whole + "CREATE TABLE g(a, b AS (abs(a)) STORED); INSERT INTO g VALUES(1); PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = replace(sql, 'abs', 'warp')"},
		"tokenizer": {script: whole + "CREATE VIRTUAL TABLE f USING fts5(a); PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = replace(sql, 'fts5(a)', 'fts5(a, tokenize=klingon)')"},
		"module":    {script: whole + "CREATE VIRTUAL TABLE f USING fts5(a); PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = replace(sql, 'fts5(a)', 'holodeck(a)')"},
		"page":      {whole, func(b []byte) { b[4096+3] ^= 0xff }, "page 2"},
		"free list": {whole, func(b []byte) { binary.BigEndian.PutUint32(b[32:], 2); binary.BigEndian.PutUint32(b[36:], 1) }, "reelist"},
	} {
		path := filepath.Join(t.TempDir(), "x.db")
		c, err := sqlite.Open(path, sqlite.Options{KeepJournal: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Exec(test.script); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if test.edit != nil {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			test.edit(b)
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if c, err = sqlite.Open(path, sqlite.Options{KeepJournal: true}); err != nil {
			t.Fatal(err)
		}
		damage, err := c.Damage(false)
		if err != nil || (damage == "") != (test.want == "") || !strings.Contains(damage, test.want) {
			t.Errorf("%s: %q, %v; want %q", name, damage, err, test.want)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
