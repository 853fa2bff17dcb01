package apply

import (
	"strings"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// finder reads the row that an entry addresses.
type finder struct {
	st      *sqlite.Stmt
	columns []string
}

// Find returns the row that e addresses as it is now: its stored columns, in the table's
// order. It returns nil if there is no such row. e needs only a table, and a rowid or a key.
func (r *Replay) Find(e *change.Entry) ([]change.Column, error) {
	t, err := r.target(e.Table)
	if err != nil {
		return nil, err
	}
	if t.find == nil {
		if t.find, err = r.finder(t, e); err != nil {
			return nil, err
		}
	}
	st := t.find.st
	if e.HasRowID {
		st.BindInt64(1, e.RowID)
	} else {
		bindColumns(st, 1, e.Key)
	}
	defer st.Clear()
	found, err := st.Step()
	if err != nil || !found {
		return nil, err
	}
	row := make([]change.Column, len(t.find.columns))
	for i, name := range t.find.columns {
		row[i] = change.Column{Name: name, Value: Value(st, i)}
	}
	return row, nil
}

func (r *Replay) finder(t *target, e *change.Entry) (*finder, error) {
	info, err := r.c.Table(t.name)
	if err != nil {
		return nil, err
	}
	f := new(finder)
	var quoted []string
	for _, c := range info.Columns {
		f.columns = append(f.columns, c.Name)
		quoted = append(quoted, sqlite.Quote(c.Name))
	}
	f.st, err = r.c.Prepare("SELECT " + strings.Join(quoted, ", ") + " FROM main." + sqlite.Quote(t.name) + " WHERE " + t.where(e, 1))
	return f, err
}
