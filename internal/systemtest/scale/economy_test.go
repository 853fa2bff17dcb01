package scale_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// TestIdle: a database to which nobody writes asks for nothing, whatever it did
// before, and with readers.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := systemtest.Config(t)
		store := objstoretest.Count(cfg.Store)
		cfg.Store, cfg.ManualSync = store, false
		db := systemtest.Open(t, cfg)
		systemtest.Some(t, db, "t", 10)
		if _, err := db.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		systemtest.Exec(t, db, "UPDATE t SET v = 'x' WHERE id = 3")
		time.Sleep(2 * time.Minute)
		store.Reset()
		for range 24 {
			time.Sleep(time.Hour)
			if n := systemtest.Count(t, db, "t"); n != 10 {
				t.Fatal(n)
			}
			systemtest.Exec(t, db, "UPDATE t SET v = 'x' WHERE id = 1000") // changes nothing
		}
		if n := store.Calls(); n != 0 {
			t.Errorf("an idle day made %d requests", n)
		}
	})
}

// TestManySmallWrites: a minute of a hundred one-row updates a second takes a
// request per interval and one to confirm, and at most 1 MiB.
func TestManySmallWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := systemtest.Config(t)
		store := objstoretest.Count(cfg.Store)
		cfg.Store, cfg.ManualSync = store, false
		cfg.Path = filepath.Join(systemtest.MemoryDir(t), "app.sqlite")
		db := systemtest.Open(t, cfg)
		people, err := driftdb.Define[visitor](t.Context(), db, "visitors")
		systemtest.Check(t, err)
		var visitors []visitor
		for i := range 1000 {
			visitors = append(visitors, visitor{Name: fmt.Sprint("visitor ", i), Email: fmt.Sprintf("visitor%d@example.com", i)})
		}
		visitors, err = people.CreateMany(t.Context(), visitors)
		systemtest.Check(t, err)
		time.Sleep(2 * time.Minute)
		before := len(systemtest.Backup(t, cfg).Snapshots)
		store.Reset()
		for i := range 60 * 100 {
			_, err := people.UpdateByID(t.Context(), visitors[i*7919%len(visitors)].ID, driftdb.Set{"visits": i, "seen": time.Now()})
			systemtest.Check(t, err)
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(2 * time.Minute)
		put, all := store.Tally(objstoretest.Put), store.Calls()
		snapshots := len(systemtest.Backup(t, cfg).Snapshots) - before
		t.Logf("6000 updates: %d bytes in %d PUTs, %d of them snapshots", put.Bytes, put.Calls, snapshots)
		if put.Bytes > 1<<20 {
			t.Errorf("%d bytes were uploaded, want 1 MiB at most", put.Bytes)
		}
		// With a snapshot go the batch of what was written since the interval's
		// own, and a manifest.
		if put.Calls > 13+2+3*snapshots || all != put.Calls {
			t.Errorf("%d PUTs, want a batch for each of 13 intervals, a manifest a minute, and two more with each of %d snapshots; and %d requests in all", put.Calls, snapshots, all)
		}
	})
}

type visitor struct {
	driftdb.Base
	Name, Email string
	Visits      int
	Seen        time.Time
}

// TestRestoreRequests: a restore reads the manifest, a snapshot, and the batches
// after that, and lists those once per epoch.
func TestRestoreRequests(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	store := objstoretest.Count(cfg.Store)
	cfg.Store = store
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 5)
	systemtest.Check(t, db.Flush(ctx))
	_, err := db.Snapshot(ctx)
	systemtest.Check(t, err)
	for after := range 4 {
		if after > 0 {
			systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('after the snapshot')")
			systemtest.Check(t, db.Flush(ctx))
		}
		store.Reset()
		_, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Store: store, Path: filepath.Join(t.TempDir(), "restored.sqlite")})
		systemtest.Check(t, err)
		if gets, lists := store.Tally(objstoretest.Get).Calls, store.Tally(objstoretest.List).Calls; gets != 2+after || lists != 1 || store.Calls() != gets+lists {
			t.Errorf("%d batches after the snapshot: %d GETs, %d LISTs, %d requests in all", after, gets, lists, store.Calls())
		}
	}
}

// TestBulkLoad: a load of many rows at once goes up in few large batches, as
// few bytes as the rows have, and the WAL does not grow with it. DRIFTDB_ROWS
// says how many rows; "make economy" takes a million.
func TestBulkLoad(t *testing.T) {
	const million, wal = 1_000_000, 64 << 20
	rows := systemtest.Setting(t, "DRIFTDB_ROWS", 100_000)
	ctx := t.Context()
	cfg := systemtest.Config(t)
	store := objstoretest.Count(cfg.Store)
	cfg.Store, cfg.ManualSync, cfg.SyncInterval = store, false, 500*time.Millisecond
	db := systemtest.Open(t, cfg)
	watched := watchSize(cfg.Path + "-wal")
	systemtest.Exec(t, db, "CREATE TABLE people(id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, city TEXT, score REAL, visits INTEGER)")
	began := time.Now()
	for from := 0; from < rows; from += 1000 {
		err := db.Tx(ctx, func(tx *driftdb.Tx) error {
			for i := from; i < min(from+1000, rows); i++ {
				_, err := tx.Exec(ctx, "INSERT INTO people(name, email, city, score, visits) VALUES(?, ?, ?, ?, ?)",
					fmt.Sprintf("%s %s", firstNames[i*31%len(firstNames)], lastNames[i*17%len(lastNames)]),
					fmt.Sprintf("user%d@example.com", i*7919%rows), cities[i*13%len(cities)], float64(i*37%10000)/100, i%50)
				if err != nil {
					return err
				}
			}
			return nil
		})
		systemtest.Check(t, err)
	}
	loaded := time.Since(began)
	systemtest.Check(t, db.Flush(ctx))
	put, peak := store.Tally(objstoretest.Put), watched()
	t.Logf("%d rows in %s, in the bucket after %s: %.1f MiB in %d PUTs; the WAL had %.1f MiB at most",
		rows, loaded.Round(time.Millisecond), time.Since(began).Round(time.Millisecond), mebibytes(put.Bytes), put.Calls, mebibytes(peak))
	if limit := int64(rows) * (60 << 20) / million; put.Bytes > limit {
		t.Errorf("%.1f MiB were uploaded, want %.1f at most", mebibytes(put.Bytes), mebibytes(limit))
	}
	// 13 probe the store, which is new; on a slow machine there are more rounds.
	if most := 63 + 2*int(time.Since(began)/(5*time.Second)); put.Calls > most {
		t.Errorf("%d PUTs, want %d at most", put.Calls, most)
	}
	if peak > wal {
		t.Errorf("the WAL grew to %.1f MiB, want 64 at most", mebibytes(peak))
	}
}

var (
	firstNames = strings.Fields("Ada Alan Barbara Claude Donald Edsger Frances Grace Hedy Ivan John Katherine Leslie Margaret Niklaus Radia Tim Whitfield")
	lastNames  = strings.Fields("Allen Backus Diffie Dijkstra Hamilton Hopper Johnson Knuth Lamarr Lamport Liskov Lovelace Perlman Shannon Sutherland Turing Wirth")
	cities     = strings.Fields("Accra Bergen Cusco Dhaka Erfurt Fez Graz Hanoi Izmir Jaipur Kyoto Lagos Malmö Nairobi Oslo Porto Quito Riga Split Tunis")
)

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

// TestRestoreManySessions: what many sessions of one machine have stored, each
// under an epoch of its own, is listed once.
func TestRestoreManySessions(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	store := objstoretest.Count(cfg.Store)
	cfg.Store = store
	const sessions = 30
	for range sessions {
		db := systemtest.Open(t, cfg)
		systemtest.Exec(t, db, "CREATE TABLE IF NOT EXISTS t(v)")
		systemtest.Exec(t, db, "INSERT INTO t VALUES(randomblob(60000))") // more than the next session repeats
		systemtest.Check(t, db.Shutdown(ctx))
	}
	store.Reset()
	_, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Store: store, Path: filepath.Join(t.TempDir(), "restored.sqlite")})
	systemtest.Check(t, err)
	if gets, lists := store.Tally(objstoretest.Get).Calls, store.Tally(objstoretest.List).Calls; gets != 1+sessions || lists != 1 {
		t.Errorf("%d GETs, %d LISTs", gets, lists)
	}
}

// TestReopenWritesNothing: a program that sees to its tables whenever it starts,
// and has nothing to write, adds nothing to the log and asks the bucket for
// nothing more than Open does.
func TestReopenWritesNothing(t *testing.T) {
	ctx := t.Context()
	cfg := systemtest.Config(t)
	const tables = "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY AUTOINCREMENT, v); CREATE TABLE IF NOT EXISTS u(id INTEGER PRIMARY KEY AUTOINCREMENT)"
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, tables+"; INSERT INTO t(v) VALUES(1)")
	systemtest.Check(t, db.Shutdown(ctx))
	sequence := db.Sequence()
	for range 2 {
		db = systemtest.Open(t, cfg)
		systemtest.Exec(t, db, tables)
		if _, err := db.SQL().ExecContext(ctx, tables); err != nil {
			t.Fatal(err)
		}
		if db.Sequence() != sequence {
			t.Fatalf("at %d, was %d", db.Sequence(), sequence)
		}
		systemtest.Check(t, db.Flush(ctx))
		if n := db.Metrics().Requests; n > 1 { // the one that looks whether the bucket is ahead
			t.Errorf("%d requests", n)
		}
		systemtest.Check(t, db.Close())
	}
	db = systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "INSERT OR IGNORE INTO t(id, v) VALUES(1, 2); INSERT OR IGNORE INTO u(id) VALUES(77)") // compares at the end
}
