package resolve

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// indexed is a column of a unique index.
type indexed struct{ name, collation string }

// uniques returns the unique indexes of a table whose terms are all columns.
func uniques(c *sqlite.Conn, table string) (out [][]indexed, err error) {
	byIndex := map[string][]indexed{}
	err = c.About(`SELECT i.name, coalesce(k.name, ''), k.coll FROM pragma_index_list(?1, 'main') i, pragma_index_xinfo(i.name, 'main') k
		WHERE i."unique" AND k.key ORDER BY i.seq, k.seqno`, table, func(st *sqlite.Stmt) {
		byIndex[st.Text(0)] = append(byIndex[st.Text(0)], indexed{st.Text(1), st.Text(2)})
	})
	for _, index := range sorted(byIndex) {
		out = append(out, byIndex[index])
	}
	return out, err
}

// equal returns a condition for the rows, other than r itself, that have r's values in
// these columns. ok is false if it cannot be expressed, or if a NULL makes r differ from
// all rows.
func (l *layout) equal(columns []indexed, r *row) (where string, values []change.Value, ok bool) {
	var terms []string
	for _, c := range columns {
		v := change.Find(l.named(r), c.name)
		if v == nil || v.Kind == change.Null {
			return "", nil, false
		}
		values = append(values, *v)
		terms = append(terms, sqlite.Quote(c.name)+" COLLATE "+sqlite.Quote(c.collation)+" = ?"+strconv.Itoa(len(values)))
	}
	if l.keyed(r) {
		self, key := l.condition(r, len(values)+1)
		terms = append(terms, "NOT ("+self+")")
		values = append(values, key...)
	}
	return strings.Join(terms, " AND "), values, true
}

// reference is a foreign key.
type reference struct {
	child, parent *layout
	from, to      []string // columns
}

// references finds rows that refer to a row that the other side has deleted, and gives
// both rows the versions of one side.
func (m *merger) references() error {
	seen := map[string]bool{}
	for again := true; again; {
		again = false
		bad, err := m.w.Int("SELECT count(*) FROM pragma_foreign_key_check")
		if err != nil || bad == 0 {
			return err
		}
		refs, err := m.foreignKeys()
		if err != nil {
			return err
		}
		for _, ref := range refs {
			orphans, err := m.orphans(ref)
			if err != nil {
				return err
			}
			for _, child := range orphans {
				moved, err := m.orphan(ref, child, seen)
				if err != nil {
					return err
				}
				again = again || moved
			}
		}
	}
	return nil
}

// foreignKeys returns the foreign keys; the parent is nil if that table does not exist.
func (m *merger) foreignKeys() (out []reference, err error) {
	type pair struct{ child, id, parent, from, to string }
	var pairs []pair
	if err := m.w.Each(`SELECT t.name, f.id, f."table", f."from", coalesce(f."to", '') FROM main.sqlite_schema t, pragma_foreign_key_list(t.name, 'main') f
		WHERE t.type = 'table' AND `+strings.ReplaceAll(usersOwn, "name", "t.name")+` ORDER BY t.name, f.id, f.seq`, func(st *sqlite.Stmt) error {
		pairs = append(pairs, pair{st.Text(0), st.Text(1), st.Text(2), st.Text(3), st.Text(4)})
		return nil
	}); err != nil {
		return nil, err
	}
	last := ""
	for _, r := range pairs {
		if key := r.child + "\x00" + r.id; key != last {
			last = key
			child, err := m.written(r.child)
			if err != nil {
				return nil, err
			}
			parent, err := m.written(r.parent)
			if err != nil {
				return nil, err
			}
			out = append(out, reference{child: child, parent: parent})
		}
		ref := &out[len(out)-1]
		if ref.parent == nil {
			continue
		}
		if r.to == "" { // the parent's primary key
			if len(ref.from) >= len(ref.parent.Key) {
				continue
			}
			r.to = ref.parent.Columns[ref.parent.Key[len(ref.from)]].Name
		}
		ref.from, ref.to = append(ref.from, r.from), append(ref.to, r.to)
	}
	return out, nil
}

// written returns the layout of a table in the copy; nil if there is no such table.
func (m *merger) written(table string) (*layout, error) {
	n := 0
	if err := m.w.About("SELECT name FROM main.sqlite_schema WHERE type = 'table' AND lower(name) = lower(?1)", table, func(st *sqlite.Stmt) {
		n, table = n+1, st.Text(0)
	}); err != nil || n == 0 {
		return nil, err
	}
	if l := m.layouts[table]; l != nil {
		return l, nil
	}
	l, err := newLayout(m.w.Conn.Conn, table)
	m.layouts[table] = l
	return l, err
}

// orphans returns the rows whose parent is missing.
func (m *merger) orphans(ref reference) (out []*row, err error) {
	if ref.parent == nil || len(ref.from) == 0 {
		return nil, nil
	}
	selection, err := ref.child.selection(m.w.Conn.Conn)
	if err != nil {
		return nil, err
	}
	child := "main." + sqlite.Quote(ref.child.Name)
	var set, match []string
	for i, from := range ref.from {
		set = append(set, sqlite.Quote(from)+" IS NOT NULL")
		match = append(match, "parent_row."+sqlite.Quote(ref.to[i])+" = "+child+"."+sqlite.Quote(from))
	}
	query := selection + " WHERE " + strings.Join(set, " AND ") + " AND NOT EXISTS (SELECT 1 FROM main." +
		sqlite.Quote(ref.parent.Name) + " AS parent_row WHERE " + strings.Join(match, " AND ") + ")"
	return out, m.w.Each(query, func(st *sqlite.Stmt) error {
		out = append(out, ref.child.scanned(st))
		return nil
	})
}

// orphan resolves a row whose parent is missing. If the parent is also missing on the
// side that the row comes from, the row stays.
func (m *merger) orphan(ref reference, child *row, seen map[string]bool) (moved bool, err error) {
	var parent *row
	for _, s := range []*state{m.ours, m.theirs} {
		p, err := m.parent(s, ref, child)
		if err != nil {
			return false, err
		}
		if p != nil {
			parent = p
			continue
		}
		was, err := m.in(s, ref.child, child)
		if err != nil || child.same(was) {
			return false, err
		}
	}
	key := rowKey(ref.child, ref.child.identity(child)) + "\x00" + ref.parent.Name
	if parent == nil || seen[key] {
		return false, fmt.Errorf("a row of table %s refers to a row of table %s that this choice removes: choose the same side for both tables",
			ref.child.Name, ref.parent.Name)
	}
	seen[key] = true
	c, err := m.conflict(ParentConflict, ref.child, child, ref.parent, parent)
	if err != nil {
		return false, err
	}
	side := orTheirs(c.Choice)
	if err := m.settle(ref.child, child, side); err != nil {
		return false, err
	}
	return true, m.settle(ref.parent, parent, side)
}

// parent returns the row that child refers to in s; nil if there is none.
func (m *merger) parent(s *state, ref reference, child *row) (*row, error) {
	if s.table(ref.parent.Name) == "" {
		return nil, nil
	}
	selection, err := ref.parent.selection(s.c)
	if err != nil {
		return nil, err
	}
	var terms []string
	var values []change.Value
	for i, from := range ref.from {
		v := change.Find(ref.child.named(child), from)
		if v == nil { // a generated column
			return nil, nil
		}
		values = append(values, *v)
		terms = append(terms, sqlite.Quote(ref.to[i])+" = ?"+strconv.Itoa(len(values)))
	}
	return ref.parent.one(s.c, selection+" WHERE "+strings.Join(terms, " AND "), values)
}
