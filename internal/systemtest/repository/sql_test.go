package repository_test

import (
	"database/sql"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// Transactions of db.SQL() that read before they write wait for each other:
// nothing is lost and nobody is refused.
func TestSQLTransactionsReadThenWrite(t *testing.T) {
	db := systemtest.Open(t, systemtest.Config(t))
	systemtest.Exec(t, db, "CREATE TABLE counter(n INTEGER); INSERT INTO counter VALUES(0)")
	increment := func() error {
		tx, err := db.SQL().BeginTx(t.Context(), nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		var n int
		if err := tx.QueryRow("SELECT n FROM counter").Scan(&n); err != nil {
			return err
		}
		if _, err := tx.Exec("UPDATE counter SET n = ?", n+1); err != nil {
			return err
		}
		return tx.Commit()
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				if err := increment(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var n int
	if err := db.SQL().QueryRow("SELECT n FROM counter").Scan(&n); err != nil || n != 80 {
		t.Errorf("80 increments made %d, %v", n, err)
	}
}

// A read-only transaction sees one state, and neither waits for a writer nor
// holds one up.
func TestSQLReadOnlyTransactionDoesNotWait(t *testing.T) {
	db := systemtest.Open(t, systemtest.Config(t))
	systemtest.Exec(t, db, "CREATE TABLE t(n); INSERT INTO t VALUES(1)")
	writer, err := db.SQL().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Rollback()
	if _, err := writer.Exec("INSERT INTO t VALUES(2)"); err != nil {
		t.Fatal(err)
	}
	reader, err := db.SQL().BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Rollback()
	rows := func() (n int) {
		if err := reader.QueryRow("SELECT count(*) FROM t").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := rows()
	if err := writer.Commit(); err != nil {
		t.Fatal(err)
	}
	if before != 1 || rows() != 1 {
		t.Errorf("%d rows, then %d; the transaction began with 1", before, rows())
	}
}

// A time is the same instant when it is read again, whatever its zone is
// called, and SQLite's date functions understand it.
func TestSQLTimes(t *testing.T) {
	db := systemtest.Open(t, systemtest.Config(t))
	systemtest.Exec(t, db, "CREATE TABLE t(at DATETIME)")
	for _, want := range []time.Time{
		time.Now(), // with a monotonic reading
		time.Date(2026, 3, 29, 2, 30, 0, 123456789, time.FixedZone("", 3600)),
		time.Date(1969, 12, 31, 23, 59, 59, 1, time.FixedZone("half", -5*3600-1800)),
		time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC),
	} {
		var got time.Time
		var seconds int64
		if _, err := db.SQL().Exec("DELETE FROM t; INSERT INTO t VALUES(?)", want); err != nil {
			t.Fatal(err)
		}
		if err := db.SQL().QueryRow("SELECT at, unixepoch(at) FROM t").Scan(&got, &seconds); err != nil {
			t.Errorf("%v: %v", want, err)
			continue
		}
		if !got.Equal(want) || seconds != want.Unix() {
			t.Errorf("%v: read as %v; SQLite says second %d, want %d", want, got, seconds, want.Unix())
		}
	}
}
