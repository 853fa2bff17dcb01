package check

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/internal/digest/scan"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// run is a check under way.
type run struct {
	ctx   context.Context
	c     *sqlite.Conn
	found map[Fault]int
}

// fail prefers the context's error to the interrupt that it has caused.
func (r *run) fail(err error) error {
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	return err
}

// add notes a fault. A manifest can hold no other text than UTF-8.
func (r *run) add(f Fault) {
	f.Table, f.What = strings.ToValidUTF8(f.Table, "\uFFFD"), strings.ToValidUTF8(f.What, "\uFFFD")
	r.found[f]++
}

func (r *run) list() (faults []Fault, more int) {
	faults = slices.SortedFunc(maps.Keys(r.found), Compare)
	if len(faults) > MaxFaults {
		faults, more = faults[:MaxFaults:MaxFaults], len(faults)-MaxFaults
	}
	return faults, more
}

// structure lets SQLite check the file: at once if there is no budget, which is the
// only way to notice what lies between tables, such as a page that two of them share.
// That stops after some faults, and one table that it cannot read ends it: then each
// table is checked by itself, so that one hides nothing of another.
func (r *run) structure(o Options, rep *Report) (whole bool, err error) {
	tables, err := r.tables()
	if err != nil {
		return false, err
	}
	var between []string
	if o.Budget == 0 {
		between, err = r.messages("PRAGMA main.integrity_check(10)")
		if err != nil && !told(err) {
			return false, err
		}
		if err == nil && len(between) == 0 {
			rep.Checked = tables
			return true, nil
		}
	}
	start, _ := slices.BinarySearch(tables, o.After)
	if start < len(tables) && tables[start] == o.After {
		start++
	}
	tables = slices.Concat(tables[min(start, len(tables)):], tables[:min(start, len(tables))])
	began := time.Now()
	for _, table := range tables {
		if o.Budget > 0 && len(rep.Checked) > 0 && time.Since(began) > o.Budget {
			return false, nil
		}
		if err := r.table(table); err != nil {
			return false, err
		}
		rep.Checked, rep.Through = append(rep.Checked, table), table
	}
	r.rest(between)
	return o.Budget == 0, nil
}

// tables are all tables of main by name, virtual ones and SQLite's own included.
func (r *run) tables() (tables []string, err error) {
	err = r.c.Each("SELECT name FROM main.sqlite_schema WHERE type = 'table' UNION SELECT 'sqlite_schema' ORDER BY 1", func(st *sqlite.Stmt) error {
		tables = append(tables, st.Text(0))
		return nil
	})
	slices.Sort(tables)
	return tables, err
}

// table checks one table and its indexes.
func (r *run) table(name string) error {
	lines, err := r.messages("PRAGMA main.integrity_check(" + sqlite.Quote(name) + ")")
	for _, line := range lines {
		r.add(ofMessage(name, line))
	}
	switch {
	case err == nil:
	case scan.Lacks(err):
		r.add(Fault{Unreadable, name, r.lacks(name, err)})
	case sqlite.Code(err) == lib.SQLITE_CORRUPT_VTAB:
		r.add(Fault{Virtual, name, words(err)})
	case sqlite.IsNotDatabase(err):
		r.add(Fault{Damage, name, words(err)})
	default:
		return err
	}
	return nil
}

// told says that an error of the check of all tables will be told of the table that
// it comes from.
func told(err error) bool { return scan.Lacks(err) || sqlite.IsNotDatabase(err) }

// rest adds what the check of all tables has said and that of none has.
func (r *run) rest(lines []string) {
	if len(r.found) > 0 && !slices.ContainsFunc(lines, func(l string) bool { return ofMessage("", l).Kind == Damage }) {
		return
	}
	seen := map[string]bool{}
	for f := range r.found {
		seen[f.What] = true
	}
	for _, line := range lines {
		if f := ofMessage("", line); !seen[f.What] {
			r.add(f)
		}
	}
}

// modules tells which virtual tables lack what they are made of. SQLite's check passes
// over some of them.
func (r *run) modules() error {
	var tables []string
	err := r.c.Each("SELECT name FROM main.sqlite_schema WHERE type = 'table' AND rootpage = 0", func(st *sqlite.Stmt) error {
		tables = append(tables, st.Text(0))
		return nil
	})
	if err != nil {
		return err
	}
	for _, table := range tables {
		switch err := r.compiles("SELECT * FROM main." + sqlite.Quote(table)); {
		case scan.Lacks(err):
			r.add(Fault{Unreadable, table, words(err)})
		case sqlite.IsNotDatabase(err):
			r.add(Fault{Virtual, table, words(err)})
		case err != nil:
			return err
		}
	}
	return nil
}

func (r *run) compiles(query string) error {
	st, err := r.c.Prepare(query)
	if err == nil {
		st.Finalize()
	}
	return err
}

// lacks are SQLite's words for what it lacks for a table: those of a statement that
// makes it name the thing, if there is one.
func (r *run) lacks(table string, err error) string {
	for _, query := range []string{"SELECT DISTINCT * FROM main.", "REINDEX main."} {
		if err := r.compiles(query + sqlite.Quote(table)); scan.Lacks(err) && words(err) != vague {
			return words(err)
		}
	}
	return words(err)
}

// messages are the lines that a check has said, without "ok".
func (r *run) messages(pragma string) (lines []string, err error) {
	err = r.c.Each(pragma, func(st *sqlite.Stmt) error {
		for line := range strings.SplitSeq(st.Text(0), "\n") {
			if line != "ok" && line != "" && !strings.HasPrefix(line, "*** in database ") {
				lines = append(lines, line)
			}
		}
		return nil
	})
	return lines, err
}

// count counts rows and foreign-key violations.
func (r *run) count(rep *Report, unread map[string]error) error {
	var tables []string
	err := r.c.Each(`SELECT name FROM main.sqlite_schema WHERE type = 'table' AND rootpage > 0 AND name NOT LIKE 'sqlite\_%' ESCAPE '\'`, func(st *sqlite.Stmt) error {
		tables = append(tables, st.Text(0))
		return nil
	})
	if err != nil {
		return err
	}
	for _, t := range tables {
		if unread[t] != nil {
			continue
		}
		n, err := r.c.Int("SELECT count(*) FROM main." + sqlite.Quote(t) + " NOT INDEXED")
		if err != nil {
			return err
		}
		rep.Rows += n
		if n, err = r.violations(t); err != nil {
			return err
		}
		rep.Violations += n
	}
	return nil
}

// violations counts the rows of a table that refer to a row that is not there. The
// source may have them: SQLite lets them in while foreign_keys is off, and so does a
// replay, which must not be stricter than the source was.
func (r *run) violations(table string) (n int64, err error) {
	err = r.c.Each("PRAGMA main.foreign_key_check("+sqlite.Quote(table)+")", func(*sqlite.Stmt) error { n++; return nil })
	if e, ok := errors.AsType[*sqlite.Error](err); ok && strings.HasPrefix(e.Msg, "foreign key mismatch") {
		return n + 1, nil
	}
	if scan.Lacks(err) {
		r.add(Fault{Unreadable, table, r.lacks(table, err)})
		return n, nil
	}
	return n, err
}
