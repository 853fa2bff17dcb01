package undo

import (
	"context"
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/change"
)

// The steps of an undo. Rows are deleted first and inserted last, so that a value which
// must be unique is free when another row gets it back.
const (
	deletions = 1 + iota
	updates
	insertions
)

// decide compares each row of the net with what it is now, notes what is to be done, and
// lists the conflicts.
func (j *job) decide(ctx context.Context) error {
	j.rebuilds()
	n := 0
	return j.net.each(func(t *table, id []byte, r *row) error {
		if n++; n%1000 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		v := j.layout.indexOf(t.name)
		if r.idle() || r.follows && r.other || v != nil && v.rebuild {
			return nil
		}
		address, err := t.address(id)
		if err != nil {
			return err
		}
		current, err := j.look(&address)
		if err != nil {
			return err
		}
		strange := !r.is().same(current) // something that the log does not say
		if v != nil && strange {
			v.rebuild = true
			return nil
		}
		if err := j.judge(t, r, current, strange); err != nil {
			return err
		}
		return j.plan(t, id, r, &address, current)
	})
}

// judge notes a conflict.
func (j *job) judge(t *table, r *row, current *image, strange bool) error {
	if r.follows || !strange && (!r.since || r.images[made].same(&r.images[now])) {
		return nil
	}
	where := current
	if r.moved != nil {
		var err error
		if where, err = j.chase(t, r.moved); err != nil {
			return err
		}
	}
	if r.images[was].same(where) && (r.moved == nil || !where.exists) {
		return nil // it is what it was, whoever did that
	}
	if v := j.layout.shadows[strings.ToLower(t.name)]; v != nil && !v.fullText() && j.o.Force {
		return fmt.Errorf("%w: virtual table %s was changed since, and its parts cannot be taken back by themselves", ErrConflict, v.name)
	}
	c := conflictOf(t, r, where)
	if err := j.order(t, &c); err != nil {
		return err
	}
	j.conflict(c)
	return nil
}

// order lists the columns of a conflict in the order of the table.
func (j *job) order(t *table, c *Conflict) error {
	if t.columns == nil {
		info, err := j.c.Table(t.name)
		if err != nil {
			return err
		}
		for _, column := range info.Columns {
			t.columns = append(t.columns, column.Name)
		}
	}
	for _, name := range t.columns {
		if change.Find(c.Was, name) != nil || change.Find(c.Made, name) != nil || change.Find(c.Now, name) != nil {
			c.Columns = append(c.Columns, name)
		}
	}
	return nil
}

// conflict lists a conflict.
func (j *job) conflict(c Conflict) {
	j.res.Conflicting++
	if j.res.Conflicting <= maxConflicts {
		j.res.Conflicts = append(j.res.Conflicts, c)
	}
}

// chase returns what the row is now that has moved to the identity id since.
func (j *job) chase(t *table, id []byte) (*image, error) {
	for range 1000 { // rows may have been moved in a circle
		r, err := j.net.get(t, id)
		if err != nil {
			return nil, err
		}
		if r == nil || r.moved == nil {
			break
		}
		id = r.moved
	}
	address, err := t.address(id)
	if err != nil {
		return nil, err
	}
	return j.look(&address)
}

// look returns what the row with an identity is now. A key that is only equal by a collation
// is another identity.
func (j *job) look(address *change.Entry) (*image, error) {
	columns, err := j.replay.Find(address)
	if err != nil {
		return nil, err
	}
	for i := range address.Key {
		if v := change.Find(columns, address.Key[i].Name); !address.HasRowID && v != nil && !v.Same(&address.Key[i].Value) {
			return new(image), nil
		}
	}
	return &image{exists: columns != nil, columns: columns}, nil
}

func conflictOf(t *table, r *row, current *image) Conflict {
	c := Conflict{Table: t.name, Op: change.Update, Key: copied(r.key, nil), Sequence: r.later, Tx: r.tx, Millis: r.millis}
	switch {
	case !r.images[was].exists:
		c.Op = change.Insert
	case !r.images[made].exists:
		c.Op = change.Delete
	}
	c.Was, c.Made = shown(&r.images[was], nil), shown(&r.images[made], nil)
	var known []change.Column // whole rows are known unless the row was only updated
	if r.images[was].open && r.images[made].open && r.moved == nil {
		known = append(append(known, r.images[was].columns...), r.images[made].columns...)
	}
	c.Now = shown(current, known)
	return c
}

// shown returns an image's columns, or those among known.
func shown(m *image, known []change.Column) []change.Column {
	if !m.exists {
		return nil
	}
	return copied(m.columns, known)
}

func copied(columns, known []change.Column) []change.Column {
	out := make([]change.Column, 0, len(columns))
	for _, c := range columns {
		if known == nil || change.Find(known, c.Name) != nil {
			c.Value.Bytes = append([]byte(nil), c.Value.Bytes...)
			out = append(out, c)
		}
	}
	return out
}

// plan notes what makes a row what it was before the range.
func (j *job) plan(t *table, id []byte, r *row, address *change.Entry, current *image) error {
	target := &r.images[was]
	e := *address
	switch {
	case !target.exists && !current.exists:
		return nil
	case !target.exists:
		e.Op = change.Delete
		return j.net.note(deletions, r.last, t, id, &e)
	case !current.exists && target.open:
		return fmt.Errorf("a row of table %s is not there any more, and the log does not have all of it: %s", t.name, text(r.key, &e))
	case !current.exists:
		e.Op, e.After = change.Insert, target.columns
		return j.net.note(insertions, r.last, t, id, &e)
	}
	e.Op = change.Update
	for _, c := range target.columns {
		v := change.Find(current.columns, c.Name)
		if v == nil {
			return fmt.Errorf("table %s has no column %s any more, so its rows cannot be undone", t.name, c.Name)
		}
		if !v.Same(&c.Value) {
			e.After = append(e.After, c)
		}
	}
	if len(e.After) == 0 {
		return nil
	}
	return j.net.note(updates, r.last, t, id, &e)
}

// text formats what identifies a row, for an error.
func text(key []change.Column, e *change.Entry) string {
	if len(key) == 0 && e.HasRowID {
		return fmt.Sprintf("rowid=%d", e.RowID)
	}
	var out []string
	for _, c := range key {
		out = append(out, fmt.Sprintf("%s=%v", c.Name, c.Value.Any()))
	}
	return strings.Join(out, " ")
}

// note notes a step: the newest change of the range is undone first.
func (n *net) note(step int, last int64, t *table, id []byte, e *change.Entry) error {
	st, err := n.c.Cached("INSERT INTO todo VALUES(?1, ?2, ?3, ?4, ?5)")
	if err != nil {
		return err
	}
	defer st.Release()
	st.BindInt64(1, int64(step))
	st.BindInt64(2, -last)
	st.BindInt64(3, int64(t.index))
	st.BindBlob(4, id)
	st.BindBlob(5, t.names.append([]byte{byte(e.Op)}, e.After))
	return st.Run()
}
