package backup_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// TestChangeQuery: which changes a query chooses does not depend on where they are read.
func TestChangeQuery(t *testing.T) {
	ctx, cfg := t.Context(), systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")                             // 1
	systemtest.Exec(t, db, "CREATE TABLE plain(v)")                                                 // 2
	systemtest.Exec(t, db, "CREATE TABLE pair(a TEXT, b REAL, v, PRIMARY KEY(a, b)) WITHOUT ROWID") // 3
	systemtest.Exec(t, db, "INSERT INTO t VALUES(1, 'a'), (2, 'b'), (3, 'c')")                      // 4 to 6
	systemtest.Exec(t, db, "INSERT INTO plain VALUES('a'), ('b')")                                  // 7, 8
	systemtest.Exec(t, db, "INSERT INTO pair VALUES('x', 1, 'a'), ('X', 1, 'b'), ('x', 2, 'c')")    // 9 to 11
	systemtest.Exec(t, db, "UPDATE t SET v = 'changed' WHERE id = 2")                               // 12
	systemtest.Exec(t, db, "UPDATE t SET id = 20 WHERE id = 2")                                     // 13
	systemtest.Exec(t, db, "UPDATE plain SET rowid = 9 WHERE rowid = 1")                            // 14
	systemtest.Exec(t, db, "UPDATE pair SET b = 5 WHERE a = 'x' AND b = 1")                         // 15
	systemtest.Exec(t, db, "DELETE FROM t WHERE id = 20")                                           // 16
	queries := []struct {
		query driftdb.ChangeQuery
		want  []int64
		err   string
	}{
		{query: driftdb.ChangeQuery{}, want: []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}},
		{query: driftdb.ChangeQuery{From: 5, To: 7}, want: []int64{5, 6, 7}},
		{query: driftdb.ChangeQuery{From: 5, To: 5}, want: []int64{5}},
		{query: driftdb.ChangeQuery{To: 2}, want: []int64{1, 2}},
		{query: driftdb.ChangeQuery{From: 15, To: 100}, want: []int64{15, 16}},
		{query: driftdb.ChangeQuery{From: 17}},
		{query: driftdb.ChangeQuery{Table: "T"}, want: []int64{4, 5, 6, 12, 13, 16}},
		{query: driftdb.ChangeQuery{Table: "t", From: 6, To: 12}, want: []int64{6, 12}},
		{query: driftdb.ChangeQuery{Table: "none"}},
		{query: driftdb.ChangeQuery{Table: "t", Key: map[string]any{"id": 2}}, want: []int64{5, 12, 13}},
		{query: driftdb.ChangeQuery{Table: "t", Key: map[string]any{"ID": 20.0}}, want: []int64{13, 16}},
		{query: driftdb.ChangeQuery{Table: "t", Key: map[string]any{"id": true}}, want: []int64{4}},
		{query: driftdb.ChangeQuery{Table: "t", Key: map[string]any{"id": nil}}},
		{query: driftdb.ChangeQuery{Table: "plain", Key: map[string]any{"rowid": 1}}, want: []int64{7, 14}},
		{query: driftdb.ChangeQuery{Table: "plain", Key: map[string]any{"rowid": 9}}, want: []int64{14}},
		{query: driftdb.ChangeQuery{Table: "pair", Key: map[string]any{"a": "x", "b": 1}}, want: []int64{9, 15}},
		{query: driftdb.ChangeQuery{Table: "pair", Key: map[string]any{"b": 5.0, "a": "x"}}, want: []int64{15}},

		{query: driftdb.ChangeQuery{Table: "pair", Key: map[string]any{"a": "x"}}, err: "key of table pair is (a, b), not (a)"},
		{query: driftdb.ChangeQuery{Table: "t", Key: map[string]any{"v": "a"}}, err: "key of table t is (id), not (v)"},
		{query: driftdb.ChangeQuery{Table: "t", Key: map[string]any{}}, err: "not ()"},
		{query: driftdb.ChangeQuery{Key: map[string]any{"id": 1}}, err: "needs Table"},
		{query: driftdb.ChangeQuery{Table: "t", Key: map[string]any{"id": struct{}{}}}, err: `Key["id"]`},
		{query: driftdb.ChangeQuery{From: -1}, err: "negative"},
		{query: driftdb.ChangeQuery{From: 3, To: 2}, err: "end before"},
	}
	look := func(where string, changes func(context.Context, driftdb.ChangeQuery) iter.Seq2[driftdb.Change, error]) {
		for _, q := range queries {
			var got []int64
			var failed error
			for c, err := range changes(ctx, q.query) {
				if failed != nil {
					t.Fatalf("%s: %+v goes on after %v", where, q.query, failed)
				}
				if failed = err; err == nil {
					got = append(got, c.Sequence)
				}
			}
			switch {
			case q.err != "" && (failed == nil || !strings.Contains(failed.Error(), q.err)):
				t.Errorf("%s: %+v: %v", where, q.query, failed)
			case q.err == "" && (failed != nil || !slices.Equal(got, q.want)):
				t.Errorf("%s: %+v yields %d, %v; want %d", where, q.query, got, failed, q.want)
			}
		}
		for range changes(ctx, driftdb.ChangeQuery{}) {
			break // one who has had enough
		}
	}
	look("the log", db.Changes)
	systemtest.Check(t, db.Flush(ctx)) // trims it
	look("log and bucket", db.Changes)
	look("the bucket", db.Backup().Changes)
	systemtest.Must(db.Snapshot(ctx))
	look("the bucket with a snapshot", db.Backup().Changes)
}

// TestChangesEverywhere: a log that is read from anywhere to anywhere, in the file, in the
// bucket and in both, is the same.
func TestChangesEverywhere(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	ctx, cfg := t.Context(), systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
	for range 30 {
		n := 1 + r.IntN(4)
		systemtest.Exec(t, db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) INSERT INTO t(v) SELECT i FROM n", n)
		if r.IntN(4) == 0 {
			systemtest.Check(t, db.Flush(ctx))
		}
		if r.IntN(10) == 0 {
			systemtest.Must(db.Snapshot(ctx))
		}
	}
	last := db.Sequence()
	for range 30 {
		from := r.Int64N(last) + 1
		to := from + r.Int64N(last-from+1)
		got := systemtest.Sequences(t, db.Changes(ctx, driftdb.ChangeQuery{From: from, To: to}))
		if int64(len(got)) != to-from+1 || got[0] != from || !slices.IsSorted(got) {
			t.Errorf("from %d to %d: %d", from, to, got)
		}
	}
	systemtest.Check(t, db.Flush(ctx))
	var all [2][]driftdb.Change
	for i, changes := range []iter.Seq2[driftdb.Change, error]{db.Changes(ctx, driftdb.ChangeQuery{}), db.Backup().Changes(ctx, driftdb.ChangeQuery{})} {
		for c, err := range changes {
			systemtest.Check(t, err)
			all[i] = append(all[i], c)
		}
	}
	if int64(len(all[0])) != last || !reflect.DeepEqual(all[0], all[1]) {
		t.Errorf("%d changes of the database, and %d of its backup", len(all[0]), len(all[1]))
	}
}

// TestChangesWait: a query that waits yields what is committed, and for a backup what
// arrives there, until its context ends, the database is closed, or it has come to its To.
func TestChangesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := systemtest.Config(t)
		db := systemtest.Open(t, cfg)
		systemtest.Some(t, db, "t", 1)
		systemtest.Check(t, db.Flush(t.Context()))
		ctx, cancel := context.WithCancel(t.Context())
		local := follow(db.Changes(ctx, driftdb.ChangeQuery{From: 2, Wait: true}))
		bucket := follow(db.Backup().Changes(ctx, driftdb.ChangeQuery{From: 2, Wait: true}))
		closed := follow(db.Changes(t.Context(), driftdb.ChangeQuery{Wait: true, Table: "t"}))
		until := follow(db.Changes(t.Context(), driftdb.ChangeQuery{From: 3, To: 4, Wait: true}))
		arrived := follow(db.Backup().Changes(t.Context(), driftdb.ChangeQuery{From: 3, To: 4, Wait: true}))
		for n := int64(2); n < 6; n++ {
			local.wait(t, n)
			closed.wait(t, n)
			bucket.wait(t, n)
			systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('more')")
			if n != 3 { // of two, one comes beside the manifest
				systemtest.Check(t, db.Flush(t.Context()))
			} else {
				systemtest.Exec(t, db, "UPDATE t SET v = 'same' WHERE id = 1")
				systemtest.Check(t, db.Flush(t.Context()))
				n++
			}
		}
		for _, f := range []*follower{until, arrived} {
			if err := f.end(t); err != nil || f.last != 4 {
				t.Errorf("up to 4: it ends at %d, %v", f.last, err)
			}
		}
		cancel()
		for _, f := range []*follower{local, bucket} {
			if err := f.end(t); !errors.Is(err, context.Canceled) {
				t.Errorf("it ends with %v", err)
			}
		}
		systemtest.Check(t, db.Close())
		if err := closed.end(t); !errors.Is(err, driftdb.ErrClosed) {
			t.Errorf("it ends with %v", err)
		}
	})
}

// follower reads changes on a goroutine of its own, and checks that none is missing.
type follower struct {
	changes chan driftdb.Change
	err     error // when changes is closed
	last    int64
}

func follow(changes iter.Seq2[driftdb.Change, error]) *follower {
	f := &follower{changes: make(chan driftdb.Change)}
	go func() {
		defer close(f.changes)
		for c, err := range changes {
			if f.err = err; err == nil {
				f.changes <- c
			}
		}
	}()
	return f
}

// wait reads up to a change.
func (f *follower) wait(t *testing.T, sequence int64) {
	t.Helper()
	for f.last < sequence {
		select {
		case c, ok := <-f.changes:
			if !ok || f.last != 0 && c.Sequence != f.last+1 {
				t.Fatalf("after change %d comes %+v, %v", f.last, c, f.err)
			}
			f.last = c.Sequence
		case <-time.After(time.Minute):
			t.Fatalf("change %d does not come; the last one was %d", sequence, f.last)
		}
	}
}

// end reads what is left, and returns the error that it ends with.
func (f *follower) end(t *testing.T) error {
	t.Helper()
	for c := range f.changes {
		f.last = c.Sequence
	}
	return f.err
}

// TestChangesWaitTakeover: changes that were read before they were confirmed, and that
// another writer has left out, are an error when that shows. Other takeovers are none.
func TestChangesWaitTakeover(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("lost=%v", lost), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { waitTakeover(t, lost) })
		})
	}
}

func waitTakeover(t *testing.T, lost bool) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cfg := systemtest.Config(t)
	cfg.ManualSync, cfg.SyncInterval, cfg.ManifestInterval = false, 10*time.Millisecond, time.Hour
	first, err := driftdb.Open(ctx, cfg)
	systemtest.Check(t, err)
	defer first.Close()
	systemtest.Some(t, first, "t", 2)
	systemtest.Check(t, first.Flush(ctx))
	b, err := driftdb.OpenBackup(ctx, driftdb.BackupConfig{Name: cfg.Name, Store: cfg.Store})
	systemtest.Check(t, err)
	var f *follower
	send := func() {
		systemtest.Exec(t, first, "INSERT INTO t(v) VALUES('sent, not confirmed')")
		systemtest.Eventually(t, "it is sent", func() bool { return first.Metrics().PendingChanges == 0 })
		f = follow(b.Changes(ctx, driftdb.ChangeQuery{Wait: true}))
		f.wait(t, 4)
	}
	if !lost {
		send() // and the other one finds it
	}
	others, swaps := cfg, 0
	others.Store = objstoretest.Break(cfg.Store, func(c objstoretest.Call) objstoretest.Fault {
		if c.Op == objstoretest.Put && strings.HasSuffix(c.Key, "manifest.json") {
			if swaps++; swaps == 2 && f == nil { // the first one fenced the writer
				send() // too late: the other one has looked at what there is
			}
		}
		return objstoretest.Fault{}
	})
	second := takeOver(t, others)
	for range 2 {
		systemtest.Exec(t, second, "INSERT INTO t(v) VALUES('goes on')")
		systemtest.Check(t, second.Flush(t.Context()))
	}
	if lost {
		if err := f.end(t); !errors.Is(err, driftdb.ErrRolledBack) || f.last != 4 {
			t.Errorf("it ends at change %d with %v", f.last, err)
		}
		return
	}
	f.wait(t, second.Sequence())
	cancel()
	if err := f.end(t); !errors.Is(err, context.Canceled) {
		t.Errorf("it ends with %v", err)
	}
}
