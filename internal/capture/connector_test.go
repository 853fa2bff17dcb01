package capture_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/capture"
)

var errGone = errors.New("gone")

const rolledBack = "the transaction was rolled back"

// lent is a pool whose connections can be taken back.
type lent struct {
	*sql.DB
	connector *capture.Connector
}

func newLent(t testing.TB, s *source) lent {
	k := capture.NewConnector(s.open, func() error { return nil }, nil, nil)
	l := lent{sql.OpenDB(k), k}
	t.Cleanup(func() { l.Close() })
	return l
}

func (l lent) takeBack(t testing.TB) {
	t.Helper()
	l.connector.Shut(errGone)
	if err := l.connector.Recall(time.Now().Add(time.Minute)); err != nil {
		t.Error(err)
	}
}

// TestTakeBack takes connections away in the middle of all that database/sql can
// hold of one. Whoever goes on is told why, and whether something was rolled back;
// nothing of that is in the database, and all else is.
func TestTakeBack(t *testing.T) {
	for _, c := range []struct {
		name   string
		undone bool
		rows   string                           // that are there in the end
		hold   func(*held) (later func() error) // what is held, and what is done with it later
	}{
		{"a transaction that commits", true, "1", func(h *held) func() error {
			tx := h.begin()
			h.exec(tx.ExecContext, "INSERT INTO t VALUES(2)")
			return tx.Commit
		}},
		{"a transaction that rolls back", true, "1", func(h *held) func() error {
			tx := h.begin()
			h.exec(tx.ExecContext, "INSERT INTO t VALUES(2)")
			return tx.Rollback
		}},
		{"a transaction that writes on", true, "1", func(h *held) func() error {
			tx := h.begin()
			return func() error { _, err := tx.Exec("INSERT INTO t VALUES(2)"); return err }
		}},
		{"a transaction that prepares", true, "1", func(h *held) func() error {
			tx := h.begin()
			return func() error { _, err := tx.Prepare("INSERT INTO t VALUES(2)"); return err }
		}},
		{"a transaction with a statement", true, "1", func(h *held) func() error {
			st, err := h.begin().Prepare("INSERT INTO t VALUES(2)")
			h.must(err)
			_, err = st.Exec()
			h.must(err)
			return func() error { _, err := st.Exec(); return err }
		}},
		{"a read-only transaction", true, "1", func(h *held) func() error {
			tx, err := h.BeginTx(h.t.Context(), &sql.TxOptions{ReadOnly: true})
			h.must(err)
			var n int
			h.must(tx.QueryRow("SELECT count(*) FROM t").Scan(&n))
			return func() error { return tx.QueryRow("SELECT count(*) FROM t").Scan(&n) }
		}},
		{"a BEGIN of a script", true, "1", func(h *held) func() error {
			c := h.pinned()
			h.exec(c.ExecContext, "BEGIN; INSERT INTO t VALUES(2)")
			return func() error { _, err := c.ExecContext(context.Background(), "COMMIT"); return err }
		}},
		{"a savepoint", true, "1", func(h *held) func() error {
			c := h.pinned()
			h.exec(c.ExecContext, "SAVEPOINT s; INSERT INTO t VALUES(2)")
			return func() error { _, err := c.ExecContext(context.Background(), "RELEASE s"); return err }
		}},
		{"rows", false, "1", func(h *held) func() error {
			rows := h.query("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT i FROM n")
			return func() error { rows.Next(); return rows.Err() }
		}},
		{"rows that are closed", false, "1", func(h *held) func() error {
			return h.query("SELECT 1 UNION SELECT 2").Close
		}},
		{"rows of a prepared statement", false, "1", func(h *held) func() error {
			st, err := h.Prepare("SELECT 1 UNION SELECT 2")
			h.must(err)
			rows, err := st.Query()
			h.must(err)
			rows.Next()
			return func() error { rows.Next(); return rows.Err() }
		}},
		{"rows that say what they are", false, "1", func(h *held) func() error {
			rows := h.query("SELECT a FROM t UNION ALL SELECT 2")
			return func() error {
				types, err := rows.ColumnTypes()
				if err == nil {
					types[0].DatabaseTypeName()
				}
				rows.Next()
				return rows.Err()
			}
		}},
		{"rows of what was written", true, "1", func(h *held) func() error {
			return h.query("INSERT INTO t VALUES(2),(3) RETURNING a").Close
		}},
		{"rows of what was written, prepared", true, "1", func(h *held) func() error {
			st, err := h.Prepare("INSERT INTO t VALUES(2),(3) RETURNING a")
			h.must(err)
			rows, err := st.Query()
			h.must(err)
			rows.Next()
			return rows.Close
		}},
		{"rows of what was written, read on", true, "1", func(h *held) func() error {
			rows := h.query("INSERT INTO t VALUES(2),(3) RETURNING a")
			return func() error { rows.Next(); return rows.Err() }
		}},
		{"a write that was queried and returns nothing", false, "1,2", func(h *held) func() error {
			rows, err := h.Query("INSERT INTO t VALUES(2)")
			h.must(err)
			return rows.Close
		}},
		{"a pinned connection", false, "1,2", func(h *held) func() error {
			c := h.pinned()
			h.exec(c.ExecContext, "INSERT INTO t VALUES(2)")
			return func() error { _, err := c.ExecContext(context.Background(), "INSERT INTO t VALUES(3)"); return err }
		}},
		{"a pinned connection that is pinged", false, "1", func(h *held) func() error {
			c := h.pinned()
			return func() error { return c.PingContext(context.Background()) }
		}},
		{"a prepared statement", false, "1,2", func(h *held) func() error {
			h.SetMaxOpenConns(1)
			st, err := h.Prepare("INSERT INTO t VALUES(2)")
			h.must(err)
			_, err = st.Exec()
			h.must(err)
			return func() error { _, err := st.Exec(); return err }
		}},
		{"a connection in the pool", false, "1", func(h *held) func() error {
			return func() error { _, err := h.Exec("INSERT INTO t VALUES(2)"); return err }
		}},
	} {
		for _, when := range []string{"taken back", "shut"} {
			t.Run(c.name+"/"+when, func(t *testing.T) {
				s := newSource(t, 0)
				h := &held{newLent(t, s), t}
				h.exec(h.ExecContext, "CREATE TABLE t(a); INSERT INTO t VALUES(1)")
				later := c.hold(h)
				if when == "shut" { // whoever goes on is faster than the lender
					h.connector.Shut(errGone)
				} else {
					h.takeBack(t)
				}
				err := later()
				if !errors.Is(err, errGone) || strings.Contains(fmt.Sprint(err), rolledBack) != c.undone {
					t.Errorf("later: %v", err)
				}
				h.takeBack(t)
				if err := later(); err == nil && !strings.Contains(c.name, "closed") && !strings.Contains(c.name, "rows") && !strings.Contains(c.name, "queried") {
					t.Error("even later it works")
				}
				if got := s.text(t, "SELECT group_concat(a) FROM t"); got != c.rows {
					t.Errorf("there are the rows %s, want %s", got, c.rows)
				}
				s.mustEqual(t)
			})
		}
	}
}

// held is what a case of TestTakeBack works with.
type held struct {
	lent
	t *testing.T
}

func (h *held) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *held) exec(exec func(context.Context, string, ...any) (sql.Result, error), query string) {
	h.t.Helper()
	_, err := exec(context.Background(), query)
	h.must(err)
}

func (h *held) begin() *sql.Tx {
	h.t.Helper()
	tx, err := h.Begin()
	h.must(err)
	return tx
}

func (h *held) pinned() *sql.Conn {
	h.t.Helper()
	c, err := h.Conn(context.Background())
	h.must(err)
	return c
}

// query returns rows of which the first is read.
func (h *held) query(query string) *sql.Rows {
	h.t.Helper()
	rows, err := h.Query(query)
	h.must(err)
	if !rows.Next() {
		h.t.Fatal(rows.Err())
	}
	return rows
}

// text is the first value of a query, read past the pool.
func (s *source) text(t testing.TB, query string) string {
	t.Helper()
	v, err := s.plain(t).Text(query)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestTakeBackWaits: a statement that runs may end, and is what it says to be;
// one that would not is interrupted.
func TestTakeBackWaits(t *testing.T) {
	const slow = "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %d) SELECT max(i) FROM n"
	for _, c := range []struct {
		name     string
		rows     int
		grace    time.Duration
		finishes bool
	}{
		{"in time", 300_000, time.Minute, true},
		{"too slow", 1 << 60, 50 * time.Millisecond, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSource(t, 0)
			l := newLent(t, s)
			if _, err := l.Exec("CREATE TABLE t(a)"); err != nil {
				t.Fatal(err)
			}
			var running sync.WaitGroup
			var err error
			started := make(chan bool)
			running.Go(func() {
				conn, cerr := l.Conn(context.Background())
				if cerr != nil {
					t.Error(cerr)
				}
				_ = conn.Raw(func(dc any) error {
					close(started)
					_, err = dc.(driver.ExecerContext).ExecContext(context.Background(), fmt.Sprintf(slow, c.rows), nil)
					return nil
				})
			})
			<-started
			time.Sleep(time.Millisecond) // if it has not begun by now, that is one more case
			l.connector.Shut(errGone)
			if err := l.connector.Recall(time.Now().Add(c.grace)); err != nil {
				t.Error(err)
			}
			running.Wait()
			n := s.text(t, "SELECT count(*) FROM t")
			if err == nil != (n == "1") || err != nil && !errors.Is(err, errGone) || err == nil != c.finishes && n == "1" {
				t.Errorf("%v, and there are %s rows", err, n)
			}
			s.mustEqual(t)
		})
	}
}

// TestCounterOfQuery: a counter that a query has moved without a row is logged
// when its rows are closed, not when the connection is used again, if ever.
func TestCounterOfQuery(t *testing.T) {
	s := newSource(t, 0)
	l := newLent(t, s)
	for _, q := range []string{
		"CREATE TABLE s(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE)", "INSERT INTO s(a) VALUES(1)",
		"INSERT OR IGNORE INTO s(id, a) VALUES(100, 1) RETURNING id",
	} {
		rows, err := l.Query(q)
		if err != nil {
			t.Fatal(err)
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l.takeBack(t)
	s.mustEqual(t)
}

// TestLentInterfaces: what database/sql asks of a driver's connections, statements
// and rows, it finds here as it does in the bare driver.
func TestLentInterfaces(t *testing.T) {
	optional := map[string][]reflect.Type{
		"connection": {
			reflect.TypeFor[driver.Pinger](), reflect.TypeFor[driver.ExecerContext](), reflect.TypeFor[driver.QueryerContext](),
			reflect.TypeFor[driver.ConnPrepareContext](), reflect.TypeFor[driver.ConnBeginTx](), reflect.TypeFor[driver.SessionResetter](),
			reflect.TypeFor[driver.Validator](), reflect.TypeFor[driver.NamedValueChecker](),
		},
		"statement": {
			reflect.TypeFor[driver.StmtExecContext](), reflect.TypeFor[driver.StmtQueryContext](),
			reflect.TypeFor[driver.NamedValueChecker](), reflect.TypeFor[driver.ColumnConverter](),
		},
		"rows": {
			reflect.TypeFor[driver.RowsNextResultSet](), reflect.TypeFor[driver.RowsColumnTypeDatabaseTypeName](),
			reflect.TypeFor[driver.RowsColumnTypeLength](), reflect.TypeFor[driver.RowsColumnTypeNullable](),
			reflect.TypeFor[driver.RowsColumnTypePrecisionScale](), reflect.TypeFor[driver.RowsColumnTypeScanType](),
		},
	}
	newTwins(t).same(t, "interfaces", func(c *sql.Conn) string {
		var b strings.Builder
		err := c.Raw(func(dc any) error {
			st, err := dc.(driver.ConnPrepareContext).PrepareContext(t.Context(), "SELECT 1")
			if err != nil {
				return err
			}
			defer st.Close()
			rows, err := st.(driver.StmtQueryContext).QueryContext(t.Context(), nil)
			if err != nil {
				return err
			}
			defer rows.Close()
			for _, part := range []struct {
				name string
				is   any
			}{{"connection", dc}, {"statement", st}, {"rows", rows}} {
				for _, i := range optional[part.name] {
					fmt.Fprintf(&b, "%s %v %v\n", part.name, i, reflect.TypeOf(part.is).Implements(i))
				}
			}
			return nil
		})
		return b.String() + fmt.Sprint(err)
	})
}

// TestLentTypes: what rows say of their columns is what the bare driver's say.
func TestLentTypes(t *testing.T) {
	newTwins(t).same(t, "types", func(c *sql.Conn) string {
		if _, err := c.ExecContext(t.Context(), "CREATE TABLE t(a INTEGER, b TEXT, c BOOLEAN, d DATETIME, e, f DECIMAL(10,2)); INSERT INTO t VALUES(1,'x',1,'2026-01-01',x'00',NULL)"); err != nil {
			t.Fatal(err)
		}
		rows, err := c.QueryContext(t.Context(), "SELECT *, 1.5 AS g FROM t")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		rows.Next()
		types, err := rows.ColumnTypes()
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, ct := range types {
			n, ok := ct.Length()
			null, known := ct.Nullable()
			p, s, decimal := ct.DecimalSize()
			fmt.Fprintln(&b, ct.Name(), ct.DatabaseTypeName(), ct.ScanType(), n, ok, null, known, p, s, decimal)
		}
		return b.String()
	})
}

// TestConnectorRace takes connections away from goroutines that do everything
// with them. Who was told of a success finds it in the database, and who was told
// that it was rolled back does not.
func TestConnectorRace(t *testing.T) {
	for round := range 10 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			s := newSource(t, 0)
			l := newLent(t, s)
			if _, err := l.Exec("CREATE TABLE t(id INTEGER PRIMARY KEY)"); err != nil {
				t.Fatal(err)
			}
			w := &takers{lent: l, t: t, fate: map[int]error{}}
			var all sync.WaitGroup
			for i, work := range []func(*takers, int) error{(*takers).exec, (*takers).tx, (*takers).returning, (*takers).prepared} {
				all.Go(func() { w.loop(i, work) })
			}
			time.Sleep(time.Duration(1+round) * time.Millisecond)
			l.connector.Shut(errGone)
			if err := l.connector.Recall(time.Now()); err != nil {
				t.Error(err)
			}
			all.Wait()
			w.compare(s)
			s.mustEqual(t)
		})
	}
}

type takers struct {
	lent
	t    *testing.T
	mu   sync.Mutex
	fate map[int]error // of each id
}

func (w *takers) loop(i int, work func(*takers, int) error) {
	for id := i; ; id += 4 {
		err := work(w, id)
		w.mu.Lock()
		w.fate[id] = err
		w.mu.Unlock()
		if err != nil {
			if !errors.Is(err, errGone) {
				w.t.Errorf("%d: %v", id, err)
			}
			return
		}
	}
}

func (w *takers) exec(id int) error {
	_, err := w.Exec("INSERT INTO t VALUES(?)", id)
	return err
}

func (w *takers) tx(id int) error {
	tx, err := w.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.Exec("INSERT INTO t VALUES(?)", id); err != nil {
		return err
	}
	return tx.Commit()
}

func (w *takers) returning(id int) error {
	var got int
	return w.QueryRow("INSERT INTO t VALUES(?) RETURNING id", id).Scan(&got)
}

func (w *takers) prepared(id int) error {
	st, err := w.Prepare("INSERT INTO t VALUES(?)")
	if err != nil {
		return err
	}
	defer st.Close()
	_, err = st.Exec(id)
	return err
}

func (w *takers) compare(s *source) {
	stored := map[int]bool{}
	c := s.plain(w.t)
	for id := range w.fate {
		n, err := c.Int(fmt.Sprintf("SELECT count(*) FROM t WHERE id = %d", id))
		if err != nil {
			w.t.Fatal(err)
		}
		stored[id] = n == 1
	}
	for id, err := range w.fate {
		switch {
		case err == nil && !stored[id]:
			w.t.Errorf("%d was acknowledged, and is not there", id)
		case err != nil && stored[id] && strings.Contains(err.Error(), rolledBack):
			w.t.Errorf("%d is there, although: %v", id, err)
		}
	}
	w.t.Logf("%d rows", len(stored))
}

// TestConnectorLeavesNothing: after its connections were taken back no descriptor
// is open, whatever is still held.
func TestConnectorLeavesNothing(t *testing.T) {
	s := newSource(t, 0)
	l := newLent(t, s)
	if _, err := l.Exec("CREATE TABLE t(a); INSERT INTO t VALUES(1),(2),(3)"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		tx, err := l.Begin()
		if err == nil {
			_, err = tx.Query("SELECT a FROM t")
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Prepare("SELECT 1"); err != nil {
			t.Fatal(err)
		}
		rows, err := l.Query("SELECT a FROM t")
		if err != nil || !rows.Next() {
			t.Fatal(err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
	}
	l.takeBack(t)
	if n := openFiles(t, filepath.Dir(s.path)); n > 0 {
		t.Errorf("%d descriptors are open", n)
	}
}
