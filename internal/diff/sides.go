package diff

import (
	"errors"
	"strconv"
	"strings"

	"github.com/driftdb/driftdb-go/internal/apply"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// sides is a table that two copies of a database have, with the same definition.
type sides struct {
	*comparison
	*sqlite.Table
	selection, where string
}

// full is a row with all its values.
type full struct {
	rowid  int64
	values []change.Value
}

func newSides(c *comparison, name string) (*sides, error) {
	t, err := c.to.Table(name)
	if err != nil {
		return nil, err
	}
	s := &sides{comparison: c, Table: t}
	columns := []string{"0"}
	if t.HasRowID {
		if columns[0] = t.RowID; t.RowID == "" || t.TooWide() {
			return nil, errors.New("table " + name + ": its rowid is hidden by its columns, so its rows cannot be told apart")
		}
	}
	for _, column := range t.Columns {
		columns = append(columns, sqlite.Quote(column.Name))
	}
	s.selection = "SELECT " + strings.Join(columns, ", ") + " FROM main." + sqlite.Quote(name)
	if t.HasRowID {
		s.where = " WHERE " + t.RowID + " = ?1"
		return s, nil
	}
	collations, err := c.to.KeyCollations(name)
	if err != nil {
		return nil, err
	}
	var terms []string
	for i, k := range t.Key {
		for _, collation := range collations[t.Columns[k].Name] { // a column may be in the key twice
			terms = append(terms, columns[k+1]+" COLLATE "+sqlite.Quote(collation)+" = ?"+strconv.Itoa(i+1))
		}
	}
	s.where = " WHERE " + strings.Join(terms, " AND ")
	return s, nil
}

func (s *sides) scan(st *sqlite.Stmt) *full {
	r := &full{rowid: st.Int64(0), values: make([]change.Value, len(s.Columns))}
	for i := range r.values {
		r.values[i] = apply.Value(st, i+1)
	}
	return r
}

// find returns c's row with r's identity, or nil.
func (s *sides) find(c *sqlite.Conn, r *full) (found *full, err error) {
	st, err := c.Cached(s.selection + s.where)
	if err != nil {
		return nil, err
	}
	defer st.Release()
	if s.HasRowID {
		st.BindInt64(1, r.rowid)
	} else {
		for i, k := range s.Key {
			apply.Bind(st, i+1, r.values[k])
		}
	}
	err = st.Each(func(st *sqlite.Stmt) error { found = s.scan(st); return nil })
	return found, err
}

// compare yields the table's differences: what is deleted, updated and inserted, in this
// order, so that no value is given to a row while another one still has it.
func (s *sides) compare() error {
	if err := s.each(s.from, s.to, s.yield, func(r, now *full) *change.Entry {
		if now != nil {
			return nil
		}
		return s.entry(change.Delete, r, nil)
	}); err != nil {
		return err
	}
	if s.inSteps {
		if err := s.makeRoom(); err != nil {
			return err
		}
	}
	if err := s.each(s.to, s.from, s.yield, s.updated); err != nil {
		return err
	}
	return s.each(s.to, s.from, s.yield, func(r, was *full) *change.Entry {
		if was != nil {
			return nil
		}
		if s.Counted {
			s.filled[s.Name] = true
		}
		return s.entry(change.Insert, nil, r)
	})
}

func (s *sides) updated(r, was *full) *change.Entry {
	if was == nil {
		return nil
	}
	return s.entry(change.Update, was, r)
}

// makeRoom yields the updates that free the values that rows exchange.
func (s *sides) makeRoom() error {
	x := new(exchange)
	if err := s.each(s.to, s.from, func(e *change.Entry) error { x.see(e); return nil }, s.updated); err != nil || !x.settle() {
		return err
	}
	return s.each(s.to, s.from, func(e *change.Entry) error {
		if e = x.park(e); e == nil {
			return nil
		}
		return s.yield(e)
	}, s.updated)
}

// each passes to yield what differs makes of each row in one copy, and the row with its
// identity in the other.
func (s *sides) each(in, other *sqlite.Conn, yield func(*change.Entry) error, differs func(r, same *full) *change.Entry) error {
	return in.Each(s.selection, func(st *sqlite.Stmt) error {
		r := s.scan(st)
		same, err := s.find(other, r)
		if err != nil {
			return err
		}
		if e := differs(r, same); e != nil {
			return yield(e)
		}
		return s.ctx.Err()
	})
}

// entry returns the change from one row to another, or nil if they are the same.
func (s *sides) entry(op change.Op, was, is *full) *change.Entry {
	e := &change.Entry{Op: op, Table: s.Name, HasRowID: s.HasRowID && !s.IsKey}
	first := was
	if first == nil {
		first = is
	}
	if e.HasRowID {
		e.RowID, e.NewRowID = first.rowid, first.rowid
	}
	for _, k := range s.Key {
		e.Key = append(e.Key, change.Column{Name: s.Columns[k].Name, Value: first.values[k]})
	}
	same := true
	for i, column := range s.Columns {
		if op == change.Update && was.values[i].Same(&is.values[i]) {
			continue
		}
		same = false
		if was != nil {
			e.Before = append(e.Before, change.Column{Name: column.Name, Value: was.values[i]})
		}
		if is != nil {
			e.After = append(e.After, change.Column{Name: column.Name, Value: is.values[i]})
		}
	}
	if op == change.Update && same {
		return nil
	}
	return e
}
