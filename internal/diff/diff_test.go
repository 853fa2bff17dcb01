package diff

import (
	"errors"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/ddl"
	"github.com/driftdb/driftdb-go/internal/history"
)

// TestAddsFreely: which columns can be added whatever rows there are.
func TestAddsFreely(t *testing.T) {
	for definition, want := range map[string]bool{
		"COLUMN x": true, "x": true, "x VARCHAR(9)": true, "x DEFAULT 5": true, "x TEXT NOT NULL DEFAULT 'it''s'": true, "x REFERENCES p": true,
		"x DEFAULT 'CHECK' NOT NULL": true, `"check" INT`: true, "x DEFAULT -1 NOT NULL": true,
		"x NOT NULL": false, "x DEFAULT (random())": false, "x DEFAULT (1) NOT NULL": false, "x TEXT DEFAULT CURRENT_TIME": false,
		"x CHECK(x > 1)": false, "x AS (a)": false, "x INT GENERATED ALWAYS AS (1)": false, "CONSTRAINT k CHECK(a)": false,
		"x NOT NULL DEFAULT (random())": false,
	} {
		if got := addsFreely(ddl.Of(definition)); got != want {
			t.Errorf("%s: %v", definition, got)
		}
	}
}

// TestCells: what is stored is what is read.
func TestCells(t *testing.T) {
	value := func(v any) *change.Value { out := change.ValueOf(v); return &out }
	cells := []cell{{0, value(int64(-5)), value("x")}, {300, nil, value(nil)}, {2, value(0.5), nil}, {1, value([]byte{0, 1}), value("")}, {7, nil, nil}}
	got, err := decodeCells(encodeCells(cells))
	if err != nil || !reflect.DeepEqual(got[:3], cells[:3]) || len(got) != 5 || got[4].before != nil {
		t.Errorf("%v, %v", got, err)
	}
	for n := range 8 {
		if b := encodeCells(cells[:1]); n > 0 && n < len(b) {
			if _, err := decodeCells(b[:n]); err == nil {
				t.Errorf("%d bytes of a cell are no error", n)
			}
		}
	}
}

// TestUnclear: what the log alone does not show is an error, and never a wrong difference.
func TestUnclear(t *testing.T) {
	insert := func(table string) *change.Entry {
		one := change.Column{Name: "id", Value: change.ValueOf(int64(1))}
		return &change.Entry{Op: change.Insert, Table: table, Key: []change.Column{one}, After: []change.Column{one}}
	}
	statement := func(sql string) *change.Entry { return &change.Entry{Op: change.Schema, SQL: sql} }
	counter := &change.Entry{Op: change.Update, Table: change.SequenceTable, Key: []change.Column{{Name: "name", Value: change.ValueOf("t")}}}
	for _, c := range []struct {
		what     string
		entries  []*change.Entry
		reversed bool
		clear    bool
	}{
		{"a barrier", []*change.Entry{{Op: change.Barrier, Reason: "why"}}, false, false},
		{"a schema change", []*change.Entry{statement("CREATE TABLE t(id)"), insert("t")}, false, true},
		{"a schema change, back", []*change.Entry{statement("CREATE TABLE t(id)")}, true, false},
		{"a counter", []*change.Entry{insert("t"), counter}, false, true},
		{"a counter, back", []*change.Entry{insert("t"), counter}, true, false},
		{"the end of what may be a virtual table", []*change.Entry{insert("t_data"), statement("DROP TABLE t")}, false, false},
		{"the end of a table", []*change.Entry{insert("t_data"), insert("t"), statement("DROP TABLE t")}, false, true},
		{"a new name of what may be a virtual table", []*change.Entry{insert("t_data"), statement("ALTER TABLE t RENAME TO s")}, false, false},
		{"a constraint on rows that changed", []*change.Entry{insert("t"), statement("ALTER TABLE t ADD CONSTRAINT k CHECK(id)")}, false, false},
		{"a constraint on rows that did not", []*change.Entry{insert("s"), statement("ALTER TABLE t ADD CONSTRAINT k CHECK(id)")}, false, true},
		{"an index at the end", []*change.Entry{insert("t"), statement("CREATE UNIQUE INDEX i ON t(id)")}, false, true},
		{"an index before another change", []*change.Entry{insert("t"), statement("CREATE UNIQUE INDEX i ON t(id)"), statement("DROP TABLE s")}, false, false},
	} {
		f, err := NewFold(filepath.Join(t.TempDir(), "fold"))
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range c.entries {
			if err == nil {
				err = f.Add(history.Change{Sequence: int64(i + 1), Tx: int64(i + 1), Entry: e})
			}
		}
		if err == nil {
			err = f.Settle(c.reversed)
		}
		if c.clear && err != nil || !c.clear && !errors.Is(err, ErrUnclear) {
			t.Errorf("%s: %v", c.what, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestExchange: which values go from row to row.
func TestExchange(t *testing.T) {
	update := func(id int64, pairs ...any) *change.Entry {
		e := &change.Entry{Op: change.Update, Table: "t", HasRowID: true, RowID: id, NewRowID: id}
		for i := 0; i < len(pairs); i += 3 {
			name := pairs[i].(string)
			e.Before = append(e.Before, change.Column{Name: name, Value: change.ValueOf(pairs[i+1])})
			e.After = append(e.After, change.Column{Name: name, Value: change.ValueOf(pairs[i+2])})
		}
		return e
	}
	// moved is an update of a row without rowid, whose key has these columns.
	moved := func(key []string, pairs ...any) *change.Entry {
		e := update(0, pairs...)
		e.HasRowID = false
		for _, name := range key {
			e.Key = append(e.Key, change.Column{Name: name, Value: *change.Find(e.Before, name)})
		}
		return e
	}
	for _, c := range []struct {
		what    string
		updates []*change.Entry
		want    int // how many rows are put aside
	}{
		{"the key, which chain sees to", []*change.Entry{moved([]string{"u"}, "u", "a", "b"), moved([]string{"u"}, "u", "b", "a")}, 0},
		{"a part of the key", []*change.Entry{moved([]string{"k", "u"}, "k", int64(1), int64(6), "u", "a", "b"), moved([]string{"k", "u"}, "k", int64(3), int64(8), "u", "b", "a")}, 2},
		{"a swap", []*change.Entry{update(1, "u", "a", "b"), update(2, "u", "b", "a")}, 2},
		{"a chain", []*change.Entry{update(1, "u", "a", "b"), update(2, "u", "b", "c")}, 1},
		{"other columns", []*change.Entry{update(1, "u", "a", "b"), update(2, "v", "b", "a")}, 0},
		{"a value that is not unique", []*change.Entry{update(1, "u", "0", "1"), update(2, "u", "1", "0"), update(3, "u", "0", "1"), update(4, "u", "1", "0")}, 0},
		{"NULL", []*change.Entry{update(1, "u", nil, "b"), update(2, "u", "c", nil)}, 0},
		{"pairs", []*change.Entry{update(1, "u", "a", "b", "v", "x", "x2"), update(2, "u", "b", "c", "v", "x2", "x3"), update(3, "u", "b", "b2", "v", "x2", "x4")}, 0},
		{"pairs that are swapped", []*change.Entry{update(1, "u", "a", "b", "v", "b", "a"), update(2, "u", "b", "a", "v", "a", "b"), update(3, "u", "a", "b", "v", "x", "y"), update(4, "u", "b", "a", "v", "y", "z")}, 3},
	} {
		x := new(exchange)
		for _, e := range c.updates {
			x.see(e)
		}
		n := 0
		if x.settle() {
			for _, e := range c.updates {
				first, before := x.park(e), e.Key
				if first == nil {
					continue
				}
				n++
				x.parkedKey(e)
				for i, k := range e.Key {
					if v := change.Find(first.After, k.Name); v != nil && !v.Same(&k.Value) || v == nil && !k.Value.Same(&before[i].Value) {
						t.Errorf("%s: the row is looked for by %v", c.what, e.Key)
					}
				}
			}
		}
		if n != c.want {
			t.Errorf("%s: %d rows are put aside", c.what, n)
		}
	}
}
