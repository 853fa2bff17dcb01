package diff

import (
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/ddl"
	"github.com/driftdb/driftdb-go/internal/history"
)

// statement is a schema change between the two points.
//
// All schema changes are made before the changes of rows, to the rows of the first point.
// Only indexes that are created after everything else come last.
type statement struct {
	history.Change
	index bool // creates an index: it may as well come after the rows
	risky bool // it may fail, or act otherwise, without the changes of rows that came before it
}

// define takes up a schema change.
func (f *Fold) define(c history.Change) error {
	s := statement{Change: c}
	w := ddl.Of(c.Entry.SQL)
	var err error
	switch w.Keyword() {
	case "CREATE":
		err = f.create(&s, w)
	case "DROP":
		if w.Keyword() == "TABLE" {
			err = f.drop(w)
		}
	case "ALTER":
		err = f.alter(&s, w)
	}
	if err != nil {
		return fmt.Errorf("%w (change %d: %.200s)", err, c.Sequence, c.Entry.SQL)
	}
	f.schema = append(f.schema, s)
	return nil
}

func (f *Fold) create(s *statement, w *ddl.Words) error {
	kind := w.Keyword()
	if kind == "UNIQUE" {
		kind = w.Keyword()
	}
	switch kind {
	case "TABLE":
		name, _ := w.Name()
		f.table(name).plain = true
	case "INDEX":
		s.index = true
		if _, ok := w.Name(); !ok || w.Keyword() != "ON" {
			return fmt.Errorf("%w: the table of an index is not clear", ErrUnclear)
		}
		name, _ := w.Name()
		return f.depends(s, name)
	}
	return nil
}

// depends marks s if rows of the table have changed before it.
func (f *Fold) depends(s *statement, name string) (err error) {
	if t := f.tables[ddl.Fold(name)]; t != nil {
		s.risky, err = f.touched(t)
	}
	return err
}

// drop forgets the rows of a table that is gone. With it, SQLite removes its counter.
func (f *Fold) drop(w *ddl.Words) error {
	name, _ := w.Name()
	if err := f.alone(name); err != nil {
		return err
	}
	if t := f.tables[ddl.Fold(name)]; t != nil {
		delete(f.tables, ddl.Fold(name))
		if err := f.c.Exec(fmt.Sprintf("DELETE FROM row WHERE tbl = %d", t.id)); err != nil {
			return err
		}
	}
	delete(f.counters, ddl.Fold(name))
	return nil
}

// alone returns ErrUnclear if the named table may be a virtual one and rows of tables that
// may belong to it have changed: those go with it.
func (f *Fold) alone(name string) error {
	if t := f.tables[ddl.Fold(name)]; t != nil && t.plain {
		return nil
	}
	for other, t := range f.tables {
		if !strings.HasPrefix(other, ddl.Fold(name)+"_") {
			continue
		}
		if touched, err := f.touched(t); err != nil {
			return err
		} else if touched {
			return fmt.Errorf("%w: table %s may belong to table %s", ErrUnclear, t.name, name)
		}
	}
	return nil
}

func (f *Fold) alter(s *statement, w *ddl.Words) error {
	w.Keyword() // TABLE
	name, ok := w.Name()
	if !ok {
		return fmt.Errorf("%w: the table that is altered is not clear", ErrUnclear)
	}
	t := f.tables[ddl.Fold(name)]
	switch w.Keyword() {
	case "RENAME":
		return f.rename(t, name, w)
	case "DROP":
		column, quoted := w.Next()
		if !quoted && strings.EqualFold(column, "CONSTRAINT") {
			return nil
		}
		if !quoted && strings.EqualFold(column, "COLUMN") {
			column, _ = w.Next()
		}
		if t != nil {
			t.drop(column)
		}
		return nil
	case "ADD":
		if addsFreely(w) {
			return nil
		}
	}
	return f.depends(s, name)
}

// rename follows ALTER TABLE … RENAME TO and RENAME COLUMN. t is nil if it was not touched.
func (f *Fold) rename(t *table, name string, w *ddl.Words) error {
	from, quoted := w.Next()
	if quoted || !strings.EqualFold(from, "TO") {
		if !quoted && strings.EqualFold(from, "COLUMN") {
			from, _ = w.Next()
		}
		w.Keyword() // TO
		if to, _ := w.Next(); t != nil {
			t.rename(from, to)
		}
		return nil
	}
	if err := f.alone(name); err != nil {
		return err
	}
	to, _ := w.Next()
	if t != nil {
		delete(f.tables, ddl.Fold(name))
		f.tables[ddl.Fold(to)], t.name = t, to
	}
	if c := f.counters[ddl.Fold(name)]; c != nil {
		delete(f.counters, ddl.Fold(name))
		c.Entry.Key[0].Value = change.Value{Kind: change.Text, Bytes: []byte(to)}
		f.counters[ddl.Fold(to)] = c
	}
	return nil
}

// addsFreely reports whether a column can be added, with the same effect, whatever rows the
// table has: it has no condition, and a value that does not depend on when it is added.
func addsFreely(w *ddl.Words) bool {
	var tokens []string
	w.Contains(func(token string, quoted bool) bool {
		if quoted {
			token = "'"
		}
		tokens = append(tokens, strings.ToUpper(token))
		return false
	})
	required, filled := false, false
	for i, token := range tokens {
		switch token {
		case "CHECK", "CONSTRAINT", "AS", "GENERATED":
			return false
		case "NOT":
			required = true
		case "DEFAULT":
			filled = true
			if i+1 < len(tokens) && (tokens[i+1] == "(" || strings.HasPrefix(tokens[i+1], "CURRENT_")) {
				return false
			}
		}
	}
	return filled || !required
}
