package check

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/internal/digest/scan"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// run is a running check.
type run struct {
	ctx     context.Context
	c       *sqlite.Conn
	found   map[Fault]bool
	virtual map[string]bool // tables
}

// fail returns the context's error, if any, instead of the interrupt that it caused.
func (r *run) fail(err error) error {
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	return err
}

// add records faults, as valid UTF-8, since a manifest can hold no other text. A virtual
// table has no pages of its own. Whatever its module reports concerns rows of other
// tables, which are checked separately.
func (r *run) add(faults ...Fault) {
	for _, f := range faults {
		if f.Kind == Damage && r.virtual[f.Table] {
			f.Kind = Virtual
		}
		if f.Kind == Damage {
			f.What = damaged + f.What
		}
		r.found[Fault{f.Kind, strings.ToValidUTF8(f.Table, "\uFFFD"), strings.ToValidUTF8(f.What, "\uFFFD")}] = true
	}
}

// told records an error as a fault of a table. It returns errors that are not faults.
func (r *run) told(table string, err error) error {
	switch {
	case err == nil:
	case scan.Lacks(err):
		r.add(Fault{Unreadable, table, "it needs what this program lacks: " + r.lacks(table, err)})
	case sqlite.Code(err) == lib.SQLITE_CORRUPT_VTAB:
		r.add(Fault{Virtual, table, words(err)})
	case sqlite.IsNotDatabase(err):
		r.add(Fault{Damage, table, words(err)})
	default:
		return err
	}
	return nil
}

// lacks returns SQLite's message about what is missing for a table, preferably from a
// statement that makes SQLite name it.
func (r *run) lacks(table string, err error) string {
	name := sqlite.Quote(table)
	for _, query := range []string{"SELECT DISTINCT * FROM main." + name, "SELECT 1 FROM main." + name + " WHERE " + name + " MATCH 'x'", "REINDEX main." + name} {
		st, err := r.c.Prepare(query)
		if err == nil && st.ReadOnly() {
			_, err = st.Step()
		}
		if st != nil {
			st.Finalize()
		}
		if scan.Lacks(err) && names(words(err)) {
			return words(err)
		}
	}
	return words(err)
}

// structure runs SQLite's checks. Without a budget it checks the whole file at once, the
// only way to notice faults between tables, such as a page that two of them share. That
// check stops after some faults, or at a table that it cannot read. So if it finds a
// fault, each table is then checked separately, so that one hides no fault of another.
func (r *run) structure(o Options, rep *Report) error {
	tables, err := r.tables()
	if err != nil {
		return err
	}
	rep.tables = tables
	var all []string
	if o.Budget == 0 {
		all, err = r.messages("PRAGMA main.integrity_check(10)")
		if err != nil && !scan.Lacks(err) && !sqlite.IsNotDatabase(err) {
			return err
		}
		rep.Whole = true
		if err == nil && len(all) == 0 {
			rep.Checked = tables
			return r.references(tables, rep)
		}
	}
	began := time.Now()
	for _, table := range behind(tables, o.After) {
		if o.Budget > 0 && len(rep.Checked) > 0 && time.Since(began) > o.Budget {
			return nil
		}
		if err := r.table(table); err != nil {
			return err
		}
		if err := r.references([]string{table}, rep); err != nil {
			return err
		}
		rep.Checked, rep.Through = append(rep.Checked, table), table
	}
	rep.Through = ""
	r.between(all)
	return nil
}

// behind rotates the list of tables to begin after the table after.
func behind(tables []string, after string) []string {
	start, found := slices.BinarySearch(tables, after)
	if found {
		start++
	}
	return slices.Concat(tables[start:], tables[:start])
}

// tables returns all tables of main by name, including virtual ones and SQLite's own.
func (r *run) tables() (tables []string, err error) {
	r.virtual = map[string]bool{}
	err = r.c.Each("SELECT name, max(rootpage) FROM (SELECT name, rootpage FROM main.sqlite_schema WHERE type = 'table' UNION ALL SELECT 'sqlite_schema', 1) GROUP BY name", func(st *sqlite.Stmt) error {
		tables = append(tables, st.Text(0))
		if st.Int64(1) == 0 {
			r.virtual[st.Text(0)] = true
		}
		return nil
	})
	slices.Sort(tables)
	return tables, err
}

// table checks one table and its indexes.
func (r *run) table(name string) error {
	said, err := r.messages("PRAGMA main.integrity_check(" + sqlite.Quote(name) + ")")
	for _, message := range said {
		r.add(ofMessage(name, message)...)
	}
	return r.told(name, err)
}

// between adds the damage that the check of the whole file has reported, if no table's own
// check has found any: it lies between tables. It skips what a virtual table has reported
// about itself.
func (r *run) between(all []string) {
	said := map[string]bool{}
	for f := range r.found {
		if f.Kind == Damage {
			return
		}
		said[f.What] = true
	}
	for _, message := range all {
		for _, f := range ofMessage("", message) {
			if f.Kind == Damage && !said[f.What] {
				r.add(f)
			}
		}
	}
}

// strays adds the indexes that the schema has under another table's name.
func (r *run) strays() error {
	said, err := r.messages(sqlite.Strays)
	for _, message := range said {
		r.add(Fault{Damage, "sqlite_schema", message})
	}
	return err
}

// messages returns the messages of a check, without "ok".
func (r *run) messages(pragma string) (said []string, err error) {
	err = r.c.Each(pragma, func(st *sqlite.Stmt) error {
		if s := st.Text(0); s != "ok" {
			said = append(said, s)
		}
		return nil
	})
	return said, err
}

// compile records the tables for which a module, or a function in a generated column, is
// missing. SQLite's check skips some of them.
func (r *run) compile(tables []string) error {
	for _, table := range tables {
		st, err := r.c.Prepare("SELECT * FROM main." + sqlite.Quote(table))
		if err == nil {
			st.Finalize()
		}
		if err := r.told(table, err); err != nil {
			return err
		}
	}
	return nil
}

// references looks for rows that refer to a missing row. The source may have them: SQLite
// accepts them while foreign_keys is off, and so does a replay, which must not be stricter
// than the source.
func (r *run) references(tables []string, rep *Report) error {
	for _, table := range tables {
		n := int64(0)
		err := r.c.Each("PRAGMA main.foreign_key_check("+sqlite.Quote(table)+")", func(*sqlite.Stmt) error { n++; return nil })
		if e, ok := errors.AsType[*sqlite.Error](err); ok && strings.HasPrefix(e.Message, "foreign key mismatch") {
			r.add(Fault{ForeignKey, table, words(err)})
			rep.Violations, err = rep.Violations+1, nil
		}
		if n > 0 {
			r.add(Fault{ForeignKey, table, "rows refer to a missing row"})
		}
		rep.Violations += n
		if err := r.told(table, err); err != nil {
			return err
		}
	}
	return nil
}
