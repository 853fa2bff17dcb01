package change_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/change"
	"pgregory.net/rapid"
)

// transaction is a list of entries and the shapes that they need.
type transaction struct {
	shapes  []change.Shape
	entries []change.Entry
}

// encode does what capture does.
func (t *transaction) encode() []byte {
	ids := make([]int64, len(t.shapes))
	for i := range ids {
		ids[i] = int64(i)*1000 + 1
	}
	b := change.AppendHeader(nil, ids)
	for i := range t.entries {
		b = t.append(b, &t.entries[i])
	}
	return b
}

func (t *transaction) append(b []byte, e *change.Entry) []byte {
	if e.Table == change.SequenceTable {
		name := string(e.Key[0].Value.Bytes)
		if e.Op == change.Delete {
			return change.AppendSequenceEnd(b, name)
		}
		return change.AppendSequence(b, name, e.After[0].Value.Int)
	}
	switch e.Op {
	case change.Schema:
		return change.AppendSchema(b, e.SQL, e.Settings)
	case change.Barrier:
		if e.Width() > 1 {
			return change.AppendBarrierRange(b, e.Count, e.Reason)
		}
		return change.AppendBarrier(b, e.Reason)
	}
	index := 0
	for i := range t.shapes {
		if t.shapes[i].Table == e.Table {
			index = i
		}
	}
	s := &t.shapes[index]
	switch e.Op {
	case change.Insert:
		return appendValues(change.AppendInsert(b, index, s, e.RowID), e.After)
	case change.Delete:
		return appendValues(change.AppendDelete(b, index, s, e.RowID), e.Before)
	}
	b = appendValues(change.AppendUpdate(b, index, s, e.RowID, e.NewRowID), e.Key)
	bitmap, at := len(b), 0
	b = append(b, make([]byte, (len(s.Columns)+7)/8)...)
	for i, name := range s.Columns {
		if at < len(e.After) && e.After[at].Name == name {
			b[bitmap+i/8] |= 1 << (i % 8)
			b = change.AppendValue(change.AppendValue(b, e.Before[at].Value), e.After[at].Value)
			at++
		}
	}
	return b
}

func appendValues(b []byte, columns []change.Column) []byte {
	for _, c := range columns {
		b = change.AppendValue(b, c.Value)
	}
	return b
}

func (t *transaction) shape(id int64) (*change.Shape, error) {
	if i := (id - 1) / 1000; id%1000 == 1 && i < int64(len(t.shapes)) {
		return &t.shapes[i], nil
	}
	return nil, fmt.Errorf("no shape %d", id)
}

func (t *transaction) decode(b []byte) ([]change.Entry, error) {
	var out []change.Entry
	err := change.Decode(b, t.shape, func(e *change.Entry) error {
		c := *e
		c.Key, c.After, c.Before = clone(e.Key), clone(e.After), clone(e.Before)
		out = append(out, c)
		return nil
	})
	return out, err
}

// clone copies columns; their bytes belong to the data.
func clone(columns []change.Column) []change.Column {
	if len(columns) == 0 {
		return nil
	}
	return append([]change.Column{}, columns...)
}

func value(t *rapid.T) change.Value {
	switch k := change.Kind(rapid.IntRange(0, 4).Draw(t, "kind")); k {
	case change.Integer:
		return change.Value{Kind: k, Int: rapid.OneOf(rapid.Int64(), rapid.Just(int64(math.MinInt64)), rapid.Just(int64(math.MaxInt64))).Draw(t, "int")}
	case change.Real:
		return change.Value{Kind: k, Real: rapid.OneOf(rapid.Float64(), rapid.Just(math.Inf(1)), rapid.Just(math.Copysign(0, -1)), rapid.Just(math.SmallestNonzeroFloat64)).Draw(t, "real")}
	case change.Text, change.Blob:
		return change.Value{Kind: k, Bytes: rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes")}
	}
	return change.Value{}
}

func drawShape(t *rapid.T, i int) change.Shape {
	s := change.Shape{Table: fmt.Sprint("t", i), RowID: rapid.Bool().Draw(t, "rowid"), Columns: []string{}, Key: []int{}}
	for n := range rapid.IntRange(1, 20).Draw(t, "columns") {
		s.Columns = append(s.Columns, fmt.Sprint("c", n))
		if rapid.IntRange(0, 5).Draw(t, "key") == 0 {
			s.Key = append(s.Key, n)
		}
	}
	return s
}

func row(t *rapid.T, s *change.Shape) []change.Column {
	out := make([]change.Column, len(s.Columns))
	for i, n := range s.Columns {
		out[i] = change.Column{Name: n, Value: value(t)}
	}
	return out
}

func drawEntry(t *rapid.T, shapes []change.Shape) change.Entry {
	switch rapid.IntRange(0, 6).Draw(t, "entry") {
	case 0:
		return change.Entry{Op: change.Schema, SQL: rapid.String().Draw(t, "sql"), Settings: change.Settings{ForeignKeys: rapid.Bool().Draw(t, "fk"), LegacyAlterTable: rapid.Bool().Draw(t, "legacy"), DoubleQuotedDDL: rapid.Bool().Draw(t, "ddl"), DoubleQuotedDML: rapid.Bool().Draw(t, "dml")}}
	case 1:
		e := change.Entry{Op: change.Barrier, Reason: rapid.String().Draw(t, "reason")}
		if rapid.Bool().Draw(t, "range") {
			e.Count = rapid.Int64Range(2, 1<<53).Draw(t, "count")
		}
		return e
	case 2:
		e := change.Entry{Op: change.Delete, Table: change.SequenceTable, Key: []change.Column{{Name: "name", Value: change.Value{Kind: change.Text, Bytes: rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "name")}}}}
		if rapid.Bool().Draw(t, "set") {
			e.Op, e.After = change.Update, []change.Column{{Name: "seq", Value: change.Value{Kind: change.Integer, Int: rapid.Int64().Draw(t, "seq")}}}
		}
		return e
	}
	s := &shapes[rapid.IntRange(0, len(shapes)-1).Draw(t, "shape")]
	e := change.Entry{Op: change.Op(rapid.IntRange(1, 3).Draw(t, "op")), Table: s.Table, HasRowID: s.RowID}
	if s.RowID {
		e.RowID = rapid.Int64().Draw(t, "rowid")
		e.NewRowID = e.RowID
	}
	old := row(t, s)
	for _, k := range s.Key {
		e.Key = append(e.Key, old[k])
	}
	if e.Op == change.Insert {
		e.After = old
		return e
	}
	if e.Op == change.Delete {
		e.Before = old
		return e
	}
	if s.RowID {
		e.NewRowID = rapid.Int64().Draw(t, "new rowid")
	}
	for _, c := range old {
		if rapid.Bool().Draw(t, "changed") {
			e.Before = append(e.Before, c)
			e.After = append(e.After, change.Column{Name: c.Name, Value: value(t)})
		}
	}
	return e
}

func draw(t *rapid.T) *transaction {
	x := &transaction{}
	for i := range rapid.IntRange(1, 4).Draw(t, "shapes") {
		x.shapes = append(x.shapes, drawShape(t, i))
	}
	for range rapid.IntRange(0, 12).Draw(t, "entries") {
		x.entries = append(x.entries, drawEntry(t, x.shapes))
	}
	return x
}

// plain makes entries comparable: bit patterns for numbers, no nil slices.
func plain(entries []change.Entry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%v %q %v %d %d %q %+v %q %d", e.Op, e.Table, e.HasRowID, e.RowID, e.NewRowID, e.SQL, e.Settings, e.Reason, e.Count)
		for _, list := range [][]change.Column{e.Key, e.After, e.Before} {
			b.WriteString(" |")
			for _, c := range list {
				fmt.Fprintf(&b, " %q %d %d %x %x", c.Name, c.Value.Kind, c.Value.Int, math.Float64bits(c.Value.Real), c.Value.Bytes)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := draw(t)
		got, err := x.decode(x.encode())
		if err != nil {
			t.Fatal(err)
		}
		if a, b := plain(x.entries), plain(got); a != b {
			t.Fatalf("want\n%s\ngot\n%s", a, b)
		}
	})
}

// TestCutData: whatever is missing at the end is an error, unless the cut is
// between two entries.
func TestCutData(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := draw(t)
		whole := x.encode()
		cut := rapid.IntRange(0, len(whole)).Draw(t, "cut")
		got, err := x.decode(whole[:cut])
		if err != nil {
			if !errors.Is(err, change.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		again := &transaction{shapes: x.shapes, entries: x.entries[:len(got)]}
		if len(again.encode()) != cut {
			t.Fatalf("data that ends in the middle of an entry was taken for %d entries", len(got))
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	x := &transaction{shapes: []change.Shape{{Table: "t", Columns: []string{"a"}, Key: []int{0}}}}
	for name, data := range map[string][]byte{
		"nothing":               {},
		"a newer version":       {2, 0},
		"too many shapes":       {1, 200, 1},
		"no such shape index":   {1, 0, 1, 0},
		"no such entry":         {1, 0, 99},
		"no such kind of value": {1, 1, 1, 1, 0, 9},
		"a length past the end": {1, 1, 1, 1, 0, 3, 200},
		"a barrier for none":    {1, 0, 8, 0, 0},
		"a barrier for one":     {1, 0, 8, 1, 0},
		"a barrier for ever":    {1, 0, 8, 255, 255, 255, 255, 255, 255, 255, 255, 127, 0},
		"an endless number":     {1, 1, 1, 1, 0, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1},
	} {
		if _, err := x.decode(data); !errors.Is(err, change.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	stop := errors.New("stop")
	data := change.AppendBarrier(change.AppendBarrier(change.AppendHeader(nil, nil), "a"), "b")
	calls := 0
	if err := change.Decode(data, x.shape, func(*change.Entry) error { calls++; return stop }); err != stop || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	if _, err := x.decode(change.AppendHeader(nil, []int64{7})); err == nil || errors.Is(err, change.ErrMalformed) {
		t.Errorf("an unknown shape: %v", err)
	}
}

func TestShapes(t *testing.T) {
	s := change.Shape{Table: "t \"é", Columns: []string{"a", "<b>", ""}, Key: []int{2, 0}, RowID: true}
	def, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	back, err := change.ParseShape(def)
	if err != nil || !reflect.DeepEqual(*back, s) {
		t.Fatalf("%+v %v", back, err)
	}
	if _, err := (&change.Shape{Table: "t", Columns: []string{"a\xff"}}).Marshal(); err == nil {
		t.Error("a name that is not UTF-8 was stored")
	}
	for _, bad := range []string{"", "{", `{"table":"t","columns":["a"],"key":[1]}`, `{"table":"t","columns":["a"],"key":[-1]}`} {
		if _, err := change.ParseShape(bad); err == nil {
			t.Errorf("%q was parsed", bad)
		}
	}
}

func TestOps(t *testing.T) {
	for op := change.Insert; op <= change.Barrier; op++ {
		if got, ok := change.ParseOp(op.String()); !ok || got != op {
			t.Errorf("%v", op)
		}
	}
	if _, ok := change.ParseOp(""); ok || change.Op(0).String() != "unknown" || change.Op(99).String() != "unknown" {
		t.Error("an operation that does not exist")
	}
}

func FuzzDecode(f *testing.F) {
	shapes := []change.Shape{{Table: "t", Columns: []string{"a", "b"}, Key: []int{0}}, {Table: "u", Columns: []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"}, Key: []int{}, RowID: true}}
	gen := rapid.Custom(func(t *rapid.T) []byte {
		x := &transaction{shapes: shapes}
		for range 5 {
			x.entries = append(x.entries, drawEntry(t, shapes))
		}
		return x.encode()
	})
	for seed := range 20 {
		f.Add(gen.Example(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		x := &transaction{shapes: shapes}
		entries, err := x.decode(data)
		if err != nil {
			return
		}
		// What decodes can be written again, and means the same.
		again, err := x.decode((&transaction{shapes: shapes, entries: entries}).encode())
		if err != nil || plain(again) != plain(entries) {
			t.Fatalf("%v\n%s\n%s", err, plain(entries), plain(again))
		}
	})
}
