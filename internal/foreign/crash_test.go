package foreign

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// killed is what a session leaves that was killed: a database that has not been
// checkpointed, and its WAL. before is called when there is a table, and a row in it.
func killed(t *testing.T, path string, before func(*database)) photo {
	t.Helper()
	d := open(t, path)
	d.run("CREATE TABLE t(id INTEGER PRIMARY KEY, a)", "INSERT INTO t(a) VALUES('first')")
	if before != nil {
		before(d)
	}
	d.run("INSERT INTO t(a) VALUES('second')")
	p := take(t, path)
	d.crash()
	return p
}

// belongs says what an Open finds about the WAL beside the file at path.
func belongs(t *testing.T, path string) (bool, error) {
	t.Helper()
	f, err := dbfile.Take(path)
	must(t, err)
	w := New(Config{File: f})
	found, err := w.Look(false)
	must(t, err)
	c, err := sqlite.Open(path, sqlite.Options{MustExist: true, KeepJournal: true, Claim: f.Hold})
	must(t, err)
	must(t, c.KeepWAL(true))
	defer func() { must(t, f.Unhold(), c.Close(), f.Release()) }()
	if !found.InWAL() {
		t.Fatal("there is no WAL")
	}
	return found.WALBelongs(t.Context(), c)
}

// tornCheckpoint is p after a power loss while its WAL was copied into its file: the page
// of the table with our id is one without rows.
func tornCheckpoint(t *testing.T, p photo) photo {
	t.Helper()
	path := filepath.Join(t.TempDir(), "torn.sqlite")
	p.put(t, path)
	c, err := sqlite.Open(path, sqlite.Options{MustExist: true, KeepJournal: true})
	must(t, err)
	page, err := c.Int("SELECT rootpage FROM sqlite_schema WHERE name = '_driftdb_meta'")
	must(t, err, c.Exec("PRAGMA wal_checkpoint(TRUNCATE)"), c.Close())
	torn := take(t, path)
	const pageSize, rows = 4096, 3 // where a page says how many rows it has
	copy(torn.files[""][(page-1)*pageSize+rows:], []byte{0, 0})
	return torn
}

// TestWALBelongs: a WAL is only taken for that of the file that it was written for.
func TestWALBelongs(t *testing.T) {
	dir := t.TempDir()
	checkpointed := func(d *database) { d.run("PRAGMA wal_checkpoint(TRUNCATE)") }
	ours := killed(t, filepath.Join(dir, "ours.sqlite"), checkpointed)
	another := killed(t, filepath.Join(dir, "other.sqlite"), func(d *database) { d.run(many); checkpointed(d) })
	bare := killed(t, filepath.Join(dir, "bare.sqlite"), nil) // the file is empty without its WAL
	torn := tornCheckpoint(t, bare)
	strange := filepath.Join(dir, "strange.sqlite") // that DriftDB has never seen
	other(t, strange, "PRAGMA journal_mode=WAL", "CREATE TABLE x(a)")
	theirs := take(t, strange)
	var old photo
	late := killed(t, filepath.Join(dir, "late.sqlite"), func(d *database) {
		d.run("CREATE TABLE u(a)", "INSERT INTO u VALUES('old')")
		checkpointed(d)
		old = take(t, d.file.Path())
		d.run("UPDATE u SET a = 'new'") // which the WAL is no longer to hold
		checkpointed(d)
	})
	marker := func(name string) []byte {
		line, err := markerLine(filepath.Join(dir, name))
		must(t, err)
		return append([]byte{0}, line...)
	}
	for name, c := range map[string]struct {
		file, wal photo
		marker    []byte
		want      bool
		err       error
	}{
		"its own":                              {ours, ours, marker("ours.sqlite"), true, nil},
		"its own, and the file is a copy":      {ours, ours, nil, true, nil},
		"its own, and all is in it":            {bare, bare, marker("bare.sqlite"), true, nil},
		"its own, and the file is torn":        {torn, bare, nil, true, nil},
		"another database's":                   {ours, another, marker("other.sqlite"), false, nil},
		"another database's, and no marker":    {ours, another, nil, false, nil},
		"another database's, and all is in it": {ours, bare, nil, false, nil},
		"beside a stranger's file":             {theirs, bare, marker("bare.sqlite"), false, nil},
		"an older copy's, and no marker":       {old, late, nil, false, ErrMixture},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app.sqlite")
			photo{map[string][]byte{"": c.file.files[""], "-wal": c.wal.files["-wal"]}, c.file.modified}.put(t, path)
			if c.marker != nil {
				must(t, os.WriteFile(path+"-lock", c.marker, 0o600))
			}
			got, err := belongs(t, path)
			if got != c.want && err == nil || !errors.Is(err, c.err) || c.err == nil && err != nil {
				t.Errorf("belongs: %v, %v; want %v, %v", got, err, c.want, c.err)
			}
			if err != nil && !strings.Contains(err.Error(), path) {
				t.Errorf("it does not name the file: %v", err)
			}
		})
	}
}

// TestLostWAL: a -wal that was removed or emptied, with more in it than the file has, is
// missed; one that had nothing of its own is not.
func TestLostWAL(t *testing.T) {
	remove := func(path string) error {
		if err := os.Remove(path + "-wal"); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	empty := func(path string) error { // and leave the index, which crash removes
		index := make([]byte, 136)
		index[16] = 2 // frames
		return errors.Join(os.WriteFile(path+"-shm", index, 0o600), os.Truncate(path+"-wal", 0))
	}
	for name, c := range map[string]struct {
		sql  string
		end  func(*database)
		then func(path string) error
		want bool
	}{
		"crash, removed":        {"CREATE TABLE t(a)", func(d *database) { d.crash() }, remove, true},
		"crash, emptied":        {"CREATE TABLE t(a)", func(d *database) { d.crash() }, empty, true},
		"crash":                 {"CREATE TABLE t(a)", func(d *database) { d.crash() }, func(string) error { return nil }, false},
		"crash before a commit": {"SELECT 1", func(d *database) { d.crash() }, func(string) error { return nil }, false},
		"clean":                 {"CREATE TABLE t(a)", func(d *database) { d.leave() }, remove, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app.sqlite")
			d := open(t, path)
			d.leave()
			d = open(t, path)
			d.run(c.sql)
			c.end(d)
			must(t, c.then(path))
			f, err := dbfile.Take(path)
			must(t, err)
			defer f.Release()
			found, err := New(Config{File: f}).Look(false)
			must(t, err)
			if found.LostWAL() != c.want {
				t.Errorf("lost: %v, want %v", found.LostWAL(), c.want)
			}
		})
	}
}

// TestProve: a copy of a file is proven by its contents, and altered ones are found.
func TestProve(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		want   error
	}{
		"nothing":  {"SELECT 1", nil},
		"a row":    {"INSERT INTO t(a) VALUES('theirs')", ErrAltered},
		"a value":  {"UPDATE t SET a = a || 'x' WHERE id = 1", ErrAltered},
		"a schema": {"CREATE INDEX i ON t(a)", ErrUnproven},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app.sqlite")
			d := open(t, path)
			d.run("CREATE TABLE t(id INTEGER PRIMARY KEY, a)", many)
			d.leave()
			other(t, path, c.script)
			conn, err := new(sqlite.Driver).Open(path, sqlite.Options{})
			must(t, err)
			defer conn.Close()
			if err := Prove(t.Context(), conn); !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}
