package dbtest

import (
	"strings"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// virtual describes a virtual table by its rows and by what its index finds:
// equal shadow tables, which are described like all others, would not tell that
// a module reads them the same way.
func (d *dumper) virtual(name string) error {
	columns, err := d.texts("SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE hidden = 0", name)
	if err != nil {
		return d.broken(name, err)
	}
	d.rows(name, "SELECT * FROM main."+quote(name))
	terms, err := d.terms(name)
	if err != nil {
		return err
	}
	for _, term := range terms {
		d.match(name, `"`+strings.ReplaceAll(term, `"`, `""`)+`"`)
	}
	// An R-Tree walks its nodes for this; others read all rows once more.
	if len(columns) > 2 {
		for _, half := range []string{"<= 0", "> 0"} {
			d.rows(name+" "+half, "SELECT * FROM main."+quote(name)+" WHERE "+quote(columns[1])+half)
		}
	}
	return nil
}

// broken notes that a virtual table cannot be used at all here.
func (d *dumper) broken(name string, err error) error {
	d.WriteString(name + ": " + err.Error() + "\n")
	return nil
}

// maxTerms bounds the searches in a large table.
const maxTerms = 100

// terms lists terms of an FTS5 table, evenly spread; other tables have none.
func (d *dumper) terms(name string) ([]string, error) {
	const vocabulary = "temp._dbtest_terms"
	if err := d.c.Exec("CREATE VIRTUAL TABLE " + vocabulary + " USING fts5vocab('main', '" + strings.ReplaceAll(name, "'", "''") + "', 'row')"); err != nil {
		return nil, err
	}
	var all []string
	err := d.each("SELECT term, doc, cnt FROM "+vocabulary, func(st *sqlite.Stmt) error {
		d.WriteString(formatRow(st, name+" term"))
		all = append(all, st.Text(0))
		return nil
	})
	if err != nil && !strings.Contains(err.Error(), "no such fts5 table") {
		d.WriteString(name + " terms: " + err.Error() + "\n")
	}
	step := 1 + len(all)/maxTerms
	some := all[:0]
	for i := 0; i < len(all); i += step {
		some = append(some, all[i])
	}
	return some, d.c.Exec("DROP TABLE " + vocabulary)
}

// match describes what a search finds, best first.
func (d *dumper) match(name, search string) {
	d.rows(name+" "+search, "SELECT row_number() OVER (), * FROM (SELECT rowid, rank FROM main."+quote(name)+" WHERE "+quote(name)+" MATCH ?1 ORDER BY rank, rowid)", search)
}
