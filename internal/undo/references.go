package undo

import (
	"context"
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// dangling is a reference to a row that does not exist. In a table without rowids it does
// not say which row has it.
type dangling struct {
	table, parent string
	hasRowID      bool
	rowid, key    int64
}

// checkReferences returns an error if the undo leaves references to rows that do not exist,
// apart from those that were there before.
func (j *job) checkReferences(ctx context.Context) error {
	children, err := j.children()
	if err != nil {
		return err
	}
	why := ""
	for _, child := range children {
		found, err := referring(j.c.Conn, child)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			continue
		}
		var before map[dangling]int
		if err := j.db.Log.Read(ctx, func(c *sqlite.Conn) (err error) { before, err = referring(c, child); return err }); err != nil {
			return err
		}
		for d, n := range found {
			for range n - before[d] {
				c := d.conflict(j.c.Conn)
				why = c.Reason
				j.conflict(c)
			}
		}
	}
	if why != "" {
		return fmt.Errorf("%w: %s. Nothing was changed: undo what added that row, too, or delete it first", ErrConflict, why)
	}
	return nil
}

// children returns the tables with foreign keys whose rows, or the rows that they reference,
// the undo has changed.
func (j *job) children() (out []string, err error) {
	touched := map[string]bool{}
	for _, t := range j.net.tables {
		if t.some {
			touched[strings.ToLower(t.name)] = true
		}
	}
	for i := range j.definitions {
		if _, name := j.definitions[i].creates(); name != "" {
			touched[strings.ToLower(name)] = true
		}
	}
	seen := map[string]bool{}
	err = j.c.Each(`SELECT t.name, f."table" FROM main.sqlite_schema t, pragma_foreign_key_list(t.name, 'main') f WHERE t.type = 'table'`, func(st *sqlite.Stmt) error {
		child, parent := st.Text(0), st.Text(1)
		if !seen[child] && (touched[strings.ToLower(child)] || touched[strings.ToLower(parent)]) {
			seen[child] = true
			out = append(out, child)
		}
		return nil
	})
	return out, err
}

// referring counts the references of a table to rows that do not exist. A foreign key that
// SQLite cannot check, because it references nothing unique, has none.
func referring(c *sqlite.Conn, child string) (map[dangling]int, error) {
	out := map[dangling]int{}
	err := c.About(`SELECT "table", rowid, parent, fkid FROM pragma_foreign_key_check(?1, 'main')`, child, func(st *sqlite.Stmt) {
		out[dangling{st.Text(0), st.Text(2), !st.IsNull(1), st.Int64(1), st.Int64(3)}]++
	})
	if err != nil && strings.Contains(err.Error(), "foreign key mismatch") {
		return nil, nil
	}
	return out, err
}

// conflict lists the reference.
func (d dangling) conflict(c *sqlite.Conn) Conflict {
	out := Conflict{Table: d.table, Op: change.Update, Reason: fmt.Sprintf("a row of table %s would reference a row of table %s that would not exist", d.table, d.parent)}
	if d.hasRowID {
		out.Key = []change.Column{{Name: "rowid", Value: change.Value{Kind: change.Integer, Int: d.rowid}}}
		if t, err := c.Table(d.table); err == nil && t.IsKey {
			out.Key[0].Name = t.Columns[t.Key[0]].Name
		}
	}
	return out
}
