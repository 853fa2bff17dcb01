package model_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// laptops are two machines that have the same database, and parted offline.
type laptops struct {
	t    testing.TB
	a, b driftdb.Config
	ends []systemtest.Option // of b
}

// newLaptops makes them with what schema makes, which both have. ends say how the test
// leaves the second one.
func newLaptops(t testing.TB, schema string, ends ...systemtest.Option) laptops {
	t.Helper()
	a := systemtest.Config(t)
	db := systemtest.Open(t, a)
	systemtest.Exec(t, db, schema)
	systemtest.Check(t, db.Shutdown(t.Context()))
	b := a
	b.Path = filepath.Join(t.TempDir(), "b.sqlite")
	b.AutoRestore = true
	systemtest.Check(t, systemtest.Open(t, b, ends...).Close())
	return laptops{t, a, b, ends}
}

// offline runs statements on one of them, each in a transaction.
func (l laptops) offline(cfg driftdb.Config, statements ...string) {
	l.t.Helper()
	cfg.Store, cfg.AutoRestore, cfg.EncryptionKeys = nil, false, nil
	db := systemtest.Open(l.t, cfg)
	for _, s := range statements {
		systemtest.Exec(l.t, db, s)
	}
	systemtest.Check(l.t, db.Close())
}

// online sends what one of them has.
func (l laptops) online(cfg driftdb.Config) {
	l.t.Helper()
	systemtest.Check(l.t, systemtest.Open(l.t, cfg).Shutdown(l.t.Context()))
}

// resolve resolves what the second has after the first has sent its own.
func (l laptops) resolve(cfg driftdb.ResolveConfig) (driftdb.ResolveResult, error) {
	l.t.Helper()
	cfg.Name, cfg.Path, cfg.Store = l.b.Name, l.b.Path, l.b.Store
	return driftdb.Resolve(l.t.Context(), cfg)
}

// part lets a send what it does, and b diverge by what it does.
func (l laptops) part(a, b []string) {
	l.t.Helper()
	l.offline(l.a, a...)
	l.offline(l.b, b...)
	l.online(l.a)
	db := systemtest.Open(l.t, l.b, l.ends...)
	if err := db.Flush(l.t.Context()); !errors.Is(err, driftdb.ErrDiverged) {
		l.t.Fatalf("the second one is online, and: %v", err)
	}
	systemtest.Check(l.t, db.Close())
}

// agree sends what was resolved, lets the first one catch up, and compares them.
func (l laptops) agree() {
	l.t.Helper()
	l.online(l.b)
	a := l.a
	a.ManualSync = false
	systemtest.Check(l.t, systemtest.Open(l.t, a).Close())
	dbtest.Equal(l.t, l.a.Path, l.b.Path)
}

func rows(t testing.TB, cfg driftdb.Config, query string) []string {
	t.Helper()
	cfg.Store, cfg.AutoRestore, cfg.EncryptionKeys = nil, false, nil
	db := systemtest.Open(t, cfg)
	defer db.Close()
	out, err := driftdb.Select[string](t.Context(), db, query)
	systemtest.Check(t, err)
	return out
}

func TestResolve(t *testing.T) {
	l := newLaptops(t, "CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT); INSERT INTO t VALUES('1', 'one'), ('2', 'two'), ('3', 'three')")
	l.part([]string{"UPDATE t SET v = 'a' WHERE id = '1'", "INSERT INTO t VALUES('a', 'from a')"},
		[]string{"UPDATE t SET v = 'b' WHERE id = '2'", "DELETE FROM t WHERE id = '3'", "INSERT INTO t VALUES('b', 'from b')"})
	res, err := l.resolve(driftdb.ResolveConfig{})
	if err != nil || !res.Resolved || len(res.Conflicts) != 0 || len(res.Ours) != 3 || len(res.Theirs) != 2 {
		t.Fatalf("%+v, %v", res, err)
	}
	db := systemtest.Open(t, l.b)
	if n := db.Metrics().Barriers; n != 0 {
		t.Errorf("the new file was taken for one that another program had written: %d barriers", n)
	}
	systemtest.Check(t, db.Close())
	l.agree()
	got := rows(t, l.b, "SELECT group_concat(id || '=' || v, ' ' ORDER BY id) FROM t")
	if want := "1=a 2=b a=from a b=from b"; got[0] != want {
		t.Errorf("the rows are %s, want %s", got[0], want)
	}
}

// TestResolvePruned: where the bucket has nothing left of the point in common, Resolve
// says so, and changes nothing.
func TestResolvePruned(t *testing.T) {
	l := newLaptops(t, "CREATE TABLE t(k PRIMARY KEY, v)", systemtest.Ends(driftdb.ErrDiverged))
	l.offline(l.b, "INSERT INTO t VALUES('b', 1)")
	db := systemtest.Open(t, l.a)
	for range 2 {
		systemtest.Exec(t, db, "INSERT INTO t VALUES(hex(randomblob(8)), 1)")
		_, err := db.Snapshot(t.Context())
		systemtest.Check(t, err)
	}
	b := remote.New(l.a.Store, l.a.Name, seal.Options{})
	m, err := b.Manifest(t.Context())
	systemtest.Check(t, err)
	pruned := m.Clone()
	pruned.Clock.At = time.Now().Add(time.Hour).UnixMilli()
	pruned.Prune(time.Now().Add(time.Hour), time.Nanosecond)
	_, err = b.Swap(t.Context(), m, pruned)
	systemtest.Check(t, err)
	before, err := dbtest.Dump(l.b.Path)
	systemtest.Check(t, err)
	res, err := l.resolve(driftdb.ResolveConfig{Prefer: driftdb.Ours})
	if !errors.Is(err, driftdb.ErrNoBackup) || res.Resolved {
		t.Fatalf("%+v, %v", res, err)
	}
	for _, step := range []string{"no longer known", "Detach"} {
		if !strings.Contains(err.Error(), step) {
			t.Errorf("%v does not say %q", err, step)
		}
	}
	if now, err := dbtest.Dump(l.b.Path); err != nil || now != before {
		t.Errorf("the file was changed: %v\n%s", err, dbtest.Diff(before, now))
	}
}

// TestResolveOthers: Resolve leaves alone what it is not for.
func TestResolveOthers(t *testing.T) {
	l := newLaptops(t, "CREATE TABLE t(k PRIMARY KEY, v)", systemtest.Ends(driftdb.ErrDiverged))
	db := systemtest.Open(t, l.b, l.ends...)
	if _, err := l.resolve(driftdb.ResolveConfig{}); !errors.Is(err, driftdb.ErrLocked) {
		t.Errorf("a file that is open: %v", err)
	}
	systemtest.Exec(t, db, "INSERT INTO t VALUES('b', 1)")
	systemtest.Check(t, db.Close())
	if res, err := l.resolve(driftdb.ResolveConfig{}); err != nil || res.Diverged || res.Resolved {
		t.Errorf("a file that is ahead: %+v, %v", res, err)
	}
	if _, err := l.resolve(driftdb.ResolveConfig{Prefer: "mine"}); err == nil {
		t.Error("a side that there is not: no error")
	}
	if _, err := l.resolve(driftdb.ResolveConfig{Tables: map[string]driftdb.Side{"t": ""}}); err == nil {
		t.Error("a table without a side: no error")
	}
	systemtest.Check(t, driftdb.Detach(l.b.Path))
	if _, err := l.resolve(driftdb.ResolveConfig{}); err == nil || !strings.Contains(err.Error(), "nothing to resolve") {
		t.Errorf("a free copy: %v", err)
	}
}

// TestResolveCopied: a file that was copied before it had ever been sent, and a bucket
// with keys.
func TestResolveCopied(t *testing.T) {
	a := systemtest.Config(t)
	a.EncryptionKeys = []string{strings.Repeat("11", 32)}
	b := a
	b.Path = filepath.Join(t.TempDir(), "b.sqlite")
	l := laptops{t: t, a: a, b: b}
	l.offline(a, "CREATE TABLE t(k PRIMARY KEY, v)", "INSERT INTO t VALUES(1, 'x'), (2, 'y')")
	data, err := os.ReadFile(a.Path)
	systemtest.Check(t, err)
	systemtest.Check(t, os.WriteFile(b.Path, data, 0o600))
	l.part([]string{"UPDATE t SET v = 'a' WHERE k = 1"}, []string{"UPDATE t SET v = 'b' WHERE k = 2"})
	res, err := l.resolve(driftdb.ResolveConfig{EncryptionKeys: a.EncryptionKeys})
	if err != nil || !res.Resolved || res.Common == 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	l.agree()
	if got := rows(t, b, "SELECT group_concat(k || v, ' ' ORDER BY k) FROM t"); got[0] != "1a 2b" {
		t.Errorf("the rows are %s", got[0])
	}
}

// TestResolveFenced: a session that was fenced has stored its tail as a branch, and
// what it had acknowledged of it lies behind the point in common.
func TestResolveFenced(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	first := systemtest.Open(t, cfg)
	systemtest.Some(t, first, "t", 3)
	systemtest.Check(t, first.Flush(ctx))
	other := systemtest.Elsewhere(t, cfg)
	second := systemtest.Open(t, other)
	systemtest.Exec(t, second, "INSERT INTO t(id, v) VALUES(50, 'second')")
	systemtest.Check(t, second.Shutdown(ctx))
	systemtest.Exec(t, first, "INSERT INTO t(id, v) VALUES(40, 'tail')")
	err := first.Flush(ctx)
	if !errors.Is(err, driftdb.ErrFenced) || !strings.Contains(err.Error(), "driftdb resolve") {
		t.Fatalf("the flush of the one that lost: %v", err)
	}
	systemtest.Check(t, first.Close())
	l := laptops{t: t, a: other, b: cfg}
	res, err := l.resolve(driftdb.ResolveConfig{})
	if err != nil || !res.Resolved || len(res.Ours) != 1 || len(res.Theirs) != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	l.agree()
	if got := rows(t, cfg, "SELECT group_concat(v) FROM t WHERE id >= 40"); got[0] != "tail,second" {
		t.Errorf("the rows are %s", got[0])
	}
}

// TestResolveAfterCrash: a program that was killed has left changes in the WAL. They are
// among the file's, and a Resolve that changes nothing leaves them there.
func TestResolveAfterCrash(t *testing.T) {
	l := newLaptops(t, "CREATE TABLE t(k PRIMARY KEY, v); INSERT INTO t VALUES(1, 'x')", systemtest.Ends(driftdb.ErrDiverged))
	l.part([]string{"UPDATE t SET v = 'a'"}, []string{"INSERT INTO t VALUES(2, 'y')"})
	crashed := l.b
	crashed.Path, crashed.Store, crashed.AutoRestore = filepath.Join(t.TempDir(), "c.sqlite"), nil, false
	offline := l.b
	offline.Store, offline.AutoRestore = nil, false
	db := systemtest.Open(t, offline)
	systemtest.Exec(t, db, "UPDATE t SET v = 'b' WHERE k = 1")
	for _, suffix := range []string{"", "-wal", "-lock"} { // as they are at this moment
		data, err := os.ReadFile(l.b.Path + suffix)
		systemtest.Check(t, err)
		systemtest.Check(t, os.WriteFile(crashed.Path+suffix, data, 0o600))
	}
	systemtest.Check(t, db.Close())
	l.b.Path = crashed.Path
	if _, err := l.resolve(driftdb.ResolveConfig{}); !errors.Is(err, driftdb.ErrConflict) {
		t.Fatalf("both have changed a row, and: %v", err)
	}
	if info, err := os.Stat(crashed.Path + "-wal"); err != nil || info.Size() == 0 {
		t.Errorf("the -wal is gone: %v", err)
	}
	res, err := l.resolve(driftdb.ResolveConfig{Prefer: driftdb.Ours})
	if err != nil || !res.Resolved {
		t.Fatalf("%+v, %v", res, err)
	}
	l.agree()
	if got := rows(t, l.b, "SELECT group_concat(k || v, ' ' ORDER BY k) FROM t"); got[0] != "1b 2y" {
		t.Errorf("the rows are %s", got[0])
	}
}
