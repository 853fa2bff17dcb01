package worldtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/mounttest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestHardLink: a file has one writer, whatever names it has.
func TestHardLink(t *testing.T) { otherName(t, "hard link") }

func otherName(t *testing.T, way string) {
	dir := folder(t, "a", "b")
	first, second, store := filepath.Join(dir, "a", "app.sqlite"), filepath.Join(dir, "b", "other.sqlite"), filepath.Join(dir, "store")
	backup(t, store, 3)
	a, b := start(t, dir), start(t, dir)
	a.must("open", first, store, "auto")
	a.end()
	if way == "mount" {
		systemtest.Check(t, os.WriteFile(second, nil, 0o600))
		bind(t, first, second)
	} else {
		systemtest.Check(t, os.Link(first, second))
	}
	a = start(t, dir)
	a.must("open", first, store)
	a.must("insert", "10", "1")
	b.wantError("under another name", "open", second, "")
	a.must("insert", "11", "1")
	a.must("check")
	a.end()
	b.must("open", second, store, "manual")
	if n := b.must("count"); n != "5" {
		t.Errorf("%s rows", n)
	}
	b.end()
}

// TestMountedFile: a file that is a mount of its own cannot be replaced; it is left
// as it was, with what its WAL holds.
func TestMountedFile(t *testing.T) {
	if !mounttest.Inside(t) {
		return
	}
	t.Run("has another name", func(t *testing.T) { otherName(t, "mount") })
	dir := folder(t, "host", "app")
	host, file, store := filepath.Join(dir, "host", "db"), filepath.Join(dir, "app", "app.sqlite"), filepath.Join(dir, "store")
	backup(t, store, 3)
	systemtest.Check(t, os.WriteFile(host, nil, 0o644))
	systemtest.Check(t, os.WriteFile(file, nil, 0o644))
	bind(t, host, file)
	p := start(t, dir)
	p.wantError("mount its folder instead", "open", file, store, "auto")
	if info, err := os.Stat(host); err != nil || info.Size() != 0 {
		t.Errorf("the empty file is changed: %v, %v", info.Size(), err)
	}
	// A program without DriftDB that was killed.
	script(t, file, "PRAGMA journal_mode=WAL; CREATE TABLE precious(x); INSERT INTO precious VALUES('in the file')")
	dead := start(t, dir)
	dead.must("open", file, "")
	dead.must("exec", "INSERT INTO precious VALUES('in the WAL')")
	dead.kill()
	s, err := objstore.Dir(store)
	systemtest.Check(t, err)
	if _, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: "app", Path: file, Store: s, Overwrite: true}); err == nil || !strings.Contains(err.Error(), "mount") {
		t.Errorf("restore: %v", err)
	}
	if n := ask(t, file, "SELECT count(*) FROM precious"); n != "2" {
		t.Errorf("%s rows are left of 2", n)
	}
}

// TestOwners: the file that takes another's place has its owner, group and mode; a
// new one has what every new file has.
func TestOwners(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := folder(t)
	systemtest.Check(t, os.Chmod(dir, 0o777))
	store := filepath.Join(dir, "store")
	backup(t, store, 3)
	s, err := objstore.Dir(store)
	systemtest.Check(t, err)
	path := filepath.Join(dir, "app.sqlite")
	restore := func(overwrite bool) error {
		_, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: "app", Path: path, Store: s, Overwrite: overwrite})
		return err
	}
	for _, umask := range []int{0o022, 0o002, 0o077} {
		old := syscall.Umask(umask)
		err := restore(false)
		syscall.Umask(old)
		systemtest.Check(t, err)
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o666&^os.FileMode(umask) {
			t.Errorf("umask %o: mode %o (%v)", umask, info.Mode().Perm(), err)
		}
		systemtest.Check(t, os.Remove(path))
	}
	systemtest.Check(t, restore(false))
	systemtest.Check(t, os.Chmod(path, 0o660))
	systemtest.Check(t, os.Chown(path, 1234, 1235))
	systemtest.Check(t, restore(true))
	info, err := os.Stat(path)
	systemtest.Check(t, err)
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 1234 || st.Gid != 1235 || info.Mode().Perm() != 0o660 {
		t.Errorf("replaced: user %d, group %d, mode %o", st.Uid, st.Gid, info.Mode().Perm())
	}
}

// TestClosedFiles: files that another user may not use are named.
func TestClosedFiles(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	by := []string{"setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups"}
	if _, err := exec.LookPath(by[0]); err != nil {
		t.Skip("setpriv is not installed")
	}
	dir := folder(t, "d")
	for at := filepath.Join(dir, "d"); at != "/tmp" && at != "/"; at = filepath.Dir(at) {
		systemtest.Check(t, os.Chmod(at, 0o777))
	}
	program := filepath.Join(dir, "program")
	copyFile(t, os.Args[0], program)
	systemtest.Check(t, os.Chmod(program, 0o755))
	path := filepath.Join(dir, "d", "app.sqlite")
	dead := start(t, dir)
	dead.must("open", path, "")
	dead.kill()
	systemtest.Check(t, os.Chown(path, 1234, 1234))
	other := start(t, dir, append(by, "env", obeys.Variable(), program)...)
	systemtest.Check(t, os.Chmod(path+"-lock", 0o600))
	other.wantError(path+"-lock", "open", path, "")
	systemtest.Check(t, os.Chown(path+"-lock", 1234, 1234))
	other.wantError(path+"-wal", "open", path, "")
	for _, suffix := range []string{"-wal", "-shm"} {
		systemtest.Check(t, os.Chown(path+suffix, 1234, 1234))
	}
	if text := other.do("open", path, ""); text != "ok " {
		t.Errorf("with all of them: %s", text)
	}
	other.end()
	systemtest.Check(t, os.Chmod(filepath.Dir(path), 0o755))
	other = start(t, dir, append(by, "env", obeys.Variable(), program)...)
	other.wantError("the folder "+filepath.Dir(path), "open", path, "")
}

// killAtEachCall runs a program that changes the database of place, and kills it at
// its first system call that changes or opens a file, at its second, and so on until
// it ends by itself. Each time prepare makes the place and look judges it.
func killAtEachCall(t *testing.T, from string, prepare func(place string), look func(place string, call int, ended bool)) {
	if _, err := exec.LookPath("strace"); err != nil {
		if os.Getenv("DRIFTDB_REQUIRE_TOOLS") != "" {
			t.Fatal("strace is not installed")
		}
		t.Skip("strace is not installed")
	}
	if testing.Short() {
		t.Skip("hundreds of processes")
	}
	const calls = "rename,renameat,renameat2,unlink,unlinkat,link,linkat,mkdir,mkdirat,fsync,fdatasync,ftruncate,pwrite64,write,openat,chmod,fchmodat,lchown,fchownat"
	began, dir := time.Now(), folder(t)
	for n := 1; n <= 3000; n++ {
		place := filepath.Join(dir, fmt.Sprint(n))
		systemtest.Check(t, os.Mkdir(place, 0o755))
		prepare(place)
		cmd := exec.Command("strace", "-f", "-o", "/dev/null", "-e", "trace="+calls,
			"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", calls, n), os.Args[0], filepath.Join(place, "app.sqlite"), from)
		cmd.Env = append(restores.Environ(), "GOMAXPROCS=1")
		out, err := cmd.CombinedOutput()
		look(place, n, err == nil)
		systemtest.Check(t, os.RemoveAll(place))
		if t.Failed() {
			t.Fatalf("killed at call %d: %v: %s", n, err, out)
		}
		if err == nil {
			t.Logf("killed at %d calls, in %s", n-1, time.Since(began).Round(time.Second))
			return
		}
	}
	t.Fatal("there is no end to it")
}

// leaveDead makes the database of a program that is dead: one row in the file, one in
// its WAL.
func leaveDead(t *testing.T, dir string) {
	p := start(t, dir)
	p.must("open", "app.sqlite", "")
	p.must("exec", "CREATE TABLE precious(x); INSERT INTO precious VALUES(1)")
	p.end()
	p = start(t, dir)
	p.must("open", "app.sqlite", "")
	p.must("exec", "INSERT INTO precious VALUES(2)")
	p.kill()
}

// TestReplaceKilled: a restore that replaces a database is killed at every system
// call that it makes. Each time the place has the old database, with what is in its
// WAL, or the new one.
func TestReplaceKilled(t *testing.T) {
	store, old := filepath.Join(folder(t), "store"), folder(t)
	backup(t, store, 3)
	leaveDead(t, old)
	replaced := 0
	killAtEachCall(t, store, func(place string) {
		copyFile(t, filepath.Join(old, "app.sqlite"), filepath.Join(place, "app.sqlite"))
		copyFile(t, filepath.Join(old, "app.sqlite-wal"), filepath.Join(place, "app.sqlite-wal"))
		systemtest.Check(t, os.WriteFile(filepath.Join(place, "app.sqlite-journal"), []byte("theirs"), 0o644))
	}, func(place string, n int, ended bool) {
		path := filepath.Join(place, "app.sqlite")
		p := start(t, place) // by the next Open of ours: it takes the lock
		p.must("open", "app.sqlite", "")
		table, want := "precious", "2"
		if ask(t, path, "SELECT count(*) FROM sqlite_schema WHERE name = 't'") == "1" {
			table, want = "t", "3"
			replaced++
		}
		p.end()
		if got := ask(t, path, "SELECT count(*) FROM "+table); got != want {
			t.Errorf("%s of %s rows of %s", got, want, table)
		}
		if ask(t, path, "PRAGMA integrity_check") != "ok" {
			t.Error("the database is damaged")
		}
		kept := left(t, place, ".replaced-") // none beside the old database, which would then have two names
		if (table == "t") != (len(kept) == 1) {
			t.Errorf("beside %s: %q", table, kept)
		} else if table == "t" && (ask(t, kept[0], "SELECT count(*) FROM precious") != "2" || ask(t, kept[0], "PRAGMA integrity_check") != "ok") {
			t.Error("the database that is kept is damaged")
		}
		theirs := append(left(t, place, "-journal.left-"), left(t, place, "-journal")...)
		if text, err := os.ReadFile(theirs[0]); err != nil || string(text) != "theirs" {
			t.Errorf("the file that was somebody else's: %q, %v", text, err)
		}
		if ended && table != "t" {
			t.Error("it ended well and replaced nothing")
		}
	})
	t.Logf("%d times the new database was in its place", replaced)
}

// TestDetachKilled: the same of Detach. The next Open has all rows, and nothing lies
// beside the file that was set aside.
func TestDetachKilled(t *testing.T) {
	old := folder(t)
	leaveDead(t, old)
	killAtEachCall(t, "", func(place string) {
		for _, name := range []string{"app.sqlite", "app.sqlite-wal", "app.sqlite-lock"} {
			copyFile(t, filepath.Join(old, name), filepath.Join(place, name))
		}
	}, func(place string, n int, ended bool) {
		p := start(t, place)
		p.must("open", "app.sqlite", "")
		p.end()
		path := filepath.Join(place, "app.sqlite")
		if got := ask(t, path, "SELECT count(*) FROM precious"); got != "2" {
			t.Errorf("%s of 2 rows", got)
		}
		if ask(t, path, "PRAGMA integrity_check") != "ok" {
			t.Error("the database is damaged")
		}
		if aside := left(t, place, ".left-"); len(aside) > 0 {
			t.Errorf("set aside: %q", aside)
		}
	})
}

// TestNotFiles: what is no regular file is refused before anything is touched, by a
// writer and by a restore.
func TestNotFiles(t *testing.T) {
	dir := folder(t)
	store := filepath.Join(dir, "store")
	backup(t, store, 3)
	s, err := objstore.Dir(store)
	systemtest.Check(t, err)
	at := func(name string) string { return filepath.Join(dir, name) }
	systemtest.Check(t, syscall.Mkfifo(at("pipe"), 0o600))
	systemtest.Check(t, os.Mkdir(at("folder"), 0o755))
	socket, err := net.Listen("unix", at("socket"))
	systemtest.Check(t, err)
	defer socket.Close()
	names := []string{"pipe", "folder", "socket"}
	if syscall.Mknod(at("device"), syscall.S_IFCHR|0o666, 1<<8|3) == nil { // as /dev/null
		names = append(names, "device")
	}
	p := start(t, dir)
	for _, name := range names {
		before, err := os.Lstat(at(name))
		systemtest.Check(t, err)
		p.wantError("not a regular file", "open", at(name), store, "auto")
		for _, overwrite := range []bool{false, true} {
			_, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: "app", Path: at(name), Store: s, Overwrite: overwrite})
			if err == nil || !strings.Contains(err.Error(), "not a regular file") {
				t.Errorf("restore onto a %s: %v", name, err)
			}
		}
		if after, err := os.Lstat(at(name)); err != nil || !os.SameFile(before, after) || after.Mode() != before.Mode() {
			t.Errorf("the %s is another one now (%v)", name, err)
		}
		if names := left(t, dir, name+"-"); len(names) > 0 {
			t.Errorf("left beside the %s: %q", name, names)
		}
	}
}
