package backup_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestPointInTime restores to sequences and times.
func TestPointInTime(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 5)                 // sequences 1 to 6
	err := db.Tx(ctx, func(tx *driftdb.Tx) error { // 7 to 9
		_, err := tx.Exec(ctx, "INSERT INTO t(v) VALUES('a'), ('b'), ('c')")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	systemtest.Some(t, db, "t", 2) // 10 and 11
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		to, at, rows int64
	}{{1, 1, 0}, {4, 4, 3}, {6, 6, 5}, {7, 6, 5}, {8, 6, 5}, {9, 9, 8}, {10, 10, 9}, {11, 11, 10}} {
		path := filepath.Join(t.TempDir(), "r.sqlite")
		res, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: "app", Path: path, Store: cfg.Store, Sequence: c.to})
		if err != nil {
			t.Errorf("to %d: %v", c.to, err)
		} else if res.Sequence != c.at || res.Rows != c.rows {
			t.Errorf("to %d: got sequence %d with %d rows, want %d with %d", c.to, res.Sequence, res.Rows, c.at, c.rows)
		}
	}
	_, err = driftdb.Restore(ctx, driftdb.RestoreConfig{Name: "app", Path: filepath.Join(t.TempDir(), "r"), Store: cfg.Store, At: time.Now().Add(-time.Hour)})
	if !errors.Is(err, driftdb.ErrNoBackup) {
		t.Errorf("a time before everything: %v", err)
	}
}

// TestChanges reads the log, also where it is only in the bucket.
func TestChanges(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t(id TEXT PRIMARY KEY, v)")
	systemtest.Exec(t, db, "INSERT INTO t VALUES('a', 1), ('b', 2.5)")
	systemtest.Exec(t, db, "UPDATE t SET v = NULL WHERE id = 'b'")
	check := func(from int64, want ...string) {
		t.Helper()
		var got []string
		for c, err := range db.Changes(ctx, driftdb.ChangeQuery{From: from}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%d/%d %s %s %v %v>%v", c.Sequence, c.Tx, c.Operation, c.Table, c.Key, c.Before, c.After))
		}
		if !slices.Equal(got, want) {
			t.Errorf("from %d:\n got %s\nwant %s", from, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
	}
	all := []string{
		"1/1 schema  map[] map[]>map[]",
		"2/2 insert t map[id:a] map[]>map[id:a v:1]",
		"3/2 insert t map[id:b] map[]>map[id:b v:2.5]",
		"4/4 update t map[id:b] map[v:2.5]>map[v:<nil>]",
	}
	check(0, all...)
	check(3, all[2:]...)
	check(5)
	if err := db.Flush(ctx); err != nil { // trims all but the newest transaction
		t.Fatal(err)
	}
	check(1, all...)
	check(3, all[2:]...)
	systemtest.Exec(t, db, "DELETE FROM t WHERE id = 'a'")
	check(3, append(slices.Clone(all[2:]), "5/5 delete t map[id:a] map[id:a v:1]>map[]")...)
	for c, err := range db.Changes(ctx, driftdb.ChangeQuery{}) {
		if err != nil || c.Sequence != 1 {
			t.Fatal(c, err)
		}
		break
	}
}
