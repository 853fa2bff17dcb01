package doctor_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/doctor"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	_ "modernc.org/sqlite"
)

const (
	firstKey  = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	secondKey = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
)

// fileFaults are planted in the file and its place.
var fileFaults = []fault{
	{name: "no file", line: "file kind", status: doctor.Failed, found: "there is no file", remedy: "driftdb restore",
		plant: func(w *ward) { systemtest.Check(w.t, os.Remove(w.open.Path)) }},
	{name: "a folder in its place", line: "file kind", status: doctor.Failed, found: "not a regular file", remedy: "path",
		plant: func(w *ward) {
			systemtest.Check(w.t, os.Remove(w.open.Path))
			systemtest.Check(w.t, os.Mkdir(w.open.Path, 0o700))
		}},
	{name: "truncated", line: "database header", status: doctor.Failed, found: "cut off", remedy: "driftdb restore",
		plant: func(w *ward) { systemtest.Check(w.t, os.Truncate(w.open.Path, 12288)) }},
	{name: "no database", line: "database header", status: doctor.Failed, found: "no SQLite database", remedy: "driftdb restore",
		plant: func(w *ward) { overwrite(w, 0, strings.Repeat("no database ", 400)) }},
	{name: "a corrupted page", line: "database pages", status: doctor.Failed, found: "quick_check finds the file damaged", remedy: "check the disk",
		plant: func(w *ward) { scribble(w) }},
	{name: "foreign write", line: "database other programs", status: doctor.Warning, found: "another program has written", remedy: "through the program",
		plant: func(w *ward) { foreignWrite(w, w.open.Path) }},
	{name: "replaced by a copy", line: "database other programs", status: doctor.Warning, found: "the file was replaced", remedy: "find out what did it",
		plant: func(w *ward) {
			copied := w.open.Path + ".copy"
			systemtest.Check(w.t, systemtest.CopyFile(w.open.Path, copied))
			foreignWrite(w, copied)
			systemtest.Check(w.t, os.Rename(copied, w.open.Path))
		}},
	{name: "foreign -wal", line: "file side files", status: doctor.Failed, found: "do not belong to this database", remedy: "move them away",
		plant: func(w *ward) {
			systemtest.Check(w.t, os.WriteFile(w.open.Path+"-wal", append([]byte{0x37, 0x7f, 6, 0x82, 0, 0, 0, 0, 0, 0, 2, 0}, make([]byte, 99)...), 0o600))
		}},
	{name: "hot journal", line: "file side files", status: doctor.Warning, found: "rollback journal", remedy: "takes back",
		plant: func(w *ward) {
			systemtest.Check(w.t, os.WriteFile(w.open.Path+"-journal", append([]byte("\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"), make([]byte, 504)...), 0o600))
		}},
	{name: "killed", line: "file shutdown", status: doctor.Warning, found: "was killed", remedy: "start the program",
		plant: func(w *ward) { w.crash("INSERT INTO t(x) VALUES('late')") }},
	{name: "large -wal", line: "file wal", status: doctor.Warning, found: "no program that has the database open", remedy: "wal_checkpoint",
		plant: func(w *ward) {
			w.cfg.Limits.WAL = 4096 // 200 MiB of a real one take too long
			w.crash("INSERT INTO t(x) VALUES(hex(randomblob(20000)))")
		}},
	{name: "leftovers", line: "file leftovers", status: doctor.Warning, found: "work-123", remedy: "next Open removes",
		plant: func(w *ward) {
			systemtest.Check(w.t, os.MkdirAll(w.open.Path+"-driftdb/work-123", 0o700))
			systemtest.Check(w.t, os.WriteFile(w.open.Path+"-driftdb/work-123/lock", nil, 0o600))
		}},
	{name: "set aside", line: "file leftovers", status: doctor.Warning, found: "-wal.left-1", remedy: "delete what was set aside",
		plant: func(w *ward) { systemtest.Check(w.t, os.WriteFile(w.open.Path+"-wal.left-1", nil, 0o600)) }},
	{name: "no room", line: "file space", status: doctor.Failed, found: "about to fail", remedy: "make room",
		plant: func(w *ward) { w.cfg.Limits.LowSpace = 1 << 62 }},
	{name: "backlog", line: "database unsent", status: doctor.Warning, found: "1 change is not sent", remedy: "start the program",
		plant: func(w *ward) {
			w.cfg.Limits.Unsent = 0
			w.run(w.open, "INSERT INTO t(x) VALUES('unsent')", false)
		}},
	{name: "log outgrows its limit", line: "database log", status: doctor.Warning, found: "not sent", remedy: "bring the bucket back",
		plant: func(w *ward) {
			w.cfg.Limits.Log = 10
			w.run(w.open, "INSERT INTO t(x) VALUES('unsent')", false)
		}},
	{name: "another name", line: "database driftdb", status: doctor.Failed, found: `belongs to the database "app"`, remedy: "--name app",
		plant: func(w *ward) { w.cfg.Name = "other" }},
	{name: "rows differ from the log", line: "database rows", status: doctor.Failed, found: "do not hold what the log says", remedy: "check the disk",
		plant: func(w *ward) { foreignWrite(w, w.open.Path) }, change: func(*driftdb.Config) {}},
}

// backupFaults are planted in the store and the backup.
var backupFaults = []fault{
	{name: "folder gone", line: "store address", status: doctor.Failed, found: "no such bucket", remedy: "create the bucket or folder",
		plant: func(w *ward) { systemtest.Check(w.t, os.RemoveAll(w.folder)) }},
	{name: "wrong key", line: "backup key", status: doctor.Failed, found: "key", remedy: "DRIFTDB_KEY", change: encrypted,
		plant: func(w *ward) { w.cfg.Keys = []string{secondKey} }},
	{name: "no key", line: "backup key", status: doctor.Failed, found: "key", remedy: "--key-file", change: encrypted,
		plant: func(w *ward) { w.cfg.Keys = nil }},
	{name: "needless key", line: "backup key", status: doctor.Failed, found: "not encrypted", remedy: "rekey",
		plant: func(w *ward) { w.cfg.Keys = []string{firstKey} }},
	{name: "emptied", line: "backup key", status: doctor.Failed, found: "has uploaded", remedy: "prefix",
		plant: func(w *ward) { systemtest.Check(w.t, os.RemoveAll(filepath.Join(w.folder, "databases", "app"))) }},
	{name: "no manifest", line: "backup key", status: doctor.Failed, found: "the manifest is gone", remedy: "driftdb repair",
		plant: func(w *ward) { w.delete("manifest.json") }},
	{name: "damaged manifest", line: "backup key", status: doctor.Failed, found: "damaged", remedy: "driftdb repair",
		plant: func(w *ward) { systemtest.Check(w.t, os.WriteFile(w.one("manifest.json"), []byte("{"), 0o600)) }},
	{name: "missing batch", line: "backup chain", status: doctor.Failed, found: "changes 1 to 501", remedy: "lifecycle rule",
		plant: func(w *ward) { w.delete("nodes/*/logs/*.json") }},
	{name: "missing snapshot", line: "backup chain", status: doctor.Failed, found: "snapshot databases/app/nodes", remedy: "db.Snapshot", change: func(cfg *driftdb.Config) { cfg.SnapshotEvery = 1 },
		plant: func(w *ward) { w.delete("nodes/*/snapshots/*") }},
	{name: "fenced", line: "backup writer", status: doctor.Failed, found: "another writer has fenced this file off", remedy: "driftdb resolve",
		plant: (*ward).fence},
	{name: "diverged", line: "backup history", status: doctor.Failed, found: "diverged", remedy: "driftdb resolve",
		plant: (*ward).fence},
	{name: "another node wrote last", line: "backup writer", status: doctor.Warning, found: "another node wrote last", remedy: "it catches up",
		plant: (*ward).takeOver},
	{name: "behind", line: "backup history", status: doctor.Warning, found: "the bucket has changes that the file lacks", remedy: "start the program",
		plant: (*ward).takeOver},
	{name: "snapshot too old", line: "backup snapshot", status: doctor.Warning, found: "a restore replays", remedy: "db.Snapshot",
		plant: func(w *ward) { w.cfg.Limits.Replay = 100 }},
	{name: "verification overdue", line: "backup verified", status: doctor.Warning, found: "overdue", remedy: "driftdb verify",
		plant: func(w *ward) {
			w.cfg.VerifiedAt = func(string, string) time.Time { return time.Now().Add(-20 * 24 * time.Hour) }
		}},
	{name: "never verified", line: "backup verified", status: doctor.Warning, found: "never", remedy: "driftdb verify",
		plant: func(w *ward) { w.cfg.VerifiedAt = nil }},
	{name: "retention not applied", line: "backup retention", status: doctor.Warning, found: "1 object (9 bytes) could be deleted", remedy: "driftdb gc",
		plant: func(w *ward) {
			w.cfg.Limits.Garbage = 0
			stray := filepath.Join(filepath.Dir(filepath.Dir(w.one("nodes/*/logs/*.json"))), "snapshots", "1.sqlite")
			systemtest.Check(w.t, os.MkdirAll(filepath.Dir(stray), 0o700))
			systemtest.Check(w.t, os.WriteFile(stray, []byte("a garbage"), 0o600))
			long := time.Now().Add(-9 * 24 * time.Hour)
			systemtest.Check(w.t, os.Chtimes(stray, long, long))
		}},
	{name: "faults of the data", line: "backup faults", status: doctor.Warning, found: "refer", remedy: "repair the data", change: func(cfg *driftdb.Config) { cfg.SnapshotEvery = 1 },
		plant: func(w *ward) {
			w.write("PRAGMA foreign_keys = OFF; CREATE TABLE u(n REFERENCES t); INSERT INTO u VALUES(99999)")
			w.write("INSERT INTO t(x) SELECT hex(randomblob(400)) FROM generate_series(1, 500)")
		}},
}

func TestFaultsOfTheFile(t *testing.T) {
	for _, f := range fileFaults {
		t.Run(f.name, func(t *testing.T) {
			w := newWard(t, nil, f.change)
			w.cfg.Full = true
			f.sees(w)
		})
	}
}

func TestFaultsOfTheBackup(t *testing.T) {
	for _, f := range backupFaults {
		t.Run(f.name, f.try)
	}
}

// TestHealthy: nothing is wrong with a healthy database, and it is the same afterwards, and so is
// its backup. With ReadOnly, nothing is written even for a moment.
func TestHealthy(t *testing.T) {
	for _, readOnly := range []bool{false, true} {
		w := newWard(t, nil, encrypted)
		w.cfg.Full, w.cfg.ReadOnly = true, readOnly
		file, place, bucket := fingerprint(t, w.open.Path), listing(t, filepath.Dir(w.open.Path)), listing(t, w.folder)
		tried := 0
		for line, f := range w.examine() {
			switch f.Status {
			case doctor.OK:
				tried++
			case doctor.NotTried:
				if !readOnly {
					t.Errorf("%s was not tried: %s", line, f.Found)
				}
			default:
				t.Errorf("%s: %+v", line, f)
			}
		}
		if tried < 30 {
			t.Errorf("%d checks were tried", tried)
		}
		if now := fingerprint(t, w.open.Path); now != file {
			t.Errorf("the file was %s, and is %s", file, now)
		}
		if now := listing(t, filepath.Dir(w.open.Path)); now != place {
			t.Errorf("beside the file there was\n%s, and is\n%s", place, now)
		}
		if now := listing(t, w.folder); now != bucket {
			t.Errorf("in the store there was\n%s, and is\n%s", bucket, now)
		}
	}
}

// TestCrashedStaysCrashed: what a killed program leaves is evidence for the next Open, and stays.
func TestCrashedStaysCrashed(t *testing.T) {
	w := newWard(t, nil, nil)
	w.crash("INSERT INTO t(x) VALUES('late')")
	wal := fingerprint(t, w.open.Path+"-wal")
	found := w.examine()
	if now := fingerprint(t, w.open.Path+"-wal"); now != wal {
		t.Errorf("the -wal was %s, and is %s", wal, now)
	}
	if f := found["database other programs"]; f.Status != doctor.OK {
		t.Errorf("after a crash: %+v", f)
	}
	var foreign []string
	w.open.OnEvent = func(e driftdb.Event) {
		if e.Kind == driftdb.EventForeignWrite {
			foreign = append(foreign, e.Message)
		}
	}
	w.write("INSERT INTO t(x) VALUES('later')")
	if len(foreign) > 0 {
		t.Errorf("the next Open takes the doctor for another program: %q", foreign)
	}
}

// TestNothingGiven: what is not given is not tried, and said so.
func TestNothingGiven(t *testing.T) {
	w := newWard(t, nil, nil)
	w.cfg.Path, w.cfg.Name = "", "app"
	for line, f := range w.examine() {
		about, _, _ := strings.Cut(line, " ")
		if isFile := about == "file" || about == "database" || line == "backup history"; isFile != (f.Status == doctor.NotTried) {
			t.Errorf("without a file, %s: %+v", line, f)
		}
	}
	w.cfg.Path, w.cfg.Store = w.open.Path, nil
	for line, f := range w.examine() {
		about, _, _ := strings.Cut(line, " ")
		if isFile := about == "file" || about == "database"; isFile && f.Status != doctor.OK && line != "database rows" || !isFile && f.Status != doctor.NotTried {
			t.Errorf("without a store, %s: %+v", line, f)
		}
	}
}

// TestNothingLeft: a store that stops to answer in the middle of the trials, at any request of
// theirs, keeps nothing of them.
func TestNothingLeft(t *testing.T) {
	w := newWard(t, nil, nil)
	store := &stalling{Store: w.cfg.Store}
	w.cfg.Store, w.cfg.Limits.Patience = store, 200*time.Millisecond
	before := strings.Join(systemtest.Keys(t, w.open.Store), " ")
	for at := int64(1); ; at++ {
		store.trials.Store(0)
		store.at = at
		w.examine()
		if now := strings.Join(systemtest.Keys(t, w.open.Store), " "); now != before {
			t.Fatalf("it stalled at the trials' request %d, and there is now %s", at, now)
		}
		if store.trials.Load() < at {
			break
		}
	}
}

// stalling is a store that does not answer one request for a doctor's object in time: it does what
// it was asked for, and says nothing until the request is given up. What comes with a context that
// has ended is not sent.
type stalling struct {
	objstore.Store
	at     int64
	trials atomic.Int64
}

func (s *stalling) stall(ctx context.Context, key string) error {
	if strings.Contains(key, "/nodes/doctor/") && s.trials.Add(1) == s.at {
		<-ctx.Done()
	}
	return ctx.Err()
}

func (s *stalling) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	if ctx.Err() != nil {
		return objstore.Info{}, ctx.Err()
	}
	info, err := s.Store.Put(ctx, key, body, opts)
	return info, cmp.Or(s.stall(ctx, key), err)
}

func (s *stalling) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	if err := s.stall(ctx, key); err != nil {
		return nil, objstore.Info{}, err
	}
	return s.Store.Get(ctx, key, opts)
}

func (s *stalling) Delete(ctx context.Context, key string) error {
	if err := s.stall(ctx, key); err != nil {
		return err
	}
	return s.Store.Delete(ctx, key)
}

func encrypted(cfg *driftdb.Config) { cfg.EncryptionKeys = []string{firstKey} }

func overwrite(w *ward, at int64, text string) {
	w.t.Helper()
	f := systemtest.Must(os.OpenFile(w.open.Path, os.O_WRONLY, 0))
	_, err := f.WriteAt([]byte(text), at)
	systemtest.Check(w.t, err)
	systemtest.Check(w.t, f.Close())
}

// scribble damages the root page of the table t.
func scribble(w *ward) {
	w.t.Helper()
	db := systemtest.Must(sql.Open("sqlite", w.open.Path))
	var root, page int64
	systemtest.Check(w.t, db.QueryRow("SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size WHERE name = 't'").Scan(&root, &page))
	systemtest.Check(w.t, db.Close())
	overwrite(w, (root-1)*page, strings.Repeat("\xff", 200))
}

func foreignWrite(w *ward, path string) {
	w.t.Helper()
	db := systemtest.Must(sql.Open("sqlite", path))
	_, err := db.Exec("INSERT INTO t(x) VALUES('by another program')")
	systemtest.Check(w.t, err)
	systemtest.Check(w.t, db.Close())
}

// one is the path of the only object of the database that matches a pattern.
func (w *ward) one(pattern string) string {
	w.t.Helper()
	found := systemtest.Must(filepath.Glob(filepath.Join(w.folder, "databases", "app", filepath.FromSlash(pattern))))
	if len(found) == 0 {
		w.t.Fatalf("no object matches %s", pattern)
	}
	return found[0]
}

func (w *ward) delete(pattern string) { systemtest.Check(w.t, os.Remove(w.one(pattern))) }

// elsewhere is the same database on another machine.
func (w *ward) elsewhere() driftdb.Config {
	other := w.open
	other.Path, other.AutoRestore = filepath.Join(w.t.TempDir(), "other.sqlite"), true
	return other
}

// takeOver lets another machine write.
func (w *ward) takeOver() {
	w.run(w.elsewhere(), "INSERT INTO t(x) VALUES('elsewhere')", true)
}

// fence lets another machine write, while this one has written what it could not send.
func (w *ward) fence() {
	w.run(w.open, "INSERT INTO t(x) VALUES('here')", false)
	w.takeOver()
}

func fingerprint(t *testing.T, path string) string {
	t.Helper()
	info, data := systemtest.Must(os.Stat(path)), systemtest.Must(os.ReadFile(path))
	return info.ModTime().String() + " " + fmt.Sprintf("%x", sha256.Sum256(data))
}

// listing is the names of all files below a folder.
func listing(t *testing.T, folder string) string {
	t.Helper()
	var names strings.Builder
	systemtest.Check(t, filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
		names.WriteString(path + "\n")
		return err
	}))
	return names.String()
}
