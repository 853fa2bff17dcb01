package history

import (
	"math"
	"testing"

	"github.com/driftdb/driftdb-go/internal/change"
)

func key(pairs ...any) (out []change.Column) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, change.Column{Name: pairs[i].(string), Value: change.ValueOf(pairs[i+1])})
	}
	return out
}

// TestWants: which changes are of the row that is looked for.
func TestWants(t *testing.T) {
	row := func(pairs ...any) Query {
		q := Query{Table: "T", Key: map[string]change.Value{}}
		for _, c := range key(pairs...) {
			q.Key[c.Name] = c.Value
		}
		return q
	}
	insert := change.Entry{Op: change.Insert, Table: "t", Key: key("id", int64(5)), After: key("id", int64(5), "v", "x")}
	update := change.Entry{Op: change.Update, Table: "t", Key: key("id", int64(5)), After: key("v", "y"), Before: key("v", "x")}
	moved := change.Entry{Op: change.Update, Table: "t", Key: key("id", int64(5)), After: key("id", int64(6), "v", "y")}
	plain := change.Entry{Op: change.Update, Table: "t", HasRowID: true, RowID: 5, NewRowID: 6}
	long := change.Entry{Op: change.Insert, Table: "t", Key: key("id", int64(math.MaxInt64))}
	schema := change.Entry{Op: change.Schema, SQL: "CREATE TABLE t(id)"}
	for _, c := range []struct {
		what  string
		q     Query
		entry change.Entry
		want  bool
		fails bool
	}{
		{"no query", Query{}, schema, true, false},
		{"a table, of a schema", Query{Table: "t"}, schema, false, false},
		{"a table in other letters", Query{Table: "T"}, insert, true, false},
		{"another table", Query{Table: "tt"}, insert, false, false},
		{"before From", Query{From: 11}, insert, false, false},
		{"From and To", Query{From: 10, To: 10}, insert, true, false},
		{"behind To", Query{To: 9}, insert, false, false},
		{"the key", row("id", int64(5)), insert, true, false},
		{"the key in other letters", row("ID", int64(5)), update, true, false},
		{"the key as a float", row("id", 5.0), insert, true, false},
		{"a float beside the key", row("id", 5.5), insert, false, false},
		{"text for a number", row("id", "5"), insert, false, false},
		{"a float beside a large number", row("id", float64(math.MaxInt64)), long, false, false},
		{"another key", row("id", int64(6)), update, false, false},
		{"the key before", row("id", int64(5)), moved, true, false},
		{"the key after", row("id", int64(6)), moved, true, false},
		{"the rowid before", row("rowid", int64(5)), plain, true, false},
		{"the rowid after", row("rowid", int64(6)), plain, true, false},
		{"a rowid where there is a key", row("rowid", int64(5)), insert, false, true},
		{"a column too many", row("id", int64(5), "v", "x"), insert, false, true},
		{"none", row(), insert, false, true},
		{"the schema", row("id", int64(5)), schema, false, false},
	} {
		got, err := c.q.wants(Change{Sequence: 10, Entry: &c.entry})
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %v, %v", c.what, got, err)
		}
	}
}
