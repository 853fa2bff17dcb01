package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// ledgered is a database with a ledger, two connections of ours and one that
// the ledger does not know.
func ledgered(t testing.TB) (ours, also, foreign *sqlite.Conn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	opts := sqlite.Options{Ledger: new(sqlite.Ledger)}
	ours, also = openPlain(t, path, opts), openPlain(t, path, opts)
	run(t, ours, "CREATE TABLE t(a)")
	start(t, opts.Ledger, ours)
	return ours, also, openPlain(t, path, sqlite.Options{})
}

// missed looks under the write lock, and without it.
func missed(t *testing.T, c *sqlite.Conn) bool {
	t.Helper()
	quick := !c.Unmissed()
	run(t, c, "BEGIN IMMEDIATE")
	_, notice := c.Missed()
	run(t, c, "ROLLBACK")
	if quick != (notice != 0) {
		t.Errorf("without the lock: %v, with it: %v", quick, notice != 0)
	}
	return notice != 0
}

// answer commits as capture does.
func answer(t *testing.T, c *sqlite.Conn) {
	t.Helper()
	c.Driver.RegisterCommitHook(func() int32 { c.Committing(0); return 0 })
	run(t, c, "BEGIN IMMEDIATE")
	_, notice := c.Missed()
	run(t, c, "INSERT INTO t VALUES('barrier')", "COMMIT")
	c.Committed(notice)
}

func TestLedger(t *testing.T) {
	ours, also, foreign := ledgered(t)
	for range 50 {
		run(t, ours, "INSERT INTO t VALUES(1)", "BEGIN; INSERT INTO t VALUES(2); ROLLBACK", "PRAGMA user_version=1")
		run(t, also, "DELETE FROM t WHERE 0", "CREATE TEMP TABLE IF NOT EXISTS x(a); INSERT INTO x VALUES(1)", "BEGIN IMMEDIATE; COMMIT", "UPDATE t SET a = 3", "PRAGMA wal_checkpoint(TRUNCATE)")
	}
	if missed(t, ours) || missed(t, also) {
		t.Fatal("our own commits were missed")
	}
	run(t, foreign, "SELECT * FROM t", "BEGIN IMMEDIATE; INSERT INTO t VALUES(1); ROLLBACK", "PRAGMA wal_checkpoint(RESTART)")
	if missed(t, ours) {
		t.Fatal("a foreign reader was taken for a writer")
	}
	run(t, foreign, "INSERT INTO t VALUES(1)")
	if !missed(t, ours) || !missed(t, also) {
		t.Fatal("a foreign commit was not found")
	}
	if err := also.Exec("INSERT INTO t VALUES(2)"); !sqlite.IsBypassed(err) {
		t.Fatalf("a commit of ours after it: %v", err)
	}
	if !missed(t, ours) {
		t.Fatal("it is forgotten without an answer")
	}
	answer(t, also)
	if missed(t, ours) || missed(t, also) {
		t.Fatal("it comes back after the answer")
	}
}

// TestLedgerAnswersOnlyWhatItSaw: what was noticed after a transaction had
// asked stays, whenever that transaction reports.
func TestLedgerAnswersOnlyWhatItSaw(t *testing.T) {
	ours, also, foreign := ledgered(t)
	run(t, foreign, "INSERT INTO t VALUES(1)")
	ours.Driver.RegisterCommitHook(func() int32 { ours.Committing(0); return 0 })
	run(t, ours, "BEGIN IMMEDIATE")
	_, notice := ours.Missed()
	run(t, ours, "INSERT INTO t VALUES('barrier')", "COMMIT")
	run(t, foreign, "INSERT INTO t VALUES(2)") // before the report
	if !missed(t, also) {
		t.Fatal("the second foreign commit was not found")
	}
	ours.Committed(notice)
	if !missed(t, also) {
		t.Error("the second foreign commit was answered with the first")
	}
}

// TestLedgerAnswerIsSeen: an answer that was committed is one, also before who
// gave it has come to report. One that was rolled back is none.
func TestLedgerAnswerIsSeen(t *testing.T) {
	ours, also, foreign := ledgered(t)
	notice := int64(0)
	ours.Driver.RegisterCommitHook(func() int32 { ours.Committing(notice); return 0 })
	for _, end := range []string{"ROLLBACK", "COMMIT"} {
		run(t, foreign, "INSERT INTO t VALUES(1)")
		run(t, ours, "BEGIN IMMEDIATE")
		_, notice = ours.Missed()
		run(t, ours, "INSERT INTO t VALUES('barrier')", end)
		if open := missed(t, also); open != (end == "ROLLBACK") {
			t.Errorf("after %s, before the report: to be answered: %v", end, open)
		}
	}
	ours.Committed(notice)
	if missed(t, also) {
		t.Error("it comes back with the report")
	}
}

// TestLedgerIndexMadeAnew: when another process dies while it writes the
// WAL-index's header, the next one makes it anew and counts from 0. Even if it
// then commits as often as we have, that is noticed.
func TestLedgerIndexMadeAnew(t *testing.T) {
	ours, _, foreign := ledgered(t)
	for range 3 {
		answer(t, ours)
	}
	if missed(t, ours) {
		t.Fatal("our own commits were missed")
	}
	n := ours.SpoilIndex()
	for range n {
		run(t, foreign, "INSERT INTO t VALUES(1)")
	}
	if !missed(t, ours) {
		t.Error("the commits after a recovery were not found")
	}
}

// BenchmarkUnmissed is what it costs to look while nothing happens.
func BenchmarkUnmissed(b *testing.B) {
	c, _, _ := ledgered(b)
	for b.Loop() {
		if !c.Unmissed() {
			b.Fatal("something was found")
		}
	}
}
