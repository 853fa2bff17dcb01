package diff

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/driftdb/driftdb-go/internal/apply"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/ddl"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Compare yields the net differences between two copies of a database, in the order of
// [Fold.Changes]. It makes the schema of the copy from the same as that of the copy to, and
// then compares the rows. A table whose definition differs is dropped and created again.
func Compare(ctx context.Context, from, to *sqlite.Conn, inSteps bool, yield func(*change.Entry) error) error {
	defer from.Watch(ctx)()
	defer to.Watch(ctx)()
	replay, err := apply.NewReplay(from)
	if err != nil {
		return err
	}
	defer replay.Close()
	if err := from.Exec("BEGIN"); err != nil {
		return err
	}
	c := &comparison{ctx: ctx, from: from, to: to, inSteps: inSteps, yield: yield, filled: map[string]bool{}}
	early, late, err := c.schema()
	if err != nil {
		return err
	}
	for _, e := range early {
		if err := replay.Apply(e); err != nil {
			return err
		}
		if err := yield(e); err != nil {
			return err
		}
	}
	if err := c.tables(); err != nil {
		return err
	}
	if err := c.counters(); err != nil {
		return err
	}
	for _, e := range late {
		if err := yield(e); err != nil {
			return err
		}
	}
	return nil
}

type comparison struct {
	ctx      context.Context
	from, to *sqlite.Conn
	inSteps  bool
	yield    func(*change.Entry) error
	filled   map[string]bool // the AUTOINCREMENT tables with inserted rows
}

// object is an entry of the schema.
type object struct{ kind, name, table, sql string }

// objects returns the schema in the order of its creation, without what SQLite itself and
// virtual tables make.
func objects(c *sqlite.Conn) (list []object, err error) {
	return list, c.Each(`SELECT type, name, tbl_name, sql FROM main.sqlite_schema s
		WHERE sql IS NOT NULL AND (name NOT LIKE 'sqlite\_%' ESCAPE '\' OR name LIKE 'sqlite\_stat%' ESCAPE '\')
		AND name NOT IN (SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow')
		AND tbl_name NOT IN (SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow') ORDER BY s.rowid`,
		func(st *sqlite.Stmt) error {
			list = append(list, object{st.Text(0), st.Text(1), st.Text(2), st.Text(3)})
			return nil
		})
}

// schema returns the statements that make one schema the other: those before the rows, and
// the indexes.
func (c *comparison) schema() (early, late []*change.Entry, err error) {
	old, err := objects(c.from)
	if err != nil {
		return nil, nil, err
	}
	now, err := objects(c.to)
	if err != nil {
		return nil, nil, err
	}
	gone, fresh := missing(old, now), missing(now, old)
	for _, kind := range []string{"trigger", "view", "index", "table"} {
		for _, o := range slices.Backward(old) {
			if o.kind == kind && (gone[o] || kind != "table" && gone[ownerOf(o, old)]) {
				early = append(early, statementOf("DROP "+strings.ToUpper(kind)+" "+sqlite.Quote(o.name)))
			}
		}
	}
	for _, o := range now {
		if !fresh[o] && !fresh[ownerOf(o, now)] {
			continue
		}
		switch e := statementOf(o.sql); {
		case strings.HasPrefix(o.name, "sqlite_"):
			early = append(early, statementOf("ANALYZE sqlite_schema"))
		case o.kind == "index":
			late = append(late, e)
		default:
			early = append(early, e)
		}
	}
	for _, setting := range []string{"user_version", "application_id"} {
		was, err := c.from.Int("PRAGMA main." + setting)
		if err != nil {
			return nil, nil, err
		}
		is, err := c.to.Int("PRAGMA main." + setting)
		if err != nil {
			return nil, nil, err
		}
		if is != was {
			early = append(early, statementOf(fmt.Sprintf("PRAGMA main.%s = %d", setting, is)))
		}
	}
	return early, late, nil
}

// missing returns the objects of one schema that another does not have, or not the same.
func missing(of, in []object) map[object]bool {
	out := map[object]bool{}
	for _, o := range of {
		out[o] = !slices.Contains(in, o)
	}
	return out
}

// ownerOf returns the table or view of an index or a trigger; with it, it goes.
func ownerOf(o object, list []object) object {
	i := slices.IndexFunc(list, func(t object) bool {
		return (t.kind == "table" || t.kind == "view") && ddl.Fold(t.name) == ddl.Fold(o.table)
	})
	if i < 0 {
		return o
	}
	return list[i]
}

func statementOf(sql string) *change.Entry {
	return &change.Entry{Op: change.Schema, SQL: sql, Settings: change.Settings{DoubleQuotedDDL: true, DoubleQuotedDML: true}}
}

// tables compares the rows of all tables.
func (c *comparison) tables() error {
	var names []string
	if err := c.to.Each(`SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow')
		AND name NOT IN ('sqlite_schema', 'sqlite_sequence') ORDER BY name`, func(st *sqlite.Stmt) error {
		names = append(names, st.Text(0))
		return nil
	}); err != nil {
		return err
	}
	for _, name := range names {
		t, err := newSides(c, name)
		if err != nil {
			return err
		}
		if err := t.compare(); err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
	}
	return nil
}

// counters compares the counters of AUTOINCREMENT, which inserts move.
func (c *comparison) counters() error {
	was, err := countersOf(c.from)
	if err != nil {
		return err
	}
	is, err := countersOf(c.to)
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(c.filled))
	for name, n := range was {
		if now, there := is[name]; (!there || now != n) && !c.filled[name] {
			names = append(names, name)
		}
	}
	for name := range is {
		if _, known := was[name]; !known && !c.filled[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		n, there := is[name]
		e := &change.Entry{Op: change.Delete, Table: change.SequenceTable}
		e.Key = []change.Column{{Name: "name", Value: change.Value{Kind: change.Text, Bytes: []byte(name)}}}
		if there {
			e.Op = change.Update
			e.After = []change.Column{{Name: "seq", Value: change.Value{Kind: change.Integer, Int: n}}}
		}
		if err := c.yield(e); err != nil {
			return err
		}
	}
	return nil
}

func countersOf(c *sqlite.Conn) (map[string]int64, error) {
	n, err := c.Int("SELECT count(*) FROM main.sqlite_schema WHERE name = 'sqlite_sequence'")
	if err != nil || n == 0 {
		return map[string]int64{}, err
	}
	out := map[string]int64{}
	return out, c.Each("SELECT name, seq FROM main.sqlite_sequence ORDER BY rowid DESC", func(st *sqlite.Stmt) error {
		out[st.Text(0)] = st.Int64(1)
		return nil
	})
}
