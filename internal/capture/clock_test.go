package capture_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// TestClockSetBack: a transaction has the time that the clock shows, also when the one
// before it is stamped with a later one; and the first that goes back by more than a
// second is remembered.
func TestClockSetBack(t *testing.T) {
	s := newSource(t, 0)
	c, plain := s.conn(t), s.plain(t)
	ahead := func(by time.Duration) int64 {
		at := time.Now().Add(by).UnixMilli()
		if err := plain.Exec(fmt.Sprintf("UPDATE _driftdb_log SET time = %d WHERE sequence = (SELECT max(sequence) FROM _driftdb_log)", at)); err != nil {
			t.Fatal(err)
		}
		return at
	}
	exec(t, c, "CREATE TABLE t(x)")
	ahead(500 * time.Millisecond)
	exec(t, c, "INSERT INTO t VALUES(1)")
	if got := s.hub.Setback(); got != nil {
		t.Errorf("half a second: %+v", got)
	}
	began := time.Now().UnixMilli()
	years := ahead(24 * 365 * 24 * time.Hour)
	exec(t, c, "INSERT INTO t VALUES(2)")
	last, err := changelog.View(plain).LastTime()
	if err != nil || last < began || last > time.Now().UnixMilli() {
		t.Errorf("the transaction is of %s, %v", time.UnixMilli(last), err)
	}
	first := s.hub.Setback()
	if first == nil || first.Before != years || first.Time != last {
		t.Fatalf("set back by 24 years: %+v", first)
	}
	ahead(time.Hour)
	exec(t, c, "INSERT INTO t VALUES(3)")
	if again := s.hub.Setback(); again != first {
		t.Errorf("set back again: %+v", again)
	}
	ahead(time.Hour)
	if err := changelog.Barrier(plain, "for a reason"); err != nil {
		t.Fatal(err)
	}
	if last, err := changelog.View(plain).LastTime(); err != nil || last > time.Now().UnixMilli() {
		t.Errorf("the barrier is of %s, %v", time.UnixMilli(last), err)
	}
	var times []int64
	err = plain.Each("SELECT time FROM _driftdb_log ORDER BY sequence", func(st *sqlite.Stmt) error {
		times = append(times, st.Int64(0))
		return nil
	})
	if err != nil || slices.IsSorted(times) {
		t.Errorf("times %d, %v", times, err)
	}
}
