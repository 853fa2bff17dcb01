package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// walFile is a database with a checkpointer.
type walFile struct {
	t    *testing.T
	path string
	cp   *sqlite.Checkpointer
	most int64 // MiB that the WAL had after a write
}

func newWALFile(t *testing.T) *walFile {
	path := filepath.Join(t.TempDir(), "x.sqlite")
	f := &walFile{t: t, path: path, cp: sqlite.NewCheckpointer(path, nil, func(err error) { t.Errorf("checkpoint: %v", err) })}
	t.Cleanup(func() {
		if err := f.cp.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *walFile) open() *sqlite.Conn {
	f.t.Helper()
	c, err := new(sqlite.Driver).Open(f.path, sqlite.Options{Checkpointer: f.cp, BusyTimeout: 10 * time.Second})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	return c
}

// size is the WAL's, in MiB. Stat leaves SQLite's locks alone.
func (f *walFile) size() int64 {
	info, err := os.Stat(f.path + "-wal")
	if err != nil {
		f.t.Fatal(err)
	}
	return info.Size() >> 20
}

// write commits n transactions of a MiB.
func (f *walFile) write(c *sqlite.Conn, n int) {
	f.t.Helper()
	for range n {
		if err := c.Exec("INSERT INTO b VALUES(zeroblob(1 << 20))"); err != nil {
			f.t.Fatal(err)
		}
		f.most = max(f.most, f.size())
	}
}

// eventually waits for what another goroutine brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// left is how many pages of the WAL are not in the database file yet.
func (f *walFile) left() (pages int64) {
	c, err := new(sqlite.Driver).Open(f.path, sqlite.Options{MustExist: true})
	if err != nil {
		f.t.Fatal(err)
	}
	defer c.Close()
	if err := c.Each("PRAGMA wal_checkpoint(NOOP)", func(st *sqlite.Stmt) error {
		pages = st.Int64(1) - st.Int64(2)
		return nil
	}); err != nil {
		f.t.Fatal(err)
	}
	return pages
}

// copied says that all of the WAL is in the database file: only then does the
// next writer begin it anew.
func (f *walFile) copied() bool { return f.left() == 0 }

// TestCheckpointer: a writer that never pauses does not outrun the copying.
func TestCheckpointer(t *testing.T) {
	f := newWALFile(t)
	c := f.open()
	exec(t, c, "CREATE TABLE b(data)")
	f.write(c, 200)
	if n := f.most; n < 16 || n > 64 {
		t.Errorf("the WAL had %d MiB; it begins anew after 16, and 64 are the limit", n)
	}
	if n, err := c.Text("PRAGMA integrity_check"); err != nil || n != "ok" {
		t.Error(n, err)
	}
}

// TestCheckpointerWithoutGaps: one long transaction right after the other leaves
// no gap in which the WAL could begin anew, so a writer makes one as soon as all
// is copied, also when much has gathered while the checkpoints were held.
func TestCheckpointerWithoutGaps(t *testing.T) {
	f := newWALFile(t)
	c, holder := f.open(), f.open()
	exec(t, c, "CREATE TABLE b(data)")
	holder.HoldCheckpoints()
	f.write(c, 40)
	long := func(n int) {
		f.write(c, n)
		exec(t, c, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 100000) SELECT count(*) FROM n")
	}
	exec(t, c, "BEGIN IMMEDIATE")
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the WAL is not copied", f.copied)
	long(4)
	exec(t, c, "COMMIT")
	for range 12 {
		exec(t, c, "BEGIN IMMEDIATE")
		long(4)
		exec(t, c, "COMMIT")
		f.most = max(f.most, f.size())
	}
	if f.most > 64 {
		t.Errorf("the WAL had %d MiB, 64 are the limit", f.most)
	}
}

// TestCheckpointerLargePages: the limits are bytes, whatever the page size.
func TestCheckpointerLargePages(t *testing.T) {
	f := newWALFile(t)
	plain, err := new(sqlite.Driver).Open(f.path, sqlite.Options{KeepJournal: true})
	if err != nil {
		t.Fatal(err)
	}
	exec(t, plain, "PRAGMA page_size=65536; CREATE TABLE b(data); PRAGMA journal_mode=WAL")
	if err := plain.Close(); err != nil {
		t.Fatal(err)
	}
	f.write(f.open(), 150)
	if f.most > 64 {
		t.Errorf("the WAL had %d MiB, 64 are the limit", f.most)
	}
}

// TestHoldCheckpoints: nothing is copied, and no writer waits, while a
// connection holds the checkpoints back; when it is closed the large WAL goes
// away, without a commit that would ask for it.
func TestHoldCheckpoints(t *testing.T) {
	f := newWALFile(t)
	c := f.open()
	exec(t, c, "CREATE TABLE b(data)")
	reader := f.open()
	reader.HoldCheckpoints()
	reader.HoldCheckpoints() // is one
	exec(t, reader, "BEGIN")
	if n, err := reader.Int("SELECT count(*) FROM b"); err != nil || n != 0 {
		t.Fatal(n, err)
	}
	f.write(c, 80)
	if n := f.size(); n < 80 {
		t.Errorf("the WAL has %d MiB, while a reader needs all of the 80 that were written", n)
	}
	if n, err := reader.Int("SELECT count(*) FROM b"); err != nil || n != 0 {
		t.Errorf("the reader sees %d rows of later (%v)", n, err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the WAL stays large", func() bool { return f.size() == 0 })
	f.most = 0
	f.write(c, 100)
	if f.most > 64 {
		t.Errorf("after the hold the WAL has grown to %d MiB", f.most)
	}
}

// TestReleaseCheckpoints: whoever ends his hold so finds the WAL copied back, and
// does not wait for it when his context has ended.
func TestReleaseCheckpoints(t *testing.T) {
	f := newWALFile(t)
	c := f.open()
	exec(t, c, "CREATE TABLE b(data)")
	reader := f.open()
	ended, end := context.WithCancel(t.Context())
	end()
	for _, ctx := range []context.Context{t.Context(), ended} {
		reader.HoldCheckpoints()
		f.write(c, 50)
		reader.ReleaseCheckpoints(ctx)
		if ctx.Err() == nil && !f.copied() {
			t.Error("the WAL is not copied back")
		}
	}
	reader.ReleaseCheckpoints(t.Context()) // does nothing without a hold
}

// TestCheckpointerReaders: a reader who holds nothing back, and reads an old
// state, stops no writer, and the WAL begins anew when he is done.
func TestCheckpointerReaders(t *testing.T) {
	f := newWALFile(t)
	c := f.open()
	exec(t, c, "CREATE TABLE b(data)")
	reader := f.open()
	exec(t, reader, "BEGIN")
	if _, err := reader.Int("SELECT count(*) FROM b"); err != nil {
		t.Fatal(err)
	}
	f.write(c, 100)
	if n := f.size(); n < 100 {
		t.Errorf("the WAL has %d MiB, while a reader needs all of the 100 that were written", n)
	}
	exec(t, reader, "COMMIT")
	f.write(c, 20)
	eventually(t, "the WAL is never copied back", f.copied)
}

// TestCheckpointerBriefReads: reads that each end soon, and of which one is always open, do not
// keep the WAL, whoever reads.
func TestCheckpointerBriefReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // whose clock stands still while anybody works
		f := newWALFile(t)
		c := f.open()
		run(t, c, "CREATE TABLE b(data)")
		var over atomic.Bool
		var readers sync.WaitGroup
		for _, takes := range []time.Duration{2 * time.Millisecond, 3 * time.Millisecond} {
			strange := openPlain(t, f.path, sqlite.Options{MustExist: true}) // as another process has it
			readers.Go(func() {
				for !over.Load() {
					run(t, strange, "BEGIN; SELECT count(*) FROM b")
					time.Sleep(takes)
					run(t, strange, "COMMIT")
				}
			})
		}
		for range 100 {
			f.write(c, 1)
			time.Sleep(time.Millisecond)
		}
		over.Store(true)
		readers.Wait()
		if f.most > 64 {
			t.Errorf("the WAL had %d MiB, 64 are the limit", f.most)
		}
	})
}

// TestCheckpointerReadEnds: when the reads that kept the WAL have ended it is cut,
// without a commit that would ask for it: the last of two that overlap, and one on
// a connection that the checkpointer knows nothing of, as another process has it.
func TestCheckpointerReadEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes 160 MiB")
	}
	f := newWALFile(t)
	c := f.open()
	exec(t, c, "CREATE TABLE b(data)")
	read := func(r *sqlite.Conn) {
		t.Helper()
		exec(t, r, "BEGIN; SELECT count(*) FROM b")
	}
	strange, err := new(sqlite.Driver).Open(f.path, sqlite.Options{MustExist: true})
	if err != nil {
		t.Fatal(err)
	}
	defer strange.Close()
	for name, reads := range map[string][]*sqlite.Conn{
		"two reads":       {f.open(), f.open()},
		"somebody else's": {strange},
	} {
		for _, r := range reads {
			read(r)
			f.write(c, 80/len(reads))
		}
		if n := f.size(); n < 80 {
			t.Errorf("%s: the WAL has %d MiB, which a read needs all of", name, n)
		}
		for _, r := range reads {
			exec(t, r, "COMMIT")
		}
		eventually(t, name+": the WAL stays large", func() bool { return f.size() == 0 })
	}
}

// TestCheckpointerCloses: Close ends a hold's and a writer's wait, and what it
// leaves is a database as SQLite knows it.
func TestCheckpointerCloses(t *testing.T) {
	f := newWALFile(t)
	c := f.open()
	exec(t, c, "CREATE TABLE b(data)")
	reader := f.open()
	reader.HoldCheckpoints()
	f.write(c, 60)
	if err := f.cp.Close(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.cp.Close(), reader.Close()); err != nil {
		t.Error(err)
	}
	f.write(c, 2)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(f.path + "-wal"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the last connection to be closed left the WAL (%v)", err)
	}
}

// TestCheckpointerAttached: a database that is attached is looked after as
// SQLite would.
func TestCheckpointerAttached(t *testing.T) {
	f := newWALFile(t)
	other := &walFile{t: t, path: filepath.Join(t.TempDir(), "other.sqlite")}
	c := f.open()
	exec(t, c, fmt.Sprintf("ATTACH '%s' AS o; PRAGMA o.journal_mode=WAL; CREATE TABLE o.b(data)", other.path))
	other.write(c, 30)
	if n := other.size(); n > 8 {
		t.Errorf("the WAL of the attached database has %d MiB", n)
	}
}

func exec(t *testing.T, c *sqlite.Conn, script string) {
	t.Helper()
	if err := c.Exec(script); err != nil {
		t.Fatalf("%s: %v", script, err)
	}
}

// TestReportMayWrite: whoever is told that the WAL cannot be copied may write to
// the database, however large the WAL is.
func TestReportMayWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sqlite")
	told, wrote := make(chan *sqlite.Conn, 1), make(chan bool)
	cp := sqlite.NewCheckpointer(filepath.Join(t.TempDir(), "elsewhere.sqlite"), nil, func(error) {
		c := <-told
		for range 30 {
			if err := c.Exec("INSERT INTO b VALUES(zeroblob(1 << 20))"); err != nil {
				t.Error(err)
			}
		}
		close(wrote)
	})
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{Checkpointer: cp, Synchronous: sqlite.SyncOff})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	run(t, c, "CREATE TABLE b(v)")
	for range 20 { // past walStart: there is something to copy
		run(t, c, "INSERT INTO b VALUES(zeroblob(1 << 20))")
	}
	told <- c
	select {
	case <-wrote:
	case <-time.After(30 * time.Second):
		t.Fatal("it waits for itself")
	}
	if err := cp.Close(); err != nil {
		t.Error(err)
	}
}
