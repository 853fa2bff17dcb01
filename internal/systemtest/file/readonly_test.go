package file_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// changing counts the requests that change a store.
type changing struct {
	objstore.Store
	n    atomic.Int64
	down atomic.Bool
}

func (s *changing) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	s.n.Add(1)
	return s.Store.Put(ctx, key, body, opts)
}

func (s *changing) Delete(ctx context.Context, key string) error {
	s.n.Add(1)
	return s.Store.Delete(ctx, key)
}

func (s *changing) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	if s.down.Load() {
		return nil, objstore.Info{}, errors.New("the network is down")
	}
	return s.Store.Get(ctx, key, opts)
}

func folderBytes(t *testing.T, dir string) map[string]string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range list {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

// Readers work beside the writer, and each other, and every write is ErrReadOnly.
func TestReadOnlyBesideWriter(t *testing.T) {
	ctx, cfg := t.Context(), systemtest.Config(t)
	w := systemtest.Open(t, cfg)
	systemtest.Some(t, w, "t", 3)
	a, b := systemtest.MustRead(t, cfg), systemtest.MustRead(t, cfg)
	systemtest.Some(t, w, "t", 2)
	if systemtest.Count(t, a, "t") != 5 || systemtest.Count(t, b, "t") != 5 || a.Sequence() != w.Sequence() || a.NodeID() != w.NodeID() {
		t.Error("the readers do not see what the writer has committed")
	}
	if m := a.Metrics(); m.LatestSequence != w.Sequence() || m.DBSizeBytes == 0 {
		t.Errorf("metrics: %+v", m)
	}
	n := 0
	for _, err := range a.Changes(ctx, driftdb.ChangeQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n == 0 {
		t.Error("no changes")
	}
	if err := a.IntegrityCheck(ctx); err != nil {
		t.Error(err)
	}
	var got int
	if err := a.SQL().QueryRow("SELECT count(*) FROM t").Scan(&got); err != nil || got != 5 {
		t.Errorf("SQL: %d rows, %v", got, err)
	}
	const insert = "INSERT INTO t(v) VALUES('x')"
	for name, fn := range map[string]func() error{
		"Exec": func() error { _, err := a.Exec(ctx, insert); return err },
		"Tx":   func() error { return a.Tx(ctx, func(*driftdb.Tx) error { return nil }) },
		"ReadTx": func() error {
			return a.ReadTx(ctx, func(tx *driftdb.Tx) error { _, err := tx.Exec(ctx, insert); return err })
		},
		"Select":   func() error { _, err := driftdb.Select[int](ctx, a, insert+" RETURNING id"); return err },
		"Flush":    func() error { return a.Flush(ctx) },
		"Snapshot": func() error { _, err := a.Snapshot(ctx); return err },
		"Collect":  func() error { _, _, err := a.CollectGarbage(ctx); return err },
		"Vacuum":   func() error { return a.Vacuum(ctx) },
		"SQL":      func() error { _, err := a.SQL().Exec(insert); return err },
		"Define":   func() error { _, err := a.Define(ctx, "new", driftdb.Schema{}); return err },
		"Prepare": func() error {
			st, err := a.SQL().Prepare(insert)
			if err != nil {
				return err
			}
			defer st.Close()
			_, err = st.Exec()
			return err
		},
	} {
		if err := fn(); !errors.Is(err, driftdb.ErrReadOnly) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if systemtest.Count(t, w, "t") != 5 {
		t.Error("a reader has written")
	}
}

// A reader leaves the files as they were, be they DriftDB's or not, and the next writer
// finds nothing to notice.
func TestReadOnlyLeavesNothing(t *testing.T) {
	for _, ours := range []bool{true, false} {
		cfg := systemtest.Config(t)
		if ours {
			w := systemtest.Open(t, cfg)
			systemtest.Some(t, w, "t", 3)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		} else {
			c, err := sqlite.Open(cfg.Path, sqlite.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(c.Exec("CREATE TABLE t(v); INSERT INTO t VALUES(1), (2), (3)"), c.Close()); err != nil {
				t.Fatal(err)
			}
		}
		before := folderBytes(t, filepath.Dir(cfg.Path))
		db := systemtest.MustRead(t, cfg)
		if systemtest.Count(t, db, "t") != 3 {
			t.Error("wrong rows")
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		after := folderBytes(t, filepath.Dir(cfg.Path))
		base := filepath.Base(cfg.Path)
		if wal := after[base+"-wal"]; wal != "" {
			t.Errorf("ours %v: %d bytes in the WAL", ours, len(wal))
		}
		delete(after, base+"-wal") // SQLite's own
		delete(after, base+"-shm")
		if !maps.Equal(before, after) {
			t.Errorf("ours %v: the folder has changed", ours)
		}
		if !ours {
			continue
		}
		w := systemtest.Open(t, cfg)
		if n := w.Metrics().Barriers; n != 0 || systemtest.Count(t, w, "t") != 3 {
			t.Errorf("the next writer made %d barriers", n)
		}
	}
}

// A missing file is an error, and nothing is made.
func TestReadOnlyMissing(t *testing.T) {
	cfg := systemtest.Config(t)
	dir := filepath.Join(t.TempDir(), "new")
	cfg.Path = filepath.Join(dir, "app.sqlite")
	if _, err := systemtest.ReadOnly(t, cfg); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder was made")
	}
	cfg.AutoRestore = true
	if _, err := systemtest.ReadOnly(t, cfg); !errors.Is(err, driftdb.ErrNoBackup) {
		t.Error(err)
	}
	if _, err := os.Stat(cfg.Path); err == nil {
		t.Error("a file was made")
	}
}

// With AutoRestore a reader elsewhere fetches the file and refreshes it, and the writer
// is never fenced.
func TestReadOnlyRefreshes(t *testing.T) {
	store := &changing{Store: objstore.Mem()}
	cfg := systemtest.Config(t)
	cfg.Store = store
	w := systemtest.Open(t, cfg)
	there := cfg
	there.Path, there.AutoRestore = filepath.Join(t.TempDir(), "b.sqlite"), true
	for i := range 4 {
		systemtest.Some(t, w, "t", 1)
		if err := w.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := store.n.Load()
		db := systemtest.MustRead(t, there)
		if n := systemtest.Count(t, db, "t"); n != int64(i+1) {
			t.Errorf("%d rows after %d", n, i+1)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if n := store.n.Load() - before; n != 0 {
			t.Errorf("the reader has changed the store %d times", n)
		}
	}
	store.down.Store(true)
	defer store.down.Store(false)
	if n := systemtest.Count(t, systemtest.MustRead(t, there), "t"); n != 4 {
		t.Errorf("%d rows without a network", n)
	}
}

// A closed reader is closed, whatever the program still holds of SQL().
func TestReadOnlyClosesWhatIsHeld(t *testing.T) {
	ctx, cfg := t.Context(), systemtest.Config(t)
	w := systemtest.Open(t, cfg)
	systemtest.Some(t, w, "t", 50)
	systemtest.Check(t, w.Close())
	before := openFiles(filepath.Dir(cfg.Path))
	db := systemtest.MustRead(t, cfg)
	held, err := db.SQL().Conn(ctx)
	systemtest.Check(t, err)
	st, err := db.SQL().PrepareContext(ctx, "SELECT count(*) FROM t")
	systemtest.Check(t, err)
	tx, err := db.SQL().BeginTx(ctx, nil)
	systemtest.Check(t, err)
	rows, err := tx.QueryContext(ctx, "SELECT id FROM t")
	systemtest.Check(t, err)
	if !rows.Next() {
		t.Fatal(rows.Err())
	}
	if db.Metrics().OldestRead <= 0 {
		t.Error("the read that is open is not known")
	}
	systemtest.Check(t, db.Close())
	if n := openFiles(filepath.Dir(cfg.Path)); n != before {
		t.Errorf("%d files are open, %d before", n, before)
	}
	for rows.Next() {
	}
	var n int
	if st.QueryRowContext(ctx).Scan(&n) == nil {
		t.Error("a statement of a closed database reads")
	}
	for what, err := range map[string]error{
		"rows": rows.Err(), "conn": held.PingContext(ctx),
		"query": held.QueryRowContext(ctx, "SELECT 1").Scan(&n), "commit": tx.Commit(),
	} {
		if !errors.Is(err, driftdb.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	held.Close()
}
