package follow_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestBarrier: what the log cannot describe reaches the follower by a snapshot, while others
// read its database: they see the state before or after it, and go on with what they have.
func TestBarrier(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	db := p.DB()
	err := db.ReadTx(ctx, func(tx *driftdb.Tx) error {
		before, err := driftdb.Select[int64](ctx, tx, "SELECT count(*) FROM t")
		if err != nil {
			return err
		}
		systemtest.Some(t, p.db, "t", 10)
		systemtest.Check(t, p.db.Vacuum(ctx))
		systemtest.Some(t, p.db, "t", 10)
		systemtest.Check(t, p.db.Flush(ctx))
		p.wait(t)
		after, err := driftdb.Select[int64](ctx, tx, "SELECT count(*) FROM t")
		if err == nil && (before[0] != 10 || after[0] != 10) {
			err = fmt.Errorf("within one read transaction: %d and then %d rows", before[0], after[0])
		}
		return err
	})
	systemtest.Check(t, err)
	if n := systemtest.Count(t, db, "t"); n != 30 {
		t.Errorf("after the barrier: %d rows", n)
	}
	p.events.Wait(t, driftdb.EventFollowRebased)
	p.wantRebases(t, 1)
	p.catchUp(t)
	systemtest.Some(t, p.db, "t", 10)
	p.catchUp(t)
	p.wantRebases(t, 1)
	systemtest.Check(t, db.IntegrityCheck(ctx))

	systemtest.Check(t, p.Close())
	systemtest.Some(t, p.db, "t", 1)
	p.follow(t)
	p.catchUp(t)
	p.wantRebases(t, 0) // the file knows what it is
}

// TestRebasedIsWhole: a file that was begun again from a snapshot, and got nothing after it,
// is as it was left. Opening it, to follow or to promote it, finds no other program's write.
func TestRebasedIsWhole(t *testing.T) {
	for _, promotes := range []bool{false, true} {
		p := newPair(t, systemtest.Ends(map[bool]error{true: driftdb.ErrFenced}[promotes]))
		systemtest.Exec(t, p.db, "CREATE TABLE a(v); CREATE TABLE b(v)")
		systemtest.Check(t, p.db.Vacuum(t.Context()))
		p.catchUp(t)
		p.wantRebases(t, 1)
		if promotes {
			db, err := p.Promote(t.Context(), driftdb.Config{ManualSync: true})
			systemtest.Check(t, err)
			if at := db.Sequence(); at != p.db.Sequence() {
				t.Errorf("promoted at %d, and the source is at %d", at, p.db.Sequence())
			}
			dbtest.Equal(t, p.cfg.Path, p.path)
			systemtest.Check(t, db.Close())
			systemtest.Exec(t, p.db, "INSERT INTO a VALUES('not of the history')")
			continue
		}
		systemtest.Check(t, p.Close())
		p.follow(t)
		if at := p.DB().Sequence(); at != p.db.Sequence() {
			t.Errorf("it is at %d, and the source is at %d", at, p.db.Sequence())
		}
		p.catchUp(t)
		p.wantRebases(t, 0)
	}
}

// TestTakeovers: a follower goes on with each next writer, and has nothing of what one stored
// after it was fenced.
func TestTakeovers(t *testing.T) {
	p := newPair(t, systemtest.Ends(driftdb.ErrFenced))
	ctx := t.Context()
	const nodes = 3
	for i := range nodes {
		old := p.db
		next := p.cfg
		next.Path, next.NodeID, next.AutoRestore = filepath.Join(t.TempDir(), "next.sqlite"), fmt.Sprintf("node-%d", i), true
		end := driftdb.ErrFenced
		if i == nodes-1 {
			end = nil
		}
		db := systemtest.Open(t, next, systemtest.Ends(end))
		systemtest.Exec(t, db, "INSERT INTO t(v) VALUES(?)", fmt.Sprintf("node %d", i))
		systemtest.Check(t, db.Flush(ctx))
		systemtest.Exec(t, old, "INSERT INTO t(v) VALUES('on a branch')")
		if err := old.Flush(ctx); !errors.Is(err, driftdb.ErrFenced) {
			t.Fatalf("the old writer: %v", err)
		}
		p.db, p.cfg = db, next
		p.catchUp(t)
	}
	p.wantRebases(t, 0)
	if n := systemtest.Count(t, p.DB(), "t"); n != 10+nodes {
		t.Errorf("%d rows", n)
	}
}

// TestUnconfirmed: a follower has only what the manifest confirms. What was stored after that
// by a writer that is then fenced is not part of the history.
func TestUnconfirmed(t *testing.T) {
	p := newPair(t)
	systemtest.Check(t, p.Close())
	systemtest.Some(t, p.db, "t", 1) // so that the follower has something to catch up with
	systemtest.Check(t, p.db.Flush(t.Context()))
	systemtest.Check(t, p.db.Close())
	cfg := p.cfg
	cfg.ManualSync, cfg.SyncInterval, cfg.ManifestInterval, cfg.CloseTimeout, cfg.NodeID = false, time.Millisecond, time.Hour, -1, "another"
	writer := systemtest.Open(t, cfg)
	for range 6 {
		systemtest.Some(t, writer, "t", 1)
		systemtest.Eventually(t, "a batch is in the bucket", func() bool { return writer.Metrics().SyncedSequence == writer.Sequence() })
	}
	info, err := p.backup(t).Info(t.Context())
	systemtest.Check(t, err)
	if info.Sequence >= writer.Sequence() {
		t.Fatalf("everything is confirmed: %+v", info)
	}
	old := p.path
	for _, p.path = range []string{old, old + "-new"} {
		p.follow(t)
		if p.Sequence() != info.Sequence {
			t.Errorf("%s is at %d, and %d is confirmed", p.path, p.Sequence(), info.Sequence)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	waits := systemtest.InGoroutine(func() error { return p.WaitFor(ctx, writer.Sequence()) })
	polls := p.Metrics().Polls
	systemtest.Eventually(t, "the follower has asked again", func() bool { return p.Metrics().Polls > polls+3 })
	cancel()
	if err := <-waits; !errors.Is(err, context.Canceled) {
		t.Fatalf("the follower has what no manifest confirms: %v", err)
	}
	if m := p.Metrics(); m.Sequence != info.Sequence || m.Confirmed != info.Sequence {
		t.Errorf("metrics: %+v", m)
	}
	p.db = writer
	p.catchUp(t)
}

// TestMerged: batches that a follower has not read yet were merged and deleted, or are needed
// no more because of a newer snapshot.
func TestMerged(t *testing.T) {
	p := newPair(t)
	systemtest.Check(t, p.Close())
	for range 40 {
		systemtest.Some(t, p.db, "t", 1)
		systemtest.Check(t, p.db.Flush(t.Context()))
	}
	p.follow(t)
	p.catchUp(t)
}

// TestAltered: another program writes to the follower's file, while it is followed or in
// between. The follower notices, and is what the backup has again.
func TestAltered(t *testing.T) {
	p := newPair(t)
	alter := func() {
		t.Helper()
		c, err := sqlite.Open(p.path, sqlite.Options{})
		systemtest.Check(t, err)
		systemtest.Check(t, errors.Join(c.Exec("UPDATE t SET v = 'of another program' WHERE id = 2"), c.Close()))
	}
	alter()
	systemtest.Some(t, p.db, "t", 1)
	p.catchUp(t)
	p.wantRebases(t, 1)
	alter() // and nothing comes from the writer
	ctx, cancel := context.WithCancel(t.Context())
	waits := systemtest.InGoroutine(func() error { return p.WaitFor(ctx, 1<<40) }) // so that the store is asked
	systemtest.Eventually(t, "the follower has noticed", func() bool { return p.Metrics().Rebases == 2 })
	cancel()
	<-waits
	dbtest.Equal(t, p.cfg.Path, p.path)

	systemtest.Check(t, p.Close())
	alter()
	p.follow(t)
	dbtest.Equal(t, p.cfg.Path, p.path)
	p.wantRebases(t, 1)
	systemtest.Some(t, p.db, "t", 1)
	p.catchUp(t)
	p.wantRebases(t, 1)

	// A copy looks altered, but its contents prove that it is not.
	systemtest.Check(t, p.Close())
	at := filepath.Join(t.TempDir(), "copy.sqlite")
	systemtest.Check(t, systemtest.CopyDatabase(p.path, at))
	p.path = at
	systemtest.Some(t, p.db, "t", 1)
	p.follow(t)
	p.catchUp(t)
	p.wantRebases(t, 0)
}

// TestOtherHistory: a follower of a copy of the database and its bucket, which went another way,
// has changes that the backup does not have. It applies nothing on top of them.
func TestOtherHistory(t *testing.T) {
	p := newPair(t)
	systemtest.Check(t, p.Close())
	systemtest.Check(t, p.db.Close())
	store := p.cfg.Store
	other := systemtest.CopyClosed(t, p.cfg)
	other.Store = systemtest.BucketOf(t, store).Store(t)
	db := systemtest.Open(t, other)
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('of the copy')")
	systemtest.Check(t, db.Flush(t.Context()))
	p.cfg.Store = other.Store
	p.follow(t)
	systemtest.Check(t, p.Close())

	p.cfg.Store = store
	p.db = systemtest.Open(t, p.cfg)
	for i := range 2 {
		systemtest.Exec(t, p.db, "INSERT INTO t(v) VALUES(?)", i)
		systemtest.Check(t, p.db.Flush(t.Context()))
		if err := p.tryFollow(t); !errors.Is(err, driftdb.ErrRolledBack) {
			t.Errorf("with %d changes of its own in the backup: %v", i+1, err)
		}
		dbtest.Equal(t, other.Path, p.path)
	}
}

// TestFork: a fork is followed like any other database, from before it began on its own.
func TestFork(t *testing.T) {
	p := newPair(t)
	fork, err := p.backup(t).Fork(t.Context(), "fork", driftdb.Point{})
	systemtest.Check(t, err)
	forked := filepath.Join(t.TempDir(), "forked.sqlite")
	f, err := fork.Follow(t.Context(), forked, driftdb.FollowConfig{PollInterval: 10 * time.Millisecond})
	systemtest.Check(t, err)
	q := &pair{cfg: p.cfg, path: forked, Follower: f}
	defer func() { systemtest.Check(t, q.Close()) }()
	if n := systemtest.Count(t, q.DB(), "t"); n != 10 {
		t.Errorf("%d rows", n)
	}
	q.cfg.Name, q.cfg.Path, q.cfg.AutoRestore = "fork", filepath.Join(t.TempDir(), "fork.sqlite"), true
	q.db = systemtest.Open(t, q.cfg)
	systemtest.Some(t, q.db, "t", 5)
	systemtest.Some(t, p.db, "t", 7)
	q.catchUp(t)
	p.catchUp(t)
	q.wantRebases(t, 0)
	if n, m := systemtest.Count(t, q.DB(), "t"), systemtest.Count(t, p.DB(), "t"); n != 15 || m != 17 {
		t.Errorf("%d rows in the fork, %d in its parent", n, m)
	}
}
