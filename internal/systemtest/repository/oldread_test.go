package repository_test

import (
	"context"
	"database/sql"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestOldestRead: Metrics knows each way to read for long, for as long as it lasts.
func TestOldestRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		db := systemtest.Open(t, systemtest.Config(t))
		systemtest.Some(t, db, "t", 3)
		later := func(what string, want time.Duration) {
			t.Helper()
			time.Sleep(time.Minute)
			if got := db.Metrics().OldestRead; got != want {
				t.Errorf("%s: the oldest read is %s old, want %s", what, got, want)
			}
		}
		later("no read", 0)
		users := systemtest.Define[user](t, db, "users")
		systemtest.Must(users.CreateMany(ctx, []user{{Name: "a", Email: "a"}, {Name: "b", Email: "b"}}))
		if err := db.ReadTx(ctx, func(*driftdb.Tx) error { later("ReadTx", time.Minute); return nil }); err != nil {
			t.Fatal(err)
		}
		for _, err := range users.Each(ctx, driftdb.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			later("a loop over rows", time.Minute)
			break
		}
		later("none is left", 0)

		rows, err := db.SQL().Query("SELECT id FROM t")
		if err != nil || !rows.Next() {
			t.Fatal(err, rows.Err())
		}
		later("Rows", time.Minute)
		tx, err := db.SQL().BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if err := tx.QueryRow("SELECT count(*) FROM t").Scan(&n); err != nil {
			t.Fatal(err)
		}
		later("Rows, and a transaction", 2*time.Minute)
		rows.Close()
		later("the younger one is left", 2*time.Minute)
		tx.Rollback()
		later("the last has ended", 0)

		if tx, err = db.SQL().BeginTx(ctx, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec("INSERT INTO t(v) VALUES('x')"); err != nil {
			t.Fatal(err)
		}
		later("a transaction that writes", 0)
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestMetricsWithoutReader: reads that have all readers do not keep Metrics from its callers,
// who want to find out about just that.
func TestMetricsWithoutReader(t *testing.T) {
	cfg := systemtest.Config(t)
	cfg.MaxReaders = 1
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 5)
	before := db.Metrics()
	err := db.ReadTx(t.Context(), func(*driftdb.Tx) error {
		systemtest.Some(t, db, "t", 1)
		m := db.Metrics()
		if m.OldestRead == 0 || m.LogSizeBytes != before.LogSizeBytes || m.LogSizeBytes == 0 || m.OldestPendingAge == 0 || m.PendingChanges <= before.PendingChanges {
			t.Errorf("%+v, and before %+v", m, before)
		}
		return nil
	})
	systemtest.Check(t, err)
	if m := db.Metrics(); m.LogSizeBytes <= before.LogSizeBytes {
		t.Errorf("afterwards: %+v, and before %+v", m, before)
	}
}

// TestOldReadWarning: a read that lets the WAL outgrow its limit is warned of once,
// and again when it is twice as old. A small WAL is not worth a word. Close ends
// the read.
func TestOldReadWarning(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes tens of MiB")
	}
	synctest.Test(t, func(t *testing.T) {
		var warnings []driftdb.Event
		cfg := systemtest.Config(t)
		cfg.OnEvent = func(e driftdb.Event) {
			if e.Kind == driftdb.EventLongRead {
				warnings = append(warnings, e)
			}
		}
		db := systemtest.Open(t, cfg)
		systemtest.Some(t, db, "t", 3)
		rows, err := db.SQL().Query("SELECT id FROM t")
		if err != nil || !rows.Next() {
			t.Fatal(err, rows.Err())
		}
		after := func(wait time.Duration, want int) {
			t.Helper()
			time.Sleep(wait)
			synctest.Wait()
			if len(warnings) != want {
				t.Fatalf("%d warnings, want %d: %v", len(warnings), want, warnings)
			}
		}
		after(2*time.Minute, 0)
		for range sqlite.WALLimit >> 20 {
			systemtest.Exec(t, db, "UPDATE t SET v = hex(randomblob(1 << 19)) WHERE id = 1")
		}
		after(10*time.Second, 1)
		after(time.Minute, 1)
		after(time.Hour, 5) // at 4, 8, 16 and 32 minutes
		if !strings.Contains(warnings[0].Message, "sql.Rows") {
			t.Errorf("it does not say what to look for: %q", warnings[0].Message)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if m := db.Metrics(); m.OldestRead != 0 {
			t.Errorf("after Close a read is %s old", m.OldestRead)
		}
		if info, err := os.Stat(cfg.Path + "-wal"); err == nil {
			t.Errorf("after Close the WAL has %d bytes", info.Size())
		}
		if rows.Next() {
			t.Error("after Close there are rows")
		}
	})
}

// TestOldReadEnds: the WAL that a read held up is cut when it ends, without a write.
func TestOldReadEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes tens of MiB")
	}
	synctest.Test(t, func(t *testing.T) {
		db := systemtest.Open(t, systemtest.Config(t))
		systemtest.Some(t, db, "t", 3)
		err := db.ReadTx(t.Context(), func(tx *driftdb.Tx) error {
			// Not of this transaction: another goroutine's writes.
			return <-systemtest.InGoroutine(func() error {
				for range 40 {
					if _, err := db.Exec(context.Background(), "UPDATE t SET v = hex(randomblob(1 << 19)) WHERE id = 1"); err != nil {
						return err
					}
				}
				if m := db.Metrics(); m.WALSizeBytes < 64<<20 {
					t.Errorf("the WAL has %d bytes only", m.WALSizeBytes)
				}
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if m := db.Metrics(); m.WALSizeBytes > 1<<20 {
			t.Errorf("10 s after the read the WAL has %d bytes", m.WALSizeBytes)
		}
	})
}
