//go:build !race

package model_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/apply"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/history"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// applier applies net changes. A row that cannot be updated, because another row still has
// the value that it gets, is taken out and put back when all rows of its table are updated.
type applier struct {
	c      *sqlite.Conn
	replay *apply.Replay
	aside  []*change.Entry // as inserts
	net    map[string]bool // the identities that were changed, to see that each has one change
}

func applyDiff(path string, changes []history.Change) (err error) {
	c, err := sqlite.Open(path, sqlite.Options{MustExist: true, KeepJournal: true, Synchronous: sqlite.SyncOff})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	replay, err := apply.NewReplay(c)
	if err != nil {
		return err
	}
	defer replay.Close()
	a := &applier{c: c, replay: replay, net: map[string]bool{}}
	if err := c.Exec("BEGIN"); err != nil {
		return err
	}
	for _, ch := range changes {
		if err := a.apply(ch.Entry); err != nil {
			return fmt.Errorf("%s: %w", describe(ch), err)
		}
	}
	if err := a.putBack(); err != nil {
		return err
	}
	return c.Exec("COMMIT")
}

func (a *applier) apply(e *change.Entry) error {
	if e.Op != change.Update || e.Table == change.SequenceTable {
		if err := a.putBack(); err != nil {
			return err
		}
	} else if len(a.aside) > 0 && a.aside[0].Table != e.Table {
		if err := a.putBack(); err != nil {
			return err
		}
	}
	if e.Op == change.Schema || e.Table == change.SequenceTable {
		return a.replay.Apply(e)
	}
	identity := fmt.Sprint(e.Table, e.HasRowID, e.RowID)
	if !e.HasRowID {
		identity = fmt.Sprintf("%s %#v", e.Table, change.Map(e.Key))
	}
	if e.Op == change.Insert {
		identity += " insert" // where a row has moved away
	}
	if a.net[identity] {
		return errors.New("the row has a second change")
	}
	a.net[identity] = true
	if e.Op != change.Update || strings.HasPrefix(e.Table, "sqlite_stat") {
		return a.replay.Apply(e)
	}
	err := a.update(e)
	if err == nil || sqlite.Code(err)&0xff != 19 {
		return err
	}
	return a.takeOut(e)
}

// where returns the condition that finds e's row, with its values.
func (a *applier) where(t *sqlite.Table, e *change.Entry) (string, []change.Value, error) {
	if e.HasRowID {
		return t.RowID + " = ?", []change.Value{{Kind: change.Integer, Int: e.RowID}}, nil
	}
	collations, err := a.c.KeyCollations(t.Name)
	var terms []string
	var values []change.Value
	for _, k := range e.Key {
		if len(collations[k.Name]) == 0 {
			terms, values = append(terms, sqlite.Quote(k.Name)+" = ?"), append(values, k.Value)
		}
		for _, c := range collations[k.Name] {
			terms, values = append(terms, sqlite.Quote(k.Name)+" COLLATE "+c+" = ?"), append(values, k.Value)
		}
	}
	return strings.Join(terms, " AND "), values, err
}

// update is one statement that aborts on a conflict, whatever the table says.
func (a *applier) update(e *change.Entry) error {
	t, err := a.c.Table(e.Table)
	if err != nil {
		return err
	}
	var set []string
	var values []change.Value
	for _, c := range e.After {
		set, values = append(set, sqlite.Quote(c.Name)+" = ?"), append(values, c.Value)
	}
	if e.HasRowID && e.NewRowID != e.RowID {
		set, values = append(set, t.RowID+" = ?"), append(values, change.Value{Kind: change.Integer, Int: e.NewRowID})
	}
	where, key, err := a.where(t, e)
	if err != nil {
		return err
	}
	n, err := a.run("UPDATE OR ABORT main."+sqlite.Quote(e.Table)+" SET "+strings.Join(set, ", ")+" WHERE "+where, append(values, key...), nil)
	if err == nil && n != 1 {
		err = fmt.Errorf("%d rows match", n)
	}
	return err
}

func (a *applier) run(query string, values []change.Value, row func(*sqlite.Stmt)) (int64, error) {
	st, err := a.c.Prepare(query)
	if err != nil {
		return 0, err
	}
	defer st.Finalize()
	for i, v := range values {
		apply.Bind(st, i+1, v)
	}
	err = st.Each(func(st *sqlite.Stmt) error { row(st); return nil })
	return a.c.Changes(), err
}

// takeOut deletes e's row, and keeps it as it will be.
func (a *applier) takeOut(e *change.Entry) error {
	t, err := a.c.Table(e.Table)
	if err != nil {
		return err
	}
	where, key, err := a.where(t, e)
	if err != nil {
		return err
	}
	var names []string
	for _, c := range t.Columns {
		names = append(names, sqlite.Quote(c.Name))
	}
	full := &change.Entry{Op: change.Insert, Table: e.Table, HasRowID: e.HasRowID, RowID: e.NewRowID}
	if _, err := a.run("SELECT "+strings.Join(names, ", ")+" FROM main."+sqlite.Quote(e.Table)+" WHERE "+where, key, func(st *sqlite.Stmt) {
		for i, c := range t.Columns {
			v := apply.Value(st, i)
			if to := change.Find(e.After, c.Name); to != nil {
				v = *to
			}
			full.After = append(full.After, change.Column{Name: c.Name, Value: v})
		}
	}); err != nil {
		return err
	}
	n, err := a.run("DELETE FROM main."+sqlite.Quote(e.Table)+" WHERE "+where, key, nil)
	if err == nil && n != 1 {
		err = fmt.Errorf("%d rows match", n)
	}
	a.aside = append(a.aside, full)
	return err
}

func (a *applier) putBack() error {
	for _, e := range a.aside {
		if err := a.replay.Apply(e); err != nil {
			return fmt.Errorf("put back: %w", err)
		}
	}
	a.aside = nil
	return nil
}
