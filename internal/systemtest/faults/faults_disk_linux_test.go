package faults_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/mounttest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/internal/systemtest/subprocess"
	"github.com/driftdb/driftdb-go/objstore"
)

const fullRows = 20

// TestDiskFull: another program fills the disk while there are changes to send. They
// are sent all the same, once each, and a snapshot is if it is asked for. When there
// is room again the file says what the bucket has; a process that dies before that
// leaves a file that goes on.
func TestDiskFull(t *testing.T) {
	dir := mounttest.Disk(t, "size=16m")
	if dir == "" {
		return
	}
	systemtest.Check(t, os.MkdirAll(filepath.Join(dir, "store"), 0o700))
	f := newFull(t, dir)
	t.Run("before the session has sent anything", f.fromTheBeginning)
	t.Run("and room again", f.roomAgain)
	t.Run("and killed", f.killed)
}

// full is a test on a disk of its own.
type full struct {
	dir   string
	store objstore.Store
}

func newFull(t testing.TB, dir string) *full {
	t.Helper()
	store, err := objstore.Dir(filepath.Join(dir, "store"))
	systemtest.Check(t, err)
	return &full{dir: filepath.Join(dir, "disk"), store: store}
}

func (f *full) config(name string) driftdb.Config {
	return driftdb.Config{
		Name: name, Path: filepath.Join(f.dir, name+".sqlite"), Store: f.store, ManualSync: true,
		SyncInterval: 5 * time.Millisecond, ManifestInterval: 5 * time.Millisecond, MaxBatchSize: 3, SnapshotEvery: 4,
	}
}

// fill commits rows, fills the disk, and lets the engine send them.
func (f *full) fill(t testing.TB, db *driftdb.DB) (filler string) {
	t.Helper()
	systemtest.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
	systemtest.Check(t, db.Flush(t.Context()))
	return f.fillBehind(t, db)
}

// fillBehind is fill for a database that has the table.
func (f *full) fillBehind(t testing.TB, db *driftdb.DB) (filler string) {
	t.Helper()
	for range fullRows {
		systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('committed before the disk was full')")
	}
	filler = filepath.Join(f.dir, "filler")
	file, err := os.Create(filler)
	systemtest.Check(t, err)
	defer file.Close()
	for size := 1 << 20; size > 0; size /= 2 { // to the last byte
		for err = nil; err == nil; {
			_, err = file.Write(make([]byte, size))
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	db.StartSync()
	systemtest.Eventually(t, "all is confirmed, with a full disk", func() bool { return db.Metrics().ConfirmedSequence == db.Sequence() })
	return filler
}

// fromTheBeginning: the session has no epoch yet when the disk is full, and the bucket
// knows the database.
func (f *full) fromTheBeginning(t *testing.T) {
	cfg := f.config("beginning")
	cfg.MaxBatchSize = 0 // all of it is one batch
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
	systemtest.Check(t, db.Shutdown(t.Context()))
	db = systemtest.Open(t, cfg)
	systemtest.Check(t, os.Remove(f.fillBehind(t, db)))
	systemtest.Check(t, db.Close())
}

func (f *full) roomAgain(t *testing.T) {
	cfg := f.config("again")
	var warned, saved, snapshots atomic.Int64
	cfg.OnEvent = func(e driftdb.Event) {
		switch e.Kind {
		case driftdb.EventDiskFull:
			warned.Add(1)
		case driftdb.EventDiskFreed:
			saved.Add(1)
		case driftdb.EventSnapshotStored:
			snapshots.Add(1)
		}
	}
	db := systemtest.Open(t, cfg)
	filler := f.fill(t, db)
	if _, err := db.Snapshot(t.Context()); err != nil {
		t.Errorf("a snapshot: %v", err)
	}
	before := snapshots.Load()
	time.Sleep(30 * cfg.SyncInterval)
	if err := db.Metrics().LastError; err != nil || warned.Load() != 1 || saved.Load() != 0 || snapshots.Load() != before {
		t.Errorf("%v; warned %d times, saved %d times, %d snapshots and then %d", err, warned.Load(), saved.Load(), before, snapshots.Load())
	}
	systemtest.Check(t, os.Remove(filler))
	systemtest.Eventually(t, "the file says what was sent", func() bool { return saved.Load() > 0 })
	systemtest.Check(t, db.Close())
	f.says(t, cfg.Path, db.Sequence())
}

// says checks how much of the log the file says that the bucket has.
func (f *full) says(t *testing.T, path string, sequence int64) {
	t.Helper()
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{MustExist: true, KeepJournal: true})
	systemtest.Check(t, err)
	books, err := changelog.View(c).Books()
	systemtest.Check(t, err)
	jobs, err := c.Int("SELECT count(*) FROM _driftdb_queue")
	systemtest.Check(t, errors.Join(err, c.Close()))
	if books.Acked != sequence || books.Confirmed != sequence || jobs != 0 {
		t.Errorf("the file says that the bucket has the changes up to %d, %d of them confirmed, and has %d jobs; want %d", books.Acked, books.Confirmed, jobs, sequence)
	}
}

func (f *full) killed(t *testing.T) {
	cmd := fillUntilKilled.Command(t.Context(), filepath.Dir(f.dir))
	out, err := cmd.StdoutPipe()
	systemtest.Check(t, err)
	systemtest.Check(t, cmd.Start())
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if said = append(said, lines.Text()); lines.Text() == "sent" {
			systemtest.Check(t, cmd.Process.Kill())
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child ended by itself: %v\n%q", err, said)
	}
	cfg := f.config("killed")
	restored := filepath.Join(f.dir, "..", "restored.sqlite")
	res, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, Path: restored})
	if err != nil || res.Rows != fullRows {
		t.Fatalf("restored %d rows: %v", res.Rows, err)
	}
	systemtest.Check(t, os.Remove(filepath.Join(f.dir, "filler")))
	db := systemtest.Open(t, cfg)
	systemtest.Check(t, db.IntegrityCheck(t.Context()))
	if n := systemtest.Count(t, db, "t"); n != fullRows {
		t.Errorf("%d rows", n)
	}
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('goes on')")
	systemtest.Check(t, db.Flush(t.Context()))
}

// fillUntilKilled fills the disk of a folder, and says when all is sent.
var fillUntilKilled = subprocess.Register("fillUntilKilled", func(t testing.TB, args []string) {
	f := newFull(t, args[0])
	f.fill(t, systemtest.Open(t, f.config("killed")))
	fmt.Println("sent")
	select {}
})
