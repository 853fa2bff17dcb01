package jsbucket

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// table is what the new database says of a table.
type table struct {
	name    string
	columns map[string]bool // by folded name; true: it was added, and has no type yet
	made    []string        // the columns in order, if the table was made from the log
}

// The columns that the package gives each table.
var baseColumns = []struct{ name, definition string }{
	{"id", "TEXT PRIMARY KEY"}, {"createdAt", "INTEGER NOT NULL"}, {"updatedAt", "INTEGER NOT NULL"},
}

// folded is the name of a table or column as SQLite compares it: ASCII letters have no case.
func folded(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, name)
}

// table looks up the table of a change. nil means that the change is left out.
func (j *job) table(e entry) (*table, error) {
	if t := j.tables[folded(e.Table)]; t != nil {
		return t, nil
	}
	if name := strings.ToLower(e.Table); name == "" || strings.HasPrefix(name, "sqlite_") || strings.HasPrefix(name, "_driftdb_") {
		return nil, fmt.Errorf("%w: change %d is of table %q, which no program can define", ErrDamaged, e.Sequence, e.Table)
	}
	t := &table{name: e.Table, columns: map[string]bool{}}
	st, err := j.c.Cached("SELECT name FROM pragma_table_xinfo(?, 'main')")
	if err != nil {
		return nil, err
	}
	defer st.Release()
	st.BindText(1, e.Table)
	if err := st.Each(func(st *sqlite.Stmt) error { t.columns[folded(st.Text(0))] = false; return nil }); err != nil {
		return nil, err
	}
	if len(t.columns) == 0 {
		if j.res.Snapshot == "" {
			// A note has said so of all tables.
		} else if err := j.unclear("table %q is not in the snapshot, and the log does not have its definition", e.Table); err != nil {
			return nil, err
		}
		if e.Operation != "insert" {
			return nil, nil
		}
		if err := j.make(t); err != nil {
			return nil, err
		}
	}
	if j.tables == nil {
		j.tables = map[string]*table{}
	}
	j.tables[folded(e.Table)] = t
	return t, nil
}

// make creates a table with the columns that all have.
func (j *job) make(t *table) error {
	var definitions []string
	for _, c := range baseColumns {
		definitions = append(definitions, quote(c.name)+" "+c.definition)
		t.columns[folded(c.name)] = false
		t.made = append(t.made, c.name)
	}
	return j.c.Exec("CREATE TABLE main." + quote(t.name) + " (" + strings.Join(definitions, ", ") + ")")
}

// widen adds the columns of a row that its table lacks.
func (j *job) widen(t *table, e entry, row []field) error {
	for _, f := range row {
		if _, ok := t.columns[folded(f.name)]; ok {
			continue
		}
		if t.made == nil {
			if err := j.unclear("table %q of the snapshot has no column %q, which change %d writes", e.Table, f.name, e.Sequence); err != nil {
				return err
			}
		} else {
			t.made = append(t.made, f.name)
		}
		if err := j.c.Exec("ALTER TABLE main." + quote(e.Table) + " ADD COLUMN " + quote(f.name)); err != nil {
			return err
		}
		t.columns[folded(f.name)] = true
	}
	return nil
}

// settle gives the columns of the tables that were made the type that all their values
// have. Views and foreign keys of the snapshot that refer to such a table go on doing so:
// SQLite neither looks at them when the table is renamed, nor deletes what refers to its
// rows when the old one is dropped.
func (j *job) settle() error {
	if err := j.c.Exec("PRAGMA foreign_keys=OFF; PRAGMA legacy_alter_table=ON"); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(j.tables)) {
		if t := j.tables[name]; t.made != nil {
			if err := j.settleTable(t); err != nil {
				return err
			}
		}
	}
	return nil
}

func (j *job) settleTable(t *table) error {
	name := t.name
	var definitions, columns []string
	for i, column := range t.made {
		columns = append(columns, quote(column))
		definition := ""
		if i < len(baseColumns) {
			definition = baseColumns[i].definition
		} else {
			var kinds []string
			if err := j.c.Each("SELECT DISTINCT typeof("+quote(column)+") AS kind FROM main."+quote(name)+" WHERE "+quote(column)+" IS NOT NULL ORDER BY kind",
				func(st *sqlite.Stmt) error { kinds = append(kinds, st.Text(0)); return nil }); err != nil {
				return err
			}
			switch strings.Join(kinds, " ") {
			case "integer":
				definition = "INTEGER"
			case "real", "integer real":
				definition = "REAL"
			case "text":
				definition = "TEXT"
			case "blob":
				definition = "BLOB"
			}
		}
		definitions = append(definitions, strings.TrimSpace(quote(column)+" "+definition))
	}
	old, list := quote("_jsbucket_old"), strings.Join(columns, ", ")
	for _, statement := range []string{
		"BEGIN",
		"ALTER TABLE main." + quote(name) + " RENAME TO " + old,
		"CREATE TABLE main." + quote(name) + " (" + strings.Join(definitions, ", ") + ")",
		"INSERT INTO main." + quote(name) + " (" + list + ") SELECT " + list + " FROM main." + old + " ORDER BY rowid",
		"DROP TABLE main." + old,
		"COMMIT",
	} {
		if err := j.c.Exec(statement); err != nil {
			return fmt.Errorf("give the columns of table %q their types: %w", name, err)
		}
	}
	return nil
}
