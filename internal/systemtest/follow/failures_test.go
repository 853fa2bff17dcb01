package follow_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// put stores an object, whatever is there.
func put(t *testing.T, store objstore.Store, key string, body []byte) {
	t.Helper()
	_, err := store.Put(t.Context(), key, bytes.NewReader(body), objstore.PutOptions{})
	systemtest.Check(t, err)
}

// fails waits until the follower says that it cannot go on, and why. Its database still shows
// what it had.
func (p *pair) fails(t *testing.T, want error, rows int64) {
	t.Helper()
	systemtest.Eventually(t, "the follower says "+want.Error(), func() bool { return errors.Is(p.Err(), want) })
	e := p.events.Wait(t, driftdb.EventFollowFailed)
	if e.Scope != driftdb.ScopeFollow {
		t.Errorf("the event has the scope %q", e.Scope)
	}
	if err := p.WaitFor(t.Context(), 1<<40); !errors.Is(err, want) {
		t.Errorf("WaitFor: %v", err)
	}
	if m := p.Metrics(); !errors.Is(m.LastError, want) || m.Failures == 0 {
		t.Errorf("metrics: %+v", m)
	}
	if n := systemtest.Count(t, p.DB(), "t"); n != rows {
		t.Errorf("the follower shows %d rows", n)
	}
}

// TestRolledBack: the bucket is an older copy, or its manifest is gone. The follower says so,
// stays where it is, and goes on when the bucket is back.
func TestRolledBack(t *testing.T) {
	p := newPair(t)
	old := systemtest.Read(t, p.cfg.Store, systemtest.TheManifest)
	systemtest.Some(t, p.db, "t", 5)
	p.catchUp(t)
	now := systemtest.Read(t, p.cfg.Store, systemtest.TheManifest)
	back := func() {
		put(t, p.cfg.Store, systemtest.TheManifest, now)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		waits := systemtest.InGoroutine(func() error { return p.WaitFor(ctx, 1<<40) })
		p.events.Wait(t, driftdb.EventFollowResumed)
		cancel()
		<-waits
		p.catchUp(t)
	}

	put(t, p.cfg.Store, systemtest.TheManifest, old)
	p.fails(t, driftdb.ErrRolledBack, 15)
	systemtest.Check(t, p.Close())
	if err := p.tryFollow(t); !errors.Is(err, driftdb.ErrRolledBack) {
		t.Errorf("Follow: %v", err)
	}
	put(t, p.cfg.Store, systemtest.TheManifest, now)
	p.follow(t)

	systemtest.Check(t, p.cfg.Store.Delete(t.Context(), systemtest.TheManifest))
	p.fails(t, driftdb.ErrCorrupt, 15)
	back()
	p.wantRebases(t, 0)
}

// TestDamaged: a batch that the follower needs is damaged. If a snapshot leads past it, the
// follower begins again there; otherwise it says so and stays where it is.
func TestDamaged(t *testing.T) {
	p := newPair(t)
	systemtest.Check(t, p.Close())
	before := systemtest.Batches(t, p.cfg.Store)
	systemtest.Some(t, p.db, "t", 5)
	systemtest.Check(t, p.db.Flush(t.Context()))
	var fresh string
	for _, key := range systemtest.Batches(t, p.cfg.Store) {
		if !strings.Contains(strings.Join(before, " "), key) {
			fresh = key
		}
	}
	sound := systemtest.Read(t, p.cfg.Store, fresh)
	put(t, p.cfg.Store, fresh, sound[:len(sound)/2])
	p.follow(t)
	systemtest.Eventually(t, "the damage was told", func() bool { return errors.Is(p.Metrics().LastError, driftdb.ErrCorrupt) })
	if n := systemtest.Count(t, p.DB(), "t"); n != 10 {
		t.Errorf("%d rows", n)
	}
	put(t, p.cfg.Store, fresh, sound)
	p.catchUp(t)

	systemtest.Check(t, p.Close())
	systemtest.Some(t, p.db, "t", 5)
	before = systemtest.Batches(t, p.cfg.Store)
	systemtest.Check(t, p.db.Flush(t.Context()))
	_, err := p.db.Snapshot(t.Context())
	systemtest.Check(t, err)
	for _, key := range systemtest.Batches(t, p.cfg.Store) {
		if !strings.Contains(strings.Join(before, " "), key) {
			fresh, sound = key, systemtest.Read(t, p.cfg.Store, key)
		}
	}
	put(t, p.cfg.Store, fresh, []byte("nonsense"))
	p.follow(t)
	p.wait(t)
	dbtest.Equal(t, p.cfg.Path, p.path)
	p.wantRebases(t, 1)
	put(t, p.cfg.Store, fresh, sound)
}

// unreachable is a store that can be cut off.
type unreachable struct {
	objstore.Store
	cut atomic.Bool
}

func (u *unreachable) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	if u.cut.Load() {
		return nil, objstore.Info{}, objstore.ErrUnreachable
	}
	return u.Store.Get(ctx, key, opts)
}

// TestOffline: Follow goes on with a file although the store cannot be reached, and catches up
// when it can.
func TestOffline(t *testing.T) {
	p := newPair(t)
	systemtest.Check(t, p.Close())
	systemtest.Some(t, p.db, "t", 5)
	systemtest.Check(t, p.db.Flush(t.Context()))
	b := p.backup(t)
	store := &unreachable{Store: p.cfg.Store}
	b, err := driftdb.OpenBackup(t.Context(), driftdb.BackupConfig{Name: p.cfg.Name, Store: store, Retry: driftdb.RetryPolicy{MaxRetries: -1}})
	systemtest.Check(t, err)
	store.cut.Store(true)
	var heard driftdb.Config
	p.events = systemtest.Listen(&heard)
	p.Follower, err = b.Follow(t.Context(), p.path, driftdb.FollowConfig{OnEvent: heard.OnEvent})
	systemtest.Check(t, err)
	defer func() { systemtest.Check(t, p.Close()) }()
	p.events.Wait(t, driftdb.EventFollowFailed)
	if n := systemtest.Count(t, p.DB(), "t"); n != 10 || p.Err() != nil || p.Metrics().LastError == nil {
		t.Errorf("%d rows, %v, %+v", n, p.Err(), p.Metrics())
	}
	store.cut.Store(false)
	p.catchUp(t)
	p.events.Wait(t, driftdb.EventFollowResumed)
}

// TestKeys: a follower reads what is sealed with any of its keys, and says so when one is
// missing.
func TestKeys(t *testing.T) {
	first, second := strings.Repeat("1a", 32), strings.Repeat("2b", 32)
	p := &pair{cfg: systemtest.Config(t), path: t.TempDir() + "/follower.sqlite"}
	p.cfg.EncryptionKeys = []string{first}
	p.db = systemtest.Open(t, p.cfg, systemtest.Ends(driftdb.ErrKey))
	systemtest.Some(t, p.db, "t", 10)
	systemtest.Check(t, p.db.Flush(t.Context()))
	p.follow(t)
	p.catchUp(t)
	systemtest.Check(t, p.db.Close())

	p.cfg.EncryptionKeys = []string{second, first}
	p.db = systemtest.Open(t, p.cfg)
	systemtest.Some(t, p.db, "t", 5)
	systemtest.Check(t, p.db.Flush(t.Context()))
	p.fails(t, driftdb.ErrKey, 10)
	systemtest.Check(t, p.Close())
	p.follow(t)
	p.catchUp(t)

	_, err := p.backup(t).Rekey(t.Context(), nil)
	systemtest.Check(t, err)
	systemtest.Some(t, p.db, "t", 5)
	p.catchUp(t)
	p.wantRebases(t, 0)
}

// TestMissingFunction: a follower needs the functions of the schema, and names the one that
// it lacks.
func TestMissingFunction(t *testing.T) {
	with := func(_ context.Context, r *driftdb.Registrar) error {
		return r.Function(driftdb.Function{Name: "double", Args: 1, Deterministic: true, Scalar: func(args []any) (any, error) {
			return args[0].(int64) * 2, nil
		}})
	}
	p := &pair{cfg: systemtest.Config(t), path: t.TempDir() + "/follower.sqlite"}
	p.cfg.OnConnect = with
	p.db = systemtest.Open(t, p.cfg)
	systemtest.Some(t, p.db, "t", 10)
	systemtest.Check(t, p.db.Flush(t.Context()))
	p.cfg.OnConnect = nil
	p.follow(t)
	systemtest.Exec(t, p.db, "CREATE INDEX twice ON t(double(id)); INSERT INTO t(v) VALUES('x')")
	systemtest.Check(t, p.db.Flush(t.Context()))
	systemtest.Eventually(t, "the function is named", func() bool { return p.Err() != nil && strings.Contains(p.Err().Error(), "double") })
	systemtest.Check(t, p.Close())
	p.cfg.OnConnect = with
	p.follow(t)
	systemtest.Check(t, p.db.Flush(t.Context()))
	p.wait(t)
	if n := systemtest.Count(t, p.DB(), "t"); n != 11 {
		t.Errorf("%d rows", n)
	}
	systemtest.Exec(t, p.db, "DROP INDEX twice") // the comparison at the end has no functions
	systemtest.Check(t, systemtest.ErrorOf(p.db.Snapshot(t.Context())))
	p.wantRebases(t, 0)
}

// TestPageSize: a database whose pages have another size cannot be copied into an open file.
// The follower says so, and the next Follow replaces the file.
func TestPageSize(t *testing.T) {
	p := newPair(t)
	systemtest.Check(t, p.db.Close())
	c, err := sqlite.Open(p.cfg.Path, sqlite.Options{})
	systemtest.Check(t, err)
	systemtest.Check(t, errors.Join(c.Exec("PRAGMA journal_mode=DELETE; PRAGMA page_size=8192; VACUUM"), c.Close()))
	p.db = systemtest.Open(t, p.cfg)
	systemtest.Some(t, p.db, "t", 5)
	systemtest.Check(t, p.db.Flush(t.Context()))
	systemtest.Eventually(t, "the follower cannot go on", func() bool { return p.Err() != nil })
	if n := systemtest.Count(t, p.DB(), "t"); n != 10 || !strings.Contains(p.Err().Error(), "page_size") {
		t.Errorf("%d rows, %v", n, p.Err())
	}
	systemtest.Check(t, p.Close())
	p.follow(t)
	p.catchUp(t)
	if size, err := driftdb.Select[int64](t.Context(), p.DB(), "PRAGMA page_size"); err != nil || size[0] != 8192 {
		t.Errorf("the page size is %v, %v", size, err)
	}
}
