package capture_test

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// logged is one row of the log: its schema cookie, and the reasons of the
// barriers in it.
type logged struct {
	cookie   int64
	entries  int
	barriers []string
}

func (s *source) rows(t testing.TB) (out []logged) {
	t.Helper()
	c := s.plain(t)
	var cookies []int64
	if err := c.Each("SELECT schema FROM main._driftdb_log WHERE sequence > 0 ORDER BY sequence", func(st *sqlite.Stmt) error {
		cookies = append(cookies, st.Int64(0))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	log := changelog.View(c)
	err := log.Each(1, func(tr changelog.Transaction) error {
		row := logged{cookie: cookies[len(out)]}
		err := log.Entries(tr, func(_ int64, e *change.Entry) error {
			row.entries++
			if e.Op == change.Barrier {
				row.barriers = append(row.barriers, e.Reason)
			}
			return nil
		})
		out = append(out, row)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (s *source) barriers(t testing.TB) (reasons []string) {
	t.Helper()
	for _, row := range s.rows(t) {
		reasons = append(reasons, row.barriers...)
	}
	return reasons
}

// TestForeignCommit: whatever our next commit is, it tells of the foreign one,
// and only once.
func TestForeignCommit(t *testing.T) {
	for name, ours := range map[string]string{
		"autocommit":       "INSERT INTO t(a) VALUES(1)",
		"transaction":      "BEGIN; INSERT INTO t(a) VALUES(1); SAVEPOINT s; DELETE FROM t; ROLLBACK TO s; COMMIT",
		"schema":           "CREATE TABLE u(a)",
		"returning":        "INSERT INTO t(a) VALUES(1) RETURNING a",
		"only a counter":   "INSERT OR IGNORE INTO t(a) VALUES(0)", // it moves sqlite_sequence, without a row
		"rolled back":      "BEGIN; INSERT INTO t(a) VALUES(1); ROLLBACK; INSERT INTO t(a) VALUES(1)",
		"nothing to write": "BEGIN IMMEDIATE; COMMIT; DELETE FROM t WHERE 0; INSERT INTO t(a) VALUES(1)",
		"other database":   "ATTACH ':memory:' AS m; CREATE TABLE m.x(a); INSERT INTO m.x VALUES(1); CREATE TEMP TABLE y(a); INSERT INTO t(a) VALUES(1)",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSource(t, 0)
			s.watch(t)
			a, b := s.conn(t), s.conn(t)
			exec(t, a, "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE ON CONFLICT ABORT); INSERT INTO t(a) VALUES(0)")
			exec(t, b, "UPDATE t SET a = 0")
			foreign := s.plain(t)
			for range 3 {
				if err := foreign.Exec("INSERT INTO t(a) VALUES(hex(randomblob(8)))"); err != nil {
					t.Fatal(err)
				}
			}
			exec(t, a, ours)
			exec(t, b, "INSERT INTO t(a) VALUES(2)")
			exec(t, a, "INSERT INTO t(a) VALUES(3)")
			if got := s.barriers(t); !slices.Equal(got, []string{sqlite.Bypassed}) {
				t.Errorf("barriers: %q", got)
			}
		})
	}
}

// TestForeignFoundByRollback: a transaction that found a foreign commit and was
// not committed takes nothing of that with it.
func TestForeignFoundByRollback(t *testing.T) {
	s := newSource(t, 0)
	s.watch(t)
	a := s.conn(t)
	exec(t, a, "CREATE TABLE t(a)")
	if err := s.plain(t).Exec("INSERT INTO t VALUES('foreign')"); err != nil {
		t.Fatal(err)
	}
	// The second connection finds it in its xSync, and then may not commit: an
	// attached file is locked.
	side := t.TempDir() + "/side.db"
	other, err := new(sqlite.Driver).Open(side, sqlite.Options{KeepJournal: true})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Exec("CREATE TABLE x(a); BEGIN; SELECT * FROM x"); err != nil { // a reader
		t.Fatal(err)
	}
	exec(t, a, "PRAGMA busy_timeout=1; ATTACH '"+side+"' AS side; BEGIN; INSERT INTO t VALUES(1); INSERT INTO side.x VALUES(1)")
	for range 2 {
		if _, err := a.ExecContext(t.Context(), "COMMIT"); err == nil {
			t.Fatal("the commit should have found the attached file locked")
		}
	}
	exec(t, a, "ROLLBACK")
	if n := len(s.barriers(t)); n != 0 {
		t.Fatalf("%d barriers before anything was committed", n)
	}
	exec(t, a, "INSERT INTO t VALUES(2)")
	exec(t, s.conn(t), "INSERT INTO t VALUES(3)")
	if got := s.barriers(t); !slices.Equal(got, []string{sqlite.Bypassed}) {
		t.Errorf("barriers: %q", got)
	}
}

// TestVacuumIsOurs: the commit of a VACUUM of ours passes every hook, but is
// nobody else's.
func TestVacuumIsOurs(t *testing.T) {
	s := newSource(t, 0)
	s.watch(t)
	a, b := s.conn(t), s.conn(t)
	exec(t, a, "CREATE TABLE t(a); INSERT INTO t VALUES(1)")
	exec(t, a, "VACUUM")
	exec(t, b, "INSERT INTO t VALUES(2); VACUUM INTO '"+t.TempDir()+"/copy'")
	exec(t, a, "INSERT INTO t VALUES(3)")
	if got := s.barriers(t); len(got) != 1 || !strings.Contains(got[0], "VACUUM") {
		t.Errorf("barriers: %q", got)
	}
}

// TestCheckpointsAreNoCommits: what others do to the WAL without committing is
// none of our business.
func TestCheckpointsAreNoCommits(t *testing.T) {
	s := newSource(t, 0)
	s.watch(t)
	a := s.conn(t)
	exec(t, a, "CREATE TABLE t(a)")
	foreign := s.plain(t)
	for _, q := range []string{"SELECT * FROM t", "PRAGMA wal_checkpoint", "PRAGMA wal_checkpoint(RESTART)", "PRAGMA wal_checkpoint(TRUNCATE)", "BEGIN IMMEDIATE; INSERT INTO t VALUES(1); ROLLBACK"} {
		if err := foreign.Exec(q); err != nil {
			t.Fatal(err)
		}
		exec(t, a, "INSERT INTO t VALUES(2)")
	}
	if got := s.barriers(t); len(got) != 0 {
		t.Errorf("barriers: %q", got)
	}
}

// TestForeignRacing: a program that writes now and then beside our busy
// connections is noticed each time, at the latest by the commit after it.
func TestForeignRacing(t *testing.T) {
	eachSeed(t, 3, 8, func(t *testing.T, seed uint64) {
		s := newSource(t, 0)
		s.watch(t)
		exec(t, s.conn(t), "CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
		foreign := s.plain(t)
		if err := foreign.Exec("PRAGMA busy_timeout=10000"); err != nil {
			t.Fatal(err)
		}
		var ours sync.WaitGroup
		for range 3 {
			c := s.conn(t)
			ours.Go(func() {
				for range 100 {
					if _, err := c.ExecContext(t.Context(), "INSERT INTO t(a) VALUES('ours')"); err != nil {
						t.Error(err)
					}
				}
			})
		}
		r := random(seed, 7)
		writes := 5 + r.IntN(10)
		for range writes {
			if err := foreign.Exec("INSERT INTO t(a) VALUES('foreign')"); err != nil {
				t.Error(err)
			}
		}
		ours.Wait()
		exec(t, s.conn(t), "INSERT INTO t(a) VALUES('ours')")
		// The rowids tell in which order they came: a run of foreign ones is
		// followed by a row of ours, whose log row has a barrier.
		c := s.plain(t)
		var want []bool
		before := false
		if err := c.Each("SELECT a = 'foreign' FROM t ORDER BY id", func(st *sqlite.Stmt) error {
			theirs := st.Int64(0) != 0
			if !theirs {
				want = append(want, before)
			}
			before = theirs
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		rows := s.rows(t)[1:]
		if len(rows) != len(want) {
			t.Fatalf("%d log rows, want %d", len(rows), len(want))
		}
		for i, row := range rows {
			if got := len(row.barriers) > 0; got != want[i] {
				t.Errorf("row %d: barrier %v, want %v", i+1, got, want[i])
			}
		}
	})
}

// TestCookieNet: the schema cookie alone, without the ledger, finds every
// change of the schema that was not logged. The racers' schema statements go to
// the driver below capture.
func TestCookieNet(t *testing.T) {
	eachSeed(t, 4, 40, func(t *testing.T, seed uint64) {
		s := newSource(t, 0)
		var mu sync.Mutex
		var unlogged []int64 // schema cookies after statements that nobody logged
		var wg sync.WaitGroup
		for i := range uint64(4) {
			c := s.conn(t)
			x := &racer{T: t, Rand: random(seed, i)}
			wg.Go(func() {
				for range 60 {
					query := x.statement()
					if strings.Contains(query, "INSERT") || strings.Contains(query, " AS SELECT * FROM t") {
						_, _ = c.ExecContext(t.Context(), query) // captured; it may well fail
						continue
					}
					if cookie, moved := beneath(t, c, query); moved {
						mu.Lock()
						unlogged = append(unlogged, cookie)
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		exec(t, s.conn(t), "CREATE TABLE last(a)")
		rows := s.rows(t)
		for _, cookie := range unlogged {
			i := slices.IndexFunc(rows, func(r logged) bool { return r.cookie >= cookie })
			if i < 0 || len(rows[i].barriers) == 0 {
				t.Errorf("the change that made the cookie %d is in no barrier", cookie)
			}
		}
		t.Logf("%d changes, %d log rows", len(unlogged), len(rows))
	})
}

// beneath runs a schema statement past capture, and returns the schema cookie
// that it left if it moved it.
func beneath(t *testing.T, c *sql.Conn, query string) (cookie int64, moved bool) {
	err := c.Raw(func(driverConn any) error {
		plain := capture.Lent(driverConn)
		if plain.Exec("BEGIN IMMEDIATE") != nil {
			return nil // busy
		}
		defer plain.Rollback()
		before, err := plain.Int("PRAGMA main.schema_version")
		if err != nil {
			return err
		}
		if plain.Exec(query) != nil {
			return nil
		}
		if cookie, err = plain.Int("PRAGMA main.schema_version"); err != nil {
			return err
		}
		moved = plain.Exec("COMMIT") == nil && cookie != before
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return cookie, moved
}

// TestLogTampered: without its log nothing is committed.
func TestLogTampered(t *testing.T) {
	for _, damage := range []string{
		"DROP TABLE _driftdb_log", "ALTER TABLE _driftdb_log RENAME TO gone", "ALTER TABLE _driftdb_log RENAME COLUMN data TO d",
		"ALTER TABLE _driftdb_log ADD COLUMN more", "DELETE FROM _driftdb_log", "DROP TABLE _driftdb_shape",
		"DROP TABLE _driftdb_log; CREATE TABLE _driftdb_log(sequence INTEGER PRIMARY KEY, count, time, schema, data)",
	} {
		t.Run(damage, func(t *testing.T) {
			s := newSource(t, 0)
			s.watch(t)
			a, b := s.conn(t), s.conn(t)
			exec(t, a, "CREATE TABLE t(a); INSERT INTO t VALUES(1)")
			if err := s.plain(t).Exec(damage); err != nil {
				t.Fatal(err)
			}
			for _, query := range []string{"INSERT INTO t VALUES(2)", "BEGIN; INSERT INTO t VALUES(3); COMMIT", "CREATE TABLE u(a)"} {
				for _, c := range []*sql.Conn{a, b} {
					_, err := c.ExecContext(t.Context(), query)
					if err == nil {
						t.Errorf("%s was committed", query)
					} else if !strings.Contains(err.Error(), "restore the database from its bucket") {
						t.Errorf("%s: %v", query, err)
					}
					_, _ = c.ExecContext(t.Context(), "ROLLBACK")
				}
			}
			if n, err := s.plain(t).Int("SELECT count(*) FROM t"); err != nil || n != 1 {
				t.Errorf("%d rows, %v", n, err)
			}
		})
	}
}

func exec(t testing.TB, c *sql.Conn, query string) {
	t.Helper()
	if _, err := c.ExecContext(t.Context(), query); err != nil {
		t.Fatal(fmt.Errorf("%s: %w", query, err))
	}
}
