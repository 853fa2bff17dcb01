package vfs

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"github.com/driftdb/driftdb-go/internal/vfs/layer"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// raw are the files of a database in WAL mode, as SQLite calls them. Its WAL ends at end.
type raw struct {
	t             *testing.T
	tls           *libc.TLS
	db            uintptr
	path          string
	database, wal *lib.Tsqlite3_io_methods
	files         [2]uintptr
	page          uintptr // 4096 bytes
	end           int64
}

func openRaw(t *testing.T, vfs string) *raw {
	t.Helper()
	r := &raw{t: t, tls: libc.NewTLS(), path: filepath.Join(t.TempDir(), "app.db")}
	cell := libc.Xcalloc(r.tls, 1, 8)
	r.page = libc.Xcalloc(r.tls, 1, 4096)
	path, _ := libc.CString(r.path)
	name, _ := libc.CString(vfs)
	if rc := lib.Xsqlite3_open_v2(r.tls, path, cell, lib.SQLITE_OPEN_READWRITE|lib.SQLITE_OPEN_CREATE, name); rc != 0 {
		t.Fatal(rc)
	}
	r.db = *cmem.At[uintptr](cell)
	r.exec("PRAGMA journal_mode=WAL; CREATE TABLE t(a)")
	for i, op := range []int32{lib.SQLITE_FCNTL_FILE_POINTER, lib.SQLITE_FCNTL_JOURNAL_POINTER} {
		if rc := lib.Xsqlite3_file_control(r.tls, r.db, 0, op, cell); rc != 0 {
			t.Fatal(rc)
		}
		r.files[i] = *cmem.At[uintptr](cell)
	}
	r.database = cmem.At[lib.Tsqlite3_io_methods](cmem.At[lib.Tsqlite3_file](r.files[0]).FpMethods)
	r.wal = cmem.At[lib.Tsqlite3_io_methods](cmem.At[lib.Tsqlite3_file](r.files[1]).FpMethods)
	r.end = r.size()
	t.Cleanup(func() {
		if rc := lib.Xsqlite3_close(r.tls, r.db); rc != 0 {
			t.Error(rc)
		}
		for _, p := range []uintptr{cell, r.page, path, name} {
			libc.Xfree(r.tls, p)
		}
		r.tls.Close()
	})
	return r
}

func (r *raw) exec(script string) {
	r.t.Helper()
	z, _ := libc.CString(script)
	defer libc.Xfree(r.tls, z)
	if rc := lib.Xsqlite3_exec(r.tls, r.db, z, 0, 0, 0); rc != 0 {
		r.t.Fatalf("%s: %d", script, rc)
	}
}

// size is how long the WAL is on disk.
func (r *raw) size() int64 {
	r.t.Helper()
	fi, err := os.Stat(r.path + "-wal")
	if err != nil {
		r.t.Fatal(err)
	}
	return fi.Size()
}

func (r *raw) lock(flags int32) {
	r.t.Helper()
	shmLock := cmem.GoFunc[func(*libc.TLS, uintptr, int32, int32, int32) int32](r.database.FxShmLock)
	if rc := shmLock(r.tls, r.files[0], writeLock, 1, flags|lib.SQLITE_SHM_EXCLUSIVE); rc != 0 {
		r.t.Fatal(rc)
	}
}

func (r *raw) barrier() {
	cmem.GoFunc[func(*libc.TLS, uintptr)](r.database.FxShmBarrier)(r.tls, r.files[0])
}

type ioFunc = func(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32

func (r *raw) write(n int32, offset int64) int32 {
	return cmem.GoFunc[ioFunc](r.wal.FxWrite)(r.tls, r.files[1], r.page, n, offset)
}

func (r *raw) read(n int32, offset int64) int32 {
	return cmem.GoFunc[ioFunc](r.wal.FxRead)(r.tls, r.files[1], r.page, n, offset)
}

// frame writes one behind i others.
func (r *raw) frame(i int64, commit uint32) {
	r.t.Helper()
	const size = frameHeader + 4096
	binary.BigEndian.PutUint32(cmem.Bytes(r.page, frameHeader)[commitField:], commit)
	if rc := r.write(frameHeader, r.end+i*size); rc != 0 {
		r.t.Fatal(rc)
	}
	if rc := r.write(4096, r.end+i*size+frameHeader); rc != 0 {
		r.t.Fatal(rc)
	}
}

func (r *raw) expect(what string, frames int64) {
	r.t.Helper()
	if n := r.size() - r.end; n != frames*(frameHeader+4096) {
		r.t.Errorf("%s: %d bytes are written, not %d frames", what, n, frames)
	}
}

// TestWhenWritten: frames are written when their commit is complete, when they are read,
// and before anything else happens to the file; and never once the lock is given up.
func TestWhenWritten(t *testing.T) {
	r := openRaw(t, joined)
	r.frame(0, 1)
	r.expect("a frame without the lock", 1)
	r.lock(lib.SQLITE_SHM_LOCK)
	r.frame(1, 0)
	r.frame(2, 0)
	r.expect("two frames", 1)
	if rc := r.read(100, r.end); rc != 0 {
		t.Error(rc)
	}
	r.expect("another frame is read", 1)
	if rc := r.read(4096, r.end+frameHeader+4096+frameHeader); rc != 0 {
		t.Error(rc)
	}
	r.expect("one of them is read", 3)
	r.frame(3, 0)
	r.frame(4, 77)
	r.expect("a commit", 5)
	r.frame(5, 0)
	r.expect("more", 5)
	sync := cmem.GoFunc[func(*libc.TLS, uintptr, int32) int32](r.wal.FxSync)
	if rc := sync(r.tls, r.files[1], lib.SQLITE_SYNC_NORMAL); rc != 0 {
		t.Error(rc)
	}
	r.expect("a sync", 6)
	r.frame(6, 0)
	r.frame(2, 0)
	r.expect("a frame is overwritten", 7)
	r.frame(7, 0)
	r.expect("and it goes on", 7)
	r.lock(lib.SQLITE_SHM_UNLOCK)
	r.lock(lib.SQLITE_SHM_LOCK)
	r.frame(7, 1)
	r.expect("the lock was given up: one frame in its place", 8)
	if rc := r.write(1000, r.end+8*(frameHeader+4096)); rc != 0 {
		t.Error(rc)
	}
	if n := r.size() - r.end - 8*(frameHeader+4096); n != 1000 {
		t.Errorf("of no frame %d bytes are written", n)
	}
	r.lock(lib.SQLITE_SHM_UNLOCK)
	if f := ours.at(layer.File(r.files[0])); f.buf == 0 || f.n != 0 || f.wal != layer.File(r.files[1]) {
		t.Error("the state is not that of the file")
	}
}

// TestSurprise: a SQLite that marks commits in another way announces frames that wait for
// theirs. They are written before that, and from then on everything is written at once.
func TestSurprise(t *testing.T) {
	v, err := register("surprised", plain)
	if err != nil {
		t.Fatal(err)
	}
	r := openRaw(t, "surprised")
	r.lock(lib.SQLITE_SHM_LOCK)
	r.frame(0, 0)
	r.barrier()
	r.expect("the barrier", 1)
	if !v.surprised.Load() {
		t.Error("nobody noticed")
	}
	r.lock(lib.SQLITE_SHM_UNLOCK)
	r.lock(lib.SQLITE_SHM_LOCK)
	r.frame(1, 0)
	r.expect("the next frame", 2)
	r.lock(lib.SQLITE_SHM_UNLOCK)
	made := spied.during(func() { r.exec("INSERT INTO t VALUES(1)") })
	if n := made[call{"wal", "write"}]; n != 2 {
		t.Errorf("%d writes", n)
	}
}

// TestFailureSticks: frames that could not be written are lost, although SQLite was told
// that they are: no commit of that transaction gets through, and no read of them.
func TestFailureSticks(t *testing.T) {
	r := openRaw(t, joined)
	r.lock(lib.SQLITE_SHM_LOCK)
	r.frame(0, 0)
	once := false
	spied.failing(func(c call, _ int32, _ int64) int32 {
		if c == (call{"wal", "write"}) && !once {
			once = true
			return lib.SQLITE_FULL
		}
		return 0
	}, func() {
		for range 2 {
			if rc := r.read(4096, r.end+frameHeader); rc != lib.SQLITE_FULL {
				t.Errorf("a read of the frame: %d", rc)
			}
		}
		if rc := r.write(frameHeader, r.end+frameHeader+4096); rc != lib.SQLITE_FULL {
			t.Errorf("the next write: %d", rc)
		}
		if rc := r.read(32, 0); rc != 0 {
			t.Errorf("a read of what is there: %d", rc)
		}
	})
	r.lock(lib.SQLITE_SHM_UNLOCK)
	r.exec("INSERT INTO t VALUES(1)")
}
