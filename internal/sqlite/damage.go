package sqlite

import (
	"fmt"
	"strings"

	lib "modernc.org/sqlite/lib"
)

// Damage is what SQLite finds wrong with the pages of main: that they contradict each
// other. It is empty if they do not. What is wrong with rows, such as a NULL in a NOT
// NULL column, is no damage of pages, and a page that nobody uses does no harm.
//
// All pages are read, or, if only the schema's are asked for, few. Where the schema needs what c does not have, such as a
// collation, SQLite looks at nothing, and nothing is known.
func (c *Conn) Damage(schemaOnly bool) (damage string, err error) {
	// Pages come first, in one answer, unused ones last of them; the rows of each
	// table follow.
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
