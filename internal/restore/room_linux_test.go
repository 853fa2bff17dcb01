package restore

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/mounttest"
	"github.com/driftdb/driftdb-go/internal/remote"
)

// TestFullDisk: whatever a manifest allows, a restore fails before it has filled the
// disk, and leaves nothing there. A manifest that allows more than there is room for is
// no reason to refuse a small database.
func TestFullDisk(t *testing.T) {
	dir := mounttest.Disk(t, "size=48m")
	if dir == "" {
		return
	}
	disk := filepath.Join(dir, "disk")
	h := newHistory(t)
	h.m.Largest = remote.Extent{Pages: 1 << 20, PageSize: 4096}
	before := swell(h, swelling["a generated column"])
	file, err := dbfile.Take(filepath.Join(disk, "r.db"))
	h.must(err)
	defer file.Release()
	if _, err = Run(t.Context(), h.b, Options{File: file}); !errors.Is(err, ErrNoRoom) {
		t.Error(err)
	}
	if left, err := os.ReadDir(disk); err != nil || len(left) > 1 { // the lock
		t.Errorf("it left %v (%v)", left, err)
	}
	if _, err = Run(t.Context(), h.b, Options{File: file, Target: Target{Sequence: before}}); err != nil {
		t.Error("the point before:", err)
	}
}

// TestFullTemporaryDisk: neither does what SQLite sorts fill the disk where it does that.
func TestFullTemporaryDisk(t *testing.T) {
	dir := mounttest.Disk(t, "size=48m", "TMPDIR={disk}")
	if dir == "" {
		return
	}
	file, err := dbfile.Take(filepath.Join(dir, "r.db"))
	h := newHistory(t)
	h.must(err)
	defer file.Release()
	swell(h, swelling["an index"])
	if _, err := Run(t.Context(), h.b, Options{File: file}); !errors.Is(err, ErrNoRoom) {
		t.Error(err)
	}
}
