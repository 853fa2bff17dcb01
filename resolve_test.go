package driftdb_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/seal"
)

// laptops are two machines that have the same database, and parted offline.
type laptops struct {
	t    testing.TB
	a, b driftdb.Config
}

// newLaptops makes them with what schema makes, which both have.
func newLaptops(t testing.TB, schema string) laptops {
	t.Helper()
	a := config(t)
	db := open(t, a)
	exec(t, db, schema)
	check(t, db.Shutdown(t.Context()))
	b := a
	b.Path = filepath.Join(t.TempDir(), "b.sqlite")
	b.AutoRestore = true
	check(t, open(t, b).Close())
	return laptops{t, a, b}
}

// offline runs statements on one of them, each in a transaction.
func (l laptops) offline(cfg driftdb.Config, statements ...string) {
	l.t.Helper()
	cfg.Store, cfg.AutoRestore = nil, false
	db := open(l.t, cfg)
	for _, s := range statements {
		exec(l.t, db, s)
	}
	check(l.t, db.Close())
}

// online sends what one of them has.
func (l laptops) online(cfg driftdb.Config) {
	l.t.Helper()
	check(l.t, open(l.t, cfg).Shutdown(l.t.Context()))
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
	db := open(l.t, l.b)
	if err := db.Flush(l.t.Context()); !errors.Is(err, driftdb.ErrDiverged) {
		l.t.Fatalf("the second one is online, and: %v", err)
	}
	check(l.t, db.Close())
}

// agree sends what was resolved, lets the first one catch up, and compares them.
func (l laptops) agree() {
	l.t.Helper()
	l.online(l.b)
	a := l.a
	a.ManualSync = false
	check(l.t, open(l.t, a).Close())
	dbtest.Equal(l.t, l.a.Path, l.b.Path)
}

func rows(t testing.TB, cfg driftdb.Config, query string) []string {
	t.Helper()
	cfg.Store, cfg.AutoRestore = nil, false
	db := open(t, cfg)
	defer db.Close()
	out, err := driftdb.Select[string](t.Context(), db, query)
	check(t, err)
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
	db := open(t, l.b)
	if n := db.Metrics().Barriers; n != 0 {
		t.Errorf("the new file was taken for one that another program had written: %d barriers", n)
	}
	check(t, db.Close())
	l.agree()
	got := rows(t, l.b, "SELECT group_concat(id || '=' || v, ' ' ORDER BY id) FROM t")
	if want := "1=a 2=b a=from a b=from b"; got[0] != want {
		t.Errorf("the rows are %s, want %s", got[0], want)
	}
}

// TestResolvePruned: where the bucket has nothing left of the point in common, Resolve
// says so, and changes nothing.
func TestResolvePruned(t *testing.T) {
	l := newLaptops(t, "CREATE TABLE t(k PRIMARY KEY, v)")
	l.offline(l.b, "INSERT INTO t VALUES('b', 1)")
	db := open(t, l.a)
	for range 2 {
		exec(t, db, "INSERT INTO t VALUES(hex(randomblob(8)), 1)")
		_, err := db.Snapshot(t.Context())
		check(t, err)
	}
	b := remote.New(l.a.Store, l.a.Name, seal.Options{})
	m, err := b.Manifest(t.Context())
	check(t, err)
	pruned := m.Clone()
	pruned.Clock.At = time.Now().Add(time.Hour).UnixMilli()
	pruned.Prune(time.Now().Add(time.Hour), time.Nanosecond)
	_, err = b.Swap(t.Context(), m, pruned)
	check(t, err)
	before, err := dbtest.Dump(l.b.Path)
	check(t, err)
	res, err := l.resolve(driftdb.ResolveConfig{Prefer: driftdb.Ours})
	if !errors.Is(err, driftdb.ErrNoBackup) || res.Resolved {
		t.Fatalf("%+v, %v", res, err)
	}
	for _, step := range []string{"not known any more", "Detach"} {
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
	l := newLaptops(t, "CREATE TABLE t(k PRIMARY KEY, v)")
	db := open(t, l.b)
	if _, err := l.resolve(driftdb.ResolveConfig{}); !errors.Is(err, driftdb.ErrLocked) {
		t.Errorf("a file that is open: %v", err)
	}
	exec(t, db, "INSERT INTO t VALUES('b', 1)")
	check(t, db.Close())
	if res, err := l.resolve(driftdb.ResolveConfig{}); err != nil || res.Diverged || res.Resolved {
		t.Errorf("a file that is ahead: %+v, %v", res, err)
	}
	if _, err := l.resolve(driftdb.ResolveConfig{Prefer: "mine"}); err == nil {
		t.Error("a side that there is not: no error")
	}
	if _, err := l.resolve(driftdb.ResolveConfig{Tables: map[string]driftdb.Side{"t": ""}}); err == nil {
		t.Error("a table without a side: no error")
	}
	check(t, driftdb.Detach(t.Context(), l.b.Path))
	if _, err := l.resolve(driftdb.ResolveConfig{}); err == nil || !strings.Contains(err.Error(), "nothing to resolve") {
		t.Errorf("a free copy: %v", err)
	}
}
