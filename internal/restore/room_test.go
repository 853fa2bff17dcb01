package restore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go/internal/apply"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/remote"
)

// swelling are histories of a few kilobytes that make a database of 100 MB: a statement
// before 100 rows of t, and some after.
var swelling = map[string][]string{
	"a generated column": {"CREATE TABLE t(id INTEGER PRIMARY KEY, a, b AS (zeroblob(1000000)) STORED)"},
	"an index":           {"CREATE TABLE t(id INTEGER PRIMARY KEY, a)", "CREATE INDEX i ON t(zeroblob(1000000 + a))"},
	"a column's index":   {"CREATE TABLE t(id INTEGER PRIMARY KEY, a)", "ALTER TABLE t ADD COLUMN b AS (zeroblob(1000000))", "CREATE INDEX i ON t(b)"},
}

// swell stores such a history, and returns the sequence before it becomes large.
func swell(h *history, sql []string) (before int64) {
	h.batch([]change.Entry{statement(sql[0])})
	before = h.m.LatestSequence
	for from := int64(0); from < 100; from += 20 {
		var rows []change.Entry
		for i := from; i < from+20; i++ {
			id := integer("id", i)
			rows = append(rows, change.Entry{Op: change.Insert, Table: "t", Key: []change.Column{id}, After: []change.Column{id, integer("a", i)}})
		}
		h.batch(rows)
	}
	for _, sql := range sql[1:] {
		h.batch([]change.Entry{statement(sql)})
	}
	h.confirm()
	return before
}

// TestSwelling: a restored database does not grow far beyond what its manifest says that
// it ever was. Without that the history is a good one.
func TestSwelling(t *testing.T) {
	for name, sql := range swelling {
		h := newHistory(t)
		h.m.Largest = remote.Extent{Pages: 1024, PageSize: 4096}
		before := swell(h, sql)
		restore := func() (most int64, left []string, err error) {
			file, err := dbfile.Take(filepath.Join(t.TempDir(), "r.db"))
			h.must(err)
			defer file.Release()
			_, err = Run(t.Context(), h.b, Options{File: file, Progress: func(Progress) { most = max(most, largestFile(file.Path())) }})
			left, _ = filepath.Glob(file.Path() + "*")
			return most, left, err
		}
		most, left, err := restore()
		if !errors.Is(err, apply.ErrForged) || !errors.Is(err, ErrDamaged) || most > 81<<20 {
			t.Errorf("%s: %v; at most %d MB", name, err, most>>20)
		}
		if len(left) > 1 { // the lock
			t.Errorf("%s: it left %v", name, left)
		}
		if _, _, err := h.restore(before); err != nil {
			t.Errorf("%s: the point before: %v", name, err)
		}
		if testing.Short() || len(sql) > 1 {
			continue
		}
		h.m.Largest.Pages *= 8
		h.confirm()
		if most, _, err := restore(); err != nil || most < 90<<20 {
			t.Errorf("%s, when it was that large: %v; at most %d MB", name, err, most>>20)
		}
	}
}

// TestSwellingFile: neither does a file that is brought up to date.
func TestSwellingFile(t *testing.T) {
	h := newHistory(t)
	h.m.Largest = remote.Extent{Pages: 1024, PageSize: 4096}
	f := h.behind()
	swell(h, swelling["a generated column"])
	if _, err := f.catchUp(t.Context(), nil); !errors.Is(err, ErrCannotCatchUp) || !errors.Is(err, apply.ErrForged) {
		t.Error(err)
	}
	if size := largestFile(f.path); size > 170<<20 { // of the file, and its WAL
		t.Errorf("it has %d MB", size>>20)
	}
}

// TestExtentLimit: what the limits of pages come to.
func TestExtentLimit(t *testing.T) {
	for _, c := range []struct{ pages, size, of, least, most int64 }{
		{1024, 4096, 4096, 4096, 32 << 10}, {1024, 512, 4096, 4096, 32 << 10}, {1024, 65536, 4096, 64 << 10, 128 << 10},
	} {
		if got := (remote.Extent{Pages: c.pages, PageSize: c.size}).Limit(c.of); got < c.least || got > c.most {
			t.Errorf("%+v: %d", c, got)
		}
	}
	if (remote.Extent{}).Limit(4096) != 0 {
		t.Error("no extent is a limit")
	}
}

// largestFile is the size of the largest file below the folder of path.
func largestFile(path string) (size int64) {
	_ = filepath.Walk(filepath.Dir(path), func(_ string, info os.FileInfo, err error) error {
		if err == nil {
			size = max(size, info.Size())
		}
		return nil
	})
	return size
}

// TestNoRoom: a restore does not take the last of the room on a disk.
func TestNoRoom(t *testing.T) {
	r := newRoom(filepath.Join(t.TempDir(), "r.db"))
	if err := r.check(1 << 10); err != nil {
		t.Fatal(err)
	}
	if err := r.check(1 << 60); !errors.Is(err, ErrNoRoom) {
		t.Errorf("an exabyte has room: %v", err)
	}
	ctx, done := r.watch(t.Context())
	if err := done(nil); err != nil || !errors.Is(ctx.Err(), context.Canceled) {
		t.Errorf("%v, %v", err, ctx.Err())
	}
	r.leave[1] = 1 << 60
	ctx, done = r.watch(t.Context())
	<-ctx.Done()
	if err := done(ctx.Err()); !errors.Is(err, ErrNoRoom) {
		t.Errorf("the room is gone: %v", err)
	}
}
