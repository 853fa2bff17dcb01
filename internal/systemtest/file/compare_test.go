package file_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/syncer"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// compared compares a closed file with its bucket, and sees to it that nothing is
// written.
func compared(t *testing.T, cfg driftdb.Config, unchanged, exclusive bool) (syncer.Comparison, error) {
	t.Helper()
	c, err := new(sqlite.Driver).Open(cfg.Path, sqlite.Options{MustExist: true, QueryOnly: true, KeepJournal: true})
	systemtest.Check(t, err)
	before, err := os.ReadFile(cfg.Path) // nobody else has it open
	systemtest.Check(t, err)
	f, err := syncer.Look(c, unchanged)
	systemtest.Check(t, err)
	store := objstoretest.Break(cfg.Store, func(c objstoretest.Call) objstoretest.Fault {
		if c.Op == objstoretest.Put || c.Op == objstoretest.Delete {
			t.Errorf("%v of %s", c.Op, c.Key)
		}
		return objstoretest.Fault{}
	})
	comparison, err := syncer.Compare(t.Context(), remote.New(store, cfg.Name, seal.Options{}), f, exclusive)
	systemtest.Check(t, c.Close())
	if after, rerr := os.ReadFile(cfg.Path); rerr != nil || !bytes.Equal(before, after) {
		t.Errorf("the file has changed (%v)", rerr)
	}
	return comparison, err
}

// TestCompare: what a file and its bucket can be to each other.
func TestCompare(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 3)
	systemtest.Check(t, db.Shutdown(ctx))
	old := systemtest.CopyClosed(t, cfg)
	db = systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('more')")
	systemtest.Check(t, errors.Join(db.Flush(ctx), db.Close())) // which, without background sync, does not say that the name is free

	// A copy of a file, with something that DriftDB or another program has written.
	written := func(t *testing.T, cfg driftdb.Config, node, script string) driftdb.Config {
		mine := systemtest.CopyClosed(t, cfg)
		there := mine
		there.Store, there.NodeID = objstore.Mem(), node
		db := systemtest.Open(t, there)
		systemtest.Exec(t, db, script)
		systemtest.Check(t, db.Close())
		return mine
	}
	byAnother := func(t *testing.T, script string) driftdb.Config {
		mine := systemtest.CopyClosed(t, old)
		foreignExec(t, mine.Path, script)
		return mine
	}
	unseen := func(t *testing.T, store objstore.Store) driftdb.Config {
		other := cfg
		other.Path, other.Store = filepath.Join(t.TempDir(), "other.sqlite"), store
		c, err := new(sqlite.Driver).Open(other.Path, sqlite.Options{})
		systemtest.Check(t, err)
		systemtest.Check(t, errors.Join(c.Exec("CREATE TABLE theirs(x)"), c.Close()))
		return other
	}
	for name, c := range map[string]struct {
		file               func(t *testing.T) driftdb.Config
		touched, exclusive bool
		behind, proven     bool
		want               error
		says               string
	}{
		"up to date":         {file: func(t *testing.T) driftdb.Config { return systemtest.CopyClosed(t, cfg) }},
		"up to date, a copy": {file: func(t *testing.T) driftdb.Config { return systemtest.CopyClosed(t, cfg) }, touched: true},
		"up to date, and nobody else may write": {
			file: func(t *testing.T) driftdb.Config { return systemtest.CopyClosed(t, cfg) }, exclusive: true,
		},
		"a change to send": {
			file: func(t *testing.T) driftdb.Config { return written(t, cfg, "", "INSERT INTO t(v) VALUES('mine')") },
		},
		"behind":         {file: func(t *testing.T) driftdb.Config { return systemtest.CopyClosed(t, old) }, behind: true},
		"behind, a copy": {file: func(t *testing.T) driftdb.Config { return systemtest.CopyClosed(t, old) }, touched: true, behind: true, proven: true},
		"behind, with a row of another program": {
			file:    func(t *testing.T) driftdb.Config { return byAnother(t, "INSERT INTO t(v) VALUES('theirs')") },
			touched: true, want: syncer.ErrDiverged, says: `table "t" does not hold the rows`,
		},
		"behind, with a table of another program": {
			file:    func(t *testing.T) driftdb.Config { return byAnother(t, "CREATE TABLE theirs(x)") },
			touched: true, want: syncer.ErrDiverged, says: "changed the schema",
		},
		"behind, with a change of its own": {
			file: func(t *testing.T) driftdb.Config { return written(t, old, "", "INSERT INTO t(v) VALUES('mine')") },
			want: syncer.ErrDiverged, says: "the changes up to 5 differ",
		},
		"a file that nobody has seen": {
			file: func(t *testing.T) driftdb.Config { return unseen(t, cfg.Store) },
			want: syncer.ErrDiverged, says: "this file is not a copy of it",
		},
		"such a file, and an empty bucket": {file: func(t *testing.T) driftdb.Config { return unseen(t, objstore.Mem()) }},
		"another database": {file: func(t *testing.T) driftdb.Config {
			other := systemtest.Config(t)
			db := systemtest.Open(t, other)
			systemtest.Some(t, db, "t", 3)
			systemtest.Check(t, db.Close())
			other.Store = cfg.Store
			return other
		}, want: syncer.ErrDiverged, says: "another database"},
		"held by another node": {
			file: func(t *testing.T) driftdb.Config {
				return written(t, cfg, "somebody", "INSERT INTO t(v) VALUES('mine')")
			},
			exclusive: true, want: syncer.ErrHeld, says: "this one is node somebody",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := compared(t, c.file(t), !c.touched, c.exclusive)
			if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v, want %v with %q", err, c.want, c.says)
			}
			if err == nil && (got.Behind() != c.behind || got.Proven() != c.proven) {
				t.Errorf("behind %v, proven %v", got.Behind(), got.Proven())
			}
		})
	}
}

// TestCompareUnknown: a copy of a file with a table of which no digest is known
// cannot be shown to be one.
func TestCompareUnknown(t *testing.T) {
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 3)
	systemtest.Exec(t, db, "ALTER TABLE t ADD COLUMN w DEFAULT 7")
	systemtest.Check(t, db.Shutdown(t.Context()))
	old := systemtest.CopyClosed(t, cfg)
	db = systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('more')")
	systemtest.Check(t, db.Shutdown(t.Context()))
	if c, err := compared(t, old, true, false); err != nil || !c.Behind() {
		t.Errorf("behind %v, %v", c.Behind(), err)
	}
	_, err := compared(t, old, false, false)
	if !errors.Is(err, syncer.ErrDiverged) || !strings.Contains(err.Error(), `the contents of table "t" are not known`) {
		t.Error(err)
	}
}

// TestLookVersion: what a newer program has written is not looked at.
func TestLookVersion(t *testing.T) {
	cfg := systemtest.Config(t)
	systemtest.Some(t, systemtest.Open(t, cfg), "t", 1)
	c, err := new(sqlite.Driver).Open(cfg.Path, sqlite.Options{MustExist: true})
	systemtest.Check(t, err)
	defer c.Close()
	systemtest.Check(t, c.Exec("BEGIN; UPDATE _driftdb_meta SET value = 99 WHERE key = 'format'"))
	if _, err := syncer.Look(c, true); !errors.Is(err, changelog.ErrVersion) {
		t.Error(err)
	}
	systemtest.Check(t, c.Exec("ROLLBACK"))
}
