package doctor_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/doctor"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// ward is a healthy patient: a closed database whose backup is complete, in a folder.
type ward struct {
	t      *testing.T
	folder string // of the store
	open   driftdb.Config
	cfg    doctor.Config
}

// newWard makes the database with change, beyond the rows that all have. A nil store is a folder.
func newWard(t *testing.T, store objstore.Store, change func(*driftdb.Config)) *ward {
	t.Helper()
	w := &ward{t: t, folder: systemtest.MemoryDir(t)}
	if store == nil {
		store = systemtest.Must(objstore.Dir(w.folder))
	}
	w.open = driftdb.Config{Name: "app", Path: filepath.Join(systemtest.MemoryDir(t), "app.sqlite"), Store: store, ManualSync: true, Retry: driftdb.RetryPolicy{MaxRetries: -1}}
	if change != nil {
		change(&w.open)
	}
	w.write("CREATE TABLE t(n INTEGER PRIMARY KEY, x TEXT); INSERT INTO t(x) SELECT hex(randomblob(40)) FROM generate_series(1, 500)")
	w.cfg = doctor.Config{
		Path: w.open.Path, Store: store, Keys: w.open.EncryptionKeys, Retention: 30 * 24 * time.Hour, Limits: doctor.Defaults(),
		VerifiedAt: func(string, string) time.Time { return time.Now().Add(-time.Hour) },
	}
	return w
}

// write opens the database, executes a script, and closes it when that is sent.
func (w *ward) write(script string) {
	w.t.Helper()
	script = strings.ReplaceAll(script, "generate_series(1, 500)", "(WITH RECURSIVE s(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM s LIMIT 500) SELECT v FROM s)")
	w.run(w.open, script, true)
}

// run is another ward's opening of a database; sent says whether it is flushed.
func (w *ward) run(cfg driftdb.Config, script string, sent bool) {
	w.t.Helper()
	if !sent {
		cfg.CloseTimeout = -1
	}
	db := systemtest.Must(driftdb.Open(w.t.Context(), cfg))
	systemtest.Exec(w.t, db, script)
	if sent {
		systemtest.Check(w.t, db.Flush(w.t.Context()))
	}
	if err := db.Close(); err != nil && sent {
		w.t.Fatal(err)
	}
}

// crash puts in the database's place what a program that was killed after script leaves.
func (w *ward) crash(script string) {
	w.t.Helper()
	db := systemtest.Must(driftdb.Open(w.t.Context(), w.open))
	systemtest.Exec(w.t, db, script)
	left := filepath.Join(w.t.TempDir(), "left")
	systemtest.Check(w.t, systemtest.CloneDisk(w.open.Path, left))
	systemtest.Check(w.t, db.Close())
	for _, suffix := range []string{"", "-wal", "-lock"} {
		// In its place, so that it is the same file.
		data := systemtest.Must(os.ReadFile(left + suffix))
		systemtest.Check(w.t, os.WriteFile(w.open.Path+suffix, data, 0o600))
	}
}

// examine returns the findings by what they are about and their check.
func (w *ward) examine() map[string]doctor.Finding {
	w.t.Helper()
	found := map[string]doctor.Finding{}
	if err := doctor.Examine(w.t.Context(), w.cfg, func(f doctor.Finding) { found[f.About+" "+f.Check] = f }); err != nil {
		w.t.Fatal(err)
	}
	for line, f := range found {
		if (f.Status == doctor.Warning || f.Status == doctor.Failed) && f.Remedy == "" {
			w.t.Errorf("%s has no remedy: %+v", line, f)
		}
	}
	return found
}

// fault is a fault that a test plants.
type fault struct {
	name   string
	line   string // of the finding
	status doctor.Status
	found  string // is in it
	remedy string // is in it
	change func(*driftdb.Config)
	plant  func(*ward)
}

// try plants the fault, and sees whether it is found, and was not before.
func (f fault) try(t *testing.T) {
	w := newWard(t, nil, f.change)
	f.sees(w)
}

func (f fault) sees(w *ward) {
	w.t.Helper()
	before := w.examine()[f.line]
	if before.Status != doctor.OK {
		w.t.Errorf("before, %s is %+v", f.line, before)
	}
	f.plant(w)
	after := w.examine()[f.line]
	if after.Status != f.status || !strings.Contains(after.Found, f.found) || !strings.Contains(after.Remedy, f.remedy) {
		w.t.Errorf("%s is %+v, want %s, %q, %q", f.line, after, f.status, f.found, f.remedy)
	}
}
