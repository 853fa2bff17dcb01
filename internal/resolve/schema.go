package resolve

import (
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// diff finds what each side has changed.
func (m *merger) diff() (err error) {
	if m.mine, err = m.changes(m.ours); err == nil {
		m.their, err = m.changes(m.theirs)
	}
	return err
}

// changes returns the changes to the rows of the tables in s.
func (m *merger) changes(s *state) (map[string]*deltas, error) {
	out := map[string]*deltas{}
	for name := range s.objects {
		if s.table(name) == "" {
			continue
		}
		l, err := newLayout(s.c, name)
		if err != nil {
			return nil, err
		}
		if m.base.table(name) == "" {
			out[name], err = all(l, s.c)
		} else {
			out[name], err = compare(m.ctx, l, m.base.c, s.c)
		}
		if err != nil {
			return nil, fmt.Errorf("compare the rows of table %s: %w", name, err)
		}
	}
	return out, nil
}

// listed returns what a side has changed, as users see it.
func (m *merger) listed(s *state, of map[string]*deltas) (out []Change) {
	names := map[string]bool{}
	for name := range s.objects {
		names[name] = true
	}
	for name := range m.base.objects {
		names[name] = true
	}
	for _, name := range sorted(names) {
		if now := s.objects[name]; now.sql != m.base.objects[name].sql {
			table := now.table
			if table == "" {
				table = m.base.objects[name].table
			}
			out = append(out, Change{Table: table, Op: change.Schema, SQL: now.sql, Key: []change.Column{{Name: "name", Value: textOf(name)}}})
		}
		if d := of[name]; d != nil {
			for _, x := range d.list {
				out = append(out, x.public())
			}
		}
	}
	return out
}

func textOf(s string) change.Value { return change.Value{Kind: change.Text, Bytes: []byte(s)} }

// definition returns a definition as a row.
func definition(sql string) []change.Column {
	if sql == "" {
		return nil
	}
	return []change.Column{{Name: "sql", Value: textOf(sql)}}
}

// definitions merges the schema, three-way by the text of each definition. If one side
// changed a table's definition and the other its rows, the table is in conflict: a row
// says nothing about columns that it was not made for.
func (m *merger) definitions() error {
	names := map[string]bool{}
	for _, s := range []*state{m.base, m.ours, m.theirs} {
		for name := range s.objects {
			names[name] = true
		}
	}
	for _, kinds := range [][]string{{"table"}, {"index", "view", "trigger"}} {
		for _, name := range sorted(names) {
			if err := m.object(name, kinds); err != nil {
				return err
			}
		}
	}
	return m.settings()
}

// any returns the object that any of the states has under a name.
func (m *merger) any(name string) (o object) {
	for _, s := range []*state{m.base, m.theirs, m.ours} {
		if found, ok := s.objects[name]; ok {
			o = found
		}
	}
	return o
}

// object merges one definition if it is one of the kinds.
func (m *merger) object(name string, kinds []string) error {
	o := m.any(name)
	wanted := false
	for _, kind := range kinds {
		wanted = wanted || o.kind == kind
	}
	if !wanted || o.sql == "" || m.replaced[o.table] && o.kind != "table" {
		return nil
	}
	base, ours, theirs := m.base.objects[name].sql, m.ours.objects[name].sql, m.theirs.objects[name].sql
	rows := o.kind == "table" && !o.virtual
	switch {
	case ours == theirs:
		if rows {
			return m.byRows(name)
		}
		return nil
	case m.base.shadows[name]+m.ours.shadows[name]+m.theirs.shadows[name] != "":
		return nil // created and dropped with its virtual table
	case base == ours && !(rows && m.mine[name].any()):
		return nil
	case base == theirs && !(rows && m.their[name].any()):
		if err := m.adopt(o); !sqlite.IsUnique(err) {
			return err
		}
		// The bucket's rows violate a new UNIQUE index: take the file's rows along with
		// it.
		o = m.ours.objects[o.table]
	}
	c := &Conflict{Kind: SchemaConflict, Choice: m.choose(o.table)}
	c.Table, c.Key = o.table, []change.Column{{Name: m.any(name).kind, Value: textOf(name)}}
	c.Base, c.Ours, c.Theirs = definition(base), definition(ours), definition(theirs)
	m.conflicts = append(m.conflicts, c)
	if c.Choice != Ours {
		return nil
	}
	return m.adopt(o)
}

// any reports whether there are any deltas.
func (d *deltas) any() bool { return d != nil && len(d.list) > 0 }

// byRows marks a table that both sides define alike to be merged row by row.
func (m *merger) byRows(name string) (err error) {
	if m.ours.table(name) == "" {
		return nil
	}
	m.layouts[name], err = newLayout(m.ours.c, name)
	return err
}

// adopt gives the copy the object that the file has under o's name, or drops it there if
// the file has none. A table is taken with everything that belongs to it.
func (m *merger) adopt(o object) error {
	if m.theirs.objects[o.name].sql != "" {
		if err := m.w.define(m.ctx, "DROP "+strings.ToUpper(o.kind)+" "+sqlite.Quote(o.name)); err != nil {
			return err
		}
	}
	ours := m.ours.objects[o.name]
	if ours.sql == "" {
		m.replaced[o.name] = m.replaced[o.name] || o.kind == "table"
		return nil
	}
	if m.replaced[ours.table] && ours.kind != "table" {
		return nil
	}
	if err := m.w.define(m.ctx, ours.sql); err != nil {
		return fmt.Errorf("merge %s %s from the file: %w", ours.kind, ours.name, err)
	}
	m.applied++
	if ours.kind != "table" {
		return nil
	}
	m.replaced[o.name] = true
	if ours.virtual {
		return m.fill(o.name)
	}
	if err := m.copyRows(o.name); err != nil {
		return err
	}
	for _, name := range sorted(m.ours.objects) {
		if part := m.ours.objects[name]; part.table == o.name && part.sql != "" && (part.kind == "index" || part.kind == "trigger") {
			if err := m.w.define(m.ctx, part.sql); err != nil {
				return fmt.Errorf("merge %s %s from the file: %w", part.kind, part.name, err)
			}
		}
	}
	return nil
}

// fill gives a virtual table's shadow tables the file's contents.
func (m *merger) fill(owner string) error {
	for _, name := range sorted(m.ours.shadows) {
		if m.ours.shadows[name] != owner {
			continue
		}
		if err := m.w.run("DELETE FROM main." + sqlite.Quote(name)); err != nil {
			return err
		}
		if err := m.copyRows(name); err != nil {
			return err
		}
	}
	return nil
}

// copyRows copies all of the file's rows into an empty table.
func (m *merger) copyRows(name string) error {
	l, err := newLayout(m.ours.c, name)
	if err != nil {
		return err
	}
	m.layouts[name], m.mine[name], m.their[name] = l, &deltas{}, &deltas{}
	return l.each(m.ours.c, func(r *row) error {
		if err := m.ctx.Err(); err != nil {
			return err
		}
		m.applied++
		return m.w.insert(l, r, true)
	})
}

// settings merges the two numbers that applications keep in the database header.
func (m *merger) settings() error {
	for _, name := range []string{"user_version", "application_id"} {
		var v [3]int64
		for i, s := range []*state{m.base, m.ours, m.theirs} {
			var err error
			if v[i], err = s.c.Int("PRAGMA main." + name); err != nil {
				return err
			}
		}
		base, ours, theirs := v[0], v[1], v[2]
		if ours == theirs || ours == base {
			continue
		}
		if theirs != base {
			c := &Conflict{Kind: SchemaConflict, Choice: m.choose("")}
			c.Key = []change.Column{{Name: "pragma", Value: textOf(name)}}
			for to, n := range map[*[]change.Column]int64{&c.Base: base, &c.Ours: ours, &c.Theirs: theirs} {
				*to = []change.Column{{Name: name, Value: change.Value{Kind: change.Integer, Int: n}}}
			}
			m.conflicts = append(m.conflicts, c)
			if c.Choice != Ours {
				continue
			}
		}
		if err := m.w.define(m.ctx, fmt.Sprintf("PRAGMA main.%s = %d", name, ours)); err != nil {
			return err
		}
	}
	return nil
}
