package consume_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

var errEnough = errors.New("enough")

// note writes the sequences of changes to a table, and fails where the test says so.
func note(table string, fails func(driftdb.Change) error) func(context.Context, *driftdb.Tx, driftdb.Change) error {
	return func(ctx context.Context, tx *driftdb.Tx, c driftdb.Change) error {
		if _, err := tx.Exec(ctx, "INSERT INTO "+table+"(sequence, what) VALUES(?, ?)", c.Sequence, string(c.Operation)); err != nil {
			return err
		}
		return fails(c)
	}
}

func never(driftdb.Change) error { return nil }

func notes(t testing.TB, db *driftdb.DB, table string) []int64 {
	t.Helper()
	out, err := driftdb.Select[int64](t.Context(), db, "SELECT sequence FROM "+table+" ORDER BY id")
	systemtest.Check(t, err)
	return out
}

func makeNotes(t testing.TB, db *driftdb.DB, tables ...string) {
	t.Helper()
	for _, table := range tables {
		systemtest.Exec(t, db, "CREATE TABLE IF NOT EXISTS "+table+"(id INTEGER PRIMARY KEY AUTOINCREMENT, sequence INTEGER, what TEXT)")
	}
}

// drain runs a consumer until it has handled everything that there is.
func drain(t testing.TB, db *driftdb.DB, name, table string, options ...driftdb.ConsumeOptions) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	last, before := db.Sequence(), len(notes(t, db, table)) // those of a copy have other numbers
	done := systemtest.InGoroutine(func() error { return db.Consume(ctx, name, note(table, never), options...) })
	for {
		systemtest.Exec(t, db, "INSERT INTO marks DEFAULT VALUES") // when it has this, it has all
		select {
		case err := <-done:
			return err
		case <-time.After(time.Millisecond):
		}
		got := notes(t, db, table)
		if len(got) > before && got[len(got)-1] > last {
			break
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// source returns the sequences of the changes of a table, as the history has them.
func source(t testing.TB, db *driftdb.DB, table string) []int64 {
	t.Helper()
	return systemtest.Sequences(t, db.Changes(t.Context(), driftdb.ChangeQuery{Table: table}))
}

// TestConsume: a consumer gets each transaction once and whole, in order, and nothing that
// it has made itself. An error of its function leaves nothing of that transaction behind.
func TestConsume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := systemtest.Open(t, systemtest.Config(t))
		makeNotes(t, db, "notes")
		systemtest.Exec(t, db, "CREATE TRIGGER echo AFTER INSERT ON notes BEGIN INSERT INTO echoes VALUES(new.id); END; CREATE TABLE echoes(n); CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
		systemtest.Exec(t, db, "INSERT INTO t VALUES(1, 'before the consumer')")
		ctx, cancel := context.WithCancel(t.Context())
		poison := int64(0)
		consumer := func(c driftdb.Change) error {
			if c.Sequence == poison {
				return errEnough
			}
			return nil
		}
		run := func() <-chan error {
			done := systemtest.InGoroutine(func() error { return db.Consume(ctx, "notes", note("notes", consumer)) })
			synctest.Wait()
			return done
		}
		done := run()
		if err := db.Consume(ctx, "notes", note("notes", never)); err == nil || !strings.Contains(err.Error(), "running already") {
			t.Errorf("the same consumer twice: %v", err)
		}
		first := db.Sequence() + 1
		systemtest.Exec(t, db, "INSERT INTO t VALUES(2, 'x'), (3, 'x')")
		synctest.Wait()
		second := db.Sequence() + 1
		systemtest.Exec(t, db, "UPDATE t SET v = 'y' WHERE id = 2")
		synctest.Wait()
		schema := db.Sequence() + 1
		systemtest.Exec(t, db, "CREATE TABLE u(v)")
		synctest.Wait()
		want := []int64{first, first + 1, second, schema}
		if got := notes(t, db, "notes"); !slices.Equal(got, want) {
			t.Fatalf("it has %d, want %d", got, want)
		}
		poison = db.Sequence() + 2
		systemtest.Exec(t, db, "INSERT INTO t VALUES(4, 'x'), (5, 'x'), (6, 'x')")
		if err := <-done; err != errEnough {
			t.Fatalf("the function's error comes as %v", err)
		}
		if got := notes(t, db, "notes"); !slices.Equal(got, want) {
			t.Errorf("after an error it has %d, want %d", got, want)
		}
		want = append(want, poison-1, poison, poison+1)
		poison = 0
		done = run()
		if got := notes(t, db, "notes"); !slices.Equal(got, want) {
			t.Errorf("it has %d, want %d", got, want)
		}
		time.Sleep(time.Hour)
		if now := db.Sequence(); now != db.Sequence() || len(notes(t, db, "notes")) != len(want) {
			t.Errorf("it has handled its own changes: there are %d now", now)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("it ends with %v", err)
		}
	})
}

// TestConsumeFrom: where a new consumer begins, and which changes Table selects.
func TestConsumeFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := systemtest.Open(t, systemtest.Config(t))
		systemtest.Some(t, db, "t", 2) // 1 to 3
		systemtest.Some(t, db, "u", 2) // 4 to 6
		makeNotes(t, db, "a", "b", "c", "d")
		ctx, cancel := context.WithCancel(t.Context())
		var all []<-chan error
		for table, o := range map[string]driftdb.ConsumeOptions{"a": {}, "b": {Table: "T", From: 1}, "c": {From: 6, Table: "U"}, "d": {Table: "t"}} {
			all = append(all, systemtest.InGoroutine(func() error { return db.Consume(ctx, table, note(table, never), o) }))
			synctest.Wait()
		}
		systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('more')")
		last := db.Sequence()
		synctest.Wait()
		systemtest.Check(t, db.Vacuum(t.Context()))
		synctest.Wait()
		barrier := int64(0)
		for c, err := range db.Changes(ctx, driftdb.ChangeQuery{}) {
			systemtest.Check(t, err)
			if c.Operation == driftdb.OperationBarrier {
				barrier = c.Sequence
			}
		}
		for table, want := range map[string][]int64{"b": {2, 3, last, barrier}, "c": {6, barrier}, "d": {last, barrier}} {
			if got := notes(t, db, table); !slices.Equal(got, want) {
				t.Errorf("%s has %d, want %d", table, got, want)
			}
		}
		if got := notes(t, db, "a"); got[0] < 7 || !slices.Contains(got, last) || !slices.Contains(got, barrier) {
			t.Errorf("what gets everything has %d, without %d or %d", got, last, barrier)
		}
		cancel()
		for _, done := range all {
			<-done
		}
	})
}

// TestConsumeRefuses: what Consume says to calls that cannot work.
func TestConsumeRefuses(t *testing.T) {
	ctx, cfg := t.Context(), systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 1)
	fn := note("t", never)
	inside := db.Tx(ctx, func(*driftdb.Tx) error { return db.Consume(ctx, "x", fn) })
	for _, c := range []struct {
		err  error
		want string
	}{
		{db.Consume(ctx, "", fn), "name of a consumer is empty"},
		{db.Consume(ctx, "x", fn, driftdb.ConsumeOptions{From: -1}), "From is negative"},
		{db.Consume(ctx, "x", fn, driftdb.ConsumeOptions{From: 1000}), "there is no change 1000 yet"},
		{db.Consume(ctx, "x", fn, driftdb.ConsumeOptions{Table: "DriftDB_Consumers"}), "go to no consumer"},
		{db.Consume(ctx, "x", fn, driftdb.ConsumeOptions{}, driftdb.ConsumeOptions{}), "at most one"},
		{inside, "wait for itself"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%v, want %q", c.err, c.want)
		}
	}
	if err := systemtest.MustRead(t, cfg).Consume(ctx, "x", fn); !errors.Is(err, driftdb.ErrReadOnly) {
		t.Errorf("a database that only reads: %v", err)
	}
	systemtest.Exec(t, db, "CREATE TABLE driftdb_consumers(name TEXT PRIMARY KEY, position, database_id)")
	systemtest.Exec(t, db, "INSERT INTO driftdb_consumers SELECT 'x', 1000, value FROM _driftdb_meta WHERE key = 'database_id'")
	if err := db.Consume(ctx, "x", fn); !errors.Is(err, driftdb.ErrRolledBack) || !strings.Contains(err.Error(), "1000") {
		t.Errorf("a position that is not in the history: %v", err)
	}
	systemtest.Exec(t, db, "UPDATE driftdb_consumers SET position = 0")
	err := db.Consume(ctx, "x", func(ctx context.Context, tx *driftdb.Tx, _ driftdb.Change) error {
		_, err := tx.Exec(ctx, "UPDATE driftdb_consumers SET position = 7")
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "changed by somebody else") {
		t.Errorf("a row that another one moves: %v", err)
	}
}

// TestConsumeElsewhere: what a consumer has done is not done again where the database is
// restored, forked, or opened under another name from a copy, and nothing is left out.
func TestConsumeElsewhere(t *testing.T) {
	ctx, cfg := t.Context(), systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	makeNotes(t, db, "notes")
	systemtest.Exec(t, db, "CREATE TABLE marks(id INTEGER PRIMARY KEY)")
	systemtest.Some(t, db, "t", 3)
	all := driftdb.ConsumeOptions{From: 1}
	systemtest.Check(t, drain(t, db, "notes", "notes", all))
	systemtest.Some(t, db, "t", 3) // not handled
	systemtest.Check(t, db.Flush(ctx))
	handled := len(notes(t, db, "notes"))

	complete := func(what string, db *driftdb.DB, from int64) {
		t.Helper()
		systemtest.Check(t, drain(t, db, "notes", "notes", all))
		got := notes(t, db, "notes")
		for i, n := range source(t, db, "t") {
			if !slices.Contains(got, n) && n >= from {
				t.Errorf("%s: change %d (%d of t) is missing in %d", what, n, i, got)
			}
		}
		if again := slices.Compact(slices.Sorted(slices.Values(got))); len(again) != len(got) && from == 0 {
			t.Errorf("%s: some changes are there twice: %d", what, got)
		}
		if len(got) <= handled {
			t.Errorf("%s: nothing was handled", what)
		}
	}
	fork, err := db.Backup().Fork(ctx, "fork", driftdb.Point{})
	systemtest.Check(t, err)
	forked := cfg
	forked.Name, forked.Path, forked.AutoRestore = "fork", filepath.Join(t.TempDir(), "fork.sqlite"), true
	complete("a fork", systemtest.Open(t, forked), 0)
	_ = fork

	copied := cfg
	copied.Name, copied.Path = "copy", filepath.Join(t.TempDir(), "copy.sqlite")
	_, err = db.Backup().Restore(ctx, copied.Path, driftdb.RestoreOptions{})
	systemtest.Check(t, err)
	other := systemtest.Open(t, copied)
	barrier := other.Sequence()
	complete("a copy under another name", other, barrier)
	first, err := driftdb.Select[string](ctx, other, "SELECT what FROM notes ORDER BY id LIMIT 1 OFFSET ?", handled)
	if systemtest.Check(t, err); first[0] != string(driftdb.OperationBarrier) {
		t.Errorf("in a copy under another name, the first change is %s", first[0])
	}

	systemtest.Check(t, db.Close())
	moved := cfg
	moved.Path, moved.AutoRestore, moved.ManualSync = filepath.Join(t.TempDir(), "moved.sqlite"), true, false
	complete("another machine", systemtest.Open(t, moved), 0)
}

// TestConsumeUndo: an undo takes back what a consumer has done, but not that it has.
func TestConsumeUndo(t *testing.T) {
	ctx := t.Context()
	db := systemtest.Open(t, systemtest.Config(t))
	makeNotes(t, db, "notes")
	systemtest.Exec(t, db, "CREATE TABLE marks(id INTEGER PRIMARY KEY)")
	systemtest.Some(t, db, "t", 1)
	systemtest.Check(t, drain(t, db, "notes", "notes", driftdb.ConsumeOptions{From: 1}))
	handled := db.Sequence()
	for c, err := range db.Changes(ctx, driftdb.ChangeQuery{Table: "notes"}) {
		systemtest.Check(t, err)
		handled = c.Tx
		break
	}
	before, err := driftdb.Select[int64](ctx, db, "SELECT position FROM driftdb_consumers")
	systemtest.Check(t, err)
	res, err := db.Undo(ctx, driftdb.Undo{From: handled, To: handled})
	if systemtest.Check(t, err); res.Undone != 1 {
		t.Errorf("undone: %+v", res)
	}
	after, err := driftdb.Select[int64](ctx, db, "SELECT position FROM driftdb_consumers")
	if systemtest.Check(t, err); !slices.Equal(before, after) {
		t.Errorf("an undo moved the position from %d to %d", before, after)
	}
}

// TestConsumeTrimmed: a consumer that stood still gets what it has missed from the bucket,
// and is told what is gone.
func TestConsumeTrimmed(t *testing.T) {
	ctx, cfg := t.Context(), systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	makeNotes(t, db, "notes")
	systemtest.Exec(t, db, "CREATE TABLE marks(id INTEGER PRIMARY KEY)")
	systemtest.Check(t, drain(t, db, "notes", "notes"))
	before := len(notes(t, db, "notes"))
	for range 3 {
		systemtest.Some(t, db, "t", 2)
		systemtest.Check(t, db.Flush(ctx)) // trims the log
	}
	systemtest.Check(t, drain(t, db, "notes", "notes"))
	if got := notes(t, db, "notes"); len(got) < before+6 || !slices.IsSorted(got) {
		t.Errorf("it has %d", got)
	}
	at, err := driftdb.Select[int64](ctx, db, "SELECT position FROM driftdb_consumers")
	systemtest.Check(t, err)
	systemtest.Some(t, db, "t", 2)
	systemtest.Check(t, db.Flush(ctx))
	systemtest.Some(t, db, "t", 1)
	systemtest.Check(t, db.Flush(ctx))
	systemtest.Check(t, db.Close())
	cfg.Store, cfg.ManualSync = nil, false
	alone := systemtest.Open(t, cfg)
	err = alone.Consume(ctx, "notes", note("notes", never))
	if want := fmt.Sprintf("up to %d", at[0]); !errors.Is(err, driftdb.ErrNoBackup) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "no store") {
		t.Errorf("without the bucket: %v; want %q", err, want)
	}
	systemtest.Check(t, alone.Close())
}
