package worldtest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

const rows = "SELECT count(*) FROM t"

// TestLinkToNothing: a link whose target is not there yet is the same file as its
// target, for a writer, a restore and a second writer.
func TestLinkToNothing(t *testing.T) {
	dir := folder(t, "app", "vol")
	link, file, store := filepath.Join(dir, "app", "app.sqlite"), filepath.Join(dir, "vol", "app.sqlite"), filepath.Join(dir, "store")
	dbtest.Symlink(t, file, link)
	backup(t, store, 3)

	a, b := start(t, dir), start(t, dir)
	a.must("open", link, store, "auto")
	b.wantError("open elsewhere", "open", link, store)
	b.wantError("open elsewhere", "open", file, store)
	if n := a.must("count"); n != "3" {
		t.Errorf("%s rows were restored through the link", n)
	}
	a.end()
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is none any more (%v)", err)
	}
	if n := ask(t, file, rows); n != "3" {
		t.Errorf("the file has %s rows", n)
	}
	s, err := objstore.Dir(store)
	systemtest.Check(t, err)
	_, err = driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: "app", Path: link, Store: s, Overwrite: true})
	systemtest.Check(t, err)
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("a restore has replaced the link (%v)", err)
	}

	systemtest.Check(t, os.RemoveAll(filepath.Join(dir, "vol")))
	b.wantError("is its disk mounted?", "open", link, store, "auto")
	if _, err := os.Stat(filepath.Join(dir, "vol")); err == nil {
		t.Error("a database was begun where a disk should be mounted")
	}
}

// TestRestoreOntoRunning: a restore does not take a database away from a program,
// with DriftDB or without.
func TestRestoreOntoRunning(t *testing.T) {
	dir := folder(t)
	store := filepath.Join(dir, "store")
	backup(t, store, 3)
	s, err := objstore.Dir(store)
	systemtest.Check(t, err)
	restore := func(path string) error {
		_, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: "app", Path: path, Store: s, Overwrite: true})
		return err
	}
	for _, mode := range []string{"WAL", "DELETE"} {
		path := filepath.Join(dir, mode+".sqlite")
		c := plain(t, path)
		systemtest.Check(t, c.Exec("PRAGMA journal_mode="+mode+"; CREATE TABLE other(x); INSERT INTO other VALUES('mine'); BEGIN IMMEDIATE; INSERT INTO other VALUES('more')"))
		if err := restore(path); !errors.Is(err, driftdb.ErrLocked) {
			t.Errorf("%s: in a transaction: %v", mode, err)
		}
		systemtest.Check(t, c.Exec("COMMIT"))
		if err := restore(path); mode == "WAL" && !errors.Is(err, driftdb.ErrLocked) {
			t.Errorf("%s: open: %v", mode, err)
		}
		if mode == "WAL" {
			systemtest.Check(t, c.Exec("INSERT INTO other VALUES('after')"))
		}
		systemtest.Check(t, c.Close())
		if mode == "WAL" {
			if n := ask(t, path, "SELECT count(*) FROM other"); n != "3" {
				t.Errorf("%s: %s rows are left of 3", mode, n)
			}
		}
		if mode == "WAL" || runtime.GOOS == "windows" { // where no file is replaced that is open
			systemtest.Check(t, restore(path))
		}
		if n := ask(t, path, rows); n != "3" {
			t.Errorf("%s: restored: %s rows", mode, n)
		}
	}
}

// TestOpenDuringRestore: a program that opens the place of a running restore is
// told to wait, and does not disturb it.
func TestOpenDuringRestore(t *testing.T) {
	dir := folder(t)
	store := filepath.Join(dir, "store")
	backup(t, store, 3)
	a, b := start(t, dir), start(t, dir)
	a.must("hold", "get logs")
	opened := a.begin("open", "app.sqlite", store, "auto")
	<-a.held
	b.wantError("open elsewhere", "open", "app.sqlite", "")
	a.must("release")
	if text := a.answer(opened); text != "ok " {
		t.Errorf("the restore: %s", text)
	}
	if n := a.must("count"); n != "3" {
		t.Errorf("%s rows", n)
	}
	a.end()
}

// TestFileComesDuringRestore: what somebody puts into the place of a running restore
// is theirs.
func TestFileComesDuringRestore(t *testing.T) {
	dir := folder(t)
	store := filepath.Join(dir, "store")
	backup(t, store, 3)
	p := start(t, dir)
	p.must("hold", "get logs")
	opened := p.begin("open", "app.sqlite", store, "auto")
	<-p.held
	script(t, filepath.Join(dir, "app.sqlite"), "CREATE TABLE theirs(x); INSERT INTO theirs VALUES(1)")
	p.must("release")
	if text := p.answer(opened); !strings.Contains(text, "exists") {
		t.Errorf("open: %s", text)
	}
	if n := ask(t, filepath.Join(dir, "app.sqlite"), "SELECT count(*) FROM theirs"); n != "1" {
		t.Errorf("%s rows of theirs", n)
	}
}

// TestForeignFiles: a -wal, a -journal or a folder beside the database that is not
// its own is not destroyed, and not taken for its own.
func TestForeignFiles(t *testing.T) {
	dir := folder(t)
	store := filepath.Join(dir, "store")
	backup(t, store, 3)
	// Somebody else's WAL with rows that are nowhere else.
	c, err := new(sqlite.Driver).Open(filepath.Join(dir, "other.sqlite"), sqlite.Options{})
	systemtest.Check(t, err)
	systemtest.Check(t, c.Exec("CREATE TABLE theirs(x); INSERT INTO theirs VALUES('only here')"))
	wal, err := os.ReadFile(filepath.Join(dir, "other.sqlite-wal"))
	systemtest.Check(t, err)
	systemtest.Check(t, c.Close())
	kept := func(t *testing.T, dir, suffix string) {
		t.Helper()
		names := left(t, dir, suffix+".left-")
		if len(names) != 1 {
			t.Fatalf("set aside: %q", names)
		}
		if data, err := os.ReadFile(names[0]); err != nil || !slices.Equal(data, wal) {
			t.Errorf("%s was changed (%v)", names[0], err)
		}
	}
	for _, suffix := range []string{"-wal", "-journal"} {
		t.Run("no database, "+suffix, func(t *testing.T) {
			dir := folder(t)
			systemtest.Check(t, os.WriteFile(filepath.Join(dir, "app.sqlite"+suffix), wal, 0o644))
			p := start(t, dir)
			p.must("open", "app.sqlite", store, "auto", "manual")
			if n := p.must("count"); n != "3" {
				t.Errorf("%s rows", n)
			}
			p.end()
			kept(t, dir, suffix)
		})
	}
	t.Run("a clean database", func(t *testing.T) {
		dir := folder(t)
		p := start(t, dir)
		p.must("open", "app.sqlite", store, "auto", "manual")
		p.end()
		systemtest.Check(t, os.WriteFile(filepath.Join(dir, "app.sqlite-wal"), wal, 0o644))
		p = start(t, dir)
		p.must("open", "app.sqlite", store, "manual")
		if n := p.must("count"); n != "3" || !p.wasTold(string(driftdb.EventFilesSetAside)) {
			t.Errorf("%s rows; told: %q", n, p.told())
		}
		p.end()
		kept(t, dir, "-wal")
	})
	t.Run("folders of the user's", func(t *testing.T) {
		dir := folder(t, "app.sqlite-driftdb-snapshots", "app.sqlite-driftdb-restored", "app.sqlite-driftdb/mine")
		systemtest.Check(t, os.WriteFile(filepath.Join(dir, "app.sqlite-driftdb", "mine", "file"), wal, 0o644))
		p := start(t, dir)
		p.must("open", "app.sqlite", filepath.Join(dir, "app.sqlite-driftdb-snapshots"))
		p.must("exec", "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
		p.must("snapshot")
		p.end()
		p = start(t, dir)
		p.must("open", "app.sqlite", filepath.Join(dir, "app.sqlite-driftdb-snapshots"))
		p.must("insert", "1", "3")
		p.must("flush")
		p.end()
		if n := ask(t, restored(t, filepath.Join(dir, "app.sqlite-driftdb-snapshots")), rows); n != "3" {
			t.Errorf("%s rows in the bucket", n)
		}
		for _, name := range []string{"app.sqlite-driftdb-restored", "app.sqlite-driftdb/mine/file"} {
			if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestOldCopyUnderNewWAL: a program was killed, and an older copy of its file came
// into the place, beside the -wal of the newer one. The mixture is not taken for a
// database.
func TestOldCopyUnderNewWAL(t *testing.T) {
	dir := folder(t)
	path, store := filepath.Join(dir, "app.sqlite"), filepath.Join(dir, "store")
	backup(t, store, 3)
	p := start(t, dir)
	p.must("open", path, store, "auto")
	p.must("insert", "1000", "2000") // over many pages
	p.end()
	copyFile(t, path, path+".old")
	p = start(t, dir)
	p.must("open", path, store)
	p.must("exec", "UPDATE t SET v = 'new ' || v WHERE id % 3 = 0")
	p.end()
	p = start(t, dir)
	p.must("open", path, store)
	p.must("insert", "5000", "3")
	p.must("flush")
	p.kill()
	systemtest.Check(t, os.Rename(path+".old", path))
	p = start(t, dir)
	switch text := p.do("open", path, store); {
	case strings.Contains(text, "not the file that DriftDB last had open"):
		for _, suffix := range []string{"-wal", "-shm"} {
			systemtest.Check(t, os.Rename(path+suffix, path+suffix+".mine"))
		}
		p = start(t, dir)
		p.must("open", path, store)
	case strings.HasPrefix(text, "ok") && p.wasTold(string(driftdb.EventFilesSetAside)):
	default:
		t.Fatalf("open: %s; told: %q", text, p.told())
	}
	p.must("check")
	p.must("flush")
	if n := p.must("count"); n != "2006" {
		t.Errorf("after it caught up: %s rows", n)
	}
	p.end()
	if n := ask(t, restored(t, store), rows+" WHERE v LIKE 'new %'"); n == "0" {
		t.Error("the bucket has lost the newer state")
	}
}

// TestKilledRestore: what a restore that was killed leaves behind goes with the next
// one that opens the database.
func TestKilledRestore(t *testing.T) {
	dir := folder(t)
	store := filepath.Join(dir, "store")
	backup(t, store, 3)
	for range 3 {
		p := start(t, dir)
		p.must("hold", "get logs")
		p.begin("open", "app.sqlite", store, "auto")
		<-p.held
		p.kill()
	}
	p := start(t, dir)
	p.must("open", "app.sqlite", store, "auto")
	p.end()
	if names := left(t, dir, "app.sqlite"); len(names) != 2 { // and its lock
		t.Errorf("left: %q", names)
	}
}

// TestMemoryDatabases: in-memory databases of many processes do not take one
// another's folders away.
func TestMemoryDatabases(t *testing.T) {
	dir := folder(t)
	t.Setenv("TMPDIR", dir)
	t.Setenv("TMP", dir)
	dead := start(t, dir)
	dead.must("open", ":memory:", "")
	dead.kill()
	done := make(chan string)
	for range 4 {
		p := start(t, dir)
		go func() {
			for range 30 {
				for _, command := range [][]string{{"open", ":memory:", ""}, {"exec", "CREATE TABLE t(id INTEGER PRIMARY KEY, v)"}, {"insert", "1", "1"}, {"count"}, {"close"}} {
					if text := p.answer(p.begin(command[0], command[1:]...)); strings.HasPrefix(text, "error") {
						done <- command[0] + ": " + text
						return
					}
				}
			}
			done <- ""
		}()
	}
	for range 4 {
		if text := <-done; text != "" {
			t.Error(text)
		}
	}
	if names := left(t, dir, ""); len(names) > 0 {
		t.Errorf("left in the folder for temporary files: %q", names)
	}
}

// TestTruncated: a file that somebody has cut off while it was open is not written
// on, and what the bucket has is whole.
func TestTruncated(t *testing.T) {
	for _, part := range []int64{0, 2} { // nothing of it stays, or a half
		dir := folder(t)
		path, store := filepath.Join(dir, "app.sqlite"), filepath.Join(dir, "store")
		backup(t, store, 3)
		p := start(t, dir)
		p.must("open", path, store, "auto")
		p.must("exec", "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i+1 FROM n WHERE i < 20000) INSERT INTO t SELECT i, 'row ' || i FROM n")
		p.must("flush")
		p.end()
		p = start(t, dir)
		p.must("open", path, store)
		info, err := os.Stat(path)
		systemtest.Check(t, err)
		size := int64(0)
		if part > 0 {
			size = info.Size() / part
		}
		systemtest.Check(t, os.Truncate(path, size))
		systemtest.Eventually(t, "the program was told", func() bool { return p.wasTold(string(driftdb.EventFileReplaced)) })
		if text := p.must("insert", "100000", "1"); text != "0" {
			t.Errorf("a row was acknowledged")
		}
		p.end()
		if n := ask(t, restored(t, store), rows); n != "19994" {
			t.Errorf("the bucket has %s rows", n)
		}
	}
}
