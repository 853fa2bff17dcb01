package resolve

import (
	"context"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Side is the side whose version of a row counts.
type Side string

// The sides.
const (
	Ours   Side = "ours"   // the file's
	Theirs Side = "theirs" // the bucket's
)

// Kind is why a change conflicts.
type Kind string

// The kinds of conflicts.
const (
	RowConflict    Kind = "row"         // both changed the row, or one changed it and the other deleted it
	KeyConflict    Kind = "key"         // both inserted a row with this key
	UniqueConflict Kind = "unique"      // Other has the same value of a UNIQUE column
	ParentConflict Kind = "foreign key" // one side has a row that refers to Other, which the other side deleted
	SchemaConflict Kind = "schema"      // one side's definition and the other's definition or rows
)

// Versions holds a row as it was at the common point and as it is on each side; nil where
// there is no such row. For a definition they have one column, sql.
type Versions struct {
	Table              string
	Key                []change.Column
	Base, Ours, Theirs []change.Column
}

// Conflict is a change in the file that conflicts with one in the bucket.
type Conflict struct {
	Kind Kind
	Versions
	Other  *Versions // UniqueConflict and ParentConflict: the other row in conflict
	Choice Side      // the chosen side; "": none
}

// merger applies the file's changes to a copy of the bucket's state.
//
// Its invariant: of each row, the copy has one side's version, whole. Choosing a side,
// for whatever reason, gives all rows in the conflict that side's versions, which are
// consistent with each other. So the choosing always ends.
type merger struct {
	ctx                context.Context
	base, ours, theirs *state
	w                  *writer
	choose             func(table string) Side

	layouts     map[string]*layout // of the tables merged row by row, as in the file
	mine, their map[string]*deltas
	replaced    map[string]bool // tables taken over whole
	settled     map[string]Side // rows whose side was decided
	appended    map[string]*delta
	finders     map[finding]func(*row) (*row, error)

	conflicts []*Conflict
	applied   int
}

type finding struct {
	s *state
	l *layout
}

// run merges everything. A conflict without a chosen side leaves the bucket's version in
// place, so that conflicts behind it are found as well.
func (m *merger) run() error {
	m.settled, m.appended, m.finders = map[string]Side{}, map[string]*delta{}, map[finding]func(*row) (*row, error){}
	m.layouts, m.replaced = map[string]*layout{}, map[string]bool{}
	if err := m.diff(); err != nil {
		return err
	}
	if err := m.definitions(); err != nil {
		return err
	}
	todo, err := m.plan()
	if err != nil {
		return err
	}
	if err := m.apply(todo); err != nil {
		return err
	}
	if err := m.references(); err != nil {
		return err
	}
	return m.counters()
}

// plan finds the file's changes to apply, and the conflicts between changes to the same
// row.
func (m *merger) plan() (todo []*delta, err error) {
	whole := m.contents()
	for _, table := range sorted(m.layouts) {
		if owner, ok := m.ours.shadows[table]; ok && whole[owner] != "" {
			if whole[owner] == Ours {
				d, err := compare(m.ctx, m.layouts[table], m.theirs.c, m.ours.c)
				if err != nil {
					return nil, err
				}
				todo = append(todo, d.list...)
			}
			continue
		}
		for _, d := range m.mine[table].list {
			t, err := m.counterpart(d)
			if err != nil {
				return nil, err
			}
			if take, err := m.meets(d, t); err != nil {
				return nil, err
			} else if take {
				todo = append(todo, d)
			}
		}
	}
	return todo, nil
}

// counterpart returns what the bucket did to the row of d; nil if nothing. If both sides
// inserted a key, SQLite decides whether it is the same one, because a collation may
// treat different values as equal.
func (m *merger) counterpart(d *delta) (*delta, error) {
	t := m.their[d.l.Name].get(d.id)
	if t != nil || d.before != nil || !d.l.keyed(d.now) {
		return t, nil
	}
	there, err := m.in(m.theirs, d.l, d.now)
	if err != nil || there == nil {
		return nil, err
	}
	return &delta{l: d.l, id: d.id, now: there}, nil
}

// meets reports whether to apply d, given that the bucket has t for the same row.
func (m *merger) meets(d, t *delta) (bool, error) {
	switch {
	case t == nil:
		return true, nil
	case d.now.same(t.now):
		return false, nil
	case d.before == nil && !d.l.keyed(d.now):
		return true, nil // both sides assigned the same rowid; the row gets another one
	}
	kind := RowConflict
	if d.before == nil {
		kind = KeyConflict
	}
	c, err := m.conflict(kind, d.l, d.row(), nil, nil)
	if err != nil {
		return false, err
	}
	m.settled[rowKey(d.l, d.id)] = orTheirs(c.Choice)
	return c.Choice == Ours, nil
}

// contents returns the virtual tables whose contents both sides have changed, with the
// side whose contents count. Only the table's module knows how its parts fit together.
func (m *merger) contents() map[string]Side {
	whole := map[string]Side{}
	changed := func(of map[string]*deltas) map[string]bool {
		out := map[string]bool{}
		for table, d := range of {
			if owner, ok := m.ours.shadows[table]; ok && len(d.list) > 0 {
				out[owner] = true
			}
		}
		return out
	}
	mine, their := changed(m.mine), changed(m.their)
	for _, owner := range sorted(mine) {
		if !their[owner] {
			continue
		}
		c := &Conflict{Kind: SchemaConflict, Versions: Versions{Table: owner}, Choice: m.choose(owner)}
		for s, to := range map[*state]*[]change.Column{m.base: &c.Base, m.ours: &c.Ours, m.theirs: &c.Theirs} {
			*to = definition(s.objects[owner].sql)
		}
		m.conflicts = append(m.conflicts, c)
		whole[owner] = orTheirs(c.Choice)
	}
	return whole
}

func orTheirs(s Side) Side {
	if s == "" {
		return Theirs
	}
	return s
}

// conflict records a conflict about the row r, and about other unless that is nil.
func (m *merger) conflict(kind Kind, l *layout, r *row, ol *layout, other *row) (*Conflict, error) {
	c := &Conflict{Kind: kind, Choice: m.choose(l.Name)}
	var err error
	if c.Versions, err = m.versions(l, r); err == nil && other != nil {
		c.Other = new(Versions)
		*c.Other, err = m.versions(ol, other)
	}
	m.conflicts = append(m.conflicts, c)
	return c, err
}

func (m *merger) versions(l *layout, r *row) (Versions, error) {
	v := Versions{Table: l.Name, Key: l.key(r)}
	if d := m.appended[rowKey(l, l.identity(r))]; d != nil { // in the other states another row has its rowid
		v.Ours = l.named(d.now)
		return v, nil
	}
	for s, to := range map[*state]*[]change.Column{m.base: &v.Base, m.ours: &v.Ours, m.theirs: &v.Theirs} {
		found, err := m.in(s, l, r)
		if err != nil {
			return v, err
		}
		*to = l.named(found)
	}
	return v, nil
}

// in returns the row with r's identity in s; nil if there is none.
func (m *merger) in(s *state, l *layout, r *row) (*row, error) {
	if s.table(l.Name) == "" {
		return nil, nil
	}
	f := finding{s, l}
	if m.finders[f] == nil {
		find, err := l.finder(s.c)
		if err != nil {
			return nil, err
		}
		m.finders[f] = find
	}
	return m.finders[f](r)
}

// of returns the state of a side.
func (m *merger) of(side Side) *state {
	if side == Ours {
		return m.ours
	}
	return m.theirs
}

func rowKey(l *layout, id string) string { return l.Name + "\x00" + id }

// apply applies the file's changes. The order in which they violate no UNIQUE constraint
// is unknown. Changes that violate one wait for the others. If that does not help, as
// when two rows exchange values, all waiting rows are deleted first.
func (m *merger) apply(todo []*delta) error {
	var wait []*delta
	for _, d := range todo {
		if d.now != nil {
			wait = append(wait, d)
		} else if err := m.take(d); err != nil {
			return err
		}
	}
	for cleared := false; len(wait) > 0; {
		var again []*delta
		for _, d := range wait {
			if err := m.take(d); sqlite.IsUnique(err) {
				again = append(again, d)
			} else if err != nil {
				return err
			}
		}
		switch {
		case len(again) < len(wait):
		case !cleared:
			cleared = true
			for _, d := range again {
				if d.before != nil {
					if err := m.w.put(d.l, d.before, nil); err != nil {
						return err
					}
				}
			}
		default:
			if err := m.taken(again[0]); err != nil {
				return err
			}
			again = again[1:]
		}
		wait = again
	}
	return nil
}

// take applies one change.
func (m *merger) take(d *delta) error {
	if err := m.ctx.Err(); err != nil {
		return err
	}
	var err error
	if d.before == nil && !d.l.keyed(d.now) {
		var id int64
		if id, err = m.w.add(d.l, d.now); err == nil {
			m.appended[rowKey(d.l, d.l.identity(&row{id: id, values: d.now.values}))] = d
		}
	} else {
		err = m.w.put(d.l, d.row(), d.now)
	}
	if err == nil {
		m.applied++
	}
	return err
}

// taken resolves the conflict if another row has a value of d that must be unique.
func (m *merger) taken(d *delta) error {
	blockers, err := m.blockers(d.l, d.now, Ours)
	if err != nil {
		return err
	}
	if len(blockers) == 0 {
		return fmt.Errorf("a row of the file's table %s cannot be merged: an expression index, or a new index of the bucket's, makes it a duplicate of another row", d.l.Name)
	}
	c, err := m.conflict(UniqueConflict, d.l, d.row(), d.l, blockers[0])
	if err != nil {
		return err
	}
	if c.Choice != Ours {
		return m.settle(d.l, d.row(), Theirs)
	}
	for _, b := range blockers {
		if err := m.settle(d.l, b, Ours); err != nil {
			return err
		}
	}
	return m.take(d)
}

// settle gives the row with r's identity the version of a side. Rows that block it get
// that side's version, too; versions of one side cannot block each other.
func (m *merger) settle(l *layout, r *row, side Side) error {
	key := rowKey(l, l.identity(r))
	m.settled[key] = side
	if d := m.appended[key]; d != nil {
		if side == Ours {
			return nil
		}
		delete(m.appended, key)
		m.applied--
		return m.w.put(l, r, nil)
	}
	want, err := m.in(m.of(side), l, r)
	if err != nil {
		return err
	}
	err = m.w.put(l, r, want)
	if !sqlite.IsUnique(err) {
		return err
	}
	blockers, err := m.blockers(l, want, side)
	if err != nil {
		return err
	}
	for _, b := range blockers {
		if m.settled[rowKey(l, l.identity(b))] == side {
			continue
		}
		c, err := m.conflict(UniqueConflict, l, b, l, r)
		if err != nil {
			return err
		}
		if m.choose(l.Name) != "" {
			c.Choice = side
		}
		if err := m.settle(l, b, side); err != nil {
			return err
		}
	}
	return m.w.put(l, r, want)
}

// blockers returns the rows that have a UNIQUE value of r and are not in side's version.
func (m *merger) blockers(l *layout, r *row, side Side) (out []*row, err error) {
	indexes, err := uniques(m.w.Conn.Conn, l.Name)
	if err != nil {
		return nil, err
	}
	selection, err := l.selection(m.w.Conn.Conn)
	if err != nil {
		return nil, err
	}
	for _, columns := range indexes {
		where, values, ok := l.equal(columns, r)
		if !ok {
			continue
		}
		found, err := l.one(m.w.Conn.Conn, selection+" WHERE "+where, values)
		if err != nil {
			return nil, err
		}
		if found == nil || l.identity(found) == l.identity(r) && l.keyed(r) {
			continue
		}
		as, err := m.in(m.of(side), l, found)
		if err != nil {
			return nil, err
		}
		if !found.same(as) {
			out = append(out, found)
		}
	}
	return out, nil
}
