package sqlite

import (
	"fmt"
	"strings"
)

// Damage is what SQLite finds wrong with the pages of main: that they contradict each
// other. It is empty if they do not. What is wrong with rows, such as a NULL in a NOT
// NULL column, is no damage of pages.
//
// All pages are read.
func (c *Conn) Damage() (damage string, err error) {
	// Pages come first, in one answer; the rows of each table follow.
	const pages = "*** in database main ***\n"
	err = c.Each("PRAGMA main.quick_check(1)", func(st *Stmt) error {
		if text := st.Text(0); strings.HasPrefix(text, pages) {
			damage = strings.TrimPrefix(text, pages)
		}
		return nil
	})
	if IsCorrupt(err) {
		return fmt.Sprint(err), nil
	}
	return damage, err
}
