package syncer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/mounttest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// viewed is a database with a log, of some MiB, and a syncer that knows enough
// of it to look at it.
func viewed(t *testing.T, dir string, mib int) (s *snapshotter, c *sqlite.Conn, warnings *bytes.Buffer) {
	t.Helper()
	path := filepath.Join(dir, "app.sqlite")
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := changelog.Init(c, ""); err != nil {
		t.Fatal(err)
	}
	if err := c.Exec("CREATE TABLE b(id INTEGER PRIMARY KEY, data BLOB)"); err != nil {
		t.Fatal(err)
	}
	for range mib {
		if err := c.Exec("INSERT INTO b(data) VALUES(randomblob(1 << 20)); PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
			t.Fatal(err)
		}
	}
	warnings = new(bytes.Buffer)
	return &snapshotter{state: &state{cfg: Config{
		Path: path, Logger: event.To(slog.NewTextHandler(warnings, nil)),
		Reader: func() (*sqlite.Conn, error) {
			return new(sqlite.Driver).Open(path, sqlite.Options{QueryOnly: true, MustExist: true})
		},
	}}}, c, warnings
}

// look is a view of the database as it is now.
func look(ctx context.Context, s *snapshotter) (source, error) {
	c, _, err := s.pin()
	if err != nil {
		return nil, err
	}
	return s.source(ctx, c)
}

// wantSource checks that v stays the database as it was, whatever c writes, and
// that its file can be read again from the start.
func wantSource(t *testing.T, v source, s *snapshotter, c *sqlite.Conn) {
	t.Helper()
	before, err := dbtest.Dump(s.cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Exec("INSERT INTO b(data) VALUES('later'); DELETE FROM b WHERE id = 1"); err != nil {
		t.Fatal(err)
	}
	if n, err := v.Conn().Int("SELECT count(*) FROM b WHERE data = 'later'"); err != nil || n != 0 {
		t.Errorf("the source has %d rows of later (%v)", n, err)
	}
	var sums [2][32]byte
	file := filepath.Join(t.TempDir(), "stored.sqlite")
	for i := range sums {
		f, err := v.File(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		sums[i] = sha256.Sum256(data)
		if data[18] != 1 || data[19] != 1 {
			t.Error("the file says that it is in WAL mode")
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if sums[0] != sums[1] {
		t.Error("read again, the file is another one")
	}
	after, err := dbtest.Dump(file)
	if err != nil || after != before {
		t.Errorf("the stored file does not hold what the database held (%v)", err)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(s.cfg.Path + "-driftdb*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestSourceCopy: with room, the source is a copy without our tables.
func TestSourceCopy(t *testing.T) {
	s, c, warnings := viewed(t, t.TempDir(), 3)
	v, err := look(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := v.(*copySource); !ok || warnings.Len() > 0 {
		t.Errorf("the source is %T: %s", v, warnings)
	}
	if n, err := v.Conn().Int(`SELECT count(*) FROM sqlite_schema WHERE name LIKE '\_driftdb%' ESCAPE '\'`); err != nil || n != 0 {
		t.Errorf("%d of our tables are in the copy (%v)", n, err)
	}
	wantSource(t, v, s, c)
}

// TestSourceWithoutRoom: the disk has less room than a copy needs.
func TestSourceWithoutRoom(t *testing.T) {
	dir := mounttest.Disk(t, "size=32m")
	if dir == "" {
		return
	}
	dir = filepath.Join(dir, "disk")
	s, c, warnings := viewed(t, dir, 8)
	v, err := look(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := v.(liveSource); !ok || !strings.Contains(warnings.String(), "level=WARN") {
		t.Errorf("the source is %T: %s", v, warnings)
	}
	wantSource(t, v, s, c)
}

// TestSourceFullDisk: there seems to be room, but the copy finds none: the file
// system has no place for another file.
func TestSourceFullDisk(t *testing.T) {
	dir := mounttest.Disk(t, "size=400m,nr_inodes=4") // its folder, the database, -wal, -shm
	if dir == "" {
		return
	}
	dir = filepath.Join(dir, "disk")
	s, c, warnings := viewed(t, dir, 2)
	v, err := look(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := v.(liveSource); !ok || !strings.Contains(warnings.String(), "no space") {
		t.Errorf("the source is %T: %s", v, warnings)
	}
	wantSource(t, v, s, c)
}

// TestCopyFullDisk: a copy that runs full says so.
func TestCopyFullDisk(t *testing.T) {
	dir := mounttest.Disk(t, "size=4m")
	if dir == "" {
		return
	}
	dir = filepath.Join(dir, "disk")
	_, c, _ := viewed(t, t.TempDir(), 8)
	if err := c.Exec("BEGIN; SELECT count(*) FROM b"); err != nil {
		t.Fatal(err)
	}
	err := c.Copy(t.Context(), filepath.Join(dir, "copy.sqlite"), nil)
	if !noRoom(err) {
		t.Errorf("a copy on a full disk: %v", err)
	}
	if err := c.Exec("COMMIT"); err != nil {
		t.Error(err)
	}
}
