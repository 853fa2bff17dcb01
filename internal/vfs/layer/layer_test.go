package layer_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"github.com/driftdb/driftdb-go/internal/vfs/layer"
	"modernc.org/libc"
	_ "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// counting is a layer that counts what its files do.
type counting struct {
	*layer.VFS
	opens, closes, writes, locks, deletes atomic.Int64
	own                                   layer.Methods
}

func newCounting(t *testing.T, name, base string) *counting {
	c := new(counting)
	c.own = layer.Methods{
		Close: func(tls *libc.TLS, f layer.File) int32 {
			c.closes.Add(1)
			if *cmem.At[int64](c.State(f)) != 42 {
				t.Error("the state of a file is lost")
			}
			return c.Below(f).Close(tls)
		},
		Write: func(tls *libc.TLS, f layer.File, buf uintptr, n int32, offset int64) int32 {
			c.writes.Add(1)
			return c.Below(f).Write(tls, buf, n, offset)
		},
		ShmLock: func(tls *libc.TLS, f layer.File, offset, n, flags int32) int32 {
			c.locks.Add(1)
			return c.Below(f).ShmLock(tls, offset, n, flags)
		},
	}
	var err error
	c.VFS, err = layer.Register(layer.Options{Name: name, Base: base, State: 8, Hooks: layer.Hooks{
		Open: func(tls *libc.TLS, name uintptr, f layer.File, flags int32, outFlags uintptr) int32 {
			if rc := c.Open(tls, name, f, flags, outFlags); rc != lib.SQLITE_OK {
				return rc
			}
			if state := cmem.At[int64](c.State(f)); *state != 0 || c.Attached(f) {
				t.Error("the state of a file is not new")
			} else {
				*state = 42
			}
			c.opens.Add(1)
			return c.Attach(tls, f, &c.own)
		},
		Delete: func(tls *libc.TLS, name uintptr, syncDir int32) int32 {
			c.deletes.Add(1)
			return c.Delete(tls, name, syncDir)
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestStack: a layer over a layer over the platform's VFS sees what its files do, in WAL
// mode and with a journal, and closes what it opened; nothing of it is Go's to collect.
func TestStack(t *testing.T) {
	lower := newCounting(t, "lower", "")
	upper := newCounting(t, "upper", "lower")
	path := filepath.Join(t.TempDir(), "app.db")
	for _, mode := range []string{"delete", "wal", "wal"} {
		db, err := sql.Open("sqlite", "file:///"+strings.TrimPrefix(filepath.ToSlash(path), "/")+"?vfs=upper")
		if err != nil {
			t.Fatal(err)
		}
		db.SetMaxOpenConns(2)
		for i := range 20 {
			runtime.GC()
			script := "PRAGMA journal_mode=%s; CREATE TABLE IF NOT EXISTS t(a); INSERT INTO t VALUES(%d)"
			if _, err := db.Exec(fmt.Sprintf(script, mode, i)); err != nil {
				t.Fatal(err)
			}
		}
		var n int
		var check string
		rows := db.QueryRow("SELECT count(*), (SELECT integrity_check FROM pragma_integrity_check) FROM t")
		if err := rows.Scan(&n, &check); err != nil || n%20 != 0 || check != "ok" {
			t.Errorf("%d rows, %s, %v", n, check, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []*counting{upper, lower} {
		opens, closes := c.opens.Load(), c.closes.Load()
		writes, locks, deletes := c.writes.Load(), c.locks.Load(), c.deletes.Load()
		if opens == 0 || opens != closes || writes == 0 || locks == 0 || deletes == 0 {
			t.Errorf("%d opens, %d closes, %d writes, %d locks, %d deletes", opens, closes, writes, locks, deletes)
		}
	}
	if upper.writes.Load() != lower.writes.Load() || upper.deletes.Load() != lower.deletes.Load() {
		t.Error("the layers see different calls")
	}
}

// TestNoBase: a layer over nothing is an error.
func TestNoBase(t *testing.T) {
	if _, err := layer.Register(layer.Options{Name: "none", Base: "no such VFS"}); err == nil {
		t.Error("registered")
	}
}
