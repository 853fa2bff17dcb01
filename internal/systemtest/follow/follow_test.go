// Package follow_test tests followers on whole systems: a writer, its bucket, and a follower
// that must be what the writer was at one of its commits.
package follow_test

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// pair is a writer and a follower of it.
type pair struct {
	cfg    driftdb.Config
	db     *driftdb.DB
	path   string // of the follower
	events *systemtest.Events
	*driftdb.Follower
}

// newPair opens a writer with ten rows in the table t, and a follower of it.
func newPair(t *testing.T, options ...systemtest.Option) *pair {
	t.Helper()
	p := newWriter(t, options...)
	p.follow(t)
	return p
}

// newWriter is newPair without the follower.
func newWriter(t *testing.T, options ...systemtest.Option) *pair {
	t.Helper()
	p := &pair{cfg: systemtest.Config(t), path: filepath.Join(t.TempDir(), "follower.sqlite")}
	p.db = systemtest.Open(t, p.cfg, options...)
	systemtest.Some(t, p.db, "t", 10)
	systemtest.Check(t, p.db.Flush(t.Context()))
	return p
}

// backup is the backup that the writer makes.
func (p *pair) backup(t *testing.T) *driftdb.Backup {
	t.Helper()
	b, err := driftdb.OpenBackup(t.Context(), driftdb.BackupConfig{
		Name: p.cfg.Name, Store: p.cfg.Store, EncryptionKeys: p.cfg.EncryptionKeys, OnConnect: p.cfg.OnConnect,
		Retry: driftdb.RetryPolicy{MaxRetries: -1},
	})
	systemtest.Check(t, err)
	return b
}

// follow starts the follower, or starts it again.
func (p *pair) follow(t *testing.T) {
	t.Helper()
	systemtest.Check(t, p.tryFollow(t))
}

func (p *pair) tryFollow(t *testing.T) error {
	t.Helper()
	var heard driftdb.Config
	events := systemtest.Listen(&heard)
	f, err := p.backup(t).Follow(t.Context(), p.path, driftdb.FollowConfig{PollInterval: 10 * time.Millisecond, OnEvent: heard.OnEvent})
	if err != nil {
		return err
	}
	p.events, p.Follower = events, f
	t.Cleanup(func() { systemtest.Check(t, f.Close()) })
	return nil
}

// catchUp flushes the writer, and waits until the follower equals it.
func (p *pair) catchUp(t *testing.T) {
	t.Helper()
	systemtest.Check(t, p.db.Flush(t.Context()))
	p.wait(t)
	dbtest.Equal(t, p.cfg.Path, p.path)
}

// wait waits until the follower has all that the writer has committed.
func (p *pair) wait(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.WaitFor(ctx, p.db.Sequence()); err != nil {
		t.Fatalf("%v; %+v", err, p.Metrics())
	}
}

// wantRebases checks how often the follower began again from a snapshot.
func (p *pair) wantRebases(t *testing.T, n int64) {
	t.Helper()
	if m := p.Metrics(); m.Rebases != n {
		t.Errorf("the follower began again from a snapshot %d times, want %d: %+v", m.Rebases, n, m)
	}
}

// TestFollow: a follower gets what is committed, its database shows it as soon as WaitFor
// returns, and it goes on after Close without another restore.
func TestFollow(t *testing.T) {
	p := newPair(t)
	db := p.DB()
	if n := systemtest.Count(t, db, "t"); n != 10 || p.Sequence() != p.db.Sequence() {
		t.Fatalf("after Follow: %d rows, at %d", n, p.Sequence())
	}
	for i := range 5 {
		systemtest.Some(t, p.db, "t", 3)
		systemtest.Check(t, p.db.Flush(t.Context()))
		p.wait(t)
		if n := systemtest.Count(t, db, "t"); n != int64(10+3*(i+1)) || db.Sequence() != p.db.Sequence() {
			t.Fatalf("after WaitFor: %d rows, at %d", n, db.Sequence())
		}
	}
	systemtest.Exec(t, p.db, "ALTER TABLE t ADD COLUMN w DEFAULT 7; CREATE TABLE u(a PRIMARY KEY, b AS (a || '!') STORED) WITHOUT ROWID; INSERT INTO u(a) VALUES('x')")
	systemtest.Exec(t, p.db, "CREATE VIRTUAL TABLE f USING fts5(v); INSERT INTO f SELECT v FROM t; DELETE FROM t WHERE id % 3 = 0")
	p.catchUp(t)
	p.wantRebases(t, 0)
	if m := p.Metrics(); m.Batches < 6 || m.Changes == 0 || m.Bytes == 0 || m.Requests < m.Polls || m.LastError != nil || m.LastChange.IsZero() || m.LastApplied.IsZero() || m.Lag < 0 {
		t.Errorf("metrics: %+v", m)
	}

	systemtest.Check(t, p.Close())
	if _, err := driftdb.Select[int64](t.Context(), db, "SELECT 1"); !errors.Is(err, driftdb.ErrClosed) {
		t.Errorf("a read after Close: %v", err)
	}
	if err := p.WaitFor(t.Context(), 1<<40); !errors.Is(err, driftdb.ErrClosed) {
		t.Errorf("WaitFor after Close: %v", err)
	}
	systemtest.Some(t, p.db, "t", 5)
	systemtest.Check(t, p.db.Flush(t.Context()))
	p.follow(t)
	if p.Sequence() != p.db.Sequence() {
		t.Errorf("after Follow, at %d, not at %d", p.Sequence(), p.db.Sequence())
	}
	p.catchUp(t)
	p.wantRebases(t, 0)
	if m := p.Metrics(); m.Batches == 0 {
		t.Errorf("it was restored, and did not go on: %+v", m)
	}
}

// TestReadsOnly: the database of a follower can be read in every way, and not written; and it
// is closed with the follower.
func TestReadsOnly(t *testing.T) {
	p := newWriter(t)
	row, err := systemtest.Define[systemtest.LoadRow](t, p.db, "loads").Create(t.Context(), systemtest.LoadRow{N: 5})
	systemtest.Check(t, err)
	systemtest.Check(t, p.db.Flush(t.Context()))
	p.follow(t)
	ctx, db := t.Context(), p.DB()
	if db != p.DB() {
		t.Error("DB returns another one each time")
	}
	repo := systemtest.Define[systemtest.LoadRow](t, db, "loads")
	if found, err := repo.FindByID(ctx, row.ID); err != nil || found.N != 5 {
		t.Errorf("a repository: %+v, %v", found, err)
	}
	if _, err := repo.Create(ctx, systemtest.LoadRow{N: 6}); !errors.Is(err, driftdb.ErrReadOnly) {
		t.Errorf("a repository's Create: %v", err)
	}
	var n int
	if err := db.SQL().QueryRowContext(ctx, "SELECT count(*) FROM t").Scan(&n); err != nil || n != 10 {
		t.Errorf("SQL: %d, %v", n, err)
	}
	changes := 0
	for _, err := range db.Changes(ctx, driftdb.ChangeQuery{Table: "t"}) {
		systemtest.Check(t, err)
		changes++
	}
	if changes != 10 {
		t.Errorf("%d changes of t", changes)
	}
	_, exec := db.Exec(ctx, "DELETE FROM t")
	_, viaSQL := db.SQL().ExecContext(ctx, "DELETE FROM t")
	_, snapshot := db.Snapshot(ctx)
	_, undo := db.Undo(ctx, driftdb.Undo{From: 1, To: 2})
	for what, err := range map[string]error{
		"Exec": exec, "SQL": viaSQL, "Snapshot": snapshot, "Undo": undo, "Flush": db.Flush(ctx), "Vacuum": db.Vacuum(ctx),
		"Tx": db.Tx(ctx, func(*driftdb.Tx) error { return nil }),
	} {
		if !errors.Is(err, driftdb.ErrReadOnly) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := db.Close(); err == nil {
		t.Error("the database was closed without its follower")
	}
	p.catchUp(t)
}

// TestRefused: what must not be followed into, or opened, is left as it is.
func TestRefused(t *testing.T) {
	p := newPair(t)
	cfg := p.cfg
	cfg.Path = p.path
	if err := systemtest.OpenError(t, cfg); !errors.Is(err, driftdb.ErrLocked) {
		t.Errorf("Open of a file that is followed into: %v", err)
	}
	if err := p.tryFollow(t); !errors.Is(err, driftdb.ErrLocked) {
		t.Errorf("a second follower of the file: %v", err)
	}
	reader := systemtest.MustRead(t, cfg)
	if n := systemtest.Count(t, reader, "t"); n != 10 {
		t.Errorf("another reader sees %d rows", n)
	}
	systemtest.Check(t, p.Close())
	if err := systemtest.OpenError(t, cfg); !errors.Is(err, driftdb.ErrReadOnly) {
		t.Errorf("Open of a follower's file: %v", err)
	}

	other := newWriter(t)
	other.path = p.path
	if err := other.tryFollow(t); !errors.Is(err, driftdb.ErrDiverged) {
		t.Errorf("a follower of another database under the same name: %v", err)
	}
	systemtest.Check(t, other.db.Close())
	other.path = other.cfg.Path
	if err := other.tryFollow(t); !errors.Is(err, fs.ErrExist) {
		t.Errorf("following into the writer's file: %v", err)
	}
	p.follow(t)
	p.catchUp(t)
	p.wantRebases(t, 0)
}
