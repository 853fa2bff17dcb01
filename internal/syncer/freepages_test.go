package syncer

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// emptied is a database of which most pages are free, and the offset of the list of
// them in the file.
func emptied(t *testing.T, pragmas string) (path string, list int64) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "a.db")
	run(t, path, pragmas+`; CREATE TABLE kept(a); CREATE TABLE gone(a); INSERT INTO kept VALUES(hex(zeroblob(20000)));
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO gone SELECT 'secret' || hex(zeroblob(200)) FROM n; DROP TABLE gone`)
	header := make([]byte, 36)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(header, 0); err != nil {
		t.Fatal(err)
	}
	return path, (int64(binary.BigEndian.Uint32(header[32:])) - 1) * 4096
}

func run(t *testing.T, path, script string) {
	t.Helper()
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{KeepJournal: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Exec(script); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFreePages: the pages that are free are found, unless anything speaks against it.
func TestFreePages(t *testing.T) {
	number := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	for name, c := range map[string]struct {
		pragmas string
		at      int64 // in the list's first page
		write   []byte
		found   bool
	}{
		"as they are":             {"", 0, nil, true},
		"small pages":             {"PRAGMA page_size=4096", 0, nil, true},
		"auto_vacuum":             {"PRAGMA auto_vacuum=incremental", 0, nil, false},
		"a page in use":           {"", 8, number(2), false},
		"the first page":          {"", 8, number(1), false},
		"no page":                 {"", 8, number(0), false},
		"a page past the end":     {"", 8, number(1 << 30), false},
		"more than there are":     {"", 4, number(1 << 20), false},
		"fewer than there are":    {"", 4, number(3), false},
		"a list that has no end":  {"", 0, number(1 << 31), false},
		"a page that comes twice": {"", 12, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			path, list := emptied(t, c.pragmas)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if name == "a page that comes twice" {
				c.write = data[list+8 : list+12]
			}
			copy(data[list+c.at:], c.write)
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			conn, err := new(sqlite.Driver).Open(path, sqlite.Options{KeepJournal: true, QueryOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			count, err := conn.Int("PRAGMA freelist_count")
			if err != nil {
				t.Fatal(err)
			}
			free, size, err := freePages(conn)
			if err != nil || (len(free) > 0) != c.found {
				t.Fatalf("%d pages found, %v", len(free), err)
			}
			if c.found && (int64(len(free)) < count*9/10 || size != 4096) {
				t.Errorf("%d pages of %d bytes, of %d", len(free), size, count)
			}
		})
	}
}
