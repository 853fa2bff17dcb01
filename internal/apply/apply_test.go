package apply

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

func text(name, v string) change.Column {
	return change.Column{Name: name, Value: change.Value{Kind: change.Text, Bytes: []byte(v)}}
}

// TestReplayRefuses: an entry that does not fit the database is an error, and
// never a row more or less.
func TestReplayRefuses(t *testing.T) {
	c, err := new(sqlite.Driver).Open(filepath.Join(t.TempDir(), "x.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := NewReplay(c)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := c.Exec("CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a); CREATE TABLE w(a PRIMARY KEY) WITHOUT ROWID; CREATE TABLE h(rowid, oid, _rowid_); INSERT INTO w VALUES('x')"); err != nil {
		t.Fatal(err)
	}
	for name, e := range map[string]change.Entry{
		"no such table":             {Op: change.Insert, Table: "nope", After: []change.Column{text("a", "1")}},
		"no such column":            {Op: change.Insert, Table: "w", After: []change.Column{text("b", "1")}},
		"a row that is there":       {Op: change.Insert, Table: "w", After: []change.Column{text("a", "x")}},
		"no row to delete":          {Op: change.Delete, Table: "w", Key: []change.Column{text("a", "y")}},
		"no row to update":          {Op: change.Update, Table: "w", Key: []change.Column{text("a", "y")}, After: []change.Column{text("a", "z")}},
		"update of nothing":         {Op: change.Update, Table: "w", Key: []change.Column{text("a", "y")}},
		"update of any row":         {Op: change.Update, Table: "w", After: []change.Column{text("a", "z")}},
		"delete of any row":         {Op: change.Delete, Table: "w"},
		"update without anything":   {Op: change.Update, Table: "w"},
		"a rowid without a name":    {Op: change.Delete, Table: "h", HasRowID: true, RowID: 1},
		"a counter without a value": {Op: change.Update, Table: change.SequenceTable, Key: []change.Column{text("name", "t")}},
		"no such operation":         {Op: 77, Table: "w", Key: []change.Column{text("a", "x")}},
		"bad SQL":                   {Op: change.Schema, SQL: "CREATE"},
	} {
		if err := r.Apply(&e); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := r.Apply(&change.Entry{Op: change.Barrier, Reason: "why"}); !errors.Is(err, ErrBarrier) {
		t.Error(err)
	}
	if n, err := c.Int("SELECT count(*) FROM w WHERE a = 'x'"); err != nil || n != 1 || r.Rows() != 0 {
		t.Errorf("%d rows, %d applied, %v", n, r.Rows(), err)
	}
}
