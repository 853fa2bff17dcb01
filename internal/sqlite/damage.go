package sqlite

import (
	"fmt"
	"strings"

	lib "modernc.org/sqlite/lib"
)

// Damage returns what SQLite finds wrong with the pages of main, namely that they contradict
// each other; it is empty if they do not. Wrong rows, such as a NULL in a NOT NULL column, are
// not page damage, and an unused page does no harm.
//
// It reads all pages, or few if schemaOnly is set. If the schema needs something that c does
// not have, such as a collation, SQLite checks nothing, and the result is empty.
func (c *Conn) Damage(schemaOnly bool) (damage string, err error) {
	// Page errors come first, in one row, with unused pages last; then come the rows of each
	// table.
	const pages, unused = "*** in database main ***\n", ": never used"
	check := "PRAGMA main.quick_check(1)"
	if schemaOnly {
		check = "PRAGMA main.quick_check(sqlite_schema)"
	}
	err = c.Each(check, func(st *Stmt) error {
		text, of := strings.CutPrefix(st.Text(0), pages)
		if of && !strings.HasSuffix(text, unused) {
			damage = text
		}
		return nil
	})
	switch {
	case IsCorrupt(err):
		return fmt.Sprint(err), nil
	case Code(err)&0xff == lib.SQLITE_ERROR:
		return "", nil
	}
	return damage, err
}

// Strays is a query for the automatic indexes that do not belong to the table that main's
// schema names for them, as messages. SQLite compares that name only for what has SQL. But it
// goes by it when it drops or renames the table, and the file cannot be read after that.
const Strays = `SELECT format('index "%w" does not belong to table "%w"', name, tbl_name) FROM main.sqlite_schema AS s
	WHERE sql IS NULL AND NOT EXISTS (SELECT 1 FROM pragma_index_list(s.tbl_name, 'main') AS i WHERE i.name = s.name COLLATE NOCASE)`
