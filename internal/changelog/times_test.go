package changelog

import (
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// newLog is the log of a new file whose changes 1, 2, … have these times.
func newLog(t *testing.T, times ...int64) *Log {
	t.Helper()
	c, err := new(sqlite.Driver).Open(filepath.Join(t.TempDir(), "log.sqlite"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Init(c, ""); err != nil {
		t.Fatal(err)
	}
	for i, at := range times {
		if err := insert(c, int64(i+1), at, 0, change.AppendBarrier(change.AppendHeader(nil, nil), "")); err != nil {
			t.Fatal(err)
		}
	}
	l, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// TestEarliest: the smallest time of a part of the log; nothing is later than any, and
// what is not there any more is not known.
func TestEarliest(t *testing.T) {
	l := newLog(t, 50, 40, 60, -3, 70)
	for _, c := range []struct{ after, to, want int64 }{
		{0, 5, 0}, {0, 3, 40}, {1, 2, 40}, {2, 3, 60}, {4, 5, 70}, {2, 2, NoTime}, {5, 5, NoTime}, {4, 9, 70},
	} {
		if got, err := l.Earliest(c.after, c.to); err != nil || got != c.want {
			t.Errorf("behind %d up to %d: %d, %v, want %d", c.after, c.to, got, err, c.want)
		}
	}
	if _, err := l.Trim(2); err != nil {
		t.Fatal(err)
	}
	for after, want := range map[int64]int64{0: 0, 1: 0, 2: 60} {
		if got, err := l.Earliest(after, 3); err != nil || got != want {
			t.Errorf("trimmed, behind %d: %d, %v, want %d", after, got, err, want)
		}
	}
	if at, err := l.TimeAt(3); err != nil || at != 60 {
		t.Errorf("change 3 is of %d, %v", at, err)
	}
}

// TestCollapseTime: a barrier has the smallest time of what it stands for, and the last
// change keeps its own.
func TestCollapseTime(t *testing.T) {
	l := newLog(t, 30, 50, 40, 60)
	committed := 0
	through, err := l.Collapse(1, "outgrown", func(commit func() error) error {
		committed++
		if err := insert(l.c, 5, 35, 0, change.AppendBarrier(change.AppendHeader(nil, nil), "in between")); err != nil {
			return err
		}
		return commit()
	})
	if err != nil || through != 5 || committed != 1 {
		t.Fatalf("up to %d, %d commits, %v", through, committed, err)
	}
	var got []Transaction
	if err := l.Each(1, func(tr Transaction) error { got = append(got, tr); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[1].First != 2 || got[1].Count != 4 || got[1].Time != 35 {
		t.Errorf("the log has %+v", got)
	}
	if at, err := l.TimeAt(5); err != nil || at != 35 {
		t.Errorf("the last change is of %d, %v", at, err)
	}
	if through, err := l.Collapse(5, "nothing", func(func() error) error { t.Error("committed"); return nil }); err != nil || through != 0 {
		t.Errorf("nothing to give up: %d, %v", through, err)
	}
}
