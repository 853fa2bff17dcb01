package capture_test

import (
	"testing"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// TestInterruptedCommit: a commit that is interrupted while the log row is written
// is no commit, and its error says what it was, whoever ran it.
func TestInterruptedCommit(t *testing.T) {
	for name, run := range map[string]func(c *capture.Conn) error{
		"the driver": func(c *capture.Conn) error {
			_, err := c.ExecContext(t.Context(), "INSERT INTO t VALUES(1)", nil)
			return err
		},
		"the driver's Tx": func(c *capture.Conn) error {
			tx, err := c.Begin()
			if err != nil {
				return err
			}
			if _, err := c.ExecContext(t.Context(), "INSERT INTO t VALUES(1)", nil); err != nil {
				return err
			}
			return tx.Commit()
		},
		"a statement": func(c *capture.Conn) error {
			c.Before()
			defer c.After()
			st, err := c.Cached("INSERT INTO t VALUES(1)")
			if err != nil {
				return err
			}
			defer st.Release()
			return st.Run()
		},
		"COMMIT": func(c *capture.Conn) error {
			c.Before()
			defer c.After()
			if err := c.Exec("BEGIN; INSERT INTO t VALUES(1)"); err != nil {
				return err
			}
			return c.Do("COMMIT")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSource(t, 0)
			c, err := s.open()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			interruptOnLog(t, c.Conn)
			if _, err := c.ExecContext(t.Context(), "CREATE TABLE t(a)", nil); err != nil {
				t.Fatal(err)
			}
			runScript(t, c, "CREATE TEMP TRIGGER stop AFTER INSERT ON main._driftdb_log BEGIN SELECT interrupt(); SELECT max(a.name) FROM main.sqlite_schema a, main.sqlite_schema b; END")
			if err := run(c); !sqlite.IsInterrupted(err) {
				t.Error(err)
			}
			if err := c.Rollback(); err != nil {
				t.Error(err)
			}
			runScript(t, c, "DROP TRIGGER stop")
			if err := run(c); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			if n, err := c.Int("SELECT count(*) FROM t"); err != nil || n != 1 {
				t.Errorf("%d rows, %v", n, err)
			}
			s.mustEqual(t)
		})
	}
}

func runScript(t *testing.T, c *capture.Conn, query string) {
	t.Helper()
	if _, err := c.ExecContext(t.Context(), query, nil); err != nil {
		t.Fatal(err)
	}
}

// interruptOnLog gives c a function that interrupts it.
func interruptOnLog(t *testing.T, c *sqlite.Conn) {
	t.Helper()
	name, err := libc.CString("interrupt")
	if err != nil {
		t.Fatal(err)
	}
	defer libc.Xfree(c.TLS, name)
	interrupt := func(tls *libc.TLS, ctx uintptr, _ int32, _ uintptr) {
		lib.Xsqlite3_interrupt(tls, lib.Xsqlite3_context_db_handle(tls, ctx))
	}
	if rc := lib.Xsqlite3_create_function(c.TLS, c.DB, name, 0, lib.SQLITE_UTF8, 0, sqlite.CFunc(interrupt), 0, 0); rc != lib.SQLITE_OK {
		t.Fatal(c.Err(rc))
	}
}
