package changelog

import (
	"slices"
	"testing"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// rows are the sequences at which the log's rows begin.
func rows(t *testing.T, l *Log) (out []int64) {
	t.Helper()
	check(t, l.c.Each("SELECT sequence FROM main._driftdb_log ORDER BY sequence", func(st *sqlite.Stmt) error {
		out = append(out, st.Int64(0))
		return nil
	}))
	return out
}

// TestTrim: whole transactions go, up to where it is said; the newest one stays whatever
// is said, so that numbers never start again.
func TestTrim(t *testing.T) {
	for _, c := range []struct {
		to   int64
		left []int64
	}{
		{-1, []int64{0, 1, 2, 5}},
		{0, []int64{1, 2, 5}},
		{1, []int64{2, 5}},
		{2, []int64{2, 5}}, // the transaction from 2 to 4 goes on
		{3, []int64{2, 5}},
		{4, []int64{5}},
		{5, []int64{5}},
		{99, []int64{5}},
	} {
		l := newLog(t, 10, 20)
		check(t, l.c.Exec(`UPDATE _driftdb_log SET count = 3 WHERE sequence = 2;
			INSERT INTO _driftdb_log(sequence, count, time, schema, data) SELECT 5, 1, time, schema, data FROM _driftdb_log WHERE sequence = 1`))
		if more, err := l.Trim(c.to); err != nil || more {
			t.Errorf("up to %d: %v, %v", c.to, more, err)
		}
		if left := rows(t, l); !slices.Equal(left, c.left) {
			t.Errorf("up to %d: %v are left, want %v", c.to, left, c.left)
		}
		if last, err := l.Last(); err != nil || last != 5 {
			t.Errorf("up to %d: the log ends with %d, %v", c.to, last, err)
		}
	}
}

// TestTrimSteps: a long log is trimmed by many short transactions.
func TestTrimSteps(t *testing.T) {
	l := newLog(t, make([]int64, 2*trimStep+10)...)
	for step, left := range []int{trimStep + 11, 11, 1} {
		more, err := l.Trim(2*trimStep + 10)
		if n := len(rows(t, l)); err != nil || n != left || more != (step < 2) {
			t.Errorf("step %d: %d rows are left, want %d; more: %v, %v", step, n, left, more, err)
		}
	}
}

// TestSweep: after a collapse, what lies under the barrier goes, a few rows at a time,
// and nobody has read it meanwhile.
func TestSweep(t *testing.T) {
	l := newLog(t, make([]int64, 2*trimStep+10)...)
	last := int64(2*trimStep + 10)
	through, err := l.Collapse(3, "a test", func(commit func() error) error { return commit() })
	if err != nil || through != last {
		t.Fatalf("collapsed up to %d, %v", through, err)
	}
	read := func() (out []int64) {
		check(t, l.Each(1, func(tr Transaction) error { out = append(out, tr.First); return nil }))
		return out
	}
	for more, steps := true, 0; more; steps++ {
		if got := read(); !slices.Equal(got, []int64{1, 2, 3, 4}) {
			t.Fatalf("the log has transactions at %v", got)
		}
		if more, err = l.Sweep(4, through); err != nil || steps > 3 {
			t.Fatalf("step %d: %v", steps, err)
		}
	}
	if left := rows(t, l); !slices.Equal(left, []int64{0, 1, 2, 3, 4, last}) { // the newest row stays
		t.Errorf("%v are left", left)
	}
	if end, err := l.Last(); err != nil || end != last {
		t.Errorf("the log ends with %d, %v", end, err)
	}
}

// TestCollapse: a barrier takes the place of all that lies behind a sequence, and of
// nothing else.
func TestCollapse(t *testing.T) {
	for _, c := range []struct {
		after   int64
		through int64
		count   int64 // of the barrier
	}{
		{0, 4, 4}, {1, 4, 3}, {3, 4, 1}, {4, 0, 0}, {9, 0, 0},
	} {
		l := newLog(t, 40, 30, 20, 10)
		committed := 0
		through, err := l.Collapse(c.after, "a test", func(commit func() error) error { committed++; return commit() })
		if err != nil || through != c.through || committed != min(int(c.through), 1) {
			t.Errorf("behind %d: up to %d, %d commits, %v", c.after, through, committed, err)
			continue
		}
		var last Transaction
		check(t, l.Each(1, func(tr Transaction) error { last = tr; return nil }))
		if c.count > 0 && (last.First != c.after+1 || last.Count != c.count || last.Time != 10) {
			t.Errorf("behind %d: the log ends with %d entries from %d of the time %d", c.after, last.Count, last.First, last.Time)
		}
		if c.count == 0 && last.Count != 1 {
			t.Errorf("behind %d: the log ends with %d entries", c.after, last.Count)
		}
		err = l.Entries(last, func(sequence int64, e *change.Entry) error {
			if c.count > 0 && (e.Op != change.Barrier || e.Width() != c.count || sequence != c.after+1) {
				t.Errorf("behind %d: %s of width %d at %d", c.after, e.Op, e.Width(), sequence)
			}
			return nil
		})
		check(t, err)
	}
	l := newLog(t, 40, 30, 20)
	check(t, l.c.Exec("UPDATE _driftdb_log SET count = 2 WHERE sequence = 3"))
	if _, err := l.Collapse(3, "a test", func(commit func() error) error { return commit() }); err == nil {
		t.Error("a collapse begins inside a transaction")
	}
}

// TestStripUnreadable: a schema that could not be read without DriftDB's tables stays as it is.
func TestStripUnreadable(t *testing.T) {
	l := newLog(t)
	check(t, l.c.Exec(`CREATE TABLE t(a); PRAGMA writable_schema=ON;
		UPDATE sqlite_schema SET tbl_name = '_driftdc_shape' WHERE name = 'sqlite_autoindex__driftdb_shape_1'; PRAGMA writable_schema=RESET`))
	if err := Strip(l.c); !sqlite.IsCorrupt(err) {
		t.Errorf("%v, want that the schema is malformed", err)
	}
	if n, err := l.c.Int("SELECT count(*) FROM sqlite_schema WHERE name LIKE '\\_driftdb\\_%' ESCAPE '\\' OR name = 't'"); err != nil || n != 6 {
		t.Errorf("%d tables are left, want all 6: %v", n, err)
	}
}
