package disktest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/internal/vfs/vfstest"
)

// TestFlippedBits: a disk that once reads a wrong bit. SQLite has no checksums in its pages,
// so the program may see it, and what it writes then may be wrong for good. But the next
// snapshot, which compares the file with the digests that come from the log, finds a file
// that is wrong; or the file, its backup and what was committed are the same. (VACUUM writes
// what it reads, and the log begins anew with that: a wrong bit there is kept.)
func TestFlippedBits(t *testing.T) {
	seeded(t)
	for _, name := range []string{"write", "checkpoint", "group commit"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scene, dir := stage(t, scenarios[name]), systemtest.MemoryDir(t)
			rng := rand.New(rand.NewPCG(*seed, 2))
			for range some(*faults) / 8 {
				f := vfstest.Fault{On: vfstest.Read, How: vfstest.Flip, At: 1 + rng.IntN(scene.ops[vfstest.Read]), Times: 1, Bit: uint(rng.Uint32())}
				w, err := scene.play(dir, f)
				if err == nil {
					err = w.silent(filepath.Join(dir, "restored"))
				}
				if err != nil {
					t.Errorf("%+v: %v", f, err)
				}
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// reports are the events that tell of a damaged file.
var reports = []driftdb.EventKind{driftdb.EventDigestMismatch, driftdb.EventFaultsFound, driftdb.EventFileMalformed, driftdb.EventDiverged}

// silent says what is wrong with a database that nobody has complained about.
func (w *world) silent(restored string) (err error) {
	ctx := context.Background()
	var told events
	w.cfg.OnEvent = told.add
	db, err := driftdb.Open(ctx, w.cfg)
	if err != nil {
		return nil
	}
	defer func() {
		if db != nil {
			db.Close()
		}
	}()
	if err := db.IntegrityCheck(ctx); err != nil {
		return nil
	}
	if _, err := db.Snapshot(ctx); err != nil {
		return nil
	}
	if slices.ContainsFunc(told.all, func(e driftdb.Event) bool { return slices.Contains(reports, e.Kind) }) {
		return nil
	}
	s, err := stateOf(db)
	if want := w.committed(); err == nil && !s.covers(want) {
		err = fmt.Errorf("it has %v, and %v was committed", s, want)
	}
	if err != nil {
		return told.told(err)
	}
	err = db.Close()
	db = nil
	path := filepath.Join(restored, "app.sqlite")
	_, failed := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: w.cfg.Name, Store: w.bucket, Path: path})
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	return dbtest.Compare(w.cfg.Path, path)
}
